#define FNN_ISA avx512
#include "../isa_tpl.h"
