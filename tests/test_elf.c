/* test_elf.c - the header reader and the header's judge, against files made here byte by byte: good ones
 * with either hash table, each thing that can be wrong, every cut, and random damage. */
#include "cpu.h"
#include "elfread.h"
#include "header.h"
#include "rz_test.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One loaded segment at address BASE that holds everything; file offsets are addresses - BASE. */
#define BASE 0x1000u
#define FILE_SIZE 1536u
#define AT(member) offsetof(struct layout, member)

struct layout {
    Elf64_Ehdr head;
    Elf64_Phdr segments[2];
    uint8_t pad1[80];
    Elf64_Dyn dynamic[6];
    uint8_t pad2[160];
    Elf64_Sym symbols[2];
    uint8_t pad3[80];
    char strings[64];
    uint32_t hash[80];
    struct rz_plugin_header plugin;
    uint8_t pad4[128];
    Elf64_Shdr sections[2];
};
_Static_assert(sizeof(struct layout) == FILE_SIZE && AT(plugin) == 1024, "no holes");

union image {
    struct layout l;
    uint8_t bytes[FILE_SIZE];
};

static uint32_t gnu_hash(const char *s)
{
    uint32_t h = 5381;
    for (; *s; s++)
        h = h * 33 + (uint8_t)*s;
    return h;
}

static const struct rz_plugin_header good_header = {RZ_HEADER(RZ_KIND_KERNELS), .name = "thing",
                                                    .version = "1.0",           .vendor = "me",
                                                    .licence = "MIT",           .provides = "kernels:thing"};

static void set_hash(union image *m, const char *name, bool gnu)
{
    m->l.dynamic[3].d_tag = gnu ? DT_GNU_HASH : DT_HASH;
    if (gnu) { /* one bucket, symbols from 1, one bloom word; the chain of symbol 1 ends at once */
        const uint32_t words[] = {1, 1, 1, 6, ~0u, ~0u, 1, gnu_hash(name) | 1};
        memcpy(m->l.hash, words, sizeof(words));
    } else { /* one bucket, two chains */
        const uint32_t words[] = {1, 2, 1, 0, 0};
        memcpy(m->l.hash, words, sizeof(words));
    }
}

static union image make(const char *name, bool gnu)
{
    union image m = {.bytes = {0}};
    memcpy(m.l.head.e_ident, ELFMAG "\2\1\1", 7);
    m.l.head = (Elf64_Ehdr){.e_type = ET_DYN,
                            .e_machine = RZ_ARCH,
                            .e_version = 1,
                            .e_phoff = AT(segments),
                            .e_shoff = AT(sections),
                            .e_ehsize = 64,
                            .e_phentsize = sizeof(Elf64_Phdr),
                            .e_phnum = 2,
                            .e_shentsize = sizeof(Elf64_Shdr),
                            .e_shnum = 2};
    memcpy(m.l.head.e_ident, ELFMAG "\2\1\1", 7);
    m.l.segments[0] =
        (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = FILE_SIZE, .p_memsz = FILE_SIZE};
    m.l.segments[1] = (Elf64_Phdr){.p_type = PT_DYNAMIC,
                                   .p_offset = AT(dynamic),
                                   .p_vaddr = BASE + AT(dynamic),
                                   .p_filesz = 6 * sizeof(Elf64_Dyn)};
    const Elf64_Dyn d[] = {
        {DT_SYMTAB, {BASE + AT(symbols)}}, {DT_STRTAB, {BASE + AT(strings)}}, {DT_STRSZ, {64}},
        {DT_GNU_HASH, {BASE + AT(hash)}},  {DT_SYMENT, {sizeof(Elf64_Sym)}},  {DT_NULL, {0}}};
    memcpy(m.l.dynamic, d, sizeof(d));
    m.l.symbols[1] = (Elf64_Sym){.st_name = 1,
                                 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                                 .st_shndx = 1,
                                 .st_value = BASE + AT(plugin),
                                 .st_size = sizeof(struct rz_plugin)};
    snprintf(m.l.strings + 1, 40, "%s", name);
    set_hash(&m, name, gnu);
    m.l.plugin = good_header;
    return m;
}

/* Reads the first n bytes of an image as a file. Returns "" or the reason. */
static const char *read_cut(const union image *m, size_t n, struct rz_plugin_header *h)
{
    static char why[600];
    FILE *f = tmpfile();
    rz_check(f != NULL);
    fwrite(m->bytes, 1, n, f);
    fflush(f);
    why[0] = 0;
    bool good = rz_elf_header(fileno(f), h, why, sizeof(why));
    fclose(f);
    rz_check_eq(good, why[0] == 0);
    return why;
}

