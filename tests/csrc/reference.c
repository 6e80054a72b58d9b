/* The slow twin of the kernels: the rows of the .def files in double, with libm's functions. */
#include "check.h"

#include <math.h>

#define R double
#define C(x) ((double)(x))
#define EXP(x) exp(x)
#define EXPM1(x) expm1(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define TANH(x) tanh(x)
#define SIGMOID(x) sigmoid(x)
#define NORMCDF(x) normcdf(x)
#define NORMPDF(x) (exp(-0.5 * (x) * (x)) * 0.39894228040143267794)
#define BOUND(x) bound(x)
#define FMA(a, b, c) ((a) * (b) + (c))
#define SQRT(x) sqrt(x)
#define FABS(x) fabs(x)

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double normcdf(double x) { return 0.5 * erfc(x * -0.70710678118654752440); }
static double bound(double x) { return x > 700 ? 700 : x < -700 ? -700 : x; }

#define FNN_ACTIVATION_ALIAS(alias, name)
#define FNN_ACTIVATION(name, needs_z, value, derivative)                                           \
    static double value_##name(double z) { return value; }                                         \
    static double derivative_##name(double z, double a) {                                          \
        (void)z, (void)a;                                                                          \
        return derivative;                                                                         \
    }
#include "activations.def"
#undef FNN_ACTIVATION

double (*const reference_activation[])(double) = {
#define FNN_ACTIVATION(name, ...) value_##name,
#include "activations.def"
#undef FNN_ACTIVATION
};

double (*const reference_derivative[])(double, double) = {
#define FNN_ACTIVATION(name, ...) derivative_##name,
#include "activations.def"
#undef FNN_ACTIVATION
};

double (*const reference_vecmath[])(double) = {exp, log, log1p, tanh, sigmoid, normcdf};

static double capped(double value, double ceiling) { return value > ceiling ? ceiling : value; }

#define FNN_ROW_LOSS(name, ...)
#define FNN_LOSS(name, link, reduction, targets, value, derivative)                                \
    static double loss_##name(ptrdiff_t n, const double *zs, const double *ys, double ceiling,     \
                              double *dz, double *size) {                                          \
        double total = 0;                                                                          \
        for (ptrdiff_t j = 0; j < n; j++) {                                                        \
            double z = zs[j], y = ys[j], term = capped(value, ceiling);                            \
            dz[j] = derivative;                                                                    \
            total += term;                                                                         \
            *size += fabs(term) + fabs(z);                                                         \
        }                                                                                          \
        return total;                                                                              \
    }
#include "losses.def"
#undef FNN_LOSS
#undef FNN_ROW_LOSS

double reference_cross_entropy(ptrdiff_t n, const double *z, const double *y, double ceiling,
                               double *dz, double *size) {
    double top = z[0], sum = 0, mass = 0, total = 0;
    for (ptrdiff_t j = 1; j < n; j++) top = fmax(top, z[j]);
    for (ptrdiff_t j = 0; j < n; j++) sum += exp(z[j] - top), mass += y[j];
    for (ptrdiff_t j = 0; j < n; j++) {
        double term = y[j] != 0 ? y[j] * capped(log(sum) - (z[j] - top), ceiling) : 0;
        dz[j] = mass * exp(z[j] - top) / sum - y[j];
        total += term;
        *size += fabs(term);
    }
    return total;
}

double (*const reference_loss[])(ptrdiff_t, const double *, const double *, double, double *,
                                 double *) = {
#define FNN_LOSS(name, ...) loss_##name,
#define FNN_ROW_LOSS(name, ...) reference_##name,
#include "losses.def"
#undef FNN_LOSS
#undef FNN_ROW_LOSS
};

#define FNN_OPTIMIZER(name, n_state, coefficients, ...)                                            \
    static void update_##name(double g, const double *c, double *w_at, double *s0_at,              \
                              double *s1_at) {                                                     \
        const double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5], c6 = c[6],  \
                     c7 = c[7];                                                                    \
        double w = *w_at, s0 = *s0_at, s1 = *s1_at;                                                \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7;            \
        (void)s0, (void)s1;                                                                        \
        __VA_ARGS__                                                                                \
        *w_at = w, *s0_at = s0, *s1_at = s1;                                                       \
    }
#include "optimizers.def"
#undef FNN_OPTIMIZER

void (*const reference_update[])(double, const double *, double *, double *, double *) = {
#define FNN_OPTIMIZER(name, ...) update_##name,
#include "optimizers.def"
#undef FNN_OPTIMIZER
};

uint32_t reference_philox(uint64_t key, const uint32_t counter[4], int w) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t x[4] = {counter[0], counter[1], counter[2], counter[3]};
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
        x[0] = (uint32_t)(q >> 32) ^ x[1] ^ k0;
        x[1] = (uint32_t)q;
        x[2] = (uint32_t)(p >> 32) ^ x[3] ^ k1;
        x[3] = (uint32_t)p;
    }
    return x[w];
}
