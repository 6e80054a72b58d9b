#define TEMPLATE "losses_tpl.h"
#include "both_types.h"

void test_losses(const fnn_kernels *kernels) {
    check_losses_f32(&kernels->f32);
    check_losses_f64(&kernels->f64);
    check_long_rows_f32(&kernels->f32);
    check_long_rows_f64(&kernels->f64);
    check_far_losses_f32(&kernels->f32);
    check_far_losses_f64(&kernels->f64);
}
