"""The Hessian of a loss with respect to the raw outputs, times a vector, row by row."""

from libc.math cimport exp, log
from libc.stdint cimport int32_t

from fastnn.core._kernels cimport FNN_N_PARAMETERS, kernels, real, softmax_rows
from fastnn.training._bends cimport FOCAL, GAUSSIAN_NLL, SOFTMAX_BOWL, Bowl, bowl_of


cdef void bend_loss(Bowl bowl, ptrdiff_t rows, ptrdiff_t n, const real* z, const real* rz,
                    const real* y, const int32_t* labels, const real* s, const double* h,
                    real* rd) noexcept nogil:
    """rd (rows, n) = R{dL/dz} from z and R{z}. ``y`` or ``labels`` are targets, ``s`` weights or
    NULL, ``h`` the loss's parameters of each output."""
    cdef ptrdiff_t r, j
    cdef int32_t label = -1
    cdef double weight
    if bowl == SOFTMAX_BOWL:
        softmax_rows(kernels, rows, n, z, rd)
    for r in range(rows):
        weight = s[r] if s != NULL else 1
        label = labels[r] if labels != NULL else -1
        if bowl == SOFTMAX_BOWL:
            softmax_row(n, rz, y, weight, rd)
        elif bowl == FOCAL:
            focal_row(n, z, rz, y, label, weight, h[0], rd)
        elif bowl == GAUSSIAN_NLL:
            gaussian_row(n // 2, z, rz, y, weight, rd)
        else:
            for j in range(n):
                rd[j] = <real>(weight * rz[j] * bowl_of(
                    bowl, z[j], y[j] if y != NULL else <real>(j == label),
                    h + j * FNN_N_PARAMETERS if h != NULL else NULL))
        z, rz, rd = z + n, rz + n, rd + n
        if y != NULL:
            y += n


cdef void softmax_row(ptrdiff_t n, const real* rz, const real* y, double weight,
                      real* p) noexcept nogil:
    """p becomes mass (diag(p) - p p') R{z}, with the sum of the targets as mass."""
    cdef double mean = 0, mass = 0
    cdef ptrdiff_t j
    for j in range(n):
        mean += <double>p[j] * rz[j]
        mass += y[j] if y != NULL else 0
    if y != NULL:
        weight *= mass
    for j in range(n):
        p[j] = <real>(weight * p[j] * (rz[j] - mean))


cdef void focal_row(ptrdiff_t n, const real* z, const real* rz, const real* y, int32_t label,
                    double weight, double gamma, real* rd) noexcept nogil:
    """dz_j = g_j - p_j G with g_j = y_j q^gamma (gamma p log p / q - 1), q = 1 - p and G = sum g;
    R{p_j} = p_j (R{z_j} - sum p R{z})."""
    cdef double top = z[0], total = 0, mean = 0, all_g = 0, all_rg = 0
    cdef double p, q, log_p, rp, power, target
    cdef ptrdiff_t j
    for j in range(n):
        top = max(top, <double>z[j])
    for j in range(n):
        p = exp(z[j] - top)
        total += p
        mean += p * rz[j]
    mean /= total
    total = log(total)
    for j in range(n):
        target = y[j] if y != NULL else <real>(j == label)
        rd[j] = 0
        if target == 0:
            continue
        log_p = z[j] - top - total
        p = exp(log_p)
        q = 1 - p
        if q <= 0:  # and g and R{p} are 0
            continue
        power = target * exp(gamma * log(q))
        rp = p * (rz[j] - mean)
        all_g += power * (gamma * p * log_p / q - 1)
        rp *= power * gamma / q * (log_p + 2 - (gamma - 1) * p * log_p / q)
        all_rg += rp
        rd[j] = <real>(weight * rp)
    for j in range(n):
        p = exp(z[j] - top - total)
        rd[j] = <real>(rd[j] - weight * (p * (rz[j] - mean) * all_g + p * all_rg))


cdef void gaussian_row(ptrdiff_t m, const real* z, const real* rz, const real* y, double weight,
                       real* rd) noexcept nogil:
    """m means, then as many logarithms of variances."""
    cdef double precision, away, by_log
    cdef ptrdiff_t j
    for j in range(m):
        precision = exp(-<double>z[m + j])
        by_log = rz[m + j]
        if precision > largest(z):  # as the kernel has it: then constant
            precision, by_log = largest(z), 0
        away = z[j] - y[j]
        rd[j] = <real>(weight * precision * (rz[j] - away * by_log))
        rd[m + j] = <real>(weight * precision * away * (0.5 * away * by_log - rz[j]))


cdef double largest(const real* tag) noexcept nogil:
    if real is float:
        return 3.4028234663852886e38
    else:
        return 1.7976931348623157e308
