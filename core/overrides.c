/* overrides.c - settings of a model that its file does not carry, or says otherwise.
 *
 * Each is an option of [model.NAME] or [model] and becomes the metadata entry that the file would have, in a
 * copy of the table; whoever reads metadata sees it. What a family does not apply is refused as if the file
 * had said it.
 */
#include "models.h"

#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *option, *key; /* key: without the architecture */
    uint32_t type;            /* RZ_META_*                     */
} settings[] = {
    {"sliding_window", "attention.sliding_window", RZ_META_U32},
    {"attention_chunk", "attention.chunk_size", RZ_META_U32},
    {"pooling", "pooling_type", RZ_META_U32},
    {"rope_base", "rope.freq_base", RZ_META_F32},
    {"rope_scaling", "rope.scaling.type", RZ_META_STR},
    {"rope_factor", "rope.scaling.factor", RZ_META_F32},
    {"rope_magnitude", "rope.scaling.attn_factor", RZ_META_F32},
    {"rope_original_context", "rope.scaling.original_context_length", RZ_META_U32},
    {"yarn_truncate", "rope.scaling.yarn_truncate", RZ_META_BOOL},
};

#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

struct entry {
    char key[96];
    union {
        uint32_t u32;
        float f32;
        uint8_t flag;
        struct rz_str str;
    } value;
};

struct rz_overrides {
    struct rz_format_model tables;
    struct rz_meta *meta;
    struct entry entries[N_SETTINGS];
    const char *from[N_SETTINGS], *text[N_SETTINGS]; /* section and value; NULL: not set */
};

/* The section that says it, or NULL. */
static const char *section_of(const struct rz_settings *s, const char *section, const char *option)
{
    if (section && rz_settings_given(s, section, option))
        return section;
    return rz_settings_given(s, "model", option) ? "model" : NULL;
}

static uint32_t pooling_type(const char *word)
{
    return !strcmp(word, "mean") ? RZ_POOL_MEAN : !strcmp(word, "cls") ? RZ_POOL_CLS : RZ_POOL_LAST;
}

static void make(const struct rz_option_value *v, uint32_t i, struct entry *e, struct rz_meta *m)
{
    *m = (struct rz_meta){.size = sizeof(*m),
                          .type = settings[i].type,
                          .elem_type = settings[i].type,
                          .n = 1,
                          .key = {e->key, strlen(e->key)},
                          .data = &e->value};
    if (settings[i].type == RZ_META_STR)
        e->value.str = (struct rz_str){v->text, strlen(v->text)};
    else if (settings[i].type == RZ_META_F32)
        e->value.f32 = (float)v->f;
    else if (settings[i].type == RZ_META_BOOL)
        e->value.flag = v->i != 0;
    else
        e->value.u32 = !strcmp(settings[i].option, "pooling") ? pooling_type(v->text) : (uint32_t)v->i;
}

static const struct rz_meta *meta_at(const struct rz_format_model *t, uint64_t i)
{
    return (const void *)((const char *)t->meta + i * t->meta_stride);
}

/* The file's entries but for those that are put in their place. */
static uint64_t add_others(struct rz_meta *to, uint64_t n, const struct rz_format_model *t)
{
    uint64_t own = n;
    for (uint64_t i = 0; i < t->n_meta; i++) {
        const struct rz_meta *m = meta_at(t, i);
        bool replaced = false;
        for (uint64_t k = 0; k < own; k++)
            replaced |= to[k].key.len == m->key.len && !memcmp(to[k].key.data, m->key.data, m->key.len);
        if (!replaced)
            to[n++] = *m;
    }
    return n;
}

int32_t rz_model_override(struct rz_model *model, const char *section, struct rz_err *err)
{
    const struct rz_settings *s = model->owner->settings;
    const struct rz_format_model *file = model->file_tables;
    const char *from[N_SETTINGS];
    uint64_t n = 0;
    model->tables = file;
    for (uint32_t i = 0; i < N_SETTINGS; i++)
        n += (from[i] = section_of(s, section, settings[i].option)) != NULL;
    if (!n)
        return RZ_OK;
    struct rz_overrides *o = calloc(1, sizeof(*o));
    if (o)
        o->meta = calloc(n + file->n_meta, sizeof(*o->meta));
    model->overrides = o;
    if (!o || !o->meta)
        return rz_fail(err, RZ_ENOMEM, model->path, "no memory for metadata");
    n = 0;
    for (uint32_t i = 0; i < N_SETTINGS; i++) {
        if (!from[i])
            continue;
        const struct rz_option_value *v = rz_settings_get(s, from[i], settings[i].option);
        snprintf(o->entries[i].key, sizeof(o->entries[i].key), "%s.%s", model->shown_arch, settings[i].key);
        make(v, i, &o->entries[i], &o->meta[n++]);
        o->from[i] = from[i];
        o->text[i] = v->text;
    }
    o->tables = *file;
    o->tables.n_meta = add_others(o->meta, n, file);
    o->tables.meta = o->meta;
    o->tables.meta_stride = sizeof(*o->meta);
    model->tables = &o->tables;
    return RZ_OK;
}

void rz_overrides_free(struct rz_overrides *o)
{
    if (o)
        free(o->meta);
    free(o);
}

void rz_overrides_each(const struct rz_overrides *o, void (*line)(void *arg, const char *text), void *arg)
{
    char text[200];
    for (uint32_t i = 0; o && i < N_SETTINGS; i++) {
        if (!o->from[i])
            continue;
        snprintf(text, sizeof(text), "%s = %s (of [%s], in the place of %s)", settings[i].option, o->text[i],
                 o->from[i], o->entries[i].key);
        line(arg, text);
    }
}
