#define TEMPLATE "steps_tpl.h"
#include "both_types.h"

void test_steps(const fnn_kernels *kernels) {
    check_steps_f32(&kernels->f32);
    check_steps_f64(&kernels->f64);
}
