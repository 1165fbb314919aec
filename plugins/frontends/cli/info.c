/* info.c - `rz info`: what a model file is, read from its tables; nothing of it runs.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "numeric.h"

#define SHOWN_ELEMENTS 4 /* of an array in the list of all metadata */
#define SHOWN_BYTES 72   /* of a value there */
#define TYPES_MAX 272    /* type numbers are below this */

struct info_values {
    struct rz_cli_value model, tensors, metadata, vocab;
};

#define AT(field) offsetof(struct info_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "tensors", .type = OPT_FLAG, .at = AT(tensors)},
    {.name = "metadata", .type = OPT_MAYBE, .at = AT(metadata)},
    {.name = "vocab", .type = OPT_FLAG, .at = AT(vocab)},
    {.name = NULL},
};

/* What all tensors of one type take together. */
struct type_sum {
    uint64_t tensors, elements, bytes;
};

static const struct rz_meta *meta_at(const struct rz_format_model *t, uint64_t i)
{
    return (const struct rz_meta *)(const void *)((const char *)t->meta + i * t->meta_stride);
}

static const struct rz_tensor *tensor_at(const struct rz_format_model *t, uint64_t i)
{
    return (const struct rz_tensor *)(const void *)((const char *)t->tensors + i * t->tensor_stride);
}

