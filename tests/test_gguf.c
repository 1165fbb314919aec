/* test_gguf.c - the GGUF reader: what a good file gives, and every way in which a file can be bad.
 *
 * A file is written as a script: words between spaces, each some bytes.
 *   G magic   1:N 2:N 4:N 8:N a number of that many bytes   f:X d:X a float, a double
 *   s:TEXT a string with its length   t:TEXT its bytes only   z:N zeros   p zeros up to 32
 * The bytes stand in memory of exactly their size, so a sanitizer sees any read beyond them.
 */
#include "rz_test.h"

#include "numeric.h"

#include <rz/format.h>
#include <rz/plugin.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct rz_plugin rz_builtin_gguf;

struct file {
    uint8_t *data;
    size_t n;
};

static void put(struct file *f, const void *bytes, size_t n)
{
    f->data = realloc(f->data, f->n + n + 1);
    if (n)
        memcpy(f->data + f->n, bytes, n);
    f->n += n;
}

static void put_number(struct file *f, uint64_t value, size_t bytes)
{
    put(f, &value, bytes);
}

static void put_zeros(struct file *f, uint64_t n)
{
    while (n--)
        put(f, "", 1);
}

static uint64_t number(const char *s)
{
    return *s == '-' ? 0 - strtoull(s + 1, NULL, 0) : strtoull(s, NULL, 0);
}

static void put_word(struct file *f, const char *w, size_t n)
{
    float single = strtof(w + 2, NULL);
    double real = strtod(w + 2, NULL);
    switch (w[0]) {
    case 'G':
        put(f, "GGUF", 4);
        break;
    case 's':
        put_number(f, n - 2, 8);
        put(f, w + 2, n - 2);
        break;
    case 't':
        put(f, w + 2, n - 2);
        break;
    case 'f':
        put(f, &single, sizeof(single));
        break;
    case 'd':
        put(f, &real, sizeof(real));
        break;
    case 'z':
        put_zeros(f, number(w + 2));
        break;
    case 'p':
        put_zeros(f, (32 - f->n % 32) % 32);
        break;
    default:
        put_number(f, number(w + 2), (size_t)(w[0] - '0'));
    }
}

static struct file assemble(const char *script)
{
    struct file f = {malloc(1), 0};
    while (*script) {
        size_t n = strcspn(script, " ");
        if (n)
            put_word(&f, script, n);
        script += n + (script[n] == ' ');
    }
    f.data = realloc(f.data, f.n ? f.n : 1); /* exactly its size */
    return f;
}

static const struct rz_format *format(void)
{
    const struct rz_format *f = rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
    rz_check(f != NULL);
    return f;
}

/* Opens up to two files as one model. */
static int32_t open_files(const struct file *files, uint32_t n, const struct rz_format_limits *limits,
                          struct rz_format_model **model, struct rz_err *err)
{
    struct rz_source sources[2];
    for (uint32_t i = 0; i < n; i++)
        sources[i] = (struct rz_source){sizeof(sources[i]), i, files[i].data, files[i].n, "test.gguf"};
    *err = (struct rz_err){.size = sizeof(*err)};
    return format()->open(NULL, sources, n, sizeof(sources[0]), limits, model, err);
}

static const struct rz_meta *meta_of(const struct rz_format_model *m, const char *key)
{
    for (uint64_t i = 0; i < m->n_meta; i++)
        if (m->meta[i].key.len == strlen(key) && !memcmp(m->meta[i].key.data, key, strlen(key)))
            return &m->meta[i];
    return NULL;
}

/* --- bad files --- */
struct bad {
    const char *script;
    int32_t code;
    const char *where, *message; /* where: the whole of it; message: a part */
};

#define V3 "G 4:3 "
#define KV1 V3 "8:0 8:1 "
#define KV2 V3 "8:0 8:2 "
#define T1 V3 "8:1 8:0 "
#define T2 V3 "8:2 8:0 "
#define OVER " z:80"            /* bytes that a count may promise */
#define VEC4 "s:w 4:1 8:4 4:0 " /* an F32 vector of 4, then its offset */

