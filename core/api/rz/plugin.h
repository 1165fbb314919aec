/* plugin.h - the one symbol that a plugin exports, its option table, and how it is found.
 *
 * A plugin is a shared object with exactly one dynamic symbol, the data object `rz_plugin_v1` of type
 * struct rz_plugin. Its first 256 bytes (struct rz_plugin_header) hold no pointers, so the host reads
 * them out of the ELF file and decides about magic, versions, CPU and name before any code of the
 * plugin can run. The same object linked into the host is called rz_builtin_NAME.
 */
#ifndef RZ_PLUGIN_H
#define RZ_PLUGIN_H

#include <rz/host.h>
#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_PLUGIN_SYMBOL "rz_plugin_v1"
#define RZ_PLUGIN_HEADER_SIZE 256

/* kinds, one bit each */
#define RZ_KIND_FORMAT (1u << 0)
#define RZ_KIND_KERNELS (1u << 1)
#define RZ_KIND_DEVICE (1u << 2)
#define RZ_KIND_TOKENIZER (1u << 3)
#define RZ_KIND_FRONTEND (1u << 4)
#define RZ_KIND_ALL 0x1fu

/* CPU features that the plugin's code needs, bits of isa[0]: of x86-64, then of aarch64 */
#define RZ_ISA_AVX (1u << 0)
#define RZ_ISA_AVX2 (1u << 1)
#define RZ_ISA_FMA (1u << 2)
#define RZ_ISA_F16C (1u << 3)
#define RZ_ISA_BMI2 (1u << 4)
#define RZ_ISA_AVX512F (1u << 5)
#define RZ_ISA_AVX512BW (1u << 6)
#define RZ_ISA_AVX512VL (1u << 7)
#define RZ_ISA_AVX512DQ (1u << 8)
#define RZ_ISA_AVX512VNNI (1u << 9)
#define RZ_ISA_AVX512BF16 (1u << 10)
#define RZ_ISA_AVX512VBMI (1u << 11)
#define RZ_ISA_AVXVNNI (1u << 12)
#define RZ_ISA_DOTPROD (1u << 13)
#define RZ_ISA_I8MM (1u << 14)
#define RZ_ISA_FP16 (1u << 15)
#define RZ_ISA_BF16 (1u << 16)
#define RZ_ISA_SVE (1u << 17)
#define RZ_ISA_KNOWN 0x3ffffu

/* arch: the ELF e_machine number */
#if defined(__x86_64__)
#define RZ_ARCH 62u
#elif defined(__aarch64__)
#define RZ_ARCH 183u
#else
#error "rz plugins are defined for x86-64 and aarch64"
#endif

/* option types */
#define RZ_OPT_STRING 0
#define RZ_OPT_INT 1    /* decimal; min..max                      */
#define RZ_OPT_FLOAT 2  /* min..max                               */
#define RZ_OPT_BOOL 3   /* 0 1 no yes off on false true           */
#define RZ_OPT_SIZE 4   /* bytes, with an optional K, M or G      */
#define RZ_OPT_CHOICE 5 /* one of `choices`, separated by '|'     */
#define RZ_OPT_PATH 6   /* a leading ~/ is the home directory     */
#define RZ_OPT_LIST 7   /* comma-separated strings                */
/* option flags */
#define RZ_OPT_SECRET 1u /* never shown in dumps or logs */

/* One option of a plugin (or of the core: the same table drives both). Strings are static. */
struct rz_option {
    uint32_t size;
    uint32_t type;
    uint32_t flags;
    uint32_t zero;
    const char *name;    /* [a-z0-9_]+                                         */
    const char *def;     /* the default as text; NULL = unset                  */
    const char *choices; /* RZ_OPT_CHOICE: "a|b|c"; else NULL                  */
    const char *help;    /* one line                                           */
    double min, max;     /* RZ_OPT_INT, FLOAT, SIZE; min == max means no bound */
};
RZ_ABI_SIZE(struct rz_option, 64, max);