static uint64_t elements(const struct rz_tensor *t)
{
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

static json_t *number_json(double v)
{
    return isfinite(v) ? json_real(v) : json_string(isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static json_t *unsigned_json(uint64_t v)
{
    return v <= INT64_MAX ? json_integer((json_int_t)v) : json_sprintf("%llu", (unsigned long long)v);
}

/* Element i of a metadata value. Elements need not be aligned. */
static json_t *element_json(const struct rz_meta *m, uint64_t i)
{
    static const uint8_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const uint8_t *data = m->data;
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        float f32;
        uint64_t u64;
        int64_t i64;
        double f64;
    } v = {0};
    if (m->elem_type == RZ_META_STR) {
        const struct rz_str *s = (const struct rz_str *)m->data + i;
        return rz_cli_json_text(s->data ? s->data : "", s->len);
    }
    if (m->elem_type >= sizeof(width) || !width[m->elem_type])
        return json_null();
    memcpy(&v, data + i * width[m->elem_type], width[m->elem_type]);
    switch (m->elem_type) {
    case RZ_META_U8:
        return json_integer(v.u8);
    case RZ_META_I8:
        return json_integer(v.i8);
    case RZ_META_U16:
        return json_integer(v.u16);
    case RZ_META_I16:
        return json_integer(v.i16);
    case RZ_META_U32:
        return json_integer(v.u32);
    case RZ_META_I32:
        return json_integer(v.i32);
    case RZ_META_F32:
        return number_json((double)v.f32);
    case RZ_META_BOOL:
        return json_boolean(v.u8);
    case RZ_META_U64:
        return unsigned_json(v.u64);
    case RZ_META_I64:
        return json_integer(v.i64);
    default:
        return number_json(v.f64);
    }
}

static json_t *meta_json(const struct rz_meta *m, uint64_t n_max)
{
    if (m->type != RZ_META_ARRAY)
        return element_json(m, 0);
    json_t *list = json_array();
    for (uint64_t i = 0; i < m->n && i < n_max; i++)
        json_array_append_new(list, element_json(m, i));
    return list;
}

static int32_t print_meta_line(const struct rz_meta *m, struct rz_err *err)
{
    json_t *value = meta_json(m, SHOWN_ELEMENTS);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text)
        return rz_fail(err, RZ_ENOMEM, "info", "no memory for a metadata value");
    size_t n = strlen(text);
    if (n > SHOWN_BYTES) /* a cut never falls inside a character */
        for (n = SHOWN_BYTES; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    bool cut = text[n] != 0;
    int32_t code;
    if (m->type == RZ_META_ARRAY)
        code = rz_cli_print(err, "%.*s = %.*s%s (%llu elements)\n", (int)m->key.len, m->key.data, (int)n,
                            text, cut ? "..." : "", (unsigned long long)m->n);
    else
        code = rz_cli_print(err, "%.*s = %.*s%s\n", (int)m->key.len, m->key.data, (int)n, text,
                            cut ? "..." : "");
    free(text);
    return code;
}

/* One key: a text raw, so that a template can be piped; the rest as JSON. */
static int32_t show_key(const struct rz_format_model *t, const char *key, bool json, struct rz_err *err)
{
    const struct rz_meta *m = NULL;
    for (uint64_t i = 0; i < t->n_meta; i++)
        if (meta_at(t, i)->key.len == strlen(key) && !memcmp(meta_at(t, i)->key.data, key, strlen(key)))
            m = meta_at(t, i);
    if (!m)
        return rz_fail(err, RZ_ENOTFOUND, "info", "--metadata %s: the file has no such key", key);
    if (json)
        return rz_cli_json(json_pack("{s:o}", key, meta_json(m, UINT64_MAX)), err);
    if (m->type == RZ_META_STR) {
        const struct rz_str *s = m->data;
        int32_t code = rz_cli_write(s->data ? s->data : "", s->len, err);
        return code ? code : rz_cli_write("\n", 1, err);
    }
    json_t *value = meta_json(m, UINT64_MAX);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text)
        return rz_fail(err, RZ_ENOMEM, "info", "no memory for the value of %s", key);
    int32_t code = rz_cli_print(err, "%s\n", text);
    free(text);
    return code;
}

static int32_t show_metadata(const struct rz_format_model *t, bool json, struct rz_err *err)
{
    int32_t code = RZ_OK;
    json_t *all = json ? json_object() : NULL;
    for (uint64_t i = 0; i < t->n_meta && !code; i++) {
        const struct rz_meta *m = meta_at(t, i);
        if (json)
            json_object_setn_new(all, m->key.data, m->key.len, meta_json(m, UINT64_MAX));
        else
            code = print_meta_line(m, err);
    }
    return json ? rz_cli_json(all, err) : code;
}

static int32_t show_tensors(const struct rz_format_model *t, bool json, struct rz_err *err)
{
    json_t *all = json ? json_array() : NULL;
    int32_t code = RZ_OK;
    for (uint64_t i = 0; i < t->n_tensors && !code; i++) {
        const struct rz_tensor *x = tensor_at(t, i);
        const char *type = rz_type_info(x->type)->name;
        char shape[96] = "";
        json_t *dims = json ? json_array() : NULL;
        for (uint32_t d = 0, used = 0; d < x->n_dims && d < RZ_DIMS_MAX; d++) {
            used += (uint32_t)snprintf(shape + used, sizeof(shape) - used, d ? " x %llu" : "%llu",
                                       (unsigned long long)x->dims[d]);
            if (json)
                json_array_append_new(dims, unsigned_json(x->dims[d]));
        }
        if (json)
            json_array_append_new(all, json_pack("{s:o,s:s,s:o,s:o,s:o,s:i}", "name",
                                                 rz_cli_json_text(x->name.data, x->name.len), "type", type,
                                                 "shape", dims, "bytes", unsigned_json(x->bytes), "offset",
                                                 unsigned_json(x->offset), "shard", (int)x->shard));
        else
            code = rz_cli_print(err, "%-40.*s %-6s %-20s %12llu bytes\n", (int)x->name.len, x->name.data,
                                type, shape, (unsigned long long)x->bytes);
    }
    return json ? rz_cli_json(json_pack("{s:o}", "tensors", all), err) : code;
}

static const char *kind_name(int32_t kind)
{
    static const char *const name[] = {"?", "normal", "unknown", "control", "user", "unused", "byte"};
    return kind >= 0 && (size_t)kind < sizeof(name) / sizeof(name[0]) ? name[kind] : "?";
}

static int32_t show_vocab(const struct rz_cli_model *m, bool json, struct rz_err *err)
{
    json_t *all = json ? json_array() : NULL;
    int32_t code = RZ_OK;
    for (uint32_t id = 0; id < m->vocab.n_vocab && !code; id++) {
        const char *kind = kind_name(m->tokenizer->kind(m->tok, (int32_t)id));
        json_t *piece = rz_cli_json_piece(m, (int32_t)id);
        if (json) {
            json_array_append_new(all,
                                  json_pack("{s:i,s:s,s:o}", "id", (int)id, "kind", kind, "piece", piece));
            continue;
        }
        code = rz_cli_print(err, "%u\t%s\t", id, kind);
        if (code)
            json_decref(piece);
        else
            code = rz_cli_json(piece, err);
    }
    return json ? rz_cli_json(json_pack("{s:o}", "vocab", all), err) : code;
}

static void sum_types(const struct rz_format_model *t, struct type_sum sums[TYPES_MAX])
{
    for (uint64_t i = 0; i < t->n_tensors; i++) {
        const struct rz_tensor *x = tensor_at(t, i);
        if (x->type < 0 || x->type >= TYPES_MAX)
            continue;
        sums[x->type].tensors++;
        sums[x->type].elements += elements(x);
        sums[x->type].bytes += x->bytes;
    }
}

/* The contexts for which the memory is told; the trained one last. Returns how many. */
static int contexts(const struct rz_model_info *info, uint64_t out[4])
{
    static const uint64_t usual[] = {2048, 8192, 32768};
    int n = 0;
    for (int i = 0; i < 3 && usual[i] < info->n_ctx_train; i++)
        out[n++] = usual[i];
    out[n++] = info->n_ctx_train;
    return n;
}

/* What sets the model apart, a line each, as text or into an object (a name said twice becomes a list). */
struct particulars {
    json_t *object; /* NULL: as text */
    struct rz_err *err;
    int32_t code;
};

static void take_particular(void *arg, const char *name, const char *text)
{
    struct particulars *p = arg;
    json_t *old = json_object_get(p->object, name);
    if (!p->object) {
        if (!p->code)
            p->code = rz_cli_print(p->err, "%-14s %s\n", name, text);
    } else if (!old) {
        json_object_set_new(p->object, name, rz_cli_json_text(text, strlen(text)));
    } else {
        json_t *list = json_is_array(old) ? json_incref(old) : json_pack("[O]", old);
        json_array_append_new(list, rz_cli_json_text(text, strlen(text)));
        json_object_set_new(p->object, name, list);
    }
}

static int32_t describe(const struct rz_cli_model *m, json_t *object, struct rz_err *err)
{
    struct particulars p = {object, err, RZ_OK};
    if (m->api->describe)
        m->api->describe(m->model, take_particular, &p);
    return p.code;
}

static int32_t summary_json(const struct rz_cli_model *m, const struct type_sum *sums, struct rz_err *err)
{
    const struct rz_model_info *i = &m->info;
    json_t *o = json_object(), *types = json_object(), *kv = json_object();
    uint64_t ctx[4];
    char key[32];
    for (int32_t t = 0; t < TYPES_MAX; t++)
        if (sums[t].tensors)
            json_object_set_new(types, rz_type_info(t)->name,
                                json_pack("{s:o,s:o,s:o}", "tensors", unsigned_json(sums[t].tensors),
                                          "parameters", unsigned_json(sums[t].elements), "bytes",
                                          unsigned_json(sums[t].bytes)));
    for (int n = contexts(i, ctx), c = 0; c < n; c++) {
        snprintf(key, sizeof(key), "%llu", (unsigned long long)ctx[c]);
        json_object_set_new(kv, key, unsigned_json(ctx[c] * i->kv_bytes_token));
    }
    json_object_update_new(
        o, json_pack("{s:s,s:s?,s:s?,s:o,s:o,s:o}", "architecture", i->arch ? i->arch : "", "name", i->name,
                     "path", i->path, "parameters", unsigned_json(i->n_params), "weight_bytes",
                     unsigned_json(i->weight_bytes), "file_bytes", unsigned_json(i->file_bytes)));
    json_object_update_new(
        o, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "layers", (json_int_t)i->n_layer, "embedding",
                     (json_int_t)i->n_embd, "ffn", (json_int_t)i->n_ff, "heads", (json_int_t)i->n_head,
                     "kv_heads", (json_int_t)i->n_kv_head, "head_dim", (json_int_t)i->head_dim, "vocabulary",
                     (json_int_t)i->n_vocab, "context", (json_int_t)i->n_ctx_train, "chat_template",
                     (int)(i->has_template != 0)));
    json_object_set_new(o, "kv_bytes_per_token", unsigned_json(i->kv_bytes_token));
    json_object_set_new(o, "kv_type", json_string(rz_type_info(i->kv_type)->name));
    json_object_set_new(o, "kv_bytes", kv);
    json_object_set_new(o, "types", types);
    json_t *particulars = json_object();
    describe(m, particulars, err);
    json_object_set_new(o, "particulars", particulars);
    return rz_cli_json(o, err);
}

