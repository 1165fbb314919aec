/* elf.c - finds one data symbol in an ELF64 shared object through its dynamic hash table.
 *
 * Reads small pieces with pread, so the file is never mapped and a file that is cut meanwhile is a short
 * read, not a signal. Invariant: `at` is the only reader, and it refuses what is not inside the file.
 */
#include "elfread.h"

#include "checked.h"

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENTS_MAX 256u
#define DYNAMIC_MAX 4096u  /* entries of the dynamic section */
#define CHAIN_MAX 65536u   /* symbols looked at in one hash chain */
#define ABI_OTHERS_MAX 99u /* rz_plugin_vN that an error message can name */

struct elf {
    int fd;
    uint64_t size;
    Elf64_Ehdr head;
    Elf64_Phdr segments[SEGMENTS_MAX];
    uint64_t symtab, strtab, strsz, gnu_hash, hash; /* addresses of the dynamic section; 0: absent */
    char *why;
    size_t cap;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct elf *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->why, e->cap, format, args);
    va_end(args);
    return false;
}

/* The same for functions that answer with 1, 0 or -1. */
static int broken(struct elf *e, const char *why)
{
    refuse(e, "%s", why);
    return -1;
}

static bool inside(const struct elf *e, uint64_t offset, uint64_t n)
{
    return offset <= e->size && n <= e->size - offset;
}

