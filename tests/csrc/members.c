#define TEMPLATE "members_tpl.h"
#include "both_types.h"

void test_members(const fnn_kernels *kernels) {
    check_members_f32(&kernels->f32);
    check_members_f64(&kernels->f64);
}