static int32_t summary_text(const struct rz_cli_model *m, const struct type_sum *sums, struct rz_err *err)
{
    const struct rz_model_info *i = &m->info;
    char a[32], b[32];
    uint64_t ctx[4];
    int32_t code = rz_cli_print(err, "architecture   %s\n", i->arch ? i->arch : "unknown");
    if (i->name && *i->name && !code)
        code = rz_cli_print(err, "name           %s\n", i->name);
    if (!code)
        code = rz_cli_print(err, "parameters     %s\n", rz_cli_count(a, i->n_params));
    if (!code)
        code = rz_cli_print(err, "file           %s, weights %s\n", rz_cli_bytes(a, i->file_bytes),
                            rz_cli_bytes(b, i->weight_bytes));
    if (!code)
        code = rz_cli_print(err, "shape          %u layers, width %u, ffn %u, %u heads of %u, %u kv heads\n",
                            i->n_layer, i->n_embd, i->n_ff, i->n_head, i->head_dim, i->n_kv_head);
    if (!code)
        code = rz_cli_print(err, "context        %u\nvocabulary     %u\nchat template  %s\n", i->n_ctx_train,
                            i->n_vocab, i->has_template ? "yes" : "no");
    if (!code)
        code = describe(m, NULL, err);
    for (int32_t t = 0; t < TYPES_MAX && !code; t++)
        if (sums[t].tensors)
            code = rz_cli_print(err, "type %-9s %llu tensors, %s parameters, %s\n", rz_type_info(t)->name,
                                (unsigned long long)sums[t].tensors, rz_cli_count(a, sums[t].elements),
                                rz_cli_bytes(b, sums[t].bytes));
    for (int n = contexts(i, ctx), c = 0; c < n && !code; c++)
        code = rz_cli_print(err, "kv cache       %s for %llu tokens (%s)\n",
                            rz_cli_bytes(a, ctx[c] * i->kv_bytes_token), (unsigned long long)ctx[c],
                            rz_type_info(i->kv_type)->name);
    return code;
}