static const char *read_image(const union image *m)
{
    struct rz_plugin_header h;
    return read_cut(m, FILE_SIZE, &h);
}

RZ_TEST(elf, reads_the_header_through_either_hash)
{
    for (int gnu = 0; gnu < 2; gnu++) {
        struct rz_plugin_header h = {0};
        union image m = make("rz_plugin_v1", gnu);
        rz_check_streq(read_cut(&m, FILE_SIZE, &h), "");
        rz_check_memeq(&h, &good_header, sizeof(h));
    }
}

RZ_TEST(elf, other_kinds_of_files)
{
    union image m = make("rz_plugin_v1", true), bad = m;
    struct rz_plugin_header h;
    rz_check_has(read_cut(&m, 0, &h), "not an ELF file: it is empty");
    bad.bytes[1] = 'e';
    rz_check_streq(read_image(&bad), "not an ELF file");
    rz_check_streq(read_cut(&bad, 3, &h), "not an ELF file");
    bad = m, bad.bytes[EI_CLASS] = ELFCLASS32;
    rz_check_has(read_image(&bad), "32-bit");
    bad = m, bad.bytes[EI_DATA] = ELFDATA2MSB;
    rz_check_has(read_image(&bad), "big-endian");
    bad = m, bad.bytes[EI_VERSION] = 9;
    rz_check_has(read_image(&bad), "no known ELF class");
    bad = m, bad.l.head.e_machine = 8;
    rz_check_has(read_image(&bad), "built for another machine");
    bad = m, bad.l.head.e_type = ET_EXEC;
    rz_check_has(read_image(&bad), "not a shared object");
    bad = m, bad.l.segments[1].p_type = PT_NOTE;
    rz_check_has(read_image(&bad), "no dynamic section");
    int fds[2];
    char why[600];
    rz_check_eq(pipe(fds), 0);
    rz_check(!rz_elf_header(fds[0], &h, why, sizeof(why)));
    rz_check_streq(why, "not a regular file");
}

RZ_TEST(elf, every_cut_is_named)
{
    union image m = make("rz_plugin_v1", true);
    struct rz_plugin_header h;
    for (size_t n = 1; n < FILE_SIZE; n++)
        rz_check_has(read_cut(&m, n, &h), n < 4 ? "" : "truncated");
    m.l.head.e_shoff = 0; /* stripped of its section table: the segment still says how long the file was */
    for (size_t n = 64; n < FILE_SIZE; n++)
        rz_check_has(read_cut(&m, n, &h), "truncated");
}

RZ_TEST(elf, symbols)
{
    union image m = make("rz_plugin_v2", true), bad;
    rz_check_has(read_image(&m), "built for ABI 2, this rz speaks 1");
    m = make("something_else", true);
    rz_check_has(read_image(&m), "no symbol rz_plugin_v1");
    m = make("something_else", false);
    rz_check_has(read_image(&m), "no symbol rz_plugin_v1");
    m = make("rz_plugin_v1", true);
    bad = m, bad.l.symbols[1].st_shndx = SHN_UNDEF;
    rz_check_has(read_image(&bad), "does not define it");
    bad = m, bad.l.symbols[1].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    rz_check_has(read_image(&bad), "no data object");
    bad = m, bad.l.symbols[1].st_value += 4;
    rz_check_has(read_image(&bad), "not aligned");
    bad = m, bad.l.symbols[1].st_size = 255;
    rz_check_has(read_image(&bad), "has 255 bytes");
    bad = m, bad.l.symbols[1].st_size = 288;
    rz_check_has(read_image(&bad), "but its header says 296");
    bad = m, bad.l.symbols[1].st_size = 4096; /* sanitizers pad it */
    rz_check_streq(read_image(&bad), "");
    bad = m, bad.l.symbols[1].st_value = BASE + FILE_SIZE - 128;
    rz_check_has(read_image(&bad), "outside of the loaded part");
    bad = m, bad.l.symbols[1].st_value = UINT64_MAX - 7;
    rz_check_has(read_image(&bad), "outside of the loaded part");
    bad = m, bad.l.symbols[1].st_name = 64;
    rz_check_has(read_image(&bad), "outside of the string table");
    bad = m, bad.l.symbols[1].st_name = 60; /* the name would end past the table */
    rz_check_has(read_image(&bad), "no symbol rz_plugin_v1");
}

