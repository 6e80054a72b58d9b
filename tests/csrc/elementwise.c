#define TEMPLATE "elementwise_tpl.h"
#include "both_types.h"

void test_elementwise(const fnn_kernels *kernels) {
    check_elementwise_f32(&kernels->f32);
    check_elementwise_f64(&kernels->f64);
}