static const struct bad header_cases[] = {
    {"", RZ_EFORMAT, "byte 0", "not a GGUF file"},
    {"1:71 1:71", RZ_EFORMAT, "byte 0", "begins with \"GG\""},
    {"t:GGML 4:3 8:0 8:0", RZ_EFORMAT, "byte 0", "begins with \"GGML\""},
    {"t:FUGG 4:3 8:0 8:0", RZ_EFORMAT, "byte 0", "not a GGUF file"},
    {"G", RZ_EFORMAT, "byte 4", "ends within the version"},
    {"G 2:3", RZ_EFORMAT, "byte 4", "ends within the version"},
    {"G 4:0 8:0 8:0", RZ_EVERSION, "byte 4", "GGUF version 0"},
    {"G 4:1 4:0 4:0", RZ_EVERSION, "byte 4", "version 1 is not supported"},
    {"G 4:4 8:0 8:0", RZ_EVERSION, "byte 4", "GGUF version 4"},
    {"G 4:-1 8:0 8:0", RZ_EVERSION, "byte 4", "4294967295"},
    {"G 4:0x03000000 8:0 8:0", RZ_EUNSUPPORTED, "byte 4", "big-endian (version 3)"},
    {"G 4:0x02000000 8:0 8:0", RZ_EUNSUPPORTED, "byte 4", "big-endian (version 2)"},
    {V3, RZ_EFORMAT, "byte 8", "ends within the number of tensors"},
    {V3 "8:0 4:0", RZ_EFORMAT, "byte 16", "ends within the number of metadata entries"},
    {V3 "8:-1 8:0", RZ_EFORMAT, "byte 8", "the number of tensors 18446744073709551615"},
    {V3 "8:0x100000000 8:0", RZ_EFORMAT, "byte 8", "4294967296"},
    {V3 "8:3 8:0" OVER, RZ_EFORMAT, "byte 8", "more than the 88 bytes that follow"},
    {V3 "8:0 8:-1", RZ_EFORMAT, "byte 16", "the number of metadata entries 18446744073709551615"},
    {V3 "8:0 8:0x8000000000000000" OVER, RZ_EFORMAT, "byte 16", "9223372036854775808"},
    {V3 "8:0 8:6" OVER, RZ_EFORMAT, "byte 16", "more than the 80 bytes that follow"},
};

