/* Which instruction sets this build holds, and which of them this processor and system can run. */
#include "fastnn.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FNN_X86 1
#else
#define FNN_X86 0
#endif

extern const fnn_kernels fnn_kernels_baseline;
#if FNN_X86
extern const fnn_kernels fnn_kernels_avx2, fnn_kernels_avx512;
#endif

static const fnn_kernels *const built[] = {
#if FNN_X86
    &fnn_kernels_avx512,
    &fnn_kernels_avx2,
#endif
    &fnn_kernels_baseline,
    NULL,
};

const fnn_kernels *const *fnn_built(void) { return built; }

#if FNN_X86

#if defined(FNN_CPUID_IS_FAKED) /* by tests/csrc/dispatch.c, which then brings the two functions */
#elif defined(_MSC_VER)
#include <intrin.h>
static void cpuid(int leaf, int subleaf, uint32_t r[4]) { __cpuidex((int *)r, leaf, subleaf); }
static uint64_t xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(int leaf, int subleaf, uint32_t r[4]) {
    __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
}
static uint64_t xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

enum { EBX = 1, ECX = 2 };
#define HAS(word, bit) ((word) >> (bit) & 1u)

/* The CPU may have AVX while the system does not save its registers; XCR0 says what is saved. */
static int level(void) {
    uint32_t r[4];
    cpuid(0, 0, r);
    uint32_t leaves = r[0];
    cpuid(1, 0, r);
    int fma = HAS(r[ECX], 12), osxsave = HAS(r[ECX], 27), avx = HAS(r[ECX], 28);
    if (leaves < 7 || !osxsave || !avx || !fma) return 0;
    cpuid(7, 0, r);
    uint64_t saved = xcr0();
    if ((saved & 0x06) != 0x06 || !HAS(r[EBX], 5)) return 0; /* xmm, ymm; AVX2 */
    int avx512 = HAS(r[EBX], 16) && HAS(r[EBX], 17) && HAS(r[EBX], 30) && HAS(r[EBX], 31);
    return avx512 && (saved & 0xe6) == 0xe6 ? 2 : 1; /* F DQ BW VL; opmask, zmm */
}

int fnn_runs(const fnn_kernels *kernels) {
    int needed = kernels == &fnn_kernels_avx512 ? 2 : kernels == &fnn_kernels_avx2 ? 1 : 0;
    return level() >= needed;
}

#else

int fnn_runs(const fnn_kernels *kernels) {
    (void)kernels;
    return 1;
}

#endif
