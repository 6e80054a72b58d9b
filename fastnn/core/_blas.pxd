"""Row-major matrix products on SciPy's BLAS.

BLAS is column-major: a row-major C = A B is its C' = B' A', so the operands are swapped and no data
moves. Leading dimensions are row lengths. Dimensions must fit into 32 bits (checked in plan.py).
"""

from scipy.linalg.cython_blas cimport dgemm, sgemm

from fastnn.core._kernels cimport real


cdef extern from "blas_gate.h" nogil:
    void fnn_blas_gate_prepare()
    void fnn_enter_blas()
    void fnn_leave_blas()


cdef inline void gemm(char* transpose_b, char* transpose_a, int rows, int columns, int inner,
                      const real* a, int lda, const real* b, int ldb, real* c,
                      int ldc) noexcept nogil:
    """C (rows, columns) = op(A) op(B), op(A) being (rows, inner)."""
    cdef real one = 1, zero = 0
    fnn_enter_blas()
    if real is float:
        sgemm(transpose_b, transpose_a, &columns, &rows, &inner, &one, <float*>b, &ldb,
              <float*>a, &lda, &zero, c, &ldc)
    else:
        dgemm(transpose_b, transpose_a, &columns, &rows, &inner, &one, <double*>b, &ldb,
              <double*>a, &lda, &zero, c, &ldc)
    fnn_leave_blas()


cdef inline void product(int rows, int n_in, int n_out, const real* x, int ldx, const real* w,
                         real* z) noexcept nogil:
    """Z (rows, n_out) = X (rows, n_in; ldx) W (n_in, n_out)"""
    gemm(b"N", b"N", rows, n_out, n_in, x, ldx, w, n_out, z, n_out)


cdef inline void product_dw(int rows, int n_in, int n_out, const real* x, int ldx, const real* dz,
                            real* dw) noexcept nogil:
    """dW (n_in, n_out) = X' dZ, X (rows, n_in; ldx), dZ (rows, n_out)"""
    gemm(b"N", b"T", n_in, n_out, rows, x, ldx, dz, n_out, dw, n_out)


cdef inline void product_dx(int rows, int n_in, int n_out, const real* dz, const real* w,
                            real* dx) noexcept nogil:
    """dX (rows, n_in) = dZ W', dZ (rows, n_out), W (n_in, n_out)"""
    gemm(b"T", b"N", rows, n_in, n_out, dz, n_out, w, n_out, dx, n_in)
