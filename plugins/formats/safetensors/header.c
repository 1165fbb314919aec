/* header.c - the header of a safetensors file: eight bytes of length, a JSON object, and then the data.
 *
 * Every rule of the format is checked, and nothing of the file is used before: the tensors fill the data
 * without a hole and without an overlap, from its first byte to the file's last. The order of the
 * header's entries is free, so the layout is checked in the order of the offsets.
 */
#include "folder.h"

#include "checked.h"
#include "err.h"
#include "numeric.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX 100000000u /* bytes; the format's own limit */
#define LENGTH_BYTES 8u

struct header {
    struct rz_hf_model *m;
    const struct rz_source *source;
    uint64_t bytes;  /* of the JSON            */
    uint64_t data;   /* where the data begins  */
    uint64_t n_data; /* bytes of the data      */
};

static const struct {
    const char *name;
    int32_t type;
} dtypes[] = {
    {"F64", RZ_TYPE_F64},   {"F32", RZ_TYPE_F32},         {"F16", RZ_TYPE_F16},
    {"BF16", RZ_TYPE_BF16}, {"F8_E4M3", RZ_TYPE_F8_E4M3}, {"F8_E5M2", RZ_TYPE_F8_E5M2},
    {"I8", RZ_TYPE_I8},     {"I16", RZ_TYPE_I16},         {"I32", RZ_TYPE_I32},
    {"I64", RZ_TYPE_I64},   {"U8", RZ_TYPE_U8},           {"U16", RZ_TYPE_U16},
    {"U32", RZ_TYPE_U32},   {"U64", RZ_TYPE_U64},         {"BOOL", RZ_TYPE_BOOL},
};

__attribute__((format(printf, 4, 5))) static void fail_byte(struct header *h, int32_t code, uint64_t at,
                                                            const char *format, ...)
{
    char message[600], where[200];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    snprintf(where, sizeof(where), "%.150s: byte %llu", rz_hf_name(h->source), (unsigned long long)at);
    rz_hf_fail(h->m, code, where, "%s", message);
}

__attribute__((format(printf, 4, 5))) static void fail_tensor(struct header *h, int32_t code,
                                                              const char *name, const char *format, ...)
{
    char message[600], where[230], shown[100];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    snprintf(where, sizeof(where), "%.110s: tensor %s", rz_hf_name(h->source),
             rz_show(shown, sizeof(shown), name, strlen(name)));
    rz_hf_fail(h->m, code, where, "%s", message);
}

/* --- one entry --- */

static void read_dtype(struct header *h, const char *name, const json_t *value, struct rz_tensor *t)
{
    const char *dtype = json_string_value(value);
    char shown[60];
    if (!dtype) {
        fail_tensor(h, RZ_EFORMAT, name, value ? "its dtype must be a string" : "it has no dtype");
        return;
    }
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (!strcmp(dtype, dtypes[i].name)) {
            t->type = dtypes[i].type;
            return;
        }
    fail_tensor(h, RZ_EUNSUPPORTED, name, "its dtype \"%s\" is not known to this rz",
                rz_show(shown, sizeof(shown), dtype, strlen(dtype)));
}

/* The shape's last number is the row's length: dims[0]. */
static void read_shape(struct header *h, const char *name, const json_t *value, struct rz_tensor *t)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value)) {
        fail_tensor(h, RZ_EFORMAT, name, value ? "its shape must be an array" : "it has no shape");
        return;
    }
    if (n > RZ_DIMS_MAX) {
        fail_tensor(h, RZ_EUNSUPPORTED, name, "its shape has %zu dimensions (at most %d)", n, RZ_DIMS_MAX);
        return;
    }
    t->n_dims = n ? (uint32_t)n : 1;
    for (uint32_t d = 0; d < RZ_DIMS_MAX; d++)
        t->dims[d] = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(value, i);
        json_int_t number = json_integer_value(dim);
        if (!json_is_integer(dim) || number < 0) {
            fail_tensor(h, RZ_EFORMAT, name, "dimension %zu of its shape is not an integer from 0 up", i);
            return;
        }
        t->dims[n - 1 - i] = (uint64_t)number;
    }
}

/* Sets offset to the begin within the data, for the time being. */
static void read_offsets(struct header *h, const char *name, const json_t *value, struct rz_tensor *t)
{
    const json_t *from = json_array_get(value, 0), *to = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(from) ||
        !json_is_integer(to)) {
        fail_tensor(h, RZ_EFORMAT, name,
                    value ? "its data_offsets must be two integers" : "it has no data_offsets");
        return;
    }
    json_int_t begin = json_integer_value(from), end = json_integer_value(to);
    if (begin < 0 || end < 0)
        fail_tensor(h, RZ_EFORMAT, name, "its data_offsets %lld and %lld must not be negative",
                    (long long)begin, (long long)end);
    else if (begin > end)
        fail_tensor(h, RZ_EFORMAT, name, "its data begins at %lld, after its end at %lld", (long long)begin,
                    (long long)end);
    else if ((uint64_t)end > h->n_data)
        fail_tensor(h, RZ_EFORMAT, name,
                    "its data ends at %lld of %llu bytes of data: the file is cut short, download it again",
                    (long long)end, (unsigned long long)h->n_data);
    t->offset = (uint64_t)begin;
    t->bytes = (uint64_t)end - (uint64_t)begin;
}

