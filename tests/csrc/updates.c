#define TEMPLATE "updates_tpl.h"
#include "both_types.h"

void test_updates(const fnn_kernels *kernels) {
    check_updates_f32(&kernels->f32);
    check_updates_f64(&kernels->f64);
}