/* A value of an option after defaults, files, environment and flags, validated by the host. */
struct rz_option_value {
    const char *text; /* NULL if unset; after expansion of ${}, @file: and ~ */
    int64_t i;        /* INT, BOOL, SIZE; CHOICE: index of the choice         */
    double f;         /* FLOAT                                                */
    const char *from; /* where it came from: "FILE:LINE", "default", "-o"     */
};
RZ_ABI_SIZE(struct rz_option_value, 32, from);

/* values[i] belongs to options[i] of the plugin's table. Lives as long as the plugin. */
struct rz_config {
    uint32_t size;
    uint32_t n_values;
    const struct rz_option_value *values;
};
RZ_ABI_SIZE(struct rz_config, 16, values);

/* The first 256 bytes of a plugin: plain data, all strings NUL-terminated and NUL-padded. */
struct rz_plugin_header {
    char magic[8];           /* RZ_PLUGIN_MAGIC: "RZPLUG", 0, ABI major            */
    uint32_t size;           /* sizeof(struct rz_plugin) as compiled               */
    uint16_t abi_minor;      /* of the header it was built with (information only) */
    uint16_t abi_minor_need; /* lowest host minor that works                       */
    uint64_t kinds;
    uint64_t flags; /* 0 */
    uint32_t arch;  /* RZ_ARCH */
    uint32_t zero;
    uint64_t isa[2];
    char name[32]; /* [a-z0-9_-]+, unique among loaded plugins */
    char version[24];
    char vendor[40];
    char licence[24];
    char provides[80]; /* space-separated kind:what, such as "kernels:avx2" or "tokenizer:gpt2" */
};
RZ_ABI_SIZE(struct rz_plugin_header, RZ_PLUGIN_HEADER_SIZE, provides);

struct rz_plugin {
    struct rz_plugin_header header;
    const struct rz_option *options; /* n_options records, option_stride bytes apart */
    uint32_t n_options, option_stride;
    /* Called once, on the main thread, before anything else. *self is the plugin's state, passed to
     * every later call. host and config live until fini. May fail. */
    int32_t (*init)(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err);
    /* Called once at the end, after all objects were closed. May be NULL. */
    void (*fini)(void *self);
    /* Returns the table of the interface `id` (such as "rz.format/1") whose minor is at least
     * minor_need, or NULL. The table lives until fini. Any thread. */
    const void *(*query)(void *self, const char *id, uint32_t minor_need);
};
RZ_ABI_SIZE(struct rz_plugin, 296, query);
RZ_ABI_OFFSET(struct rz_plugin, options, 256);

/* clang-format off */
#define RZ_PLUGIN_MAGIC {'R', 'Z', 'P', 'L', 'U', 'G', 0, RZ_ABI_MAJOR}
/* clang-format on */

#if defined(__GNUC__)
#define RZ_EXPORT __attribute__((visibility("default"), used, aligned(8)))
#else
#define RZ_EXPORT
#endif

/* Starts the definition of the exported symbol: RZ_PLUGIN_DEFINE = { .header = {...}, ... }; */
#ifdef __cplusplus
#define RZ_PLUGIN_DEFINE extern "C" RZ_EXPORT const struct rz_plugin rz_plugin_v1
#else
#define RZ_PLUGIN_DEFINE \
    extern const struct rz_plugin rz_plugin_v1; \
    RZ_EXPORT const struct rz_plugin rz_plugin_v1
#endif

/* The first fields of a header, in their order, as C++ wants it: the same for everybody but for the kinds. */
#define RZ_HEADER(KINDS) \
    .magic = RZ_PLUGIN_MAGIC, .size = sizeof(struct rz_plugin), .abi_minor = RZ_ABI_MINOR, \
    .abi_minor_need = 0, .kinds = (KINDS), .flags = 0, .arch = RZ_ARCH, .zero = 0

#ifdef __cplusplus
}
#endif
#endif
