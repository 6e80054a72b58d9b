/* The one header of the C kernels, read by C and by Cython.
 *
 * A `fnn_kernels` holds the functions of one instruction set, once for float and once for double.
 * Kernels are pure: no Python, no threads, no allocation, no state.  Shapes stand beside every
 * pointer: x (rows, n; ldx) is a row-major matrix whose rows begin ldx elements apart, x (rows, n)
 * a dense one, where they begin n apart.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

#define FNN_ACTIVATION(name, ...) FNN_ACT_##name,
#define FNN_ACTIVATION_ALIAS(alias, name)
enum {
#include "activations.def"
    FNN_N_ACTIVATIONS
};
#undef FNN_ACTIVATION
#undef FNN_ACTIVATION_ALIAS

#define FNN_LOSS(name, ...) FNN_LOSS_##name,
#define FNN_LOSS_H(name, ...) FNN_LOSS_##name,
#define FNN_ROW_LOSS(name, ...) FNN_LOSS_##name,
enum {
#include "losses.def"
    FNN_N_LOSSES
};
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS

enum { FNN_N_PARAMETERS = 4 }; /* of a loss, for each output */

#define FNN_OPTIMIZER(name, ...) FNN_OPT_##name,
enum {
#include "optimizers.def"
    FNN_N_OPTIMIZERS
};
#undef FNN_OPTIMIZER

/* what stands in the place of an elementwise activation where the output is softmax */
enum { FNN_OUTPUT_SOFTMAX = -1 };

enum {
    FNN_EXP, FNN_LOG, FNN_LOG1P, FNN_TANH, FNN_SIGMOID, FNN_NORMCDF, FNN_TANH_SOFTPLUS,
    FNN_N_VECMATH
};

enum { FNN_N_COEFFICIENTS = 8 };

/* types of numbers that X may hold; float16 as its bits, bool as bytes */
enum {
    FNN_NUMBER_bool, FNN_NUMBER_int8, FNN_NUMBER_uint8, FNN_NUMBER_int16, FNN_NUMBER_uint16,
    FNN_NUMBER_int32, FNN_NUMBER_uint32, FNN_NUMBER_int64, FNN_NUMBER_uint64, FNN_NUMBER_float16,
    FNN_NUMBER_float32, FNN_NUMBER_float64, FNN_N_NUMBERS
};

enum { FNN_BLOCK = 512 }; /* elements that an update works on at a time */

typedef struct {
    uint64_t seed;
    uint64_t step;       /* of the training run */
    uint32_t layer;
    uint32_t threshold;  /* rate * 2^32: a unit is dropped when its random word is below it */
    double scale;        /* 1 / (1 - rate) */
} fnn_dropout;

/* c (rows, n; ldc) = bias (n), or (rows), + a (rows, k) b (k, n), all of one dtype.
 *
 * a lies by rows, element (i, k) at a[i * a_step + k], or by columns, at a[k * a_step + i].  With
 * a_list its rows (or columns) begin at a_list[i] + a_offset (or a_list[k] + a_offset) instead, and
 * a may be NULL.
 *
 * b lies in panels of as many columns as the table's `panel` says.  Element (k, j) of a panel is at
 * k * ldb + j, and the next panel begins b_panel elements after this one.  A row-major b is such a
 * one too: its b_panel is `panel`. */
typedef struct {
    ptrdiff_t rows, n, k;
    const void *a;
    ptrdiff_t a_step;
    int a_by_columns;
    const void *const *a_list; /* or NULL */
    ptrdiff_t a_offset;
    const void *b;
    ptrdiff_t ldb, b_panel;
    const void *bias; /* NULL: zeros */
    int bias_by_rows; /* bias (rows), one for each row of c */
    int relu;         /* max(0, c) is stored */
    const void *gate; /* (rows, n; ldc): 0 is stored where it is <= 0, relu's derivative; or NULL */
    void *c;
    ptrdiff_t ldc;
    void *room; /* FNN_ROOM bytes, on a cache line, where a or b may be packed; or NULL */
} fnn_product;

/* 1,024 columns of 48 floats, and a line that stores may reach into */
enum { FNN_ROOM = 48 * 1024 * 4 + 64 };

/* out (rows, n; ldout) = bias (n) + the sum over the entries of each row of value[i] times row
 * column[i] of table (n_table, n; ld), all of one dtype.  Row r has the entries start[at] up to
 * start[at + 1], where at = order[r], or r without an order; they are added in their order.
 *
 * With `adds` a row goes on from the one after it where that has a 1, else it begins with zeros;
 * without order, bias, relu.  So of rows of a W whose sums along runs are looked up the gradient is
 * that of all that counts them in. */