static const struct bad meta_cases[] = {
    {KV1 "8:-1" OVER, RZ_EFORMAT, "byte 24", "a metadata key of 18446744073709551615 bytes"},
    {KV1 "8:0x8000000000000000" OVER, RZ_EFORMAT, "byte 24", "9223372036854775808 bytes"},
    {KV1 "8:81" OVER, RZ_EFORMAT, "byte 24", "a metadata key of 81 bytes runs past the end"},
    {KV1 "8:65536 z:65536 4:0 1:0", RZ_ELIMIT, "byte 24", "65536 bytes is too long (limit 65535)"},
    {KV1 "s: 4:0 1:0 z:8", RZ_EFORMAT, "byte 24", "a metadata key is empty"},
    {KV1 "s:abc t:123", RZ_EFORMAT, "byte 35: key abc", "ends within the type of a value"},
    {KV1 "s:a 4:13 8:0", RZ_EFORMAT, "byte 33: key a", "no such type of value: 13"},
    {KV1 "s:a 4:-1 8:0", RZ_EFORMAT, "byte 33: key a", "no such type of value: 4294967295"},
    {KV2 "s:a 4:0 1:0 s:a 4:0 1:0", RZ_EFORMAT, "byte 38: key a", "the same key was there before"},
    {KV2 "s:a 4:0 1:0 s:a 4:8 s:x", RZ_EFORMAT, "byte 38: key a", "the same key was there before"},
    {KV1 "s:a\x01z 4:13 8:0", RZ_EFORMAT, "byte 35: key a\\x01z", "no such type"},
    {KV1 "s:ab 4:2 1:0", RZ_EFORMAT, "byte 38: key ab", "its value runs past the end of the file (39 bytes)"},
    {KV1 "s:ab 4:4 2:0", RZ_EFORMAT, "byte 38: key ab", "runs past the end of the file (40 bytes)"},
    {KV1 "s:ab 4:10 4:0", RZ_EFORMAT, "byte 38: key ab", "runs past the end of the file (42 bytes)"},
    {KV1 "s:ab 4:12 4:0 2:0", RZ_EFORMAT, "byte 38: key ab", "runs past the end of the file (44 bytes)"},
    {KV1 "s:a 4:7 1:2", RZ_EFORMAT, "byte 37: key a", "0 or 1, not 2"},
    {KV1 "s:a 4:8 4:2", RZ_EFORMAT, "byte 37: key a", "ends within a string"},
    {KV1 "s:a 4:8 8:-1", RZ_EFORMAT, "byte 37: key a", "a string of 18446744073709551615 bytes"},
    {KV1 "s:a 4:8 8:6 t:hello", RZ_EFORMAT, "byte 37: key a", "a string of 6 bytes runs past"},
    {KV1 "s:a 4:9 2:0", RZ_EFORMAT, "byte 37: key a", "ends within the type of an array's elements"},
    {KV1 "s:a 4:9 4:9 8:1 4:0 8:0", RZ_EFORMAT, "byte 37: key a", "an array of arrays"},
    {KV1 "s:a 4:9 4:13 8:1 8:0", RZ_EFORMAT, "byte 37: key a", "no such type of array elements: 13"},
    {KV1 "s:a 4:9 4:0 4:1", RZ_EFORMAT, "byte 41: key a", "ends within the length of an array"},
    {KV1 "s:a 4:9 4:0 8:-1" OVER, RZ_EFORMAT, "byte 41: key a",
     "the length of an array 18446744073709551615"},
    {KV1 "s:a 4:9 4:10 8:0x2000000000000000" OVER, RZ_EFORMAT, "byte 41: key a", "2305843009213693952"},
    {KV1 "s:a 4:9 4:6 8:21" OVER, RZ_EFORMAT, "byte 41: key a", "21 is more than the 80 bytes"},
    {KV1 "s:a 4:9 4:8 8:11" OVER, RZ_EFORMAT, "byte 41: key a", "11 is more than the 80 bytes"},
    {KV1 "s:a 4:9 4:8 8:2 s:x 8:99 z:20", RZ_EFORMAT, "byte 58: key a", "a string of 99 bytes runs past"},
    {KV1 "s:a 4:9 4:7 8:3 1:0 1:1 1:7", RZ_EFORMAT, "byte 51: key a", "0 or 1, not 7"},
    {KV1 "s:general.alignment 4:5 4:32", RZ_EFORMAT, "byte 24: key general.alignment",
     "must be u32 (4), not 5"},
    {KV1 "s:general.alignment 4:10 8:32", RZ_EFORMAT, "byte 24: key general.alignment",
     "must be u32 (4), not 10"},
    {KV1 "s:general.alignment 4:4 4:0", RZ_EFORMAT, "byte 24: key general.alignment", "an alignment of 0"},
    {KV1 "s:general.alignment 4:4 4:13", RZ_EFORMAT, "byte 24: key general.alignment", "an alignment of 13"},
    {KV1 "s:general.alignment 4:4 4:0x200000", RZ_EFORMAT, "byte 24: key general.alignment", "2097152"},
    {KV1 "s:general.alignment 4:4 4:0x80000000", RZ_EFORMAT, "byte 24: key general.alignment", "2147483648"},
    {KV1 "s:split.count 4:2 2:3", RZ_EFORMAT, "byte 0", "part 1 of a model split into 3"},
    {KV1 "s:split.no 4:2 2:1", RZ_EFORMAT, "byte 0", "split.no is 1 where 0 was expected"},
    {KV1 "s:split.no 4:5 4:-1", RZ_EFORMAT, "byte 24: key split.no", "an integer that is not negative"},
    {KV1 "s:split.count 4:8 s:1 z:3", RZ_EFORMAT, "byte 24: key split.count",
     "an integer that is not negative"},
};

