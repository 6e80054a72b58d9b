/* The initializer of one dtype's table; fnn_kernels lists the fields. */
#define FNN_ACTIVATION_ALIAS(alias, name)
    .bias_activate = {
#define FNN_ACTIVATION(name, ...) S(bias_activate_##name),
#include "activations.def"
#undef FNN_ACTIVATION
    },
    .activation_backward = {
#define FNN_ACTIVATION(name, ...) S(activation_backward_##name),
#include "activations.def"
#undef FNN_ACTIVATION
    },
    .softmax = S(softmax),
    .loss = {
#define FNN_LOSS(name, ...) S(loss_##name),
#define FNN_LOSS_H(name, ...) S(loss_##name),
#define FNN_ROW_LOSS(name, ...) S(loss_##name),
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS
    },
    .loss_columns = {
#define FNN_LOSS(name, ...) S(loss_columns_##name),
#define FNN_LOSS_H(name, ...) S(loss_columns_##name),
#define FNN_ROW_LOSS(name, ...) S(loss_columns_##name),
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS
    },
    .column_sums = S(column_sums),
    .add_parts = S(add_parts),
    .update = {
#define FNN_OPTIMIZER(name, ...) S(update_##name),
#include "optimizers.def"
#undef FNN_OPTIMIZER
    },
    .collect = S(collect),
    .average = S(average),
    .multiply = S(multiply),
    .limit_columns = S(limit_columns),
    .muon_momentum = S(muon_momentum),
    .muon_polynomial = S(muon_polynomial),
    .muon_step = S(muon_step),
    .dropout = S(dropout),
    .add_noise = S(add_noise),
    .convert = S(convert),
    .vector = S(VECTOR),
    .panel = S(PANEL),
    .product = S(product),
    .transpose = S(transpose),
    .row_products = S(row_products),
    .vecmath = {S(vec_exp), S(vec_log), S(vec_log1p), S(vec_tanh), S(vec_sigmoid), S(vec_normcdf),
                S(vec_tanh_softplus)},
    .layer_norm = S(layer_norm),
    .layer_norm_backward = S(layer_norm_backward),
    .layer_norm_gain = S(layer_norm_gain),
    .scale_columns = S(scale_columns),
    .column_products = S(column_products),
    .prelu = S(prelu),
    .prelu_backward = S(prelu_backward),
    .prelu_slope = S(prelu_slope),
    .batch_statistics = S(batch_statistics),
    .batch_norm = S(batch_norm),
    .batch_norm_backward = S(batch_norm_backward),
    .batch_norm_gain = S(batch_norm_gain),
    .add_rows = S(add_rows),
    .repeat_rows = S(repeat_rows),
    .repeat_scale = S(repeat_scale),
    .repeat_back = S(repeat_back),
    .mean_members = S(mean_members),
    .lookup = S(lookup),
    .sum_runs = S(sum_runs),
#undef FNN_ACTIVATION_ALIAS
