/* test_safetensors.c - safetensors files: what a good one gives, and every way in which one can be bad.
 *
 * A case is the header's JSON and the number of bytes of data after it; the eight bytes of length are made
 * from the text. Files stand in memory of exactly their size, so a sanitizer sees any read beyond them.
 */
#include "rz_test.h"

#include "numeric.h"
#include "transform.h"

#include <math.h>
#include <rz/format.h>
#include <rz/plugin.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct rz_plugin rz_builtin_safetensors;

static const struct rz_format *format(void)
{
    return rz_builtin_safetensors.query(NULL, RZ_FORMAT_1, 0);
}

struct file {
    uint8_t *data;
    size_t n;
};

/* length: what the first eight bytes say; -1: the text's own. */
static struct file assemble(const char *json, size_t n_json, int64_t length, size_t n_data)
{
    struct file f = {malloc(8 + n_json + n_data), 8 + n_json + n_data};
    uint64_t n = length < 0 ? n_json : (uint64_t)length;
    memcpy(f.data, &n, 8);
    memcpy(f.data + 8, json, n_json);
    memset(f.data + 8 + n_json, 1, n_data);
    return f;
}

static int32_t open_file(const struct file *f, const struct rz_format_limits *limits,
                         struct rz_format_model **m, struct rz_err *err)
{
    struct rz_source source = {
        .size = sizeof(source), .data = f->data, .bytes = f->n, .path = "/models/x.safetensors"};
    *err = (struct rz_err){.size = sizeof(*err)};
    return format()->open(NULL, &source, 1, sizeof(source), limits, m, err);
}

static const struct rz_tensor *tensor_at(const struct rz_format_model *m, uint64_t i)
{
    return (const void *)((const char *)m->tensors + i * m->tensor_stride);
}

/* --- good files --- */

static void good(const char *json, size_t n_data, struct file *f, struct rz_format_model **m)
{
    struct rz_err err;
    *f = assemble(json, strlen(json), -1, n_data);
    rz_check_ok(open_file(f, NULL, m, &err), &err);
}

RZ_TEST(safetensors, reads_tensors)
{
    struct file f;
    struct rz_format_model *m;
    good("{\"__metadata__\":{\"format\":\"pt\"},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
         "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
         "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
         "\"none\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[28,28]}}   ",
         36, &f, &m);
    rz_check_eq(m->n_tensors, 4);
    rz_check_eq(m->n_meta, 0);
    const struct rz_tensor *b = tensor_at(m, 0);
    rz_check(b->name.len == 1 && b->name.data[0] == 'b');
    rz_check_eq(b->type, RZ_TYPE_F32);
    rz_check_eq(b->n_dims, 2);
    rz_check(b->dims[0] == 3 && b->dims[1] == 2 && b->dims[2] == 1);
    rz_check_eq(b->offset, f.n - 36 + 4);
    rz_check_eq(b->bytes, 24);
    rz_check(b->transform == 0 && b->data == NULL);
    rz_check_eq(tensor_at(m, 1)->offset, f.n - 36);
    rz_check_eq(tensor_at(m, 2)->dims[0], 1);
    rz_check_eq(tensor_at(m, 3)->bytes, 0);
    format()->close(NULL, m);
    free(f.data);
}

RZ_TEST(safetensors, knows_all_types)
{
    static const struct {
        const char *name;
        int32_t type, bytes;
    } types[] = {{"F64", RZ_TYPE_F64, 8},   {"F32", RZ_TYPE_F32, 4},         {"F16", RZ_TYPE_F16, 2},
                 {"BF16", RZ_TYPE_BF16, 2}, {"F8_E4M3", RZ_TYPE_F8_E4M3, 1}, {"F8_E5M2", RZ_TYPE_F8_E5M2, 1},
                 {"I8", RZ_TYPE_I8, 1},     {"I16", RZ_TYPE_I16, 2},         {"I32", RZ_TYPE_I32, 4},
                 {"I64", RZ_TYPE_I64, 8},   {"U8", RZ_TYPE_U8, 1},           {"U16", RZ_TYPE_U16, 2},
                 {"U32", RZ_TYPE_U32, 4},   {"U64", RZ_TYPE_U64, 8},         {"BOOL", RZ_TYPE_BOOL, 1}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char json[160];
        struct file f;
        struct rz_format_model *m;
        snprintf(json, sizeof(json), "{\"t\":{\"dtype\":\"%s\",\"shape\":[5],\"data_offsets\":[0,%d]}}",
                 types[i].name, 5 * types[i].bytes);
        good(json, 5 * (size_t)types[i].bytes, &f, &m);
        rz_check_eq(tensor_at(m, 0)->type, types[i].type);
        rz_check_streq(rz_type_info(types[i].type)->name, types[i].name);
        format()->close(NULL, m);
        free(f.data);
    }
}