static void check_size(struct header *h, const char *name, const struct rz_tensor *t)
{
    uint64_t n = 1, bytes;
    for (uint32_t d = 0; d < RZ_DIMS_MAX; d++)
        if (!rz_mul_u64(n, t->dims[d], &n)) {
            fail_tensor(h, RZ_EFORMAT, name, "its number of elements does not fit into 64 bits");
            return;
        }
    if (!rz_type_bytes(t->type, n, &bytes))
        fail_tensor(h, RZ_EFORMAT, name, "its size does not fit into 64 bits");
    else if (bytes != t->bytes)
        fail_tensor(h, RZ_EFORMAT, name,
                    "its %llu elements of %s take %llu bytes, its data_offsets give %llu",
                    (unsigned long long)n, rz_type_info(t->type)->name, (unsigned long long)bytes,
                    (unsigned long long)t->bytes);
}

static void read_entry(struct header *h, const char *name, json_t *entry)
{
    struct rz_tensor t = {.size = sizeof(t), .shard = h->source->shard};
    const char *key;
    json_t *value;
    char shown[60];
    struct rz_hf_model *m = h->m;
    if (!json_is_object(entry)) {
        fail_tensor(h, RZ_EFORMAT, name, "its entry must be an object");
        return;
    }
    json_object_foreach(entry, key, value) if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
                                               strcmp(key, "data_offsets") != 0)
    {
        fail_tensor(h, RZ_EFORMAT, name, "\"%s\" is no field of the format",
                    rz_show(shown, sizeof(shown), key, strlen(key)));
        return;
    }
    read_dtype(h, name, json_object_get(entry, "dtype"), &t);
    if (!m->status)
        read_shape(h, name, json_object_get(entry, "shape"), &t);
    if (!m->status)
        read_offsets(h, name, json_object_get(entry, "data_offsets"), &t);
    if (!m->status)
        check_size(h, name, &t);
    m->stored = rz_hf_more(m, m->stored, m->n_stored, &m->cap_stored, sizeof(*m->stored));
    if (m->status)
        return;
    t.name = rz_hf_copy(m, name, strlen(name));
    m->stored[m->n_stored++] = t;
}

static void check_metadata(struct header *h, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        fail_byte(h, RZ_EFORMAT, LENGTH_BYTES, "__metadata__ must be an object");
    json_object_foreach(metadata, key, value)
    {
        char shown[60];
        if (!json_is_string(value))
            fail_byte(h, RZ_EFORMAT, LENGTH_BYTES, "__metadata__: \"%s\" must be a string",
                      rz_show(shown, sizeof(shown), key, strlen(key)));
    }
}

/* --- the layout --- */