static bool at(struct elf *e, uint64_t offset, void *out, uint64_t n)
{
    uint8_t *p = out;
    if (!inside(e, offset, n))
        return refuse(e, "truncated: needs bytes up to %llu, the file has %llu",
                      (unsigned long long)(offset + n), (unsigned long long)e->size);
    while (n) {
        ssize_t got = pread(e->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return refuse(e, "cannot be read: %s", got ? strerror(errno) : "the file became shorter");
        p += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

/* The file offset of n bytes at a virtual address, if one loaded segment holds them in the file. */
static bool offset_of(const struct elf *e, uint64_t address, uint64_t n, uint64_t *offset)
{
    for (uint32_t i = 0; i < e->head.e_phnum; i++) {
        const Elf64_Phdr *s = &e->segments[i];
        if (s->p_type != PT_LOAD || address < s->p_vaddr)
            continue;
        uint64_t skip = address - s->p_vaddr;
        if (skip <= s->p_filesz && n <= s->p_filesz - skip)
            return rz_add_u64(s->p_offset, skip, offset);
    }
    return false;
}

static bool at_address(struct elf *e, uint64_t address, void *out, uint64_t n, const char *what)
{
    uint64_t offset;
    if (!offset_of(e, address, n, &offset))
        return refuse(e, "damaged: its %s lies outside of the loaded part of the file", what);
    return at(e, offset, out, n);
}

/* --- what kind of file it is --- */

static bool read_head(struct elf *e)
{
    unsigned char ident[EI_NIDENT] = {0};
    if (e->size == 0)
        return refuse(e, "not an ELF file: it is empty");
    if (!at(e, 0, ident, e->size < EI_NIDENT ? e->size : EI_NIDENT))
        return false;
    if (memcmp(ident, ELFMAG, e->size < SELFMAG ? e->size : SELFMAG))
        return refuse(e, "not an ELF file");
    if (e->size < sizeof(e->head))
        return refuse(e, "truncated: %llu bytes are less than an ELF header", (unsigned long long)e->size);
    if (ident[EI_CLASS] == ELFCLASS32)
        return refuse(e, "a 32-bit file; this rz has 64 bits");
    if (ident[EI_DATA] == ELFDATA2MSB)
        return refuse(e, "a big-endian file; this rz is little-endian");
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT)
        return refuse(e, "damaged: no known ELF class, byte order and version");
    if (!at(e, 0, &e->head, sizeof(e->head)))
        return false;
    if (e->head.e_machine != RZ_ARCH)
        return refuse(e, "built for another machine (ELF number %u; this one is %u)", e->head.e_machine,
                      RZ_ARCH);
    if (e->head.e_type != ET_DYN)
        return refuse(e, "not a shared object (ELF type %u)", e->head.e_type);
    return true;
}

/* A table of n records past the end of the file means that the file was cut. */
static bool check_table(struct elf *e, uint64_t offset, uint64_t n, uint64_t each, const char *what)
{
    if (!inside(e, offset, n * each)) /* n and each have 16 bits */
        return refuse(e, "truncated: its %s table lies past the end of the file (%llu bytes)", what,
                      (unsigned long long)e->size);
    return true;
}

static bool read_segments(struct elf *e)
{
    const Elf64_Ehdr *h = &e->head;
    if (h->e_phentsize != sizeof(Elf64_Phdr) || !h->e_phnum || h->e_phnum > SEGMENTS_MAX)
        return refuse(e, "damaged: %u segments of %u bytes each", h->e_phnum, h->e_phentsize);
    if (!check_table(e, h->e_phoff, h->e_phnum, h->e_phentsize, "segment"))
        return false;
    if (h->e_shoff && !check_table(e, h->e_shoff, h->e_shnum, h->e_shentsize, "section"))
        return false;
    if (!at(e, h->e_phoff, e->segments, h->e_phnum * sizeof(Elf64_Phdr)))
        return false;
    for (uint32_t i = 0; i < h->e_phnum; i++)
        if (e->segments[i].p_type == PT_LOAD && !inside(e, e->segments[i].p_offset, e->segments[i].p_filesz))
            return refuse(e, "truncated: segment %u lies past the end of the file (%llu bytes)", i,
                          (unsigned long long)e->size);
    return true;
}

static bool read_dynamic(struct elf *e)
{
    const Elf64_Phdr *s = NULL;
    uint64_t entry_size = sizeof(Elf64_Sym);
    for (uint32_t i = 0; i < e->head.e_phnum; i++)
        if (e->segments[i].p_type == PT_DYNAMIC)
            s = &e->segments[i];
    if (!s)
        return refuse(e, "not a shared object: no dynamic section");
    for (uint64_t i = 0; i < s->p_filesz / sizeof(Elf64_Dyn) && i < DYNAMIC_MAX; i++) {
        Elf64_Dyn d;
        uint64_t offset;
        if (!rz_add_u64(s->p_offset, i * sizeof(d), &offset) || !at(e, offset, &d, sizeof(d)))
            return refuse(e, "truncated: its dynamic section lies past the end of the file");
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_SYMTAB)
            e->symtab = d.d_un.d_ptr;
        else if (d.d_tag == DT_STRTAB)
            e->strtab = d.d_un.d_ptr;
        else if (d.d_tag == DT_STRSZ)
            e->strsz = d.d_un.d_val;
        else if (d.d_tag == DT_GNU_HASH)
            e->gnu_hash = d.d_un.d_ptr;
        else if (d.d_tag == DT_HASH)
            e->hash = d.d_un.d_ptr;
        else if (d.d_tag == DT_SYMENT)
            entry_size = d.d_un.d_val;
    }
    if (!e->symtab || !e->strtab || !e->strsz || entry_size != sizeof(Elf64_Sym))
        return refuse(e, "damaged: no usable table of dynamic symbols");
    if (!e->gnu_hash && !e->hash)
        return refuse(e, "damaged: no hash table of its symbols");
    return true;
}

/* --- looking up a name. 1: found, 0: not there, -1: refused --- */

static int try_symbol(struct elf *e, uint64_t index, const char *name, Elf64_Sym *out)
{
    char text[32];
    uint64_t address, len = strlen(name) + 1;
    if (!rz_add_u64(e->symtab, index * sizeof(*out), &address))
        return broken(e, "damaged: its symbol table wraps around");
    if (!at_address(e, address, out, sizeof(*out), "symbol table"))
        return -1;
    if (out->st_name >= e->strsz)
        return broken(e, "damaged: the name of a symbol lies outside of the string table");
    if (len > e->strsz - out->st_name)
        return 0;
    if (!rz_add_u64(e->strtab, out->st_name, &address) || !at_address(e, address, text, len, "string table"))
        return -1;
    return !memcmp(text, name, len);
}

static int find_gnu(struct elf *e, const char *name, Elf64_Sym *out)
{
    uint32_t head[4], hash = 5381, index, value; /* head: buckets, first symbol, bloom words, shift */
    for (const char *p = name; *p; p++)
        hash = hash * 33 + (uint8_t)*p;
    if (!at_address(e, e->gnu_hash, head, sizeof(head), "hash table"))
        return -1;
    if (!head[0])
        return 0;
    uint64_t buckets = e->gnu_hash + 16 + (uint64_t)head[2] * 8;
    uint64_t chains = buckets + (uint64_t)head[0] * 4;
    if (buckets < e->gnu_hash || chains < buckets)
        return broken(e, "damaged: its hash table wraps around");
    if (!at_address(e, buckets + (uint64_t)(hash % head[0]) * 4, &index, 4, "hash table"))
        return -1;
    if (index == 0)
        return 0;
    if (index < head[1])
        return broken(e, "damaged: its hash table names a symbol that it does not hold");
    for (uint32_t steps = 0; steps < CHAIN_MAX; steps++, index++) {
        uint64_t link = chains + ((uint64_t)index - head[1]) * 4;
        if (link < chains || !at_address(e, link, &value, 4, "hash table"))
            return -1;
        int found = (value | 1) == (hash | 1) ? try_symbol(e, index, name, out) : 0;
        if (found)
            return found;
        if (value & 1)
            return 0;
    }
    return broken(e, "damaged: a chain of its hash table does not end");
}

static int find_sysv(struct elf *e, const char *name, Elf64_Sym *out)
{
    uint32_t head[2], hash = 0, index; /* head: buckets, chains */
    for (const char *p = name; *p; p++) {
        hash = (hash << 4) + (uint8_t)*p;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    if (!at_address(e, e->hash, head, sizeof(head), "hash table"))
        return -1;
    if (!head[0])
        return 0;
    uint64_t buckets = e->hash + 8, chains = buckets + (uint64_t)head[0] * 4;
    if (chains < e->hash || !at_address(e, buckets + (uint64_t)(hash % head[0]) * 4, &index, 4, "hash table"))
        return broken(e, "damaged: its hash table lies outside of the loaded part of the file");
    for (uint32_t steps = 0; index && steps < CHAIN_MAX; steps++) {
        if (index >= head[1])
            return broken(e, "damaged: its hash table names a symbol that it does not hold");
        int found = try_symbol(e, index, name, out);
        if (found)
            return found;
        uint64_t link = chains + (uint64_t)index * 4;
        if (link < chains || !at_address(e, link, &index, 4, "hash table"))
            return -1;
    }
    return index ? broken(e, "damaged: a chain of its hash table does not end") : 0;
}

static int find_symbol(struct elf *e, const char *name, Elf64_Sym *out)
{
    return e->gnu_hash ? find_gnu(e, name, out) : find_sysv(e, name, out);
}

static bool no_symbol(struct elf *e)
{
    char name[32];
    Elf64_Sym symbol;
    for (uint32_t v = 0; v <= ABI_OTHERS_MAX; v++) {
        snprintf(name, sizeof(name), "rz_plugin_v%u", v);
        int found = v == RZ_ABI_MAJOR ? 0 : find_symbol(e, name, &symbol);
        if (found < 0)
            return false;
        if (found)
            return refuse(e, "built for ABI %u, this rz speaks %u", v, RZ_ABI_MAJOR);
    }
    return refuse(e, "not a plugin: it has no symbol " RZ_PLUGIN_SYMBOL);
}

static bool read_symbol(struct elf *e, struct rz_plugin_header *out)
{
    Elf64_Sym symbol;
    uint64_t offset;
    int found = find_symbol(e, RZ_PLUGIN_SYMBOL, &symbol);
    if (found <= 0)
        return found < 0 ? false : no_symbol(e);
    if (symbol.st_shndx == SHN_UNDEF)
        return refuse(e, "not a plugin: it uses " RZ_PLUGIN_SYMBOL " but does not define it");
    if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT)
        return refuse(e, RZ_PLUGIN_SYMBOL " is no data object (symbol type %u)",
                      ELF64_ST_TYPE(symbol.st_info));
    if (symbol.st_value % 8)
        return refuse(e, RZ_PLUGIN_SYMBOL " is not aligned to 8 bytes");
    if (symbol.st_size < sizeof(*out))
        return refuse(e, RZ_PLUGIN_SYMBOL " has %llu bytes; a header alone has %zu",
                      (unsigned long long)symbol.st_size, sizeof(*out));
    if (!offset_of(e, symbol.st_value, sizeof(*out), &offset))
        return refuse(e, RZ_PLUGIN_SYMBOL " lies outside of the loaded part of the file");
    if (!at(e, offset, out, sizeof(*out)))
        return false;
    if (symbol.st_size < out->size) /* more is fine: sanitizers pad it */
        return refuse(e, RZ_PLUGIN_SYMBOL " has %llu bytes, but its header says %u",
                      (unsigned long long)symbol.st_size, out->size);
    return true;
}

bool rz_elf_header(int fd, struct rz_plugin_header *out, char *why, size_t cap)
{
    struct elf e = {.fd = fd, .why = why, .cap = cap};
    struct stat st;
    if (fstat(fd, &st))
        return refuse(&e, "cannot be looked at: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(&e, "not a regular file");
    e.size = (uint64_t)st.st_size;
    return read_head(&e) && read_segments(&e) && read_dynamic(&e) && read_symbol(&e, out);
}