RZ_TEST(safetensors, is_sure_of_its_own_files_only)
{
    static const uint8_t gguf[16] = "GGUF\3\0\0\0\0", header[16] = "\2\0\0\0\0\0\0\0{}";
    struct rz_source s = {.size = sizeof(s), .data = gguf, .bytes = sizeof(gguf), .path = "/m/x.gguf"};
    rz_check_eq(format()->probe(NULL, &s), 0);
    s.data = header;
    rz_check(format()->probe(NULL, &s) > 0);
    s.path = "/m/config.json";
    rz_check_eq(format()->probe(NULL, &s), 90);
    s.bytes = 3;
    s.path = "/m/x";
    rz_check_eq(format()->probe(NULL, &s), 0);
}

/* --- bad files --- */

struct bad {
    const char *json;
    size_t n_data;
    int32_t code;
    const char *where; /* after "x.safetensors: " */
    const char *message;
};

#define T(body) "{\"t\":{" body "}}"
#define D "\"dtype\":\"F32\","
#define S "\"shape\":[2],"
#define O(from, to) "\"data_offsets\":[" from "," to "]"
#define F(name, from, to) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4]," O(from, to) "}"
#define TENSOR RZ_EFORMAT, "tensor t"

static const struct bad cases[] = {
    /* the text */
    {"[]", 0, RZ_EFORMAT, "byte 8", "must begin with {, not with byte 0x5b"},
    {" {}", 0, RZ_EFORMAT, "byte 8", "must begin with {, not with byte 0x20"},
    {"\"x\"", 0, RZ_EFORMAT, "byte 8", "not with byte 0x22"},
    {"{", 0, RZ_EFORMAT, "byte 9", "not valid JSON: string or '}' expected"},
    {"{}x", 0, RZ_EFORMAT, "byte 11", "not valid JSON: end of file expected"},
    {"{}{}", 0, RZ_EFORMAT, "byte 11", "end of file expected near '{'"},
    {"{} \n", 0, RZ_EFORMAT, "byte 11", "padded with byte 0x0a, not with spaces"},
    {"{}\t", 0, RZ_EFORMAT, "byte 10", "padded with byte 0x09"},
    {"{'t':1}", 0, RZ_EFORMAT, "byte 10", "not valid JSON"},
    {"{\"\xff\":1}", 0, RZ_EFORMAT, "byte 10", "unable to decode byte 0xff"},
    {"{\"a\\u0000\":1}", 0, RZ_EFORMAT, NULL, "NUL byte in object key not supported"},
    {"{\"t\":{\"shape\":[1e999]}}", 0, RZ_EFORMAT, NULL, "not valid JSON: real number overflow"},
    {"{\"t\":{\"shape\":[18446744073709551616]}}", 0, RZ_EFORMAT, NULL, "not valid JSON: too big integer"},
    /* duplicates */
    {"{" F("t", "0", "4") "," F("t", "0", "4") "}", 4, RZ_EFORMAT, NULL, "duplicate object key near '\"t\"'"},
    {T(D S O("0", "8") ",\"dtype\":\"F32\""), 8, RZ_EFORMAT, NULL, "duplicate object key near '\"dtype\"'"},
    {T(D S "\"shape\":[2]," O("0", "8")), 8, RZ_EFORMAT, NULL, "duplicate object key near '\"shape\"'"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, RZ_EFORMAT, NULL,
     "duplicate object key near '\"a\"'"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, RZ_EFORMAT, NULL, "near '\"__metadata__\"'"},
    /* the description */
    {"{\"__metadata__\":[]}", 0, RZ_EFORMAT, "byte 8", "__metadata__ must be an object"},
    {"{\"__metadata__\":null}", 0, RZ_EFORMAT, "byte 8", "__metadata__ must be an object"},
    {"{\"__metadata__\":{\"n\":1}}", 0, RZ_EFORMAT, "byte 8", "__metadata__: \"n\" must be a string"},
    {"{\"__metadata__\":{\"n\":{}}}", 0, RZ_EFORMAT, "byte 8", "__metadata__: \"n\" must be a string"},
    {"{\"\":{\"dtype\":\"F32\"}}", 0, RZ_EFORMAT, "byte 8", "a tensor's name is empty"},
    /* an entry */
    {"{\"t\":[]}", 0, TENSOR, "its entry must be an object"},
    {"{\"t\":null}", 0, TENSOR, "its entry must be an object"},
    {T(D S O("0", "8") ",\"stride\":1"), 8, TENSOR, "\"stride\" is no field of the format"},
    {T(D S O("0", "8") ",\"\\u001b\":1"), 8, TENSOR, "\"\\x1b\" is no field"},
    {T(S O("0", "8")), 8, TENSOR, "it has no dtype"},
    {T("\"dtype\":7," S O("0", "8")), 8, TENSOR, "its dtype must be a string"},
    {T("\"dtype\":null," S O("0", "8")), 8, TENSOR, "its dtype must be a string"},
    {T("\"dtype\":\"f32\"," S O("0", "8")), 8, RZ_EUNSUPPORTED, "tensor t", "dtype \"f32\" is not known"},
    {T("\"dtype\":\"F8_E8M0\"," S O("0", "2")), 2, RZ_EUNSUPPORTED, "tensor t", "dtype \"F8_E8M0\""},
    {T("\"dtype\":\"F4\"," S O("0", "1")), 1, RZ_EUNSUPPORTED, "tensor t", "dtype \"F4\" is not known"},
    {T("\"dtype\":\"\"," S O("0", "8")), 8, RZ_EUNSUPPORTED, "tensor t", "dtype \"\" is not known"},
    {T(D O("0", "8")), 8, TENSOR, "it has no shape"},
    {T(D "\"shape\":2," O("0", "8")), 8, TENSOR, "its shape must be an array"},
    {T(D "\"shape\":{}," O("0", "8")), 8, TENSOR, "its shape must be an array"},
    {T(D "\"shape\":[-1]," O("0", "8")), 8, TENSOR, "dimension 0 of its shape is not an integer from 0 up"},
    {T(D "\"shape\":[1,2.0]," O("0", "8")), 8, TENSOR, "dimension 1 of its shape is not an integer"},
    {T(D "\"shape\":[\"2\"]," O("0", "8")), 8, TENSOR, "dimension 0 of its shape"},
    {T(D "\"shape\":[true]," O("0", "8")), 8, TENSOR, "dimension 0 of its shape"},
    {T(D "\"shape\":[[2]]," O("0", "8")), 8, TENSOR, "dimension 0 of its shape"},
    {T(D "\"shape\":[1,1,1,1,2]," O("0", "8")), 8, RZ_EUNSUPPORTED, "tensor t", "5 dimensions (at most 4)"},
    {T(D "\"shape\":[4294967296,4294967296]," O("0", "8")), 8, TENSOR, "elements does not fit into 64 bits"},
    {T(D "\"shape\":[9223372036854775807,2]," O("0", "8")), 8, TENSOR, "its size does not fit into 64 bits"},
    {T(D "\"shape\":[4611686018427387904]," O("0", "8")), 8, TENSOR, "its size does not fit into 64 bits"},
    {T(D "\"shape\":[2]"), 8, TENSOR, "it has no data_offsets"},
    {T(D S "\"data_offsets\":8"), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S "\"data_offsets\":[]"), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S "\"data_offsets\":[0]"), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S "\"data_offsets\":[0,4,8]"), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S O("0", "8.0")), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S O("\"0\"", "8")), 8, TENSOR, "its data_offsets must be two integers"},
    {T(D S O("-8", "0")), 8, TENSOR, "its data_offsets -8 and 0 must not be negative"},
    {T(D S O("0", "-1")), 8, TENSOR, "its data_offsets 0 and -1 must not be negative"},
    {T(D S O("8", "0")), 8, TENSOR, "its data begins at 8, after its end at 0"},
    /* sizes */
    {T(D S O("0", "9")), 8, TENSOR, "its data ends at 9 of 8 bytes of data: the file is cut short"},
    {T(D S O("0", "9223372036854775807")), 8, TENSOR, "its data ends at 9223372036854775807 of 8"},
    {T(D S O("0", "8")), 7, TENSOR, "its data ends at 8 of 7 bytes"},
    {T(D S O("0", "7")), 7, TENSOR, "its 2 elements of F32 take 8 bytes, its data_offsets give 7"},
    {T(D S O("0", "12")), 12, TENSOR, "take 8 bytes, its data_offsets give 12"},
    {T(D "\"shape\":[]," O("0", "8")), 8, TENSOR, "its 1 elements of F32 take 4 bytes"},
    {T(D "\"shape\":[0]," O("0", "4")), 4, TENSOR, "its 0 elements of F32 take 0 bytes"},
    {T("\"dtype\":\"BF16\"," S O("0", "8")), 8, TENSOR, "its 2 elements of BF16 take 4 bytes"},
    {T("\"dtype\":\"BOOL\"," S O("0", "1")), 1, TENSOR, "its 2 elements of BOOL take 2 bytes"},
    /* the layout */
    {T(D S O("4", "12")), 12, TENSOR, "begins at 4 and leaves a hole after 0, where the data begins"},
    {"{" F("a", "0", "4") "," F("t", "5", "9") "}", 9, TENSOR, "begins at 5 and leaves a hole after 4"},
    {"{" F("t", "5", "9") "," F("a", "0", "4") "}", 9, TENSOR, "where the tensor before it ends"},
    {"{" F("a", "0", "4") "," F("t", "3", "7") "}", 7, TENSOR,
     "begins at 3 and overlaps the tensor before it"},
    {"{" F("t", "3", "7") "," F("a", "0", "4") "}", 7, TENSOR,
     "overlaps the tensor before it, which ends at 4"},
    {"{" F("a", "0", "4") "," F("t", "0", "4") "}", 4, RZ_EFORMAT, NULL, "begins at 0 and overlaps"},
    {"{" F("a", "0", "4") "}", 5, RZ_EFORMAT, "byte 65", "1 bytes follow the last tensor's data"},
    {"{}", 3, RZ_EFORMAT, "byte 10", "3 bytes follow the last tensor's data"},
};

