/* Activations of one dtype (R) and their derivatives: two kernels a row of activations.def. */

#define FNN_ACTIVATION_ALIAS(alias, name)
#define FNN_ACTIVATION(name, needs_z, value, derivative)                                           \
    static void S(bias_activate_##name)(ptrdiff_t rows, ptrdiff_t n, R *zs, const R *b, R *as) {   \
        if (!b) {                                                                                  \
            n *= rows;                                                                             \
            rows = 1;                                                                              \
        }                                                                                          \
        for (ptrdiff_t r = 0; r < rows; r++, zs += n, as += n) {                                   \
            if (b) {                                                                               \
                INDEPENDENT                                                                        \
                for (ptrdiff_t j = 0; j < n; j++) {                                                \
                    R z = zs[j] + b[j];                                                            \
                    if (needs_z) zs[j] = z;                                                        \
                    as[j] = (value);                                                               \
                }                                                                                  \
            } else {                                                                               \
                INDEPENDENT                                                                        \
                for (ptrdiff_t j = 0; j < n; j++) {                                                \
                    R z = zs[j];                                                                   \
                    as[j] = (value);                                                               \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void S(activation_backward_##name)(ptrdiff_t count, const R *zs, const R *as, R *d) {   \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < count; i++) {                                                    \
            R z = zs[i], a = as[i];                                                                \
            (void)z, (void)a;                                                                      \
            d[i] *= (derivative);                                                                  \
        }                                                                                          \
    }
#include "activations.def"
#undef FNN_ACTIVATION
#undef FNN_ACTIVATION_ALIAS