static const struct bad tensor_cases[] = {
    {T1 "8:-1" OVER, RZ_EFORMAT, "byte 24", "a tensor's name of 18446744073709551615 bytes"},
    {T1 "8:64 z:64 4:1 8:4 4:0 8:0", RZ_ELIMIT, "byte 24", "64 bytes is too long (limit 63)"},
    {T1 "s: 4:1 8:4 4:0 8:0 z:9", RZ_EFORMAT, "byte 24", "a tensor's name is empty"},
    {T2 VEC4 "8:0 " VEC4 "8:32 p z:64", RZ_EFORMAT, "byte 57: tensor w", "the same tensor was there before"},
    {T1 "s:abcdefghijklmnopqrstuvwxyz 2:0", RZ_EFORMAT, "byte 58: tensor abcdefghijklmnopqrstuvwxyz",
     "ends within the number of dimensions"},
    {T1 "s:w 4:0 8:4 4:0 8:0 p z:32", RZ_EFORMAT, "byte 33: tensor w", "0 dimensions (1 to 4)"},
    {T1 "s:w 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0", RZ_EFORMAT, "byte 33: tensor w", "5 dimensions"},
    {T1 "s:w 4:-1 8:4 4:0 8:0 p z:32", RZ_EFORMAT, "byte 33: tensor w", "4294967295 dimensions"},
    {T1 "s:w 4:1 8:0 4:0 8:0 p z:32", RZ_EFORMAT, "byte 37: tensor w", "dimension 0 is 0"},
    {T1 "s:w 4:2 8:4 8:-1 4:0 8:0 p z:32", RZ_EFORMAT, "byte 45: tensor w",
     "dimension 1 is 18446744073709551615"},
    {T1 "s:w 4:1 8:0x80000000 4:0 8:0 p z:32", RZ_EFORMAT, "byte 37: tensor w", "dimension 0 is 2147483648"},
    {T1 "s:w 4:4 8:0x40000000 8:0x40000000 8:0x40000000 8:4 4:0 8:0", RZ_EFORMAT, "byte 69: tensor w",
     "number of elements does not fit"},
    {T1 "s:w 4:3 8:0x7fffffff 8:0x7fffffff 8:2 4:0 8:0", RZ_EFORMAT, "byte 61: tensor w",
     "its size does not fit"},
    {T1 "s:w 4:1 8:33 4:2 8:0 p z:64", RZ_EFORMAT, "byte 45: tensor w",
     "rows of 33 elements are no whole number of Q4_0 blocks (32)"},
    {T1 "s:w 4:1 8:128 4:12 8:0 p z:96", RZ_EFORMAT, "byte 45: tensor w", "Q4_K blocks (256)"},
    {T1 "s:w 4:1 8:32 4:4 8:0 p z:96", RZ_EUNSUPPORTED, "byte 45: tensor w", "type 4 (Q4_2, removed"},
    {T1 "s:w 4:1 8:32 4:31 8:0 p z:96", RZ_EUNSUPPORTED, "byte 45: tensor w", "type 31 (Q4_0_4_4, removed"},
    {T1 "s:w 4:1 8:32 4:38 8:0 p z:96", RZ_EUNSUPPORTED, "byte 45: tensor w", "type 38 (IQ4_NL_8_8, removed"},
    {T1 "s:w 4:1 8:32 4:9 8:0 p z:96", RZ_EUNSUPPORTED, "byte 45: tensor w", "type 9 (Q8_1)"},
    {T1 "s:w 4:1 8:32 4:15 8:0 p z:96", RZ_EUNSUPPORTED, "byte 45: tensor w", "type 15 (Q8_K)"},
    {T1 "s:w 4:1 8:32 4:43 8:0 p z:96", RZ_EFORMAT, "byte 45: tensor w", "no such type of elements: 43"},
    {T1 "s:w 4:1 8:32 4:-1 8:0 p z:96", RZ_EFORMAT, "byte 45: tensor w",
     "no such type of elements: 4294967295"},
    {T1 "s:w 4:1 8:4 4:0 4:0", RZ_EFORMAT, "byte 49: tensor w", "ends within the offset"},
    {T1 VEC4 "8:-1 p z:32", RZ_EFORMAT, "byte 49: tensor w", "no multiple of the alignment 32"},
    {T1 VEC4 "8:16 p z:64", RZ_EFORMAT, "byte 49: tensor w", "its offset 16 is no multiple"},
    {T1 VEC4 "8:32 p z:64", RZ_EFORMAT, "byte 49: tensor w", "its offset 32 leaves a hole"},
    {T1 VEC4 "8:-32 p z:64", RZ_EFORMAT, "byte 49: tensor w", "leaves a hole"},
    {T2 VEC4 "8:0 s:v 4:1 8:4 4:0 8:0 p z:64", RZ_EFORMAT, "byte 82: tensor v",
     "its offset 0 overlaps the tensor before it, which ends at 32"},
    {T2 VEC4 "8:0 s:v 4:1 8:4 4:0 8:16 p z:64", RZ_EFORMAT, "byte 82: tensor v",
     "its offset 16 is no multiple"},
    {T2 VEC4 "8:0 s:v 4:1 8:4 4:0 8:96 p z:99", RZ_EFORMAT, "byte 82: tensor v", "leaves a hole"},
    {T1 VEC4 "8:0 p z:15", RZ_EFORMAT, "byte 64: tensor w",
     "its 16 bytes at offset 0 of the data end past the file (79 bytes): the file is cut short, download it "
     "again"},
    {T1 VEC4 "8:0", RZ_EFORMAT, "byte 64: tensor w", "end past the file (57 bytes)"},
    {T2 VEC4 "8:0 s:v 4:1 8:4 4:0 8:32 p z:47", RZ_EFORMAT, "byte 96: tensor v", "its 16 bytes at offset 32"},
    {V3 "8:1 8:1 s:general.alignment 4:4 4:64 " VEC4 "8:32 z:99", RZ_EFORMAT, "byte 82: tensor w",
     "no multiple of the alignment 64"},
};

