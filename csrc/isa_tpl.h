/* Compiles every kernel for float and for double with the flags of one instruction set, whose name
 * is FNN_ISA, and puts them into one table.  Everything but that table is static, so that the
 * linker cannot take code of one instruction set for that of another. */
#include "fastnn.h"

#include <math.h>
#include <string.h>

#include "simd.h"
#include "random.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define REAL_IS_FLOAT 1
#define R float
#define S(name) JOIN(name, f32)
#include "vecmath.h"
#include "vector_tpl.h"
#include "transpose_tpl.h"
#include "thin_tpl.h"
#include "gemm_tpl.h"
#include "sums_tpl.h"
#include "activations_tpl.h"
#include "softmax_tpl.h"
#include "losses_tpl.h"
#include "row_losses_tpl.h"
#include "updates_tpl.h"
#include "steps_tpl.h"
#include "dropout_tpl.h"
#include "inputs_tpl.h"
#include "vecmath_tpl.h"
#include "norm_tpl.h"
#include "batch_norm_tpl.h"
#include "scale_tpl.h"
#include "prelu_tpl.h"
#include "members_tpl.h"
#include "lookup_tpl.h"
#undef REAL_IS_FLOAT
#undef R
#undef S

#define REAL_IS_FLOAT 0
#define R double
#define S(name) JOIN(name, f64)
#include "vecmath.h"
#include "vector_tpl.h"
#include "transpose_tpl.h"
#include "thin_tpl.h"
#include "gemm_tpl.h"
#include "sums_tpl.h"
#include "activations_tpl.h"
#include "softmax_tpl.h"
#include "losses_tpl.h"
#include "row_losses_tpl.h"
#include "updates_tpl.h"
#include "steps_tpl.h"
#include "dropout_tpl.h"
#include "inputs_tpl.h"
#include "vecmath_tpl.h"
#include "norm_tpl.h"
#include "batch_norm_tpl.h"
#include "scale_tpl.h"
#include "prelu_tpl.h"
#include "members_tpl.h"
#include "lookup_tpl.h"
#undef REAL_IS_FLOAT
#undef R
#undef S

extern const fnn_kernels JOIN(fnn_kernels, FNN_ISA);
const fnn_kernels JOIN(fnn_kernels, FNN_ISA) = {
    .name = TEXT(FNN_ISA),
    .shuffle = shuffle,
    .f32 = {
#define S(name) JOIN(name, f32)
#include "table_tpl.h"
#undef S
    },
    .f64 = {
#define S(name) JOIN(name, f64)
#include "table_tpl.h"
#undef S
    },
};
