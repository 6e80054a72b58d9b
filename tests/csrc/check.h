/* What all C tests share: checks that count failures, arrays with nothing around them, numbers.
 *
 * Arrays are exact: one element too many is found by AddressSanitizer or valgrind (`malloc`), or by
 * a page without access behind (`after`) or before them (`before`).  The pages are needed beside
 * AddressSanitizer, which does not see the masked loads and stores of AVX2 and AVX-512. */
#ifndef CHECK_H
#define CHECK_H

#include "fastnn.h"

#include <stddef.h>
#include <stdint.h>

#define LENGTH(array) ((ptrdiff_t)(sizeof(array) / sizeof((array)[0])))
#define FOR_EACH(type, name, array)                                                                \
    for (const type *name = array; name < (array) + LENGTH(array); name++)

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) check_failed(__FILE__, __LINE__, __VA_ARGS__);                           \
    } while (0)

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
void check_failed(const char *file, int line, const char *format, ...);

/* "malloc", "after" or "before"; 0 when it is none of them */
int choose_buffers(const char *where);
void *buffer(size_t bytes);   /* filled with a pattern that is NaN */
void release_buffers(void);   /* all of them: at the end of each case */

uint32_t random_word(void);
double random_real(double low, double high);

/* |got - want| <= tolerance * max(1, |want|, size); NaN and infinity only where expected */
int is_near(double got, double want, double size, double tolerance);

/* reference.c: the rows of the .def files in double, by libm */
extern double (*const reference_activation[FNN_N_ACTIVATIONS])(double z);
extern double (*const reference_derivative[FNN_N_ACTIVATIONS])(double z, double a);
extern double (*const reference_vecmath[FNN_N_VECMATH])(double x);
/* of one row, z, y, dz (n); dz for weight 1; returns the sum of min(value, ceiling), and adds the
 * sizes of its terms to `size`; h: as the kernels take it */
extern double (*const reference_loss[FNN_N_LOSSES])(ptrdiff_t n, const double *z, const double *y,
                                                    double ceiling, const double *h, double *dz,
                                                    double *size);
extern void (*const reference_update[FNN_N_OPTIMIZERS])(double g, const double *c, double *w,
                                                        double *s0, double *s1, double *s2);
/* word w of Philox4x32-10 */
uint32_t reference_philox(uint64_t key, const uint32_t counter[4], int w);

void test_elementwise(const fnn_kernels *kernels);
void test_losses(const fnn_kernels *kernels);
void test_products(const fnn_kernels *kernels);
void test_updates(const fnn_kernels *kernels);
void test_norm(const fnn_kernels *kernels);
void test_steps(const fnn_kernels *kernels);
void test_members(const fnn_kernels *kernels);
void test_layers(const fnn_kernels *kernels);
void test_lookup(const fnn_kernels *kernels);
void test_random(const fnn_kernels *kernels);
void test_registry(void);
void test_dispatch(void);
void test_team(void);
void test_serial_team(void);
void test_blas_gate(void);

#endif