/* Four tensors of 2^62 bytes: their sum is 2^64. */
#define HUGE_T(name, at) "s:" name " 4:2 8:0x40000000 8:0x40000000 4:0 8:" at " "
static const struct bad sum_case = {V3 "8:4 8:0 " HUGE_T("a", "0") HUGE_T("b", "0x4000000000000000")
                                        HUGE_T("c", "0x8000000000000000") HUGE_T("d", "0xc000000000000000"),
                                    RZ_EFORMAT, "byte 180: tensor d",
                                    "the sizes of all tensors do not fit into 64 bits"};

static void check_bad(const struct bad *b)
{
    struct file f = assemble(b->script);
    struct rz_format_model *m = NULL;
    struct rz_err err;
    int32_t status = open_files(&f, 1, NULL, &m, &err);
    if (status != b->code || err.code != b->code || strcmp(err.where, b->where) != 0 ||
        !strstr(err.message, b->message) || m)
        rz_fail_test("%s\n  wanted %d: %s: ...%s...\n  got    %d: %s: %s", b->script, b->code, b->where,
                     b->message, status, err.where, err.message);
    free(f.data);
}

RZ_TEST(gguf, refuses_bad_headers)
{
    for (size_t i = 0; i < sizeof(header_cases) / sizeof(header_cases[0]); i++)
        check_bad(&header_cases[i]);
}

RZ_TEST(gguf, refuses_bad_metadata)
{
    for (size_t i = 0; i < sizeof(meta_cases) / sizeof(meta_cases[0]); i++)
        check_bad(&meta_cases[i]);
}

RZ_TEST(gguf, refuses_bad_tensors)
{
    for (size_t i = 0; i < sizeof(tensor_cases) / sizeof(tensor_cases[0]); i++)
        check_bad(&tensor_cases[i]);
    check_bad(&sum_case);
}

/* --- limits --- */
static void check_limit(struct rz_format_limits limits, const char *script, const char *where,
                        const char *message)
{
    struct file f = assemble(script);
    struct rz_format_model *m = NULL;
    struct rz_err err;
    limits.size = sizeof(limits);
    rz_check_eq(open_files(&f, 1, &limits, &m, &err), RZ_ELIMIT);
    rz_check_streq(err.where, where);
    rz_check_has(err.message, message);
    rz_check(m == NULL);
    free(f.data);
}

RZ_TEST(gguf, honours_limits)
{
    check_limit((struct rz_format_limits){.max_tensors = 1}, T2 OVER, "byte 8", "2 is too large (limit 1)");
    check_limit((struct rz_format_limits){.max_metadata = 1}, KV2 OVER, "byte 16",
                "2 is too large (limit 1)");
    check_limit((struct rz_format_limits){.max_string_bytes = 4}, KV1 "s:a 4:8 s:hello", "byte 37: key a",
                "5 bytes is too long (limit 4)");
    check_limit((struct rz_format_limits){.max_array = 2}, KV1 "s:a 4:9 4:0 8:3 z:3", "byte 41: key a",
                "3 is too large (limit 2)");
}

/* --- split models --- */
#define PART(no, count) \
    V3 "8:1 8:3 s:split.no 4:2 2:" no " s:split.count 4:2 2:" count " s:split.tensors.count 4:5 4:2 "
#define W "s:w 4:1 8:4 4:0 8:0 p z:32"
#define V "s:v 4:1 8:8 4:0 8:0 p z:32"

static int32_t open_two(const char *first, const char *second, struct rz_format_model **m, struct rz_err *err)
{
    struct file files[2] = {assemble(first), assemble(second)};
    int32_t status = open_files(files, 2, NULL, m, err);
    free(files[0].data);
    free(files[1].data);
    return status;
}

RZ_TEST(gguf, reads_split_models)
{
    struct rz_format_model *m;
    struct rz_err err;
    rz_check_ok(open_two(PART("0", "2") W, PART("1", "2") V, &m, &err), &err);
    rz_check_eq(m->n_tensors, 2);
    rz_check_eq(m->tensors[0].shard, 0);
    rz_check_eq(m->tensors[1].shard, 1);
    rz_check_eq(m->tensors[1].dims[0], 8);
    rz_check_eq(m->tensors[0].offset % 32, 0);
    rz_check_eq(m->n_meta, 3);
    format()->close(NULL, m);
}

