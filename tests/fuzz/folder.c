/* folder.c - the base of the targets over a folder: a model as the plugin's open makes it, step by step. */
#include "folder_fuzz.h"

#include <string.h>

void fuzz_folder_begin(struct rz_hf_model *m, const struct rz_source *sources, uint32_t n, struct rz_err *err)
{
    *m = (struct rz_hf_model){.sources = (const char *)sources,
                              .n_sources = n,
                              .stride = sizeof(*sources),
                              .err = err,
                              .limits = {.size = sizeof(m->limits),
                                         .max_tensors = 65536,
                                         .max_metadata = 65536,
                                         .max_string_bytes = 16u << 20,
                                         .max_array = 1u << 20}};
    rz_arena_init(&m->arena, 0);
}

void fuzz_folder_end(struct rz_hf_model *m)
{
    fuzz_status(m->status, m->err);
    m->base = (struct rz_format_model){
        .size = sizeof(m->base), .meta = m->meta, .n_meta = m->n_meta, .meta_stride = sizeof(struct rz_meta)};
    if (!m->status)
        fuzz_tables(&m->base, NULL, 0);
    json_decref(m->config);
    json_decref(m->tokenizer_config);
    rz_map_free(&m->names);
    rz_arena_free(&m->arena);
}
