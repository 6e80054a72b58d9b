#define FNN_ISA baseline
#include "../isa_tpl.h"