RZ_TEST(gguf, refuses_bad_splits)
{
    static const struct {
        const char *first, *second, *where, *message;
    } cases[] = {
        {PART("0", "2") W, V3 "8:1 8:0 " V, "part 2: byte 0", "no part of a split model"},
        {PART("0", "3") W, PART("1", "3") V, "part 1: byte 0", "split.count is 3 but 2 files were given"},
        {PART("1", "2") W, PART("0", "2") V, "part 1: byte 0", "the parts are mixed up"},
        {PART("0", "2") W, PART("0", "2") V, "part 2: byte 0", "split.no is 0 where 1 was expected"},
        {PART("0", "2") W, PART("1", "2") W, "part 2: byte 106: tensor w",
         "the same tensor was there before"},
        {PART("0", "2") W, "", "part 2: byte 0", "not a GGUF file"},
        {PART("0", "2") W, V3 "8:0 8:2 s:split.no 4:2 2:1 s:split.count 4:2 2:2", "part 1: byte 8",
         "split.tensors.count is 2 but the parts hold 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rz_format_model *m = NULL;
        struct rz_err err;
        rz_check_eq(open_two(cases[i].first, cases[i].second, &m, &err), RZ_EFORMAT);
        rz_check_streq(err.where, cases[i].where);
        rz_check_has(err.message, cases[i].message);
    }
}

/* --- good files --- */
static struct rz_format_model *open_good(const char *script, struct file *f)
{
    struct rz_format_model *m = NULL;
    struct rz_err err;
    *f = assemble(script);
    rz_check_ok(open_files(f, 1, NULL, &m, &err), &err);
    return m;
}

RZ_TEST(gguf, accepts_an_empty_model_of_both_versions)
{
    struct file f;
    format()->close(NULL, open_good("G 4:2 8:0 8:0", &f));
    free(f.data);
    struct rz_format_model *m = open_good(V3 "8:0 8:0", &f);
    rz_check_eq(m->n_meta, 0);
    rz_check_eq(m->n_tensors, 0);
    format()->close(NULL, m);
    free(f.data);
    format()->close(NULL, NULL);
}

static uint64_t scalar(const struct rz_format_model *m, const char *key, uint32_t type, size_t bytes)
{
    const struct rz_meta *e = meta_of(m, key);
    uint64_t value = 0;
    rz_check(e != NULL);
    rz_check_eq(e->type, type);
    rz_check_eq(e->elem_type, type);
    rz_check_eq(e->n, 1);
    memcpy(&value, e->data, bytes);
    return value;
}

RZ_TEST(gguf, reads_every_type_of_value)
{
    struct file f;
    struct rz_format_model *m =
        open_good(V3 "8:0 8:12 s:a 4:0 1:200 s:b 4:1 1:-2 s:c 4:2 2:60000 s:d 4:3 2:-3 "
                     "s:e 4:4 4:4000000000 s:f 4:5 4:-4 s:g 4:6 f:1.5 s:h 4:7 1:1 "
                     "s:i 4:8 s:text s:j 4:10 8:-1 s:k 4:11 8:-5 s:l 4:12 d:0.25",
                  &f);
    float single;
    double real;
    rz_check_eq(scalar(m, "a", RZ_META_U8, 1), 200);
    rz_check_eq((int8_t)scalar(m, "b", RZ_META_I8, 1), -2);
    rz_check_eq(scalar(m, "c", RZ_META_U16, 2), 60000);
    rz_check_eq((int16_t)scalar(m, "d", RZ_META_I16, 2), -3);
    rz_check_eq(scalar(m, "e", RZ_META_U32, 4), 4000000000u);
    rz_check_eq((int32_t)scalar(m, "f", RZ_META_I32, 4), -4);
    scalar(m, "g", RZ_META_F32, 4);
    memcpy(&single, meta_of(m, "g")->data, 4);
    rz_check(single == 1.5f);
    rz_check_eq(scalar(m, "h", RZ_META_BOOL, 1), 1);
    const struct rz_str *s = meta_of(m, "i")->data;
    rz_check_eq(s->len, 4);
    rz_check_memeq(s->data, "text", 4);
    rz_check((const uint8_t *)s->data > f.data && (const uint8_t *)s->data < f.data + f.n);
    rz_check_eq(scalar(m, "j", RZ_META_U64, 8), -1);
    rz_check_eq(scalar(m, "k", RZ_META_I64, 8), -5);
    scalar(m, "l", RZ_META_F64, 8);
    memcpy(&real, meta_of(m, "l")->data, 8);
    rz_check(real == 0.25);
    format()->close(NULL, m);
    free(f.data);
}

RZ_TEST(gguf, reads_arrays)
{
    struct file f;
    struct rz_format_model *m =
        open_good(V3 "8:0 8:5 s:a 4:9 4:8 8:3 s:one s: s:three s:b 4:9 4:6 8:2 f:1 f:-2 "
                     "s:c 4:9 4:8 8:0 s:d 4:9 4:7 8:2 1:0 1:1 s:e 4:9 4:11 8:1 8:-7",
                  &f);
    const struct rz_meta *a = meta_of(m, "a");
    const struct rz_str *s = a->data;
    rz_check_eq(a->type, RZ_META_ARRAY);
    rz_check_eq(a->elem_type, RZ_META_STR);
    rz_check_eq(a->n, 3);
    rz_check_memeq(s[0].data, "one", 3);
    rz_check_eq(s[1].len, 0);
    rz_check_memeq(s[2].data, "three", 5);
    float pair[2];
    rz_check_eq(meta_of(m, "b")->n, 2);
    memcpy(pair, meta_of(m, "b")->data, sizeof(pair));
    rz_check(pair[0] == 1 && pair[1] == -2);
    rz_check_eq(meta_of(m, "c")->n, 0);
    rz_check_eq(meta_of(m, "d")->elem_type, RZ_META_BOOL);
    rz_check_eq(meta_of(m, "e")->elem_type, RZ_META_I64);
    format()->close(NULL, m);
    free(f.data);
}

RZ_TEST(gguf, reads_tensors_of_every_supported_type)
{
    static const int types[] = {RZ_TYPE_F32,  RZ_TYPE_F16,  RZ_TYPE_BF16, RZ_TYPE_Q4_0,
                                RZ_TYPE_Q4_1, RZ_TYPE_Q5_0, RZ_TYPE_Q5_1, RZ_TYPE_Q8_0,
                                RZ_TYPE_Q4_K, RZ_TYPE_Q5_K, RZ_TYPE_Q6_K};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char script[200];
        struct file f;
        uint64_t bytes;
        rz_check(rz_type_bytes(types[i], 512 * 3, &bytes));
        snprintf(script, sizeof(script), T1 "s:blk.0.x 4:2 8:512 8:3 4:%d 8:0 p z:%llu", types[i],
                 (unsigned long long)bytes);
        struct rz_format_model *m = open_good(script, &f);
        const struct rz_tensor *t = &m->tensors[0];
        rz_check_eq(t->type, types[i]);
        rz_check_eq(t->bytes, bytes);
        rz_check_eq(t->n_dims, 2);
        rz_check_eq(t->dims[0], 512);
        rz_check_eq(t->dims[1], 3);
        rz_check_eq(t->dims[2] * t->dims[3], 1);
        rz_check_eq(t->offset, 96);
        rz_check_eq(t->offset + t->bytes, f.n);
        rz_check_memeq(t->name.data, "blk.0.x", 7);
        format()->close(NULL, m);
        free(f.data);
    }
}