static void check_refused(struct file f, const struct rz_format_limits *limits, const struct bad *b)
{
    struct rz_format_model *m = NULL;
    struct rz_err err;
    static const char name[] = "x.safetensors: ";
    int32_t status = open_file(&f, limits, &m, &err);
    bool place = !strncmp(err.where, name, sizeof(name) - 1) &&
                 (!b->where || !strcmp(err.where + sizeof(name) - 1, b->where));
    if (status != b->code || err.code != b->code || !place || !strstr(err.message, b->message) || m)
        rz_fail_test("%s\n  wanted %d: %s: ...%s...\n  got    %d: %s: %s", b->json ? b->json : "(bytes)",
                     b->code, b->where ? b->where : "?", b->message, status, err.where, err.message);
    free(f.data);
}

RZ_TEST(safetensors, refuses_bad_headers)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_refused(assemble(cases[i].json, strlen(cases[i].json), -1, cases[i].n_data), NULL, &cases[i]);
}

RZ_TEST(safetensors, refuses_bad_lengths)
{
    static const struct bad none = {NULL, 0, RZ_EFORMAT, "byte 0", "the header has no bytes"};
    static const struct bad past = {NULL, 0, RZ_EFORMAT, "byte 0", "the header's 3 bytes run past the end"};
    static const struct bad huge = {NULL, 0, RZ_ELIMIT, "byte 0", "a header of 100000001 bytes is too long"};
    static const struct bad most = {NULL, 0, RZ_ELIMIT, "byte 0", "9223372036854775807 bytes is too long"};
    static const struct bad cut = {NULL, 0, RZ_EFORMAT, "byte 9", "not valid JSON: string or '}' expected"};
    check_refused(assemble("{}", 2, 0, 0), NULL, &none);
    check_refused(assemble("{}", 2, 3, 0), NULL, &past);
    check_refused(assemble("{}", 2, 100000001, 0), NULL, &huge);
    check_refused(assemble("{}", 2, INT64_MAX, 0), NULL, &most);
    check_refused(assemble("{}", 2, 1, 0), NULL, &cut);
    for (size_t n = 1; n < 8; n++) {
        char message[80];
        snprintf(message, sizeof(message), "the file has %zu bytes", n);
        struct bad b = {NULL, 0, RZ_EFORMAT, "byte 0", message};
        struct file f = {malloc(n), n};
        memset(f.data, 0, n);
        check_refused(f, NULL, &b);
    }
}

