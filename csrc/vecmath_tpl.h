/* The functions of vecmath.h by themselves, on vectors of one dtype (R): only tests call them. */

#define VECMATH(name, NAME)                                                                        \
    static void S(vec_##name)(ptrdiff_t n, const R *x, R *out) {                                   \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < n; i++) out[i] = NAME(x[i]);                                     \
    }
VECMATH(exp, EXP)
VECMATH(log, LOG)
VECMATH(log1p, LOG1P)
VECMATH(tanh, TANH)
VECMATH(sigmoid, SIGMOID)
VECMATH(normcdf, NORMCDF)
VECMATH(tanh_softplus, TANH_SOFTPLUS)
#undef VECMATH