static int32_t show(const struct rz_cli_model *m, const struct info_values *v, bool json, struct rz_err *err)
{
    const struct rz_format_model *t = m->api->tables(m->model);
    struct type_sum sums[TYPES_MAX] = {0};
    if (!t)
        return rz_fail(err, RZ_EINTERNAL, "info", "the model has no tables");
    if (v->metadata.text)
        return show_key(t, v->metadata.text, json, err);
    if (v->metadata.given)
        return show_metadata(t, json, err);
    if (v->tensors.given)
        return show_tensors(t, json, err);
    if (v->vocab.given)
        return show_vocab(m, json, err);
    sum_types(t, sums);
    return json ? summary_json(m, sums, err) : summary_text(m, sums, err);
}

int32_t rz_cli_info(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct info_values v = {0};
    struct rz_cli_model m = {0};
    const char *name = NULL;
    int status = rz_cli_parse(options, argc, argv, &v, &name, err);
    if (status)
        return status;
    if (v.model.given && name) {
        rz_fail(err, RZ_ECONFIG, "info", "%s: the model is already named by -m", name);
        return 2;
    }
    if (v.tensors.given + v.metadata.given + v.vocab.given > 1) {
        rz_fail(err, RZ_ECONFIG, "info", "--tensors, --metadata, --vocab: only one of them at a time");
        return 2;
    }
    struct rz_model_options mo = {.size = sizeof(mo)};
    mo.level = v.vocab.given ? RZ_MODEL_TOKENIZER : RZ_MODEL_META;
    int32_t code = rz_cli_open(self, name ? name : v.model.text, &mo, &m, err);
    if (!code)
        code = show(&m, &v, flags & RZ_COMMAND_JSON, err);
    rz_cli_close(&m);
    return code ? rz_cli_status(code) : 0;
}
