/* peak.c - register-only sequences of multiply-adds, twelve independent chains each, and a plain read.
 *
 * Each function is compiled for its own instruction set and called only where the CPU has it.
 */
#include "peak.h"

#include <rz/plugin.h>
#if defined(__x86_64__)
#include <immintrin.h>

#define CHAINS 12
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

/* Keeps a value that nobody reads. */
#define KEEP(v) __asm__ volatile("" ::"x"(v))
/* From here on the compiler does not know the value, so that it cannot move work out of a loop. */
#define OPAQUE(v) __asm__("" : "+x"(v));

#define LOOP(NAME, TARGET, VECTOR, ZERO, PREPARE, STEP, MACS) \
    TARGET static uint64_t NAME(uint64_t n) \
    { \
        VECTOR acc[CHAINS]; \
        UNROLL \
        for (int i = 0; i < CHAINS; i++) { \
            acc[i] = ZERO; \
            OPAQUE(acc[i]) \
        } \
        PREPARE; \
        for (uint64_t k = 0; k < n; k++) { \
            UNROLL \
            for (int i = 0; i < CHAINS; i++) { \
                STEP; \
            } \
        } \
        UNROLL \
        for (int i = 0; i < CHAINS; i++) \
            KEEP(acc[i]); \
        return n * CHAINS * (MACS); \
    }

#define INTS_256 \
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1); \
    OPAQUE(a) OPAQUE(b) OPAQUE(ones)(void) ones
#define INTS_512 \
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5); \
    OPAQUE(a) OPAQUE(b)

LOOP(fma_256, AVX2, __m256, _mm256_setzero_ps(), __m256 a = _mm256_set1_ps(1);
     OPAQUE(a), acc[i] = _mm256_fmadd_ps(a, a, acc[i]), 8)
/* Sums in 16 bits: what kernels with weights of few bits do. */
LOOP(maddubs_add, AVX2, __m256i, _mm256_setzero_si256(), INTS_256,
     OPAQUE(a) acc[i] = _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(a, b)), 32)
LOOP(maddubs_madd, AVX2, __m256i, _mm256_setzero_si256(), INTS_256,
     OPAQUE(a) acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones)), 32)
/* Of signed bytes: one sign is taken off and given to the other factor as a complement. */
LOOP(signed_madd, AVX2, __m256i, _mm256_setzero_si256(), INTS_256,
     OPAQUE(a)
         acc[i] = _mm256_add_epi32(acc[i],
                                   _mm256_madd_epi16(_mm256_maddubs_epi16(b, _mm256_xor_si256(a, b)), ones)),
     32)
LOOP(fma_512, AVX512, __m512, _mm512_setzero_ps(), __m512 a = _mm512_set1_ps(1);
     OPAQUE(a), acc[i] = _mm512_fmadd_ps(a, a, acc[i]), 16)
LOOP(dpbusd_512, AVX512, __m512i, _mm512_setzero_si512(), INTS_512,
     acc[i] = _mm512_dpbusd_epi32(acc[i], a, b), 64)
LOOP(dpwssd_512, AVX512, __m512i, _mm512_setzero_si512(), INTS_512,
     acc[i] = _mm512_dpwssd_epi32(acc[i], a, b), 32)
LOOP(dpbf16_512, BF16, __m512, _mm512_setzero_ps(), __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f80);
     OPAQUE(a), acc[i] = _mm512_dpbf16_ps(acc[i], a, a), 32)

#define ISA_AVX2 (RZ_ISA_AVX2 | RZ_ISA_FMA)
#define ISA_512 (RZ_ISA_AVX512F | RZ_ISA_AVX512BW | RZ_ISA_AVX512VL | RZ_ISA_AVX512DQ | RZ_ISA_AVX512VNNI)

const struct peak peaks[] = {
    {"fma f32, 256 bits", ISA_AVX2, fma_256},
    {"vpmaddubsw + vpaddw, 256 bits", ISA_AVX2, maddubs_add},
    {"vpmaddubsw + vpmaddwd + vpaddd, 256 bits", ISA_AVX2, maddubs_madd},
    {"signed: vpxor and the same, 256 bits", ISA_AVX2, signed_madd},
    {"fma f32, 512 bits", ISA_512, fma_512},
    {"vpdpbusd, 512 bits", ISA_512, dpbusd_512},
    {"vpdpwssd, 512 bits", ISA_512, dpwssd_512},
    {"vdpbf16ps, 512 bits", ISA_512 | RZ_ISA_AVX512BF16, dpbf16_512},
};
const int n_peaks = sizeof(peaks) / sizeof(peaks[0]);

AVX512 static uint64_t read_512(const uint8_t *p, uint64_t bytes)
{
    __m512i x = _mm512_setzero_si512(), y = x;
    for (uint64_t i = 0; i < bytes; i += 512)
        for (int k = 0; k < 8; k += 2) {
            x = _mm512_or_si512(x, _mm512_loadu_si512(p + i + 64 * k));
            y = _mm512_or_si512(y, _mm512_loadu_si512(p + i + 64 * k + 64));
        }
    return (uint64_t)_mm512_reduce_or_epi64(_mm512_or_si512(x, y));
}
#else
const struct peak peaks[] = {{"", 0, 0}};
const int n_peaks = 0;
#endif

uint64_t peak_read(const void *p, uint64_t bytes, uint64_t isa)
{
    uint64_t x = 0;
#if defined(__x86_64__)
    if ((isa & ISA_512) == ISA_512)
        return read_512(p, bytes);
#endif
    for (const uint64_t *q = p, *end = q + bytes / 8; q < end; q += 8)
        x |= q[0] | q[1] | q[2] | q[3] | q[4] | q[5] | q[6] | q[7];
    (void)isa;
    return x;
}
