#define FNN_ISA avx2
#include "../isa_tpl.h"
