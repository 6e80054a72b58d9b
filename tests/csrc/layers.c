#define TEMPLATE "layers_tpl.h"
#include "both_types.h"

void test_layers(const fnn_kernels *kernels) {
    check_layers_f32(&kernels->f32);
    check_layers_f64(&kernels->f64);
}
