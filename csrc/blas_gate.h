/* A gate before BLAS: a fork waits until no thread of ours is inside, and lets none in until it is
 * done.
 *
 * OpenBLAS takes a lock of its own when a product begins and ends.  In the child of a fork at that
 * moment the lock is held by a thread that does not exist there, and its first product never ends.
 * With six threads of small products this happened in 1 fork of 300 (OpenBLAS 0.3.30).  The gate
 * costs two atomic operations per product. */
#ifndef FNN_BLAS_GATE_H
#define FNN_BLAS_GATE_H

#if defined(_WIN32)
static inline void fnn_blas_gate_prepare(void) {}
static inline void fnn_enter_blas(void) {}
static inline void fnn_leave_blas(void) {}
#else
void fnn_blas_gate_prepare(void); /* once, when the library is loaded */
void fnn_enter_blas(void);
void fnn_leave_blas(void);
#endif

#endif