RZ_TEST(safetensors, refuses_every_cut)
{
    static const char json[] = "{" F("a", "0", "4") "," F("b", "4", "8") "}";
    struct file whole = assemble(json, sizeof(json) - 1, -1, 8);
    for (size_t n = 1; n < whole.n; n++) {
        struct file f = {malloc(n), n};
        struct rz_format_model *m = NULL;
        struct rz_err err;
        memcpy(f.data, whole.data, n);
        rz_check(open_file(&f, NULL, &m, &err) == RZ_EFORMAT && !m && err.message[0]);
        free(f.data);
    }
    free(whole.data);
}

RZ_TEST(safetensors, honours_limits)
{
    struct rz_format_limits limits = {.size = sizeof(limits),
                                      .max_tensors = 1,
                                      .max_metadata = 10,
                                      .max_string_bytes = 100,
                                      .max_array = 10};
    static const char json[] = "{" F("a", "0", "4") "," F("b", "4", "8") "}";
    static const struct bad many = {json, 8, RZ_ELIMIT, "byte 8", "2 tensors are too many (limit 1)"};
    check_refused(assemble(json, sizeof(json) - 1, -1, 8), &limits, &many);
}

RZ_TEST(safetensors, refuses_impossible_calls)
{
    struct rz_source source = {.size = sizeof(source), .path = "x"};
    struct rz_format_model *m = NULL;
    struct rz_err err = {.size = sizeof(err)};
    rz_check_eq(format()->open(NULL, &source, 0, sizeof(source), NULL, &m, &err), RZ_EINVAL);
    rz_check_eq(format()->open(NULL, &source, 1, 8, NULL, &m, &err), RZ_EINVAL);
    format()->close(NULL, NULL);
}

