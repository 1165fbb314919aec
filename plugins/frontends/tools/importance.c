/* importance.c - reads the importance matrix that `rz imatrix` (or llama.cpp) wrote: a GGUF file with the
 * tensors NAME.in_sum2 [cols, matrices] and NAME.counts [1, matrices], both F32.
 *
 * The values stay in the map; every number is checked when a weight asks for it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "numeric.h"
#include "tools.h"

static const char suffix[] = ".in_sum2";
#define SUFFIX (sizeof(suffix) - 1)

static const struct rz_tensor *tensor_at(const struct rz_tools_importance *w, uint64_t i)
{
    return (const void *)((const char *)w->tables->tensors + i * w->tables->tensor_stride);
}

static int32_t index_names(struct rz_tools_importance *w, struct rz_err *err)
{
    if (!rz_map_init(&w->names, w->tables->n_tensors + 1))
        return rz_fail(err, RZ_ENOMEM, w->path, "no memory");
    for (uint64_t i = 0; i < w->tables->n_tensors; i++) {
        const struct rz_str *name = &tensor_at(w, i)->name;
        if (name->len <= SUFFIX || memcmp(name->data + name->len - SUFFIX, suffix, SUFFIX))
            continue;
        if (rz_map_add(&w->names, name->data, name->len - SUFFIX, (uint32_t)i) < 0)
            return rz_fail(err, RZ_ENOMEM, w->path, "no memory");
        w->n++;
    }
    if (!w->n)
        return rz_fail(
            err, RZ_EFORMAT, w->path,
            "holds no importance matrix (no tensor called NAME.in_sum2; make one with rz imatrix)");
    return RZ_OK;
}

int32_t rz_tools_importance_open(struct rz_tools_importance *w, const struct rz_cli *cli, const char *path,
                                 struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_META};
    *w = (struct rz_tools_importance){.path = path};
    w->api = cli->host->query(cli->host->ctx, RZ_HOST_MODEL_1, 0);
    if (!w->api || !RZ_HAS(w->api, tensor_data))
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer it");
    int32_t code = w->api->open(w->api->ctx, path, &mo, &w->model, err);
    if (code)
        return code;
    w->tables = w->api->tables(w->model);
    return w->tables ? index_names(w, err) : rz_fail(err, RZ_EINTERNAL, path, "has no tables");
}

void rz_tools_importance_close(struct rz_tools_importance *w)
{
    rz_map_free(&w->names);
    if (w->model)
        w->api->close(w->model);
    *w = (struct rz_tools_importance){0};
}

static const struct rz_tensor *counts_of(const struct rz_tools_importance *w, const struct rz_str *name)
{
    static const char ending[] = ".counts";
    for (uint64_t i = 0; i < w->tables->n_tensors; i++) {
        const struct rz_tensor *t = tensor_at(w, i);
        if (t->name.len == name->len + sizeof(ending) - 1 && !memcmp(t->name.data, name->data, name->len) &&
            !memcmp(t->name.data + name->len, ending, sizeof(ending) - 1))
            return t;
    }
    return NULL;
}

static uint64_t elements(const struct rz_tensor *t)
{
    return t->type == RZ_TYPE_F32 ? t->bytes / sizeof(float) : 0;
}

/* sums / counts; a matrix that never ran counts every column the same. */
static bool divide(float *v, uint64_t n, const float *counts, uint64_t n_counts)
{
    uint64_t each = n / n_counts;
    for (uint64_t i = 0; i < n; i++) {
        float count;
        memcpy(&count, &counts[i / each], sizeof(count)); /* the file's alignment is not ours */
        if (!isfinite(count) || count < 0 || !isfinite(v[i]) || v[i] < 0)
            return false;
        v[i] = count > 0 ? v[i] / count : 1;
    }
    return true;
}

int32_t rz_tools_importance_get(const struct rz_tools_importance *w, const struct rz_tensor *t, float **out,
                                struct rz_err *err)
{
    uint32_t index;
    char name[96];
    *out = NULL;
    if (!rz_map_get(&w->names, t->name.data, t->name.len, &index))
        return RZ_OK;
    rz_show(name, sizeof(name), t->name.data, t->name.len);
    const struct rz_tensor *sums = tensor_at(w, index), *counts = counts_of(w, &t->name);
    uint64_t n = t->dims[0] * t->dims[2] * t->dims[3], n_counts = counts ? elements(counts) : 0;
    if (elements(sums) != n || !n_counts || n % n_counts)
        return rz_fail(err, RZ_EFORMAT, w->path, "%s: %llu sums and %llu counts; the weight needs %llu sums",
                       name, (unsigned long long)elements(sums), (unsigned long long)n_counts,
                       (unsigned long long)n);
    const void *from = w->api->tensor_data(w->model, sums), *by = w->api->tensor_data(w->model, counts);
    float *v = from && by ? malloc(n * sizeof(*v)) : NULL;
    if (!v)
        return rz_fail(err, RZ_ENOMEM, w->path, "%s: no memory for %llu values", name, (unsigned long long)n);
    memcpy(v, from, n * sizeof(*v));
    if (!divide(v, n, by, n_counts)) {
        free(v);
        return rz_fail(err, RZ_EFORMAT, w->path, "%s: a sum or count is negative or not finite", name);
    }
    *out = v;
    return RZ_OK;
}
