"""Second derivatives, in double precision: of activations, and of losses of one output."""

from libc.math cimport INFINITY, cosh, exp, fabs, log1p, tanh

cdef enum Bend:
    STRAIGHT                    # 0 wherever there is one
    SIGMOID
    TANH
    ELU
    GELU
    SILU
    SOFTPLUS
    EXP
    SELU
    MISH

cdef enum Bowl:
    FLAT                        # straight pieces
    SQUARE
    SOFTMAX_BOWL                # of all outputs of a row together, see _loss_bends.pyx
    FOCAL
    GAUSSIAN_NLL
    LOGISTIC
    POISSON
    GAMMA
    TWEEDIE
    HUBER
    LOG_COSH
    SQUARED_HINGE
    BINARY_FOCAL


cdef inline double bend_of(Bend bend, double z) noexcept nogil:
    """f''(z)"""
    cdef double p, t, density
    if bend == TANH:
        p = tanh(z)
        return -2 * p * (1 - p * p)
    if bend == ELU:
        return exp(z) if z < 0 else 0
    if bend == SELU:
        return 1.7580993408473768599 * exp(z) if z < 0 else 0
    if bend == GELU:
        density = exp(-0.5 * z * z) * 0.39894228040143267794
        return density * (2 - z * z) if density > 0 else 0
    if bend == EXP:
        return exp(z)
    if bend == STRAIGHT:
        return 0
    p = 1 / (1 + exp(-fabs(z)))  # 1 - p is exact
    p = p if z >= 0 else 1 - p
    if bend == SIGMOID:
        return p * (1 - p) * (1 - 2 * p)
    if bend == SOFTPLUS:
        return p * (1 - p)
    if fabs(z) >= 700:
        return 0
    if bend == SILU:
        return p * (1 - p) * (2 + z * (1 - 2 * p))
    t = tanh(softplus(z))       # mish is z t
    return (1 - t * t) * (2 * p + z * p * (1 - p - 2 * t * p))


cdef inline double softplus(double z) noexcept nogil:
    return (z if z > 0 else 0) + log1p(exp(-fabs(z)))


cdef inline double focal_bowl(double z, double gamma) noexcept nogil:
    """The second derivative of (1 - p)^gamma (-log p) with p = sigmoid(z)."""
    cdef double p = 1 / (1 + exp(-z)), q = 1 / (1 + exp(z)), u = softplus(-z)
    return exp(-gamma * softplus(z)) * p * (q * (1 + 2 * gamma) + gamma * u * (gamma * p - q))


cdef inline double bowl_of(Bowl bowl, double z, double y, const double* h) noexcept nogil:
    """The second derivative of an elementwise loss."""
    cdef double p
    if bowl == SQUARE:
        return 1
    if bowl == LOGISTIC:
        p = exp(-fabs(z))
        return p / ((1 + p) * (1 + p))
    if bowl == POISSON:
        return exp(z)
    if bowl == GAMMA:
        return y * exp(-z)
    if bowl == TWEEDIE:
        return (2 - h[0]) * exp((2 - h[0]) * z) - (1 - h[0]) * y * exp((1 - h[0]) * z)
    if bowl == HUBER:
        return 1 if fabs(z - y) <= h[0] else 0
    if bowl == LOG_COSH:
        p = cosh(z - y) if fabs(z - y) < 300 else INFINITY
        return 1 / (p * p)
    if bowl == SQUARED_HINGE:
        return 2 * (2 * y - 1) * (2 * y - 1) if (2 * y - 1) * z < 1 else 0
    if bowl == BINARY_FOCAL:
        return y * focal_bowl(z, h[0]) + (1 - y) * focal_bowl(-z, h[0])
    return 0