RZ_TEST(elf, tables_that_point_elsewhere)
{
    union image m = make("rz_plugin_v1", true), bad;
    static const char *const parts[] = {"symbol table", "string table", "", "hash table", "", ""};
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            continue;
        const uint64_t addresses[] = {8, BASE - 64, BASE + FILE_SIZE - 4, UINT64_MAX - 8, UINT64_MAX / 2};
        for (size_t a = 0; a < sizeof(addresses) / sizeof(addresses[0]); a++) {
            bad = m, bad.l.dynamic[i].d_un.d_ptr = addresses[a];
            rz_check_has(read_image(&bad), parts[i]);
        }
        bad = m, bad.l.dynamic[i].d_tag = DT_DEBUG;
        rz_check_has(read_image(&bad), i == 3 ? "no hash table" : "no usable table");
    }
    bad = m, bad.l.dynamic[4].d_un.d_val = 8;
    rz_check_has(read_image(&bad), "no usable table");
    bad = m, bad.l.head.e_phnum = 0;
    rz_check_has(read_image(&bad), "0 segments");
    bad = m, bad.l.head.e_phentsize = 8;
    rz_check_has(read_image(&bad), "segments of 8 bytes");
    bad = m, bad.l.head.e_phoff = UINT64_MAX - 8;
    rz_check_has(read_image(&bad), "segment table lies past the end");
    bad = m, bad.l.head.e_shoff = UINT64_MAX - 8;
    rz_check_has(read_image(&bad), "section table lies past the end");
    bad = m, bad.l.segments[0].p_filesz = UINT64_MAX;
    rz_check_has(read_image(&bad), "truncated: segment 0");
    bad = m, bad.l.segments[1].p_offset = UINT64_MAX - 4;
    rz_check_has(read_image(&bad), "dynamic section");
}

RZ_TEST(elf, hash_chains_end)
{
    union image m = make("rz_plugin_v1", true);
    m.l.hash[6] = 0; /* an empty bucket */
    rz_check_has(read_image(&m), "no symbol");
    m = make("rz_plugin_v1", true);
    m.l.hash[1] = 5; /* symbols from 5, bucket says 1 */
    rz_check_has(read_image(&m), "does not hold");
    m = make("rz_plugin_v1", true);
    m.l.hash[2] = UINT32_MAX; /* bloom words up to the moon */
    rz_check_has(read_image(&m), "hash table");
    m = make("rz_plugin_v1", true);
    m.l.hash[0] = 0;
    rz_check_has(read_image(&m), "no symbol");
    m = make("rz_plugin_v1", true);
    for (int i = 7; i < 80; i++)
        m.l.hash[i] = 2; /* no link ends the chain */
    memset(&m.l.plugin, 2, sizeof(m.l.plugin));
    rz_check_has(read_image(&m), "hash table");
    m = make("other", false);
    m.l.hash[2] = m.l.hash[4] = 1; /* symbol 1 is its own successor */
    rz_check_has(read_image(&m), "does not end");
    m = make("other", false);
    m.l.hash[2] = 7;
    rz_check_has(read_image(&m), "does not hold");
    m = make("other", false);
    m.l.hash[1] = UINT32_MAX;
    m.l.hash[2] = 1u << 30;
    rz_check_has(read_image(&m), "symbol table");
}

RZ_TEST(elf, random_damage_is_survived)
{
    uint64_t state = 12345;
    for (int round = 0; round < 6000; round++) {
        union image m = make("rz_plugin_v1", round & 1);
        for (int n = 0; n < 1 + round % 7; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t where = (uint32_t)(state >> 33) % (AT(plugin) + 16);
            m.bytes[where] = state >> 62 ? (uint8_t)(state >> 24) : (state >> 61 & 1 ? 0xff : 0);
        }
        read_image(&m); /* any answer, but an answer */
    }
}

/* --- the judge --- */

static const char *judge(const struct rz_plugin_header *h, uint64_t isa, bool *foreign)
{
    static char why[600];
    why[0] = 0;
    bool good = rz_header_check(h, isa, why, sizeof(why), foreign);
    rz_check_eq(good, why[0] == 0);
    return why;
}

#define BAD(change, part) \
    do { \
        struct rz_plugin_header h = good_header; \
        bool foreign; \
        change; \
        rz_check_has(judge(&h, 0, &foreign), part); \
        rz_check(!foreign); \
    } while (0)