typedef struct {
    ptrdiff_t rows, n;
    const ptrdiff_t *order; /* (rows), or NULL */
    const int64_t *start;
    const int32_t *column;
    const void *value;
    const void *table;
    ptrdiff_t n_table, ld;
    const void *bias; /* NULL: zeros */
    int relu;         /* max(0, out) is stored */
    void *out;
    ptrdiff_t ldout;
    const unsigned char *adds; /* (rows): whether a row adds to the one before it; or NULL */
} fnn_lookup;

#define FNN_DECLARE_TABLE(R, TABLE)                                                                \
    typedef struct {                                                                               \
        /* z (rows, n) += b (n), unless b is NULL; a (rows, n) = f(z); a may be z */               \
        void (*bias_activate[FNN_N_ACTIVATIONS])(ptrdiff_t rows, ptrdiff_t n, R *z, const R *b,    \
                                                 R *a);                                            \
        /* d (count) *= f'(z (count), a (count)) */                                                \
        void (*activation_backward[FNN_N_ACTIVATIONS])(ptrdiff_t count, const R *z, const R *a,    \
                                                       R *d);                                      \
        /* p (rows, n) = softmax of each row of z (rows, n); p may be z */                         \
        void (*softmax)(ptrdiff_t rows, ptrdiff_t n, const R *z, R *p);                            \
        /* dz (rows, n) = s_r times the derivative of row r; returns the sum of s_r times          \
         * min(value, ceiling); s (rows) are weights, all 1 when NULL.  Losses of whole rows with  \
         * targets in [0, 1] take labels (rows) in 0..n-1 where y is NULL.  h (n,                  \
         * FNN_N_PARAMETERS): parameters of each output; a loss of whole rows reads the first row  \
         * of it; NULL for a loss without, and for cross_entropy without label smoothing. */       \
        double (*loss[FNN_N_LOSSES])(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,          \
                                     const int32_t *labels, const R *s, double ceiling,            \
                                     const double *h, R *dz);                                      \
        /* out (n) = sum over rows of x (rows, n; ldx) */                                          \
        void (*column_sums)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, R *out);       \
        /* out (n) = the sum of n_parts partial gradients, parts[k * stride + i] of k and i;       \
         * added to what out holds if accumulate is not 0 */                                       \
        void (*add_parts)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride,              \
                          int accumulate, R *out);                                                 \
        /* g = (sum of the partial gradients + decay w) scale, then one step of the optimizer on   \
         * w, s0, s1, s2 (n); those that the optimizer does not have may be NULL; returns the sum  \
         * of the squares of w before the step where decay is not 0, else 0 */                     \
        double (*update[FNN_N_OPTIMIZERS])(ptrdiff_t n, int n_parts, const R *parts,               \
                                           ptrdiff_t stride, double decay, double scale, R *w,     \
                                           R *s0, R *s1, R *s2, const double *c);                  \
        /* g (n) = (sum of the partial gradients + l2 w + l1 sign(w)) scale, no further from 0     \
         * than limit; sums (3) = the sums of the squares of w where l2 is not 0, of |w| where l1  \
         * is not 0, and of the squares of g */                                                    \
        void (*collect)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride, double l2,     \
                        double l1, double scale, double limit, const R *w, R *g, double *sums);    \
        /* mean (n) += rate (w (n) - mean) */                                                      \
        void (*average)(ptrdiff_t n, double rate, const R *w, R *mean);                            \
        void (*multiply)(ptrdiff_t n, double factor, R *x);                                        \
        /* each column of w (rows, n; ld) that is longer than limit is brought to that length */   \
        void (*limit_columns)(ptrdiff_t rows, ptrdiff_t n, R *w, ptrdiff_t ld, double limit);      \
        /* s (n) = momentum s + (1 - momentum) scale g, then g (n) = s, or with nesterov           \
         * momentum s + (1 - momentum) scale g; returns the sum of the squares of the new g */     \
        double (*muon_momentum)(ptrdiff_t n, double momentum, int nesterov, double scale, R *g,    \
                                R *s);                                                             \
        /* rows row0.. of c0 I + c1 gram + c2 square, in the place of those of square (rows, n) */ \
        void (*muon_polynomial)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const double *c,      \
                                const R *gram, R *square);                                         \
        /* w (n) = keep w - rate u (n) */                                                          \
        void (*muon_step)(ptrdiff_t n, double keep, double rate, const R *u, R *w);                \
        /* out (rows, n) = x (rows, n) masked and scaled; row0: index of the first row */          \
        void (*dropout)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const fnn_dropout *d,         \
                        const R *x, R *out);                                                       \
        /* x (rows, n) += d->scale times a standard normal number for each element */              \
        void (*add_noise)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const fnn_dropout *d,       \
                          R *x);                                                                   \
        /* out (n) = x (n), numbers of type FNN_NUMBER_*, aligned */                               \
        void (*convert)(int number, ptrdiff_t n, const void *x, R *out);                           \
        ptrdiff_t vector; /* elements of a vector register */                                      \
        ptrdiff_t panel;  /* columns of a panel: the width of the widest tile of a product */      \
        /* c = bias + a b, see fnn_product */                                                      \
        void (*product)(const fnn_product *p);                                                     \
        /* out (columns, rows; ld_out) = transpose of the rows index[0], index[1], .. of x         \
         * (.., columns; ldx), or of rows 0, 1, .. when index is NULL */                           \
        void (*transpose)(ptrdiff_t rows, ptrdiff_t columns, const R *x, ptrdiff_t ldx,            \
                          const ptrdiff_t *index, R *out, ptrdiff_t ld_out);                       \
        /* c (rows, n; ldc) = a (rows, k; lda) times the transpose of b (n, k; ldb), where n is    \
         * small */                                                                                \
        void (*row_products)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, const R *a, ptrdiff_t lda,  \
                             const R *b, ptrdiff_t ldb, R *c, ptrdiff_t ldc);                      \
        /* losses with a sample in each column: z, y, dz (n, rows; ld), labels, s (rows) */        \
        double (*loss_columns[FNN_N_LOSSES])(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld,            \
                                             const R *z, const R *y, const int32_t *labels,        \
                                             const R *s, double ceiling, const double *h, R *dz);  \
        void (*vecmath[FNN_N_VECMATH])(ptrdiff_t n, const R *x, R *out);                           \
        /* layer normalisation (Ba, Kiros & Hinton 2016) of each row:                              \
         * z = gain (x - mean) / sqrt(variance + eps) + bias; x (rows, n; ldx), gain and bias (n), \
         * z (rows, n; ldz); stats (rows, 2) = mean and 1 / sqrt(variance + eps) of each row, or   \
         * NULL; z may be x where ldz == ldx */                                                    \
        void (*layer_norm)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *gain,  \
                           const R *bias, double eps, R *z, ptrdiff_t ldz, R *stats);              \
        /* its gradient with respect to x: dx (rows, n; lddx) from dz (rows, n; lddz), x, stats,   \
         * gain; dx may be dz where lddx == lddz */                                                \
        void (*layer_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,      \
                                    const R *x, ptrdiff_t ldx, const R *stats, const R *gain,      \
                                    R *dx, ptrdiff_t lddx);                                        \
        /* dgain (n) = sum over rows of dz (rows, n; lddz) times (x - mean) / deviation,           \
         * x (rows, n; ldx); for any range of columns: the pointers then begin there */            \
        void (*layer_norm_gain)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,          \
                                const R *x, ptrdiff_t ldx, const R *stats, R *dgain);              \
        /* z (rows, n; ldz) = x (rows, n; ldx) times s (n) in each row; z may be x */              \
        void (*scale_columns)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *s,  \
                           R *z, ptrdiff_t ldz);                                                   \
        /* out (n) = sum over rows of x (rows, n; ldx) times y (rows, n; ldy) */                   \
        void (*column_products)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx,            \
                                const R *y, ptrdiff_t ldy, R *out);                                \
        /* PReLU (He et al. 2015): z = x where x > 0, else slope x; x (rows, n; ldx), z (rows, n;  \
         * ldz), slope (n), or (1) where it is shared by all; z may be x */                        \
        void (*prelu)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *slope,      \
                      int shared, R *z, ptrdiff_t ldz);                                            \
        /* its gradient with respect to x: dx (rows, n; lddx) from dz (rows, n; lddz), x; dx may   \
         * be dz */                                                                                \
        void (*prelu_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,           \
                               const R *x, ptrdiff_t ldx, const R *slope, int shared, R *dx,       \
                               ptrdiff_t lddx);                                                    \
        /* with respect to the slope: dslope (n), or (1), the sum over the columns too */          \
        void (*prelu_slope)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz, const R *x,  \
                            ptrdiff_t ldx, int shared, R *dslope);                                 \
        /* mean (n), variance (n), divided by the rows, and inverse (n) = 1 / sqrt(variance +      \
         * eps) of the columns of x (rows, n; ldx), rows > 0 */                                    \
        void (*batch_statistics)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx,           \
                                 double eps, R *mean, R *variance, R *inverse);                    \
        /* batch normalisation (Ioffe & Szegedy 2015): z = gain (x - mean) inverse + bias;         \
         * x (rows, n; ldx), z (rows, n; ldz), the others (n); z may be x */                       \
        void (*batch_norm)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *gain,  \
                           const R *bias, const R *mean, const R *inverse, R *z, ptrdiff_t ldz);   \
        /* its gradient with respect to x, whose statistics mean and inverse are: dx (rows, n;     \
         * lddx) from dz (rows, n; lddz); dx may be dz */                                          \
        void (*batch_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,      \
                                    const R *x, ptrdiff_t ldx, const R *gain, const R *mean,       \
                                    const R *inverse, R *dx, ptrdiff_t lddx);                      \
        /* dgain (n) += sum over rows of dz (rows, n; lddz) times (x - mean) inverse, x (rows, n;  \
         * ldx); for any range of columns: the pointers then begin there */                        \
        void (*batch_norm_gain)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,          \
                                const R *x, ptrdiff_t ldx, const R *mean, const R *inverse,        \
                                R *dgain);                                                         \
        /* out (rows, n; ldout) = x (rows, n; ldx) + y (rows, n; ldy); out may be x or y */        \
        void (*add_rows)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *y,       \
                         ptrdiff_t ldy, R *out, ptrdiff_t ldout);                                  \
        /* an ensemble, row r * members + m of its values being row r of member m:                 \
         * out (rows * members, n; ldout) = row r of x (rows, n; ldx) times scale (members, n) */  \
        void (*repeat_rows)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *x,            \
                            ptrdiff_t ldx, const R *scale, R *out, ptrdiff_t ldout);               \
        /* dscale (count) = elements first.. of the gradient of scale (members, n), from x and     \
         * dz (rows * members, n; lddz) */                                                         \
        void (*repeat_scale)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, ptrdiff_t first,      \
                             ptrdiff_t count, const R *dz, ptrdiff_t lddz, const R *x,             \
                             ptrdiff_t ldx, R *dscale);                                            \
        /* dx (rows, n; lddx) = the sum over the members of dz (rows * members, n; lddz) times     \
         * scale (members, n) */                                                                   \
        void (*repeat_back)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *dz,           \
                            ptrdiff_t lddz, const R *scale, R *dx, ptrdiff_t lddx);                \
        /* out (rows, n) = the mean over the members of x (rows * members, n); out is not x */     \
        void (*mean_members)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *x, R *out);  \
        /* sums of rows of a table, see fnn_lookup; returns -1, or the first entry whose column is \
         * not in the table, and then leaves its row and those behind it */                        \
        int64_t (*lookup)(const fnn_lookup *p);                                                    \
        /* rows first up to stop of out (.., n) = sums of the rows of x (.., n) along runs: from   \
         * the first row of each on, which out holds where it lies before them; adds: whether a    \
         * row adds to the one before it.  out may be x. */                                        \
        void (*sum_runs)(ptrdiff_t first, ptrdiff_t stop, ptrdiff_t n, const unsigned char *adds,  \
                         const R *x, R *out);                                                      \
    } TABLE;