/* --- transforms --- */

static struct rz_tensor matrix(int32_t type, uint64_t cols, uint64_t rows, uint64_t bytes, uint32_t transform)
{
    return (struct rz_tensor){.size = sizeof(struct rz_tensor),
                              .type = type,
                              .n_dims = rows > 1 ? 2 : 1,
                              .dims = {cols, rows, 1, 1},
                              .bytes = bytes,
                              .name = {"t", 1},
                              .transform = transform};
}

static const void *find(void *ctx, const struct rz_tensor *t)
{
    return rz_tensor_data(t, ctx, 2);
}

/* Checks the tensor and writes its weight to dst. */
static void apply(const struct rz_tensor *t, const void *src, size_t n, void *dst, uint64_t want_bytes)
{
    struct rz_source sources[2] = {{.size = sizeof(sources[0]), .data = src, .bytes = n},
                                   {.size = sizeof(sources[0]), .shard = 1, .data = src, .bytes = n}};
    struct rz_err err = {.size = sizeof(err)};
    int32_t type;
    uint64_t bytes;
    rz_check_ok(rz_transform_check(t, &type, &bytes, &err), &err);
    rz_check_eq(bytes, want_bytes);
    rz_check_ok(rz_transform_apply(t, find, sources, dst, &err), &err);
}

RZ_TEST(transform, orders_rows)
{
    /* two heads of four rows: 0 1 2 3 become 0 2 1 3 */
    static const uint16_t src[16] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7};
    static const uint16_t want[16] = {0, 0, 2, 2, 1, 1, 3, 3, 4, 4, 6, 6, 5, 5, 7, 7};
    static const struct rz_piece piece = {
        .size = sizeof(piece), .bytes = 32, .n = {2, 2, 2, 2}, .step = {1, 4, 2, 8}, .scale = 1};
    uint16_t dst[16];
    struct rz_tensor t = matrix(RZ_TYPE_BF16, 2, 8, 32, 0);
    t.n_pieces = 1;
    t.pieces = &piece;
    rz_check(!rz_tensor_is_plain(&t));
    apply(&t, src, sizeof(src), dst, 32);
    rz_check_memeq(dst, want, sizeof(want));
}