RZ_TEST(header, each_field)
{
    rz_check_streq(judge(&good_header, 0, NULL), "");
    BAD(h.magic[0] = 'r', "wrong magic");
    BAD(h.magic[6] = 1, "wrong magic");
    BAD(h.magic[7] = 2, "built for ABI 2, this rz speaks 1");
    BAD(h.magic[7] = 0, "built for ABI 0");
    BAD(h.size = 0, "wrong size");
    BAD(h.size = 288, "wrong size: its header says 288 bytes");
    BAD(h.size = 301, "wrong size");
    BAD(h.size = 1u << 20, "wrong size");
    BAD((h.abi_minor_need = 9, h.abi_minor = 9), "needs ABI 1.9");
    BAD(h.kinds = 0, "unknown kinds 0x0");
    BAD(h.kinds |= 1ull << 40, "unknown kinds 0x10000000002");
    BAD(h.flags = 4, "unknown flags 0x4");
    BAD(h.zero = 1, "not zero");
    BAD(memset(h.name, 'a', sizeof(h.name)), "its name does not end within 32 bytes");
    BAD(memset(h.version, 'a', sizeof(h.version)), "its version does not end");
    BAD(memset(h.vendor, 'a', sizeof(h.vendor)), "its vendor does not end");
    BAD(memset(h.licence, 'a', sizeof(h.licence)), "its licence does not end");
    BAD(memset(h.provides, 'a', sizeof(h.provides)), "its provides does not end");
    BAD(h.name[20] = 'x', "its name is followed by bytes that are not zero");
    BAD(h.name[0] = 0, "its name is");
    BAD(memset(h.name, 0, sizeof(h.name)), "its name is empty");
    BAD(memset(h.version, 0, sizeof(h.version)), "its version is empty");
    BAD(memset(h.provides, 0, sizeof(h.provides)), "its provides is empty");
    BAD(h.name[0] = 'T', "other characters than a-z");
    BAD(h.name[0] = '/', "other characters than a-z");
    BAD(h.version[0] = '\n', "control character");
    BAD(h.vendor[0] = '\xff', "not UTF-8");
    BAD(h.provides[7] = '-', "malformed provides");
    BAD(h.provides[13] = ' ', "malformed provides");
    BAD(h.provides[0] = ' ', "malformed provides");
    BAD(memcpy(h.provides, "cernels", 7), "does not know");
    BAD(memset(h.provides + 8, 0, sizeof(h.provides) - 8), "malformed provides");
    BAD(h.kinds = RZ_KIND_FORMAT, "differ");
    BAD(h.kinds = RZ_KIND_KERNELS | RZ_KIND_DEVICE, "differ");
    BAD(memset(h.vendor, 0, sizeof(h.vendor)); memset(h.licence, 0, sizeof(h.licence));
        h.magic[0] = 0, "wrong magic");
}

RZ_TEST(header, cpu)
{
    struct rz_plugin_header h = good_header;
    bool foreign;
    h.isa[0] = RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_AVX512VNNI;
    rz_check_streq(judge(&h, RZ_ISA_AVX2, &foreign), "needs fma avx512_vnni: this CPU has none");
    rz_check(foreign);
    rz_check_streq(judge(&h, RZ_ISA_KNOWN, &foreign), "");
    rz_check(!foreign);
    h.isa[0] = 1ull << 50;
    rz_check_has(judge(&h, RZ_ISA_KNOWN, &foreign), "does not know");
    h.isa[0] = 0, h.isa[1] = 1;
    rz_check_has(judge(&h, RZ_ISA_KNOWN, &foreign), "does not know");
    h.isa[1] = 0, h.arch = 8;
    rz_check_has(judge(&h, RZ_ISA_KNOWN, &foreign), "another machine");
    rz_check_eq(rz_cpu_isa() & ~(uint64_t)RZ_ISA_KNOWN, 0);
    rz_check(rz_cpu_threads() >= 1);
}

RZ_TEST(header, provides)
{
    struct rz_plugin_header h = good_header;
    char kinds[64];
    rz_check(rz_header_provides(&h, "kernels") && rz_header_provides(&h, "kernels:thing"));
    rz_check(!rz_header_provides(&h, "kernel") && !rz_header_provides(&h, "kernels:thin"));
    rz_check(!rz_header_provides(&h, "kernels:things") && !rz_header_provides(&h, "thing"));
    snprintf(h.provides, sizeof(h.provides), "frontend:line command:chat command:ps");
    h.kinds = RZ_KIND_FRONTEND;
    rz_check_streq(judge(&h, 0, NULL), "");
    rz_check(rz_header_provides(&h, "frontend") && rz_header_provides(&h, "command:ps"));
    rz_check(!rz_header_provides(&h, "command:p"));
    h.kinds |= RZ_KIND_FORMAT;
    rz_check_streq(rz_header_kinds(&h, kinds, sizeof(kinds)), "format frontend");
}