RZ_TEST(gguf, honours_the_alignment)
{
    struct file f;
    struct rz_format_model *m = open_good(V3 "8:2 8:1 s:general.alignment 4:4 4:1 s:w 4:1 8:3 4:1 8:0 "
                                             "s:v 4:1 8:2 4:0 8:6 z:14",
                                          &f);
    rz_check_eq(m->tensors[0].offset, f.n - 14);
    rz_check_eq(m->tensors[1].offset, f.n - 8);
    format()->close(NULL, m);
    free(f.data);
    m = open_good(
        V3 "8:2 8:1 s:general.alignment 4:4 4:64 s:w 4:1 8:4 4:0 8:0 s:v 4:1 8:4 4:0 8:64 p p z:108 z:27",
        &f);
    rz_check_eq(m->tensors[0].offset, 128);
    rz_check_eq(m->tensors[1].offset, 192);
    format()->close(NULL, m);
    free(f.data);
}

RZ_TEST(gguf, accepts_bytes_after_the_data)
{
    struct file f;
    struct rz_format_model *m = open_good(T1 VEC4 "8:0 p z:16 t:trailing", &f);
    rz_check_eq(m->tensors[0].offset, 64);
    format()->close(NULL, m);
    free(f.data);
}

RZ_TEST(gguf, probes_by_the_magic)
{
    struct file good = assemble("G"), bad = assemble("t:GGU");
    struct rz_source s = {sizeof(s), 0, good.data, good.n, "x"};
    rz_check_eq(format()->probe(NULL, &s), 100);
    s = (struct rz_source){sizeof(s), 0, bad.data, bad.n, "x"};
    rz_check_eq(format()->probe(NULL, &s), 0);
    free(good.data);
    free(bad.data);
}