static int by_offset(const void *a, const void *b)
{
    const struct rz_tensor *x = *(struct rz_tensor *const *)a, *y = *(struct rz_tensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static void check_order(struct header *h, struct rz_tensor **order, uint64_t n)
{
    uint64_t next = 0;
    for (uint64_t i = 0; i < n && !h->m->status; i++) {
        const struct rz_tensor *t = order[i];
        unsigned long long begin = t->offset, before = next;
        if (t->offset < next)
            fail_tensor(h, RZ_EFORMAT, t->name.data,
                        "its data begins at %llu and overlaps the tensor before it, which ends at %llu",
                        begin, before);
        else if (t->offset > next)
            fail_tensor(h, RZ_EFORMAT, t->name.data,
                        "its data begins at %llu and leaves a hole after %llu, where %s", begin, before,
                        i ? "the tensor before it ends" : "the data begins");
        next = t->offset + t->bytes; /* both at most n_data */
    }
    if (!h->m->status && next != h->n_data)
        fail_byte(h, RZ_EFORMAT, h->data + next, "%llu bytes follow the last tensor's data",
                  (unsigned long long)(h->n_data - next));
}

/* Checks the tensors stored from `first` on, and makes their offsets those of the file. */
static void lay_out(struct header *h, uint64_t first)
{
    struct rz_hf_model *m = h->m;
    uint64_t n = m->n_stored - first;
    if (m->status)
        return;
    struct rz_tensor **order = malloc((n + 1) * sizeof(struct rz_tensor *));
    if (!order) {
        rz_hf_fail(m, RZ_ENOMEM, rz_hf_name(h->source), "no memory for %llu tensors", (unsigned long long)n);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        order[i] = &m->stored[first + i];
    qsort(order, n, sizeof(struct rz_tensor *), by_offset);
    check_order(h, order, n);
    free(order);
    for (uint64_t i = 0; i < n; i++)
        m->stored[first + i].offset += h->data;
}

/* --- the file --- */

static void read_length(struct header *h)
{
    const struct rz_source *s = h->source;
    if (s->bytes < LENGTH_BYTES) {
        fail_byte(h, RZ_EFORMAT, 0, "the file has %llu bytes, the length of its header alone takes %u",
                  (unsigned long long)s->bytes, LENGTH_BYTES);
        return;
    }
    memcpy(&h->bytes, s->data, LENGTH_BYTES);
    unsigned long long n = h->bytes;
    if (!n)
        fail_byte(h, RZ_EFORMAT, 0, "the header has no bytes");
    else if (n > HEADER_MAX)
        fail_byte(h, RZ_ELIMIT, 0, "a header of %llu bytes is too long (limit %u)", n, HEADER_MAX);
    else if (n > s->bytes - LENGTH_BYTES)
        fail_byte(h, RZ_EFORMAT, 0,
                  "the header's %llu bytes run past the end of the file (%llu bytes): it is cut short, "
                  "download it again",
                  n, (unsigned long long)s->bytes);
    else if (s->data[LENGTH_BYTES] != '{')
        fail_byte(h, RZ_EFORMAT, LENGTH_BYTES, "the header must begin with {, not with byte 0x%02x",
                  s->data[LENGTH_BYTES]);
    h->data = LENGTH_BYTES + h->bytes;
    h->n_data = h->m->status ? 0 : s->bytes - h->data;
}

/* What follows the JSON must be spaces. */
static void check_padding(struct header *h)
{
    const uint8_t *text = h->source->data + LENGTH_BYTES;
    uint64_t end = h->bytes;
    while (end && text[end - 1] == ' ')
        end--;
    if (end && (text[end - 1] == '\n' || text[end - 1] == '\r' || text[end - 1] == '\t'))
        fail_byte(h, RZ_EFORMAT, LENGTH_BYTES + end - 1,
                  "the header is padded with byte 0x%02x, not with spaces", text[end - 1]);
}

static void read_entries(struct header *h, json_t *root)
{
    const char *name;
    json_t *entry;
    struct rz_hf_model *m = h->m;
    uint64_t n = json_object_size(root), most = m->limits.max_tensors;
    if (n > most || m->n_stored > most - n) {
        fail_byte(h, RZ_ELIMIT, LENGTH_BYTES, "%llu tensors are too many (limit %llu)",
                  (unsigned long long)(m->n_stored + n), (unsigned long long)most);
        return;
    }
    json_object_foreach(root, name, entry)
    {
        if (!strcmp(name, "__metadata__"))
            check_metadata(h, entry);
        else if (!*name)
            fail_byte(h, RZ_EFORMAT, LENGTH_BYTES, "a tensor's name is empty");
        else
            read_entry(h, name, entry);
        if (m->status)
            return;
    }
}

void rz_hf_read_header(struct rz_hf_model *m, const struct rz_source *s)
{
    struct header h = {.m = m, .source = s};
    json_error_t error;
    char shown[JSON_ERROR_TEXT_LENGTH + 32];
    if (m->status)
        return;
    read_length(&h);
    if (m->status)
        return;
    json_t *root = json_loadb((const char *)s->data + LENGTH_BYTES, h.bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        fail_byte(&h, RZ_EFORMAT, LENGTH_BYTES + (uint64_t)(error.position > 0 ? error.position : 0),
                  "the header is not valid JSON: %s",
                  rz_show(shown, sizeof(shown), error.text, strlen(error.text)));
        return;
    }
    uint64_t first = m->n_stored;
    check_padding(&h);
    if (!m->status)
        read_entries(&h, root);
    json_decref(root);
    lay_out(&h, first);
}

void rz_hf_index_names(struct rz_hf_model *m)
{
    char where[160], shown[100];
    if (m->status)
        return;
    if (!rz_map_init(&m->names, m->n_stored)) {
        rz_hf_fail(m, RZ_ENOMEM, "tensors", "no memory for %llu names", (unsigned long long)m->n_stored);
        return;
    }
    for (uint64_t i = 0; i < m->n_stored && !m->status; i++) {
        const struct rz_tensor *t = &m->stored[i];
        int added = rz_map_add(&m->names, t->name.data, t->name.len, (uint32_t)i);
        snprintf(where, sizeof(where), "tensor %s", rz_show(shown, sizeof(shown), t->name.data, t->name.len));
        if (added < 0)
            rz_hf_fail(m, RZ_ENOMEM, where, "no memory for the names of tensors");
        else if (!added)
            rz_hf_fail(m, RZ_EFORMAT, where, "is in two of the model's files");
    }
}
