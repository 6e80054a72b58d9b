/* The rows of the three .def files as data: names for Python, and the optimizers' coefficients. */
#include "fastnn.h"

#include <math.h>

#define FNN_ACTIVATION(name, needs_z, ...) {#name, needs_z},
#define FNN_ACTIVATION_ALIAS(alias, name)
const fnn_activation_info fnn_activations[FNN_N_ACTIVATIONS] = {
#include "activations.def"
};
#undef FNN_ACTIVATION
#undef FNN_ACTIVATION_ALIAS

#define FNN_ACTIVATION(name, ...)
#define FNN_ACTIVATION_ALIAS(alias, name) {#alias, #name},
const fnn_alias_info fnn_aliases[] = {
#include "activations.def"
    {NULL, NULL},
};
#undef FNN_ACTIVATION
#undef FNN_ACTIVATION_ALIAS

#define FNN_LOSS(name, link, reduction, targets, ...) {#name, #link, #reduction, #targets, 0, 0},
#define FNN_LOSS_H(name, link, reduction, targets, n, ...)                                         \
    {#name, #link, #reduction, #targets, n, 0},
#define FNN_ROW_LOSS(name, link, reduction, targets, n) {#name, #link, #reduction, #targets, n, 1},
const fnn_loss_info fnn_losses[FNN_N_LOSSES] = {
#include "losses.def"
};
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS

#define FNN_OPTIMIZER(name, n_state, ...) {#name, n_state},
const fnn_optimizer_info fnn_optimizers[FNN_N_OPTIMIZERS] = {
#include "optimizers.def"
};
#undef FNN_OPTIMIZER

void fnn_step_coefficients(int optimizer, double t, double lr, const double *h, double *c) {
    for (int i = 0; i < FNN_N_COEFFICIENTS; i++) c[i] = 0;
    switch (optimizer) {
#define FNN_OPTIMIZER(name, n_state, coefficients, ...) case FNN_OPT_##name: coefficients break;
#include "optimizers.def"
#undef FNN_OPTIMIZER
    }
}
