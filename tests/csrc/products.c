#define TEMPLATE "products_tpl.h"
#include "both_types.h"

void test_products(const fnn_kernels *kernels) {
    check_products_f32(&kernels->f32);
    check_products_f64(&kernels->f64);
    check_sums_f32(&kernels->f32);
    check_sums_f64(&kernels->f64);
}
