/* peak.h - what this CPU can do at best, for bench/kernels. */
#ifndef RZ_BENCH_PEAK_H
#define RZ_BENCH_PEAK_H

#include <stdint.h>

/* A register-only loop: multiply-adds that n rounds do; 0 where the CPU lacks it. */
struct peak {
    const char *name;
    uint64_t isa; /* RZ_ISA_* */
    uint64_t (*run)(uint64_t n);
};
extern const struct peak peaks[];
extern const int n_peaks;

/* Reads all bytes (a multiple of 512) with the widest loads that `isa` has. */
uint64_t peak_read(const void *p, uint64_t bytes, uint64_t isa);

#endif
