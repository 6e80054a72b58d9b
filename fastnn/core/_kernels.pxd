"""The function table of the selected instruction set, for the other compiled modules.

One inline function per kernel takes the table of the right dtype: this is the only place where the
dtype branches. What each does stands in csrc/fastnn.h.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

ctypedef fused real:
    float
    double

cdef extern from "fastnn.h" nogil:
    enum:
        FNN_N_ACTIVATIONS
        FNN_N_LOSSES
        FNN_N_PARAMETERS
        FNN_N_OPTIMIZERS
        FNN_N_VECMATH
        FNN_N_COEFFICIENTS
        FNN_BLOCK
        FNN_N_NUMBERS
        FNN_ROOM
        FNN_OUTPUT_SOFTMAX
        FNN_ACT_identity
        FNN_ACT_relu

    ctypedef struct fnn_dropout:
        uint64_t seed
        uint64_t step
        uint32_t layer
        uint32_t threshold
        double scale

    ctypedef struct fnn_product:
        ptrdiff_t rows
        ptrdiff_t n
        ptrdiff_t k
        const void* a
        ptrdiff_t a_step
        int a_by_columns
        const void** a_list
        ptrdiff_t a_offset
        const void* b
        ptrdiff_t ldb
        ptrdiff_t b_panel
        const void* bias
        int bias_by_rows
        int relu
        const void* gate
        void* c
        ptrdiff_t ldc
        void* room

    ctypedef struct fnn_lookup:
        ptrdiff_t rows
        ptrdiff_t n
        const ptrdiff_t* order
        const int64_t* start
        const int32_t* column
        const void* value
        const void* table
        ptrdiff_t n_table
        ptrdiff_t ld
        const void* bias
        int relu
        void* out
        ptrdiff_t ldout
        const unsigned char* adds

    ctypedef struct fnn_table_f32:
        void (**bias_activate)(ptrdiff_t, ptrdiff_t, float*, const float*, float*) noexcept nogil
        void (**activation_backward)(ptrdiff_t, const float*, const float*, float*) noexcept nogil
        void (*softmax)(ptrdiff_t, ptrdiff_t, const float*, float*) noexcept nogil
        double (**loss)(ptrdiff_t, ptrdiff_t, const float*, const float*, const int32_t*,
                        const float*, double, const double*, float*) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, float*) noexcept nogil
        void (*add_parts)(ptrdiff_t, int, const float*, ptrdiff_t, int, float*) noexcept nogil
        double (**update)(ptrdiff_t, int, const float*, ptrdiff_t, double, double, float*, float*,
                          float*, float*, const double*) noexcept nogil
        void (*collect)(ptrdiff_t, int, const float*, ptrdiff_t, double, double, double, double,
                        const float*, float*, double*) noexcept nogil
        void (*average)(ptrdiff_t, double, const float*, float*) noexcept nogil
        void (*multiply)(ptrdiff_t, double, float*) noexcept nogil
        void (*limit_columns)(ptrdiff_t, ptrdiff_t, float*, ptrdiff_t, double) noexcept nogil
        double (*muon_momentum)(ptrdiff_t, double, int, double, float*, float*) noexcept nogil
        void (*muon_polynomial)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, const float*,
                                float*) noexcept nogil
        void (*muon_step)(ptrdiff_t, double, double, const float*, float*) noexcept nogil
        void (*dropout)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const fnn_dropout*, const float*,
                        float*) noexcept nogil
        void (*add_noise)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const fnn_dropout*,
                          float*) noexcept nogil
        void (*convert)(int, ptrdiff_t, const void*, float*) noexcept nogil
        ptrdiff_t vector
        ptrdiff_t panel
        void (*product)(const fnn_product*) noexcept nogil
        void (*transpose)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const ptrdiff_t*, float*,
                          ptrdiff_t) noexcept nogil
        void (*row_products)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                             ptrdiff_t, float*, ptrdiff_t) noexcept nogil
        double (**loss_columns)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*, const float*,
                                const int32_t*, const float*, double, const double*,
                                float*) noexcept nogil
        void (**vecmath)(ptrdiff_t, const float*, float*) noexcept nogil
        void (*layer_norm)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                           const float*, double, float*, ptrdiff_t, float*) noexcept nogil
        void (*layer_norm_backward)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                                    ptrdiff_t, const float*, const float*, float*,
                                    ptrdiff_t) noexcept nogil
        void (*layer_norm_gain)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                                ptrdiff_t, const float*, float*) noexcept nogil
        void (*scale_columns)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                              float*, ptrdiff_t) noexcept nogil
        void (*column_products)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                                ptrdiff_t, float*) noexcept nogil
        void (*prelu)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*, int, float*,
                      ptrdiff_t) noexcept nogil
        void (*prelu_backward)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                               ptrdiff_t, const float*, int, float*, ptrdiff_t) noexcept nogil
        void (*prelu_slope)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*, ptrdiff_t,
                            int, float*) noexcept nogil
        void (*batch_statistics)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, double, float*,
                                 float*, float*) noexcept nogil
        void (*batch_norm)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                           const float*, const float*, const float*, float*,
                           ptrdiff_t) noexcept nogil
        void (*batch_norm_backward)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                                    ptrdiff_t, const float*, const float*, const float*, float*,
                                    ptrdiff_t) noexcept nogil
        void (*batch_norm_gain)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                                ptrdiff_t, const float*, const float*, float*) noexcept nogil
        void (*add_rows)(ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*, ptrdiff_t,
                         float*, ptrdiff_t) noexcept nogil
        void (*repeat_rows)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                            float*, ptrdiff_t) noexcept nogil
        void (*repeat_scale)(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*,
                             ptrdiff_t, const float*, ptrdiff_t, float*) noexcept nogil
        void (*repeat_back)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*, ptrdiff_t, const float*,
                            float*, ptrdiff_t) noexcept nogil
        void (*mean_members)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const float*, float*) noexcept nogil
        int64_t (*lookup)(const fnn_lookup*) noexcept nogil
        void (*sum_runs)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const unsigned char*, const float*,
                         float*) noexcept nogil

    ctypedef struct fnn_table_f64:
        void (**bias_activate)(ptrdiff_t, ptrdiff_t, double*, const double*, double*) noexcept nogil
        void (**activation_backward)(ptrdiff_t, const double*, const double*,
                                     double*) noexcept nogil
        void (*softmax)(ptrdiff_t, ptrdiff_t, const double*, double*) noexcept nogil
        double (**loss)(ptrdiff_t, ptrdiff_t, const double*, const double*, const int32_t*,
                        const double*, double, const double*, double*) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, double*) noexcept nogil
        void (*add_parts)(ptrdiff_t, int, const double*, ptrdiff_t, int, double*) noexcept nogil
        double (**update)(ptrdiff_t, int, const double*, ptrdiff_t, double, double, double*,
                          double*, double*, double*, const double*) noexcept nogil
        void (*collect)(ptrdiff_t, int, const double*, ptrdiff_t, double, double, double, double,
                        const double*, double*, double*) noexcept nogil
        void (*average)(ptrdiff_t, double, const double*, double*) noexcept nogil
        void (*multiply)(ptrdiff_t, double, double*) noexcept nogil
        void (*limit_columns)(ptrdiff_t, ptrdiff_t, double*, ptrdiff_t, double) noexcept nogil
        double (*muon_momentum)(ptrdiff_t, double, int, double, double*, double*) noexcept nogil
        void (*muon_polynomial)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, const double*,
                                double*) noexcept nogil
        void (*muon_step)(ptrdiff_t, double, double, const double*, double*) noexcept nogil
        void (*dropout)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const fnn_dropout*, const double*,
                        double*) noexcept nogil
        void (*add_noise)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const fnn_dropout*,
                          double*) noexcept nogil
        void (*convert)(int, ptrdiff_t, const void*, double*) noexcept nogil
        ptrdiff_t vector
        ptrdiff_t panel
        void (*product)(const fnn_product*) noexcept nogil
        void (*transpose)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const ptrdiff_t*, double*,
                          ptrdiff_t) noexcept nogil
        void (*row_products)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t,
                             const double*, ptrdiff_t, double*, ptrdiff_t) noexcept nogil
        double (**loss_columns)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, const double*,
                                const int32_t*, const double*, double, const double*,
                                double*) noexcept nogil
        void (**vecmath)(ptrdiff_t, const double*, double*) noexcept nogil
        void (*layer_norm)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                           const double*, double, double*, ptrdiff_t, double*) noexcept nogil
        void (*layer_norm_backward)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                                    ptrdiff_t, const double*, const double*, double*,
                                    ptrdiff_t) noexcept nogil
        void (*layer_norm_gain)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                                ptrdiff_t, const double*, double*) noexcept nogil
        void (*scale_columns)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                              double*, ptrdiff_t) noexcept nogil
        void (*column_products)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                                ptrdiff_t, double*) noexcept nogil
        void (*prelu)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*, int, double*,
                      ptrdiff_t) noexcept nogil
        void (*prelu_backward)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                               ptrdiff_t, const double*, int, double*, ptrdiff_t) noexcept nogil
        void (*prelu_slope)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                            ptrdiff_t, int, double*) noexcept nogil
        void (*batch_statistics)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, double, double*,
                                 double*, double*) noexcept nogil
        void (*batch_norm)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                           const double*, const double*, const double*, double*,
                           ptrdiff_t) noexcept nogil
        void (*batch_norm_backward)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                                    ptrdiff_t, const double*, const double*, const double*, double*,
                                    ptrdiff_t) noexcept nogil
        void (*batch_norm_gain)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*,
                                ptrdiff_t, const double*, const double*, double*) noexcept nogil
        void (*add_rows)(ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t, const double*, ptrdiff_t,
                         double*, ptrdiff_t) noexcept nogil
        void (*repeat_rows)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t,
                            const double*, double*, ptrdiff_t) noexcept nogil
        void (*repeat_scale)(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*,
                             ptrdiff_t, const double*, ptrdiff_t, double*) noexcept nogil
        void (*repeat_back)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, ptrdiff_t,
                            const double*, double*, ptrdiff_t) noexcept nogil
        void (*mean_members)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const double*, double*) noexcept nogil
        int64_t (*lookup)(const fnn_lookup*) noexcept nogil
        void (*sum_runs)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const unsigned char*, const double*,
                         double*) noexcept nogil

    ctypedef struct fnn_kernels:
        const char* name
        void (*shuffle)(ptrdiff_t, uint64_t, uint64_t, ptrdiff_t*) noexcept nogil
        fnn_table_f32 f32
        fnn_table_f64 f64

    ctypedef struct fnn_activation_info:
        const char* name
        int needs_z

    ctypedef struct fnn_alias_info:
        const char* alias
        const char* name

    ctypedef struct fnn_loss_info:
        const char* name
        const char* link
        const char* reduction
        const char* targets
        int n_parameters
        int whole_rows

    ctypedef struct fnn_optimizer_info:
        const char* name
        int n_state

    const fnn_activation_info* fnn_activations
    const fnn_alias_info* fnn_aliases
    const fnn_loss_info* fnn_losses
    const fnn_optimizer_info* fnn_optimizers
    void fnn_step_coefficients(int, double, double, const double*, double*)
    const fnn_kernels** fnn_built()
    int fnn_runs(const fnn_kernels*)


cdef const fnn_kernels* kernels  # the selected instruction set; set once at import
cdef const fnn_kernels* find(name) except NULL

# what other modules need of the registry and of csrc/registry.c, without linking it again
cdef int activation_needs_z(int activation) noexcept nogil
cdef void step_coefficients(int optimizer, double t, double lr, const double* h,
                            double* c) noexcept nogil


cdef inline void bias_activate(const fnn_kernels* k, int activation, ptrdiff_t rows, ptrdiff_t n,
                               real* z, const real* b, real* a) noexcept nogil:
    if real is float:
        k.f32.bias_activate[activation](rows, n, z, b, a)
    else:
        k.f64.bias_activate[activation](rows, n, z, b, a)


cdef inline void activation_backward(const fnn_kernels* k, int activation, ptrdiff_t count,
                                     const real* z, const real* a, real* d) noexcept nogil:
    if real is float:
        k.f32.activation_backward[activation](count, z, a, d)
    else:
        k.f64.activation_backward[activation](count, z, a, d)


cdef inline void softmax_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* z,
                              real* p) noexcept nogil:
    if real is float:
        k.f32.softmax(rows, n, z, p)
    else:
        k.f64.softmax(rows, n, z, p)


cdef inline double loss_rows(const fnn_kernels* k, int loss, ptrdiff_t rows, ptrdiff_t n,
                             const real* z, const real* y, const int32_t* labels, const real* s,
                             double ceiling, const double* h, real* dz) noexcept nogil:
    if real is float:
        return k.f32.loss[loss](rows, n, z, y, labels, s, ceiling, h, dz)
    else:
        return k.f64.loss[loss](rows, n, z, y, labels, s, ceiling, h, dz)


cdef inline void sum_columns(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                             ptrdiff_t ldx, real* out) noexcept nogil:
    if real is float:
        k.f32.column_sums(rows, n, x, ldx, out)
    else:
        k.f64.column_sums(rows, n, x, ldx, out)


cdef inline void add_parts(const fnn_kernels* k, ptrdiff_t n, int n_parts, const real* parts,
                           ptrdiff_t stride, int accumulate, real* out) noexcept nogil:
    if real is float:
        k.f32.add_parts(n, n_parts, parts, stride, accumulate, out)
    else:
        k.f64.add_parts(n, n_parts, parts, stride, accumulate, out)


cdef inline double update_weights(const fnn_kernels* k, int optimizer, ptrdiff_t n, int n_parts,
                                  const real* parts, ptrdiff_t stride, double decay, double scale,
                                  real* w, real* s0, real* s1, real* s2,
                                  const double* c) noexcept nogil:
    if real is float:
        return k.f32.update[optimizer](n, n_parts, parts, stride, decay, scale, w, s0, s1, s2, c)
    else:
        return k.f64.update[optimizer](n, n_parts, parts, stride, decay, scale, w, s0, s1, s2, c)


cdef inline void collect(const fnn_kernels* k, ptrdiff_t n, int n_parts, const real* parts,
                         ptrdiff_t stride, double l2, double l1, double scale, double limit,
                         const real* w, real* g, double* sums) noexcept nogil:
    if real is float:
        k.f32.collect(n, n_parts, parts, stride, l2, l1, scale, limit, w, g, sums)
    else:
        k.f64.collect(n, n_parts, parts, stride, l2, l1, scale, limit, w, g, sums)


cdef inline void average(const fnn_kernels* k, ptrdiff_t n, double rate, const real* w,
                         real* mean) noexcept nogil:
    if real is float:
        k.f32.average(n, rate, w, mean)
    else:
        k.f64.average(n, rate, w, mean)


cdef inline void multiply(const fnn_kernels* k, ptrdiff_t n, double factor,
                          real* x) noexcept nogil:
    if real is float:
        k.f32.multiply(n, factor, x)
    else:
        k.f64.multiply(n, factor, x)


cdef inline void limit_columns(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, real* w,
                               ptrdiff_t ld, double limit) noexcept nogil:
    if real is float:
        k.f32.limit_columns(rows, n, w, ld, limit)
    else:
        k.f64.limit_columns(rows, n, w, ld, limit)


cdef inline double muon_momentum(const fnn_kernels* k, ptrdiff_t n, double momentum, int nesterov,
                                 double scale, real* g, real* s) noexcept nogil:
    if real is float:
        return k.f32.muon_momentum(n, momentum, nesterov, scale, g, s)
    else:
        return k.f64.muon_momentum(n, momentum, nesterov, scale, g, s)


cdef inline void muon_polynomial(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0,
                                 const double* c, const real* gram, real* square) noexcept nogil:
    if real is float:
        k.f32.muon_polynomial(rows, n, row0, c, gram, square)
    else:
        k.f64.muon_polynomial(rows, n, row0, c, gram, square)


cdef inline void muon_step(const fnn_kernels* k, ptrdiff_t n, double keep, double rate,
                           const real* u, real* w) noexcept nogil:
    if real is float:
        k.f32.muon_step(n, keep, rate, u, w)
    else:
        k.f64.muon_step(n, keep, rate, u, w)


cdef inline void dropout_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0,
                              const fnn_dropout* d, const real* x, real* out) noexcept nogil:
    if real is float:
        k.f32.dropout(rows, n, row0, d, x, out)
    else:
        k.f64.dropout(rows, n, row0, d, x, out)


cdef inline void add_noise(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0,
                           const fnn_dropout* d, real* x) noexcept nogil:
    if real is float:
        k.f32.add_noise(rows, n, row0, d, x)
    else:
        k.f64.add_noise(rows, n, row0, d, x)


cdef inline void convert_numbers(const fnn_kernels* k, int number, ptrdiff_t n, const void* x,
                                 real* out) noexcept nogil:
    if real is float:
        k.f32.convert(number, n, x, out)
    else:
        k.f64.convert(number, n, x, out)


cdef inline ptrdiff_t panel_columns(const fnn_kernels* k, const real* tag) noexcept nogil:
    if real is float:
        return k.f32.panel
    else:
        return k.f64.panel


cdef inline ptrdiff_t vector_lanes(const fnn_kernels* k, const real* tag) noexcept nogil:
    if real is float:
        return k.f32.vector
    else:
        return k.f64.vector


cdef inline fnn_product row_major_product(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n,
                                          ptrdiff_t inner, const real* a, ptrdiff_t a_step,
                                          const real* b, ptrdiff_t ldb, real* c,
                                          ptrdiff_t ldc) noexcept nogil:
    """c = a b, all row-major, for `run_product`; the other fields are still to be set where they
    are not 0."""
    cdef fnn_product p
    memset(&p, 0, sizeof(p))
    p.rows, p.n, p.k = rows, n, inner
    p.a, p.a_step = a, a_step
    p.b, p.ldb, p.b_panel = b, ldb, panel_columns(k, c)
    p.c, p.ldc = c, ldc
    return p


cdef inline void run_product(const fnn_kernels* k, const fnn_product* p,
                             real* tag) noexcept nogil:
    if real is float:
        k.f32.product(p)
    else:
        k.f64.product(p)


cdef inline void pack_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* b,
                           ptrdiff_t ldb, real* out, ptrdiff_t panel) noexcept nogil:
    """Rows of b (rows, n; ldb) into panels, `panel` elements apart, as `fnn_product` takes them."""
    cdef ptrdiff_t width = panel_columns(k, b), whole = n // width, r, j
    if width * sizeof(real) == 64:  # a constant, which the compiler knows what to do with
        for j in range(whole):
            for r in range(rows):
                memcpy(out + j * panel + r * width, b + r * ldb + j * width, 64)
    else:
        whole = 0
    for r in range(rows):
        for j in range(whole, (n + width - 1) // width):
            memcpy(out + j * panel + r * width, b + r * ldb + j * width,
                   min(width, n - j * width) * sizeof(real))


cdef inline void row_products(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t inner,
                              const real* a, ptrdiff_t lda, const real* b, ptrdiff_t ldb, real* c,
                              ptrdiff_t ldc) noexcept nogil:
    if real is float:
        k.f32.row_products(rows, n, inner, a, lda, b, ldb, c, ldc)
    else:
        k.f64.row_products(rows, n, inner, a, lda, b, ldb, c, ldc)


cdef inline void transpose(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t columns, const real* x,
                           ptrdiff_t ldx, const ptrdiff_t* index, real* out,
                           ptrdiff_t ld_out) noexcept nogil:
    if real is float:
        k.f32.transpose(rows, columns, x, ldx, index, out, ld_out)
    else:
        k.f64.transpose(rows, columns, x, ldx, index, out, ld_out)


cdef inline double loss_columns(const fnn_kernels* k, int loss, ptrdiff_t rows, ptrdiff_t n,
                                ptrdiff_t ld, const real* z, const real* y, const int32_t* labels,
                                const real* s, double ceiling, const double* h,
                                real* dz) noexcept nogil:
    if real is float:
        return k.f32.loss_columns[loss](rows, n, ld, z, y, labels, s, ceiling, h, dz)
    else:
        return k.f64.loss_columns[loss](rows, n, ld, z, y, labels, s, ceiling, h, dz)


cdef inline void vector_function(const fnn_kernels* k, int function, ptrdiff_t n, const real* x,
                                 real* out) noexcept nogil:
    if real is float:
        k.f32.vecmath[function](n, x, out)
    else:
        k.f64.vecmath[function](n, x, out)


cdef inline void layer_norm_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                                 ptrdiff_t ldx, const real* gain, const real* bias, double eps,
                                 real* z, ptrdiff_t ldz, real* stats) noexcept nogil:
    if real is float:
        k.f32.layer_norm(rows, n, x, ldx, gain, bias, eps, z, ldz, stats)
    else:
        k.f64.layer_norm(rows, n, x, ldx, gain, bias, eps, z, ldz, stats)


cdef inline void layer_norm_backward_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n,
                                          const real* dz, ptrdiff_t lddz, const real* x,
                                          ptrdiff_t ldx, const real* stats, const real* gain,
                                          real* dx, ptrdiff_t lddx) noexcept nogil:
    if real is float:
        k.f32.layer_norm_backward(rows, n, dz, lddz, x, ldx, stats, gain, dx, lddx)
    else:
        k.f64.layer_norm_backward(rows, n, dz, lddz, x, ldx, stats, gain, dx, lddx)


cdef inline void layer_norm_gain(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* dz,
                                 ptrdiff_t lddz, const real* x, ptrdiff_t ldx, const real* stats,
                                 real* dgain) noexcept nogil:
    if real is float:
        k.f32.layer_norm_gain(rows, n, dz, lddz, x, ldx, stats, dgain)
    else:
        k.f64.layer_norm_gain(rows, n, dz, lddz, x, ldx, stats, dgain)


cdef inline void scale_columns(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                               ptrdiff_t ldx, const real* s, real* z,
                               ptrdiff_t ldz) noexcept nogil:
    if real is float:
        k.f32.scale_columns(rows, n, x, ldx, s, z, ldz)
    else:
        k.f64.scale_columns(rows, n, x, ldx, s, z, ldz)


cdef inline void column_products(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                                 ptrdiff_t ldx, const real* y, ptrdiff_t ldy,
                                 real* out) noexcept nogil:
    if real is float:
        k.f32.column_products(rows, n, x, ldx, y, ldy, out)
    else:
        k.f64.column_products(rows, n, x, ldx, y, ldy, out)


cdef inline void prelu_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                            ptrdiff_t ldx, const real* slope, int shared, real* z,
                            ptrdiff_t ldz) noexcept nogil:
    if real is float:
        k.f32.prelu(rows, n, x, ldx, slope, shared, z, ldz)
    else:
        k.f64.prelu(rows, n, x, ldx, slope, shared, z, ldz)


cdef inline void prelu_backward_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n,
                                     const real* dz, ptrdiff_t lddz, const real* x, ptrdiff_t ldx,
                                     const real* slope, int shared, real* dx,
                                     ptrdiff_t lddx) noexcept nogil:
    if real is float:
        k.f32.prelu_backward(rows, n, dz, lddz, x, ldx, slope, shared, dx, lddx)
    else:
        k.f64.prelu_backward(rows, n, dz, lddz, x, ldx, slope, shared, dx, lddx)


cdef inline void prelu_slope(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* dz,
                             ptrdiff_t lddz, const real* x, ptrdiff_t ldx, int shared,
                             real* dslope) noexcept nogil:
    if real is float:
        k.f32.prelu_slope(rows, n, dz, lddz, x, ldx, shared, dslope)
    else:
        k.f64.prelu_slope(rows, n, dz, lddz, x, ldx, shared, dslope)


cdef inline void batch_statistics(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                                  ptrdiff_t ldx, double eps, real* mean, real* variance,
                                  real* inverse) noexcept nogil:
    if real is float:
        k.f32.batch_statistics(rows, n, x, ldx, eps, mean, variance, inverse)
    else:
        k.f64.batch_statistics(rows, n, x, ldx, eps, mean, variance, inverse)


cdef inline void batch_norm_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                                 ptrdiff_t ldx, const real* gain, const real* bias,
                                 const real* mean, const real* inverse, real* z,
                                 ptrdiff_t ldz) noexcept nogil:
    if real is float:
        k.f32.batch_norm(rows, n, x, ldx, gain, bias, mean, inverse, z, ldz)
    else:
        k.f64.batch_norm(rows, n, x, ldx, gain, bias, mean, inverse, z, ldz)


cdef inline void batch_norm_backward_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n,
                                          const real* dz, ptrdiff_t lddz, const real* x,
                                          ptrdiff_t ldx, const real* gain, const real* mean,
                                          const real* inverse, real* dx,
                                          ptrdiff_t lddx) noexcept nogil:
    if real is float:
        k.f32.batch_norm_backward(rows, n, dz, lddz, x, ldx, gain, mean, inverse, dx, lddx)
    else:
        k.f64.batch_norm_backward(rows, n, dz, lddz, x, ldx, gain, mean, inverse, dx, lddx)


cdef inline void batch_norm_gain(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* dz,
                                 ptrdiff_t lddz, const real* x, ptrdiff_t ldx, const real* mean,
                                 const real* inverse, real* dgain) noexcept nogil:
    if real is float:
        k.f32.batch_norm_gain(rows, n, dz, lddz, x, ldx, mean, inverse, dgain)
    else:
        k.f64.batch_norm_gain(rows, n, dz, lddz, x, ldx, mean, inverse, dgain)


cdef inline void add_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t n, const real* x,
                          ptrdiff_t ldx, const real* y, ptrdiff_t ldy, real* out,
                          ptrdiff_t ldout) noexcept nogil:
    if real is float:
        k.f32.add_rows(rows, n, x, ldx, y, ldy, out, ldout)
    else:
        k.f64.add_rows(rows, n, x, ldx, y, ldy, out, ldout)


cdef inline void repeat_rows(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n,
                             const real* x, ptrdiff_t ldx, const real* scale, real* out,
                             ptrdiff_t ldout) noexcept nogil:
    if real is float:
        k.f32.repeat_rows(rows, members, n, x, ldx, scale, out, ldout)
    else:
        k.f64.repeat_rows(rows, members, n, x, ldx, scale, out, ldout)


cdef inline void repeat_scale(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n,
                              ptrdiff_t first, ptrdiff_t count, const real* dz, ptrdiff_t lddz,
                              const real* x, ptrdiff_t ldx, real* dscale) noexcept nogil:
    if real is float:
        k.f32.repeat_scale(rows, members, n, first, count, dz, lddz, x, ldx, dscale)
    else:
        k.f64.repeat_scale(rows, members, n, first, count, dz, lddz, x, ldx, dscale)


cdef inline void repeat_back(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n,
                             const real* dz, ptrdiff_t lddz, const real* scale, real* dx,
                             ptrdiff_t lddx) noexcept nogil:
    if real is float:
        k.f32.repeat_back(rows, members, n, dz, lddz, scale, dx, lddx)
    else:
        k.f64.repeat_back(rows, members, n, dz, lddz, scale, dx, lddx)


cdef inline void mean_members(const fnn_kernels* k, ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n,
                              const real* x, real* out) noexcept nogil:
    if real is float:
        k.f32.mean_members(rows, members, n, x, out)
    else:
        k.f64.mean_members(rows, members, n, x, out)


cdef inline fnn_lookup lookup_of(ptrdiff_t rows, ptrdiff_t n, const int64_t* start,
                                 const int32_t* column, const void* value, const void* table,
                                 ptrdiff_t n_table, ptrdiff_t ld, void* out,
                                 ptrdiff_t ldout) noexcept nogil:
    """For `run_lookup`; the other fields are still to be set where they are not 0."""
    cdef fnn_lookup p
    memset(&p, 0, sizeof(p))
    p.rows, p.n, p.start, p.column, p.value = rows, n, start, column, value
    p.table, p.n_table, p.ld, p.out, p.ldout = table, n_table, ld, out, ldout
    return p


cdef inline int64_t run_lookup(const fnn_kernels* k, const fnn_lookup* p,
                               const real* tag) noexcept nogil:
    if real is float:
        return k.f32.lookup(p)
    else:
        return k.f64.lookup(p)


cdef inline void sum_runs(const fnn_kernels* k, ptrdiff_t first, ptrdiff_t stop, ptrdiff_t n,
                          const unsigned char* adds, const real* x, real* out) noexcept nogil:
    if real is float:
        k.f32.sum_runs(first, stop, n, adds, x, out)
    else:
        k.f64.sum_runs(first, stop, n, adds, x, out)
