/* The slow twin of the kernels: the rows of the .def files in double, with libm's functions. */
#include "check.h"

#include <math.h>

#define R double
#define C(x) ((double)(x))
#define EXP(x) exp(x)
#define EXPM1(x) expm1(x)
#define EXPM1_WIDE(x) expm1(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define TANH(x) tanh(x)
#define SIGMOID(x) sigmoid(x)
#define NORMCDF(x) normcdf(x)
#define NORMPDF(x) (exp(-0.5 * (x) * (x)) * 0.39894228040143267794)
#define TANH_SOFTPLUS(x) tanh_softplus(x)
#define SECH_SOFTPLUS(x) (1 / cosh(log1p(exp(fmin(x, 300)))))
#define BOUND(x) bound(x)
#define FMA(a, b, c) ((a) * (b) + (c))
#define SQRT(x) sqrt(x)
#define FABS(x) fabs(x)

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double normcdf(double x) { return 0.5 * erfc(x * -0.70710678118654752440); }
static double tanh_softplus(double x) { return tanh(log1p(exp(x))); }
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

double (*const reference_vecmath[])(double) = {exp,     log,     log1p,        tanh,
                                               sigmoid, normcdf, tanh_softplus};

static double capped(double value, double ceiling) { return value > ceiling ? ceiling : value; }

#define FNN_ROW_LOSS(name, ...)
#define FNN_LOSS(name, link, reduction, targets, value, derivative)                                \
    FNN_LOSS_H(name, link, reduction, targets, 0, value, derivative)
#define FNN_LOSS_H(name, link, reduction, targets, n_h, value, derivative)                         \
    static double loss_##name(ptrdiff_t n, const double *zs, const double *ys, double ceiling,     \
                              const double *h, double *dz, double *size) {                         \
        double total = 0;                                                                          \
        for (ptrdiff_t j = 0; j < n; j++) {                                                        \
            const double *hj = h + j * FNN_N_PARAMETERS, h0 = n_h > 0 ? hj[0] : 0;                 \
            double z = zs[j], y = ys[j], term = capped(value, ceiling);                            \
            (void)h0;                                                                              \
            dz[j] = derivative;                                                                    \
            total += term;                                                                         \
            *size += fabs(term) + fabs(z);                                                         \
        }                                                                                          \
        return total;                                                                              \
    }
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS

static double reference_cross_entropy(ptrdiff_t n, const double *z, const double *y, double ceiling,
                                      const double *h, double *dz, double *size) {
    double top = z[0], sum = 0, mass = 0, total = 0, smooth = h ? h[0] : 0;
    for (ptrdiff_t j = 1; j < n; j++) top = fmax(top, z[j]);
    for (ptrdiff_t j = 0; j < n; j++) sum += exp(z[j] - top), mass += y[j];
    for (ptrdiff_t j = 0; j < n; j++) {
        double target = (1 - smooth) * y[j] + smooth * mass / (double)n;
        double term = target != 0 ? target * capped(log(sum) - (z[j] - top), ceiling) : 0;
        dz[j] = mass * exp(z[j] - top) / sum - target;
        total += term;
        *size += fabs(term);
    }
    return total;
}

/* by the chain rule: the slope of the value in p_j, then the Jacobian of softmax */
static double reference_focal(ptrdiff_t n, const double *z, const double *y, double ceiling,
                              const double *h, double *dz, double *size) {
    double top = z[0], before = 0, mixed = 0, total = 0;
    for (ptrdiff_t j = 1; j < n; j++) top = fmax(top, z[j]);
    dz[n - 1] = 0;
    for (ptrdiff_t j = n - 2; j >= 0; j--) dz[j] = dz[j + 1] + exp(z[j + 1] - top);
    double sum = dz[0] + exp(z[0] - top);
    for (ptrdiff_t j = 0; j < n; j++) {
        /* 1 - p, without a difference: what stands before j and what stands after it */
        double own = exp(z[j] - top), p = own / sum, rest = (before + dz[j]) / sum;
        double log_p = z[j] - top - log(sum);
        double term = y[j] != 0 ? y[j] * capped(-pow(rest, h[0]) * log_p, ceiling) : 0;
        double slope = -pow(rest, h[0]) / p;
        if (rest > 0) slope += h[0] * pow(rest, h[0] - 1) * log_p;
        before += own;
        dz[j] = y[j] * p * slope;
        mixed += dz[j];
        total += term;
        *size += fabs(term);
    }
    for (ptrdiff_t j = 0; j < n; j++) dz[j] -= exp(z[j] - top) / sum * mixed;
    return total;
}

static double reference_gaussian_nll(ptrdiff_t n, const double *z, const double *y, double ceiling,
                                     const double *h, double *dz, double *size) {
    double total = 0;
    (void)h;
    for (ptrdiff_t j = 0; j < n / 2; j++) {
        double s = z[n / 2 + j], away = z[j] - y[j];
        double term = capped(0.5 * (s + away * away * exp(-s)), ceiling);
        dz[j] = away * exp(-s);
        dz[n / 2 + j] = 0.5 * (1 - away * away * exp(-s));
        total += term;
        *size += fabs(term) + fabs(s);
    }
    return total;
}

double (*const reference_loss[])(ptrdiff_t, const double *, const double *, double, const double *,
                                 double *, double *) = {
#define FNN_LOSS(name, ...) loss_##name,
#define FNN_LOSS_H(name, ...) loss_##name,
#define FNN_ROW_LOSS(name, ...) reference_##name,
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS
};

#define FNN_OPTIMIZER(name, n_state, coefficients, ...)                                            \
    static void update_##name(double g, const double *c, double *w_at, double *s0_at,              \
                              double *s1_at, double *s2_at) {                                      \
        const double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5], c6 = c[6],  \
                     c7 = c[7];                                                                    \
        double w = *w_at, s0 = *s0_at, s1 = *s1_at, s2 = *s2_at;                                   \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7;            \
        (void)s0, (void)s1, (void)s2;                                                              \
        __VA_ARGS__                                                                                \
        *w_at = w, *s0_at = s0, *s1_at = s1, *s2_at = s2;                                          \
    }
#include "optimizers.def"
#undef FNN_OPTIMIZER

void (*const reference_update[])(double, const double *, double *, double *, double *,
                                 double *) = {
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
