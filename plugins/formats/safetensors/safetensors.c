/* safetensors.c - rz.format/1 for safetensors files and for folders in Hugging Face form.
 *
 * A folder becomes the tables that the same model has in GGUF form: the same metadata keys, the same names
 * of tensors. Weights stay in the host's maps; where their form differs the tensor says how. A single
 * .safetensors file gives its tensors under their own names and no metadata: to look at, not to run.
 */
#include "folder.h"

#include "err.h"

#include <rz/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHTS "model.safetensors"
#define INDEX "model.safetensors.index.json"
#define SOURCES_MAX 65536u

static const struct rz_format_limits default_limits = {
    .size = sizeof(default_limits),
    .max_tensors = 65536,
    .max_metadata = 65536,
    .max_string_bytes = 16u << 20,
    .max_array = 16u << 20,
};

static struct rz_format_limits limits_of(const struct rz_format_limits *given)
{
    struct rz_format_limits l = default_limits;
    if (given && RZ_HAS(given, max_tensors))
        l.max_tensors = given->max_tensors;
    if (given && RZ_HAS(given, max_string_bytes))
        l.max_string_bytes = given->max_string_bytes;
    if (given && RZ_HAS(given, max_array))
        l.max_array = given->max_array;
    if (l.max_tensors > INT32_MAX) /* indices into the table are 32-bit numbers */
        l.max_tensors = INT32_MAX;
    return l;
}

static bool is_file(const struct rz_source *s, const char *tail)
{
    size_t n = s->path ? strlen(s->path) : 0, len = strlen(tail);
    return n >= len && !strcmp(s->path + n - len, tail);
}

/* --- the weights of a folder --- */

/* Reads each file that the index names, once. */
static void read_shards(struct rz_hf_model *m, json_t *weight_map)
{
    const char *name;
    json_t *file;
    char shown[100], where[160];
    uint8_t *done = rz_hf_array(m, m->n_sources, 1);
    json_object_foreach(weight_map, name, file)
    {
        const char *file_name = json_string_value(file);
        const struct rz_source *s = file_name ? rz_hf_file(m, file_name) : NULL;
        snprintf(where, sizeof(where), INDEX ": %s", rz_show(shown, sizeof(shown), name, strlen(name)));
        if (!file_name)
            rz_hf_fail(m, RZ_EFORMAT, where, "must be the name of a file");
        else if (!s || !is_file(s, ".safetensors"))
            rz_hf_fail(m, RZ_EFORMAT, where, "is in \"%s\", and the folder has no such .safetensors file",
                       rz_show(shown, sizeof(shown), file_name, strlen(file_name)));
        if (m->status)
            return;
        if (!done[s->shard])
            rz_hf_read_header(m, s);
        done[s->shard] = 1;
    }
}

/* Each tensor must be in the file where the index says it is. */
static void check_map(struct rz_hf_model *m, json_t *weight_map)
{
    const char *name;
    json_t *file;
    char shown[100], where[160];
    json_object_foreach(weight_map, name, file)
    {
        uint32_t i;
        if (m->status)
            return;
        if (rz_map_get(&m->names, name, strlen(name), &i) &&
            !strcmp(rz_hf_name(rz_hf_source(m, m->stored[i].shard)), json_string_value(file)))
            continue;
        snprintf(where, sizeof(where), INDEX ": %s", rz_show(shown, sizeof(shown), name, strlen(name)));
        rz_hf_fail(m, RZ_EFORMAT, where, "is not in %s",
                   rz_show(shown, sizeof(shown), json_string_value(file), strlen(json_string_value(file))));
    }
}

static void read_weights(struct rz_hf_model *m)
{
    const struct rz_source *single = rz_hf_file(m, WEIGHTS);
    if (single) {
        rz_hf_read_header(m, single);
        rz_hf_index_names(m);
        return;
    }
    json_t *index = rz_hf_json(m, INDEX), *weight_map = json_object_get(index, "weight_map");
    if (!index)
        rz_hf_fail(m, RZ_EFORMAT, WEIGHTS,
                   "is not in the folder, nor is " INDEX
                   " (weights in pickle form, .bin or .pt, are not read)");
    else if (!json_object_size(weight_map))
        rz_hf_fail(m, RZ_EFORMAT, INDEX ": weight_map", "must be an object with the file of each tensor");
    else
        read_shards(m, weight_map);
    rz_hf_index_names(m);
    check_map(m, weight_map);
    json_decref(index);
}

static void read_folder(struct rz_hf_model *m)
{
    m->config = rz_hf_json(m, "config.json");
    rz_hf_read_config(m);
    if (!m->status)
        read_weights(m);
    if (!m->status)
        rz_hf_map_tensors(m);
    m->tokenizer_config = rz_hf_json(m, "tokenizer_config.json");
    if (!m->status)
        rz_hf_read_tokenizer(m);
    json_decref(m->config);
    json_decref(m->tokenizer_config);
    m->config = m->tokenizer_config = NULL;
}

/* A file by itself: its tensors as they are. */
static void read_file(struct rz_hf_model *m)
{
    rz_hf_read_header(m, rz_hf_source(m, 0));
    m->tensors = m->stored;
    m->n_tensors = m->n_stored;
}

/* --- the interface --- */

static void st_close(void *self, struct rz_format_model *base)
{
    (void)self;
    if (!base)
        return;
    struct rz_hf_model *m = base->priv;
    rz_arena_free(&m->arena);
    free(m);
}

static int32_t st_open(void *self, const struct rz_source *sources, uint32_t n, uint32_t stride,
                       const struct rz_format_limits *limits, struct rz_format_model **out,
                       struct rz_err *err)
{
    *out = NULL;
    if (!n || n > SOURCES_MAX || stride < sizeof(*sources))
        return rz_fail(err, RZ_EINVAL, "", "a model in %u files (1 to %u)", n, SOURCES_MAX);
    struct rz_hf_model *m = calloc(1, sizeof(*m));
    if (!m)
        return rz_fail(err, RZ_ENOMEM, "", "no memory for a model");
    rz_arena_init(&m->arena, 0);
    m->limits = limits_of(limits);
    m->sources = (const char *)sources;
    m->n_sources = n;
    m->stride = stride;
    m->err = err;
    if (is_file(sources, "config.json"))
        read_folder(m);
    else
        read_file(m);
    rz_map_free(&m->names);
    m->base = (struct rz_format_model){.size = sizeof(m->base),
                                       .meta = m->meta,
                                       .n_meta = m->n_meta,
                                       .tensors = m->tensors,
                                       .n_tensors = m->n_tensors,
                                       .meta_stride = sizeof(struct rz_meta),
                                       .tensor_stride = sizeof(struct rz_tensor),
                                       .priv = m};
    int32_t status = m->status;
    if (status)
        st_close(self, &m->base);
    else
        *out = &m->base;
    return status;
}

static int32_t st_probe(void *self, const struct rz_source *first)
{
    (void)self;
    if (is_file(first, "/config.json") || is_file(first, ".safetensors"))
        return 90;
    return first->bytes > 9 && first->data[8] == '{' ? 40 : 0;
}

static const struct rz_format format = {
    .size = sizeof(format),
    .name = "safetensors",
    .probe = st_probe,
    .open = st_open,
    .close = st_close,
};

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host;
    (void)config;
    (void)err;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_FORMAT_1) && minor_need <= format.minor ? &format : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_FORMAT), .name = "safetensors", .version = "0.1.0", .vendor = "rz",
               .licence = "MIT", .provides = "format:safetensors"},
    .option_stride = sizeof(struct rz_option),
    .init = init,
    .query = query,
};