RZ_TEST(transform, joins_pieces_and_changes_values)
{
    uint8_t src[1 + 12]; /* one byte off */
    float dst[6], want[6] = {3, 5, 7, 2, 4, 6};
    for (int i = 0; i < 6; i++) {
        uint16_t half = rz_f32_to_f16((float)(i + 1));
        memcpy(src + 1 + 2 * i, &half, 2);
    }
    /* the odd ones and one more, of one file; the even ones, of the other */
    struct rz_piece pieces[2] = {{.size = sizeof(pieces[0]),
                                  .shard = 1,
                                  .offset = 3,
                                  .bytes = 10,
                                  .n = {3, 1, 1, 1},
                                  .step = {2},
                                  .scale = 1,
                                  .add = 1},
                                 {.size = sizeof(pieces[0]),
                                  .offset = 1,
                                  .bytes = 10,
                                  .n = {3, 1, 1, 1},
                                  .step = {2},
                                  .scale = 1,
                                  .add = 1}};
    struct rz_tensor t = matrix(RZ_TYPE_F16, 6, 1, 12, RZ_TRANSFORM_TO_F32);
    t.n_pieces = 2;
    t.pieces = pieces;
    apply(&t, src, sizeof(src), dst, 24);
    rz_check_memeq(dst, want, sizeof(want));
    pieces[1].scale = 2;
    pieces[1].add = 0;
    t.transform |= RZ_TRANSFORM_NEG_EXP;
    apply(&t, src, sizeof(src), dst, 24);
    rz_check(dst[0] == (float)-exp(3) && dst[5] == (float)-exp(10));
}

RZ_TEST(transform, widens_long_vectors)
{
    static uint16_t src[5000];
    static float dst[5000];
    static const struct rz_piece backwards = {
        .size = sizeof(backwards), .bytes = 10000, .n = {1000, 5, 1, 1}, .step = {5, 1}, .scale = 1};
    struct rz_tensor t = matrix(RZ_TYPE_BF16, 5000, 1, 10000, RZ_TRANSFORM_TO_F32);
    for (int i = 0; i < 5000; i++)
        src[i] = (uint16_t)(0x3f80 + i % 100);
    apply(&t, src, sizeof(src), dst, 20000);
    for (int i = 0; i < 5000; i++)
        rz_check(dst[i] == rz_bf16_to_f32(src[i]));
    t.n_pieces = 1;
    t.pieces = &backwards;
    apply(&t, src, sizeof(src), dst, 20000);
    for (int i = 0; i < 5000; i++)
        rz_check(dst[i] == rz_bf16_to_f32(src[i % 1000 * 5 + i / 1000]));
}