RZ_TEST(gguf, refuses_impossible_calls)
{
    struct rz_format_model *m = NULL;
    struct rz_err err = {.size = sizeof(err)};
    rz_check_eq(format()->open(NULL, NULL, 0, sizeof(struct rz_source), NULL, &m, &err), RZ_EINVAL);
}

/* --- any bytes --- */
static const char *const sample =
    V3 "8:3 8:5 s:general.alignment 4:4 4:32 s:general.architecture 4:8 s:llama "
       "s:tokens 4:9 4:8 8:4 s:one s:two s:three s:four s:scores 4:9 4:6 8:3 f:1 f:2 "
       "f:3 s:flag 4:7 1:1 s:w 4:2 8:8 8:2 4:0 8:0 s:v 4:1 8:32 4:2 8:64 "
       "s:u 4:3 8:4 8:2 8:2 4:1 8:96 p z:128";

/* All that the tables promise lies inside the file. */
static void check_tables(const struct rz_format_model *m, const struct file *f)
{
    unsigned sum = 0;
    for (uint64_t i = 0; i < m->n_meta; i++) {
        const struct rz_meta *e = &m->meta[i];
        const struct rz_str *s = e->data;
        for (uint64_t k = 0; e->elem_type == RZ_META_STR && k < e->n; k++)
            for (uint64_t j = 0; j < s[k].len; j++)
                sum += (unsigned char)s[k].data[j];
    }
    for (uint64_t i = 0; i < m->n_tensors; i++) {
        rz_check(m->tensors[i].offset <= f->n && m->tensors[i].bytes <= f->n - m->tensors[i].offset);
        for (uint64_t j = 0; j < m->tensors[i].bytes; j++)
            sum += f->data[m->tensors[i].offset + j];
    }
    rz_check(sum != 1); /* reads them all */
}

/* An error names the place, or the file is fine; returns whether it is. */
static int check_any(const struct file *f)
{
    struct rz_format_model *m = NULL;
    struct rz_err err;
    if (open_files(f, 1, NULL, &m, &err)) {
        rz_check(m == NULL);
        rz_check(strstr(err.where, "byte ") != NULL && err.message[0]);
        return 0;
    }
    check_tables(m, f);
    format()->close(NULL, m);
    return 1;
}

RZ_TEST(gguf, survives_a_cut_at_every_byte)
{
    struct file whole = assemble(sample);
    rz_check_eq(check_any(&whole), 1);
    for (size_t n = 0; n < whole.n; n++) {
        struct file cut = {malloc(n ? n : 1), n};
        memcpy(cut.data, whole.data, n);
        rz_check_eq(check_any(&cut), 0);
        free(cut.data);
    }
    free(whole.data);
}

RZ_TEST(gguf, survives_every_single_byte_change)
{
    struct file whole = assemble(sample);
    static const int values[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
    for (size_t i = 0; i < whole.n - 128; i++) {
        uint8_t old = whole.data[i];
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            whole.data[i] = (uint8_t)values[k];
            check_any(&whole);
        }
        for (int bit = 0; bit < 8; bit++) {
            whole.data[i] = old ^ (uint8_t)(1 << bit);
            check_any(&whole);
        }
        whole.data[i] = old;
    }
    free(whole.data);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

RZ_TEST(gguf, survives_random_damage)
{
    uint64_t state = 20240607;
    int good = 0;
    for (int round = 0; round < 20000; round++) {
        struct file f = assemble(round % 100 ? sample : "z:200");
        for (int hits = 1 + (int)(next_random(&state) % 8); hits > 0; hits--) {
            size_t at = next_random(&state) % f.n;
            f.data[at] = next_random(&state) & 1 ? (uint8_t)next_random(&state) : (uint8_t)(f.data[at] + 1);
        }
        if (round % 100 == 0)
            memcpy(f.data, "GGUF\3\0\0", 8);
        good += check_any(&f);
        free(f.data);
    }
    rz_check(good > 100 && good < 19000);
}
