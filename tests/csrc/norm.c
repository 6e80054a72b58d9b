#define TEMPLATE "norm_tpl.h"
#include "both_types.h"

void test_norm(const fnn_kernels *kernels) {
    check_norm_f32(&kernels->f32);
    check_norm_f64(&kernels->f64);
}