RZ_TEST(transform, refuses)
{
    static const struct rz_piece
        far = {.size = sizeof(far), .bytes = 12, .n = {4, 1, 1, 1}, .step = {1}, .scale = 1},
        huge = {.size = sizeof(far), .bytes = 12, .n = {4, 1, 1, 1}, .step = {UINT64_MAX / 2}, .scale = 1},
        empty = {.size = sizeof(far), .bytes = 16, .n = {4, 0, 1, 1}, .step = {1}, .scale = 1},
        less = {.size = sizeof(far), .bytes = 16, .n = {3, 1, 1, 1}, .step = {1}, .scale = 1},
        scaled = {.size = sizeof(far), .bytes = 16, .n = {4, 1, 1, 1}, .step = {1}, .scale = 2},
        early = {.size = 80, .bytes = 16, .n = {4, 1, 1, 1}, .step = {1}, .scale = 1};
#define FOUR .type = RZ_TYPE_F32, .dims = {4, 1, 1, 1}, .bytes = 16, .n_pieces = 1
    static const struct {
        struct rz_tensor t;
        const char *message;
    } bad[] = {
        {{FOUR, .pieces = &far}, "piece 0 reaches beyond its 12 bytes"},
        {{FOUR, .pieces = &huge}, "piece 0 reaches beyond"},
        {{FOUR, .pieces = &empty}, "piece 0 reaches beyond"},
        {{FOUR, .pieces = &less}, "its pieces have 3 elements, not 4"},
        {{FOUR, .pieces = &scaled}, "piece 0 changes values that stay F32"},
        {{FOUR, .pieces = &early}, "its pieces are of an unknown form"},
        {{.type = RZ_TYPE_Q8_0, .dims = {32, 1, 1, 1}, .bytes = 34, .n_pieces = 1, .pieces = &far},
         "Q8_0 cannot be taken one by one"},
        {{.type = RZ_TYPE_F32, .dims = {4, 1, 1, 1}, .bytes = 16, .transform = 8}, "transform 8 is unknown"},
        {{.type = RZ_TYPE_F32, .dims = {4, 1, 1, 1}, .bytes = 16, .transform = RZ_TRANSFORM_NEG_EXP},
         "transform 4 is unknown"},
        {{.type = RZ_TYPE_F8_E4M3, .dims = {4, 1, 1, 1}, .bytes = 4, .transform = 2},
         "F8_E4M3 cannot become F32"},
        {{.type = RZ_TYPE_F32, .dims = {4, 1, 1, 1}, .bytes = 12}, "no valid size"},
        {{.type = RZ_TYPE_F32, .dims = {0, 1, 1, 1}, .bytes = 0}, "no valid size"},
        {{.type = RZ_TYPE_F32, .dims = {1ull << 33, 1ull << 33, 1, 1}}, "its dimensions overflow"},
    };
#undef FOUR
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rz_tensor t = bad[i].t;
        struct rz_err err = {.size = sizeof(err)};
        int32_t type;
        uint64_t bytes;
        t.size = sizeof(t);
        t.name = (struct rz_str){"w", 1};
        rz_check(rz_transform_check(&t, &type, &bytes, &err) < 0);
        rz_check_streq(err.where, "w");
        rz_check_has(err.message, bad[i].message);
    }
}

RZ_TEST(transform, refuses_a_piece_outside_of_its_file)
{
    static const uint8_t bytes[16] = {0};
    struct rz_source sources[2] = {{.size = sizeof(sources[0]), .data = bytes, .bytes = 16},
                                   {.size = sizeof(sources[0]), .shard = 1, .data = bytes, .bytes = 8}};
    struct rz_piece piece = {
        .size = sizeof(piece), .shard = 1, .bytes = 16, .n = {4, 1, 1, 1}, .step = {1}, .scale = 1};
    struct rz_tensor t = matrix(RZ_TYPE_F32, 4, 1, 16, 0);
    struct rz_err err = {.size = sizeof(err)};
    float dst[4];
    t.n_pieces = 1;
    t.pieces = &piece;
    rz_check_eq(rz_transform_apply(&t, find, sources, dst, &err), RZ_EFORMAT);
    rz_check_has(err.message, "16 bytes at offset 0 are not inside the file");
    piece.shard = 0;
    rz_check_ok(rz_transform_apply(&t, find, sources, dst, &err), &err);
}

RZ_TEST(transform, takes_records_of_before)
{
    static const uint8_t bytes[8] = {0};
    struct rz_source source = {.size = sizeof(source), .data = bytes, .bytes = 8};
    struct rz_tensor t = matrix(RZ_TYPE_U8, 4, 1, 4, RZ_TRANSFORM_TO_F32);
    t.offset = 4;
    t.data = "elsewhere";
    rz_check(rz_tensor_data(&t, &source, 1) == t.data);
    t.size = 80; /* the record ends before transform */
    rz_check(rz_tensor_is_plain(&t));
    rz_check(rz_tensor_data(&t, &source, 1) == bytes + 4);
    t.offset = 5;
    rz_check(rz_tensor_data(&t, &source, 1) == NULL);
    t.offset = UINT64_MAX;
    rz_check(rz_tensor_data(&t, &source, 1) == NULL);
    t.offset = 0;
    t.shard = 1;
    rz_check(rz_tensor_data(&t, &source, 1) == NULL);
}
