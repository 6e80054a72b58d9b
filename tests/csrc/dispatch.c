/* dispatch.c twice: as it is, and with processors that it has never seen. */
#include "check.h"

#include <string.h>

#if defined(__x86_64__)

typedef struct {
    const char *name;
    uint32_t leaves, leaf1_ecx, leaf7_ebx;
    uint64_t xcr0;
    int level; /* 0: baseline, 1: avx2, 2: avx512 */
} processor;

static const processor *faked;

static void cpuid(int leaf, int subleaf, uint32_t r[4]) {
    CHECK(subleaf == 0 && (uint32_t)leaf <= faked->leaves, "%s: leaf %d", faked->name, leaf);
    memset(r, 0, 4 * sizeof(r[0]));
    if (leaf == 0) r[0] = faked->leaves;
    if (leaf == 1) r[2] = faked->leaf1_ecx;
    if (leaf == 7) r[1] = faked->leaf7_ebx;
}

static uint64_t xcr0(void) {
    CHECK(faked->leaf1_ecx >> 27 & 1, "%s: xgetbv would be an illegal instruction", faked->name);
    return faked->xcr0;
}

#define FNN_CPUID_IS_FAKED
#define fnn_built faked_built
#define fnn_runs faked_runs
const fnn_kernels *const *fnn_built(void);
int fnn_runs(const fnn_kernels *kernels);
#include "../../csrc/dispatch.c"
#undef fnn_built
#undef fnn_runs

#define BIT(n) (1u << (n))
#define FMA_XSAVE_AVX (BIT(12) | BIT(27) | BIT(28))
#define F_DQ_BW_VL (BIT(16) | BIT(17) | BIT(30) | BIT(31))

static const processor processors[] = {
    {"AVX-512", 13, FMA_XSAVE_AVX, BIT(5) | F_DQ_BW_VL, 0xe7, 2},
    {"AVX-512, hidden by a virtual machine", 13, FMA_XSAVE_AVX, BIT(5), 0xe7, 1},
    {"AVX-512, zmm not saved", 13, FMA_XSAVE_AVX, BIT(5) | F_DQ_BW_VL, 0x07, 1},
    {"AVX-512, upper zmm not saved", 13, FMA_XSAVE_AVX, BIT(5) | F_DQ_BW_VL, 0x67, 1},
    {"AVX-512 F only", 13, FMA_XSAVE_AVX, BIT(5) | BIT(16), 0xe7, 1}, /* Knights Landing */
    {"AVX-512 without BW", 13, FMA_XSAVE_AVX, BIT(5) | BIT(16) | BIT(17) | BIT(31), 0xe7, 1},
    {"AVX-512 without VL", 13, FMA_XSAVE_AVX, BIT(5) | BIT(16) | BIT(17) | BIT(30), 0xe7, 1},
    {"AVX2", 13, FMA_XSAVE_AVX, BIT(5), 0x07, 1},
    {"AVX2, ymm not saved", 13, FMA_XSAVE_AVX, BIT(5), 0x03, 0},
    {"AVX2 without FMA", 13, BIT(27) | BIT(28), BIT(5), 0x07, 0},
    {"AVX2 without OSXSAVE", 13, BIT(12) | BIT(28), BIT(5), 0x07, 0},
    {"AVX2 without AVX", 13, BIT(12) | BIT(27), BIT(5), 0x07, 0},
    {"AVX and FMA, no AVX2", 13, FMA_XSAVE_AVX, 0, 0x07, 0}, /* Piledriver */
    {"too old for leaf 7", 6, FMA_XSAVE_AVX, BIT(5), 0x07, 0},
    {"SSE2", 1, 0, 0, 0, 0},
};

static void test_faked_processors(void) {
    static const char *const names[] = {"baseline", "avx2", "avx512"};
    for (faked = processors; faked < processors + LENGTH(processors); faked++) {
        const fnn_kernels *const *k = faked_built();
        while (!faked_runs(*k)) k++;
        CHECK(!strcmp((*k)->name, names[faked->level]), "%s: %s, want %s", faked->name, (*k)->name,
              names[faked->level]);
        for (; *k; k++) CHECK(faked_runs(*k), "%s: not %s", faked->name, (*k)->name);
    }
}

#else

static void test_faked_processors(void) {}

#endif

void test_dispatch(void) {
    const fnn_kernels *const *k = fnn_built();
    for (; k[1]; k++)
        CHECK(!fnn_runs(k[0]) || fnn_runs(k[1]), "%s runs, %s not", k[0]->name, k[1]->name);
    CHECK(!strcmp((*k)->name, "baseline") && fnn_runs(*k), "baseline runs everywhere");
    test_faked_processors();
}
