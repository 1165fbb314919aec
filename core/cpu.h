/* cpu.h - what this machine has: instruction sets, and how many threads rz should use. */
#ifndef RZ_CPU_H
#define RZ_CPU_H

#include <stddef.h>
#include <stdint.h>

/* RZ_ISA_* bits that the CPU and the operating system support. */
uint64_t rz_cpu_isa(void);
/* Names of the bits in mask, separated by spaces. Returns buf. */
const char *rz_cpu_isa_names(uint64_t mask, char *buf, size_t cap);
/* Cores of the affinity mask, bounded by the cgroup's CPU quota; at least 1. */
uint32_t rz_cpu_threads(void);

#endif
