/* cpu.c - asks the CPU, the scheduler and the cgroup. Reads only; keeps nothing. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "cpu.h"

#include <rz/plugin.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#else
#include <sys/auxv.h>
#endif

/* --- instruction sets --- */

#define TEST(reg, bit, isa) ((reg) >> (bit)&1 ? (uint64_t)(isa) : 0)

#if defined(__x86_64__)

/* xcr0: which register states the operating system saves. */
static uint64_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

uint64_t rz_cpu_isa(void)
{
    uint32_t a, b, c, d;
    uint64_t isa = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) /* OSXSAVE */
        return 0;
    uint64_t states = saved_states();
    bool avx = (states & 6) == 6, avx512 = avx && (states & 0xe0) == 0xe0;
    if (!avx)
        return 0;
    isa |= TEST(c, 28, RZ_ISA_AVX) | TEST(c, 12, RZ_ISA_FMA) | TEST(c, 29, RZ_ISA_F16C);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return isa;
    uint32_t subleaves = a;
    isa |= TEST(b, 5, RZ_ISA_AVX2) | TEST(b, 8, RZ_ISA_BMI2);
    if (avx512)
        isa |= TEST(b, 16, RZ_ISA_AVX512F) | TEST(b, 30, RZ_ISA_AVX512BW) | TEST(b, 31, RZ_ISA_AVX512VL) |
               TEST(b, 17, RZ_ISA_AVX512DQ) | TEST(c, 11, RZ_ISA_AVX512VNNI) | TEST(c, 1, RZ_ISA_AVX512VBMI);
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        isa |= TEST(a, 4, RZ_ISA_AVXVNNI);
        if (avx512)
            isa |= TEST(a, 5, RZ_ISA_AVX512BF16);
    }
    return isa;
}

#else

/* Linux' bits of AT_HWCAP and AT_HWCAP2 on aarch64, by place. */
uint64_t rz_cpu_isa(void)
{
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    return TEST(cap, 10, RZ_ISA_FP16) | TEST(cap, 20, RZ_ISA_DOTPROD) | TEST(cap, 22, RZ_ISA_SVE) |
           TEST(cap2, 13, RZ_ISA_I8MM) | TEST(cap2, 14, RZ_ISA_BF16);
}

#endif

const char *rz_cpu_isa_names(uint64_t mask, char *buf, size_t cap)
{
    static const char *const names[] = {"avx",         "avx2",        "fma",      "f16c",     "bmi2",
                                        "avx512f",     "avx512bw",    "avx512vl", "avx512dq", "avx512_vnni",
                                        "avx512_bf16", "avx512_vbmi", "avx_vnni", "dotprod",  "i8mm",
                                        "fp16",        "bf16",        "sve"};
    size_t used = 0;
    buf[0] = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && used < cap; i++)
        if (mask >> i & 1)
            used += (size_t)snprintf(buf + used, cap - used, "%s%s", used ? " " : "", names[i]);
    return buf;
}

/* --- threads --- */

static bool read_line(const char *path, char *line, size_t cap)
{
    FILE *f = fopen(path, "re");
    bool got = f && fgets(line, (int)cap, f);
    if (f)
        fclose(f);
    return got;
}

static long topology(int cpu, const char *what)
{
    char path[96], line[32];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what);
    return read_line(path, line, sizeof(line)) ? strtol(line, NULL, 10) : -1;
}

/* Two hardware threads of one core share its arithmetic, so they count once. */
static uint32_t cores_of(const cpu_set_t *set)
{
    long seen[CPU_SETSIZE][2];
    uint32_t n = 0, cpus = 0;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, set))
            continue;
        long package = topology(i, "physical_package_id"), core = topology(i, "core_id");
        bool known = false;
        for (uint32_t j = 0; j < n && core >= 0; j++)
            known |= seen[j][0] == package && seen[j][1] == core;
        if (!known) {
            seen[n][0] = package;
            seen[n++][1] = core;
        }
        cpus++;
    }
    return n ? n : cpus;
}

/* Whole CPUs of a quota, rounded up; 0: no quota. */
static uint32_t quota_cpus(double quota, double period)
{
    if (!(quota > 0) || !(period > 0))
        return 0;
    double cpus = quota / period;
    return cpus >= 1e6 ? 0 : (uint32_t)cpus + (cpus > (uint32_t)cpus);
}

static uint32_t quota_v2(const char *group)
{
    char path[600], line[64];
    double quota, period;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
    if (!read_line(path, line, sizeof(line)) || sscanf(line, "%lf %lf", &quota, &period) != 2)
        return 0;
    return quota_cpus(quota, period);
}

static uint32_t quota_v1(const char *group)
{
    char path[600], quota[32], period[32];
    snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", group);
    if (!read_line(path, quota, sizeof(quota)))
        return 0;
    snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", group);
    return read_line(path, period, sizeof(period)) ? quota_cpus(strtod(quota, NULL), strtod(period, NULL))
                                                   : 0;
}

/* The smallest quota of a group and its parents. */
static uint32_t smallest(char *group, uint32_t (*quota)(const char *))
{
    uint32_t least = 0;
    for (;;) {
        uint32_t q = quota(group);
        if (q && (!least || q < least))
            least = q;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

static uint32_t cgroup_cpus(void)
{
    char line[512];
    uint32_t least = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof(line), f)) {
        uint32_t q = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        if (!strncmp(line, "0:", 2))
            q = smallest(group, quota_v2);
        else if (strstr(controllers, ":cpu") && !strstr(controllers, ":cpuset"))
            q = smallest(group, quota_v1);
        if (q && (!least || q < least))
            least = q;
    }
    if (f)
        fclose(f);
    return least;
}

uint32_t rz_cpu_threads(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    uint32_t n = sched_getaffinity(0, sizeof(set), &set) ? 1 : cores_of(&set), quota = cgroup_cpus();
    if (quota && quota < n)
        n = quota;
    return n ? n : 1;
}