FNN_DECLARE_TABLE(float, fnn_table_f32)
FNN_DECLARE_TABLE(double, fnn_table_f64)

typedef struct {
    const char *name;
    /* order (n) = a random permutation of 0..n-1, n < 2^32; another one for each seed and stream */
    void (*shuffle)(ptrdiff_t n, uint64_t seed, uint64_t stream, ptrdiff_t *order);
    fnn_table_f32 f32;
    fnn_table_f64 f64;
} fnn_kernels;

typedef struct { const char *name; int needs_z; } fnn_activation_info;
typedef struct { const char *alias, *name; } fnn_alias_info;
typedef struct {
    const char *name, *link, *reduction, *targets;
    int n_parameters, whole_rows;
} fnn_loss_info;
typedef struct { const char *name; int n_state; } fnn_optimizer_info;

/* registry.c */
extern const fnn_activation_info fnn_activations[FNN_N_ACTIVATIONS];
extern const fnn_alias_info fnn_aliases[];  /* ends with a NULL alias */
extern const fnn_loss_info fnn_losses[FNN_N_LOSSES];
extern const fnn_optimizer_info fnn_optimizers[FNN_N_OPTIMIZERS];
/* c[0..7] of an optimizer's step t (from 1) */
void fnn_step_coefficients(int optimizer, double t, double lr, const double *h, double *c);

/* dispatch.c: the tables that this build holds, best first, then NULL; and whether one runs here */
const fnn_kernels *const *fnn_built(void);
int fnn_runs(const fnn_kernels *kernels);

#endif
