/* model_identity.c - a number for a model as it is run: its settings, parts of its weights, who computes.
 *
 * Two models with the same number compute the same; two whose weights differ in places that are not looked at
 * could have the same, which no training leaves. Not a cryptographic hash.
 */
#include "models.h"

#include "err.h"
#include "map.h"
#include "transform.h"

#include <string.h>

#define PART 4096u

struct sum {
    uint64_t v[2];
};

static void add(struct sum *s, const void *p, uint64_t n)
{
    for (int i = 0; i < 2; i++)
        s->v[i] = rz_map_hash(s->v[i], p, n);
}

static void add_meta(struct sum *s, const struct rz_meta *m)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    add(s, m->key.data, m->key.len);
    if (m->elem_type == RZ_META_STR) {
        const struct rz_str *text = m->data;
        for (uint64_t i = 0; i < m->n; i++)
            add(s, text[i].data, text[i].len);
    } else if (m->elem_type < sizeof(bytes)) {
        add(s, m->data, m->n * bytes[m->elem_type]);
    }
}

/* Beginning, middle and end. */
static void add_tensor(struct sum *s, const struct rz_tensor *t, const uint8_t *data)
{
    add(s, t->name.data, t->name.len);
    add(s, &t->type, sizeof(t->type));
    add(s, t->dims, sizeof(t->dims));
    if (!data)
        return;
    uint64_t part = t->bytes < PART ? t->bytes : PART;
    add(s, data, part);
    add(s, data + (t->bytes - part) / 2, part);
    add(s, data + t->bytes - part, part);
}

int32_t rz_model_identity(struct rz_model *model, uint64_t out[2], struct rz_err *err)
{
    const struct rz_format_model *f = model->tables;
    struct sum s = {{1, 2}};
    int32_t rc = rz_source_check(&model->set, err);
    if (rc)
        return rc;
    for (uint64_t i = 0; i < f->n_meta; i++)
        add_meta(&s, (const void *)((const char *)f->meta + i * f->meta_stride));
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        const struct rz_tensor *t = (const void *)((const char *)f->tensors + i * f->tensor_stride);
        add_tensor(&s, t, rz_tensor_data(t, model->set.sources, model->set.n));
    }
    struct rz_plan_part part = {.size = sizeof(part)};
    for (uint32_t i = 0; model->device->part && model->device->part(model->plan, i, &part) == RZ_OK; i++) {
        add(&s, part.runner, strnlen(part.runner, sizeof(part.runner)));
        if (part.device)
            add(&s, part.device, strlen(part.device));
    }
    memcpy(out, s.v, sizeof(s.v));
    return RZ_OK;
}
