/* A fork waits until no thread of ours is inside of BLAS, and none goes in meanwhile.
 *
 * OpenBLAS takes a lock of its own when a product begins and ends.  Forked in that moment, the
 * child has the lock but not the thread that would give it back, and its first product never ends:
 * with six threads of small products 1 fork in 300 (OpenBLAS 0.3.30).  Two atomic operations per
 * product keep it from that. */
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
