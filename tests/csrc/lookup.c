#define TEMPLATE "lookup_tpl.h"
#include "both_types.h"

void test_lookup(const fnn_kernels *kernels) {
    check_lookup_f32(&kernels->f32);
    check_lookup_f64(&kernels->f64);
}
