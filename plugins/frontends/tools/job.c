/* job.c - a model file into another one: opens, streams every tensor, checks that the source stayed as it
 * was, and only then gives the new file its name.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "numeric.h"
#include "tools.h"
#include "transform.h"

#define MORE_META 8 /* entries that a command may add */

void rz_tools_warn(const struct rz_cli *cli, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0)
        cli->host->log(cli->host->ctx, RZ_LOG_WARN, text,
                       (uint64_t)n < sizeof(text) ? (uint64_t)n : sizeof(text) - 1);
}

static const struct rz_tensor *tensor_at(const struct rz_format_model *t, uint64_t i)
{
    return (const void *)((const char *)t->tensors + i * t->tensor_stride);
}

/* What the tensor is once its transform is applied. */
static int32_t read_tensor(const struct rz_tensor *t, struct rz_tensor *out, struct rz_err *err)
{
    *out = (struct rz_tensor){.size = sizeof(*out),
                              .type = t->type,
                              .n_dims = t->n_dims,
                              .dims = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]},
                              .bytes = t->bytes,
                              .name = t->name};
    return rz_tensor_is_plain(t) ? RZ_OK : rz_transform_check(t, &out->type, &out->bytes, err);
}

int32_t rz_tools_job_open(struct rz_tools_job *job, const struct rz_cli *cli, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_META};
    int32_t code = rz_cli_open(cli, job->in, &mo, &job->model, err);
    if (code)
        return code;
    job->tables = job->model.api->tables(job->model.model);
    if (!job->tables || !RZ_HAS(job->model.api, threads))
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer all of it");
    job->n = job->tables->n_tensors;
    if (!job->n)
        return rz_fail(err, RZ_EFORMAT, job->in, "has no tensors");
    job->from = calloc(job->n, sizeof(*job->from));
    job->to = calloc(job->n, sizeof(*job->to));
    job->types = calloc(job->n, sizeof(*job->types));
    if (!job->from || !job->to || !job->types)
        return rz_fail(err, RZ_ENOMEM, job->in, "no memory for %llu tensors", (unsigned long long)job->n);
    for (uint64_t i = 0; i < job->n && !code; i++)
        code = read_tensor(tensor_at(job->tables, i), &job->from[i], err);
    if (!code)
        code = rz_tools_meta_init(&job->meta, job->tables, MORE_META, err);
    rz_tools_meta_drop(&job->meta, "split."); /* the new file is one */
    return code;
}

void rz_tools_job_close(struct rz_tools_job *job)
{
    rz_tools_meta_free(&job->meta);
    rz_cli_close(&job->model);
    free(job->from);
    free(job->to);
    free(job->types);
    job->from = job->to = NULL;
    job->types = NULL;
}

static const void *find_stored(void *ctx, const struct rz_tensor *t)
{
    const struct rz_tools_job *job = ctx;
    return job->model.api->tensor_data(job->model.model, t);
}

/* The bytes of tensor i after its transform; *own: memory to free. */
static const void *bytes_of(struct rz_tools_job *job, uint64_t i, void **own, struct rz_err *err)
{
    const struct rz_tensor *t = tensor_at(job->tables, i);
    char name[96];
    *own = NULL;
    if (rz_tensor_is_plain(t)) {
        const void *data = find_stored(job, t);
        if (!data)
            rz_fail(err, RZ_EFORMAT, rz_show(name, sizeof(name), t->name.data, t->name.len),
                    "its data are not inside of the file");
        return data;
    }
    *own = malloc(job->from[i].bytes);
    if (!*own)
        rz_fail(err, RZ_ENOMEM, rz_show(name, sizeof(name), t->name.data, t->name.len),
                "no memory for its %llu bytes", (unsigned long long)job->from[i].bytes);
    else if (rz_transform_apply(t, find_stored, job, *own, err)) {
        free(*own);
        *own = NULL;
    }
    return *own;
}

static void say_tensor(const struct rz_tools_job *job, uint64_t i, bool weighted)
{
    const struct rz_tensor *a = &job->from[i], *b = &job->to[i];
    char x[32], y[32], name[96];
    if (job->verbose)
        fprintf(stderr, "[%llu/%llu] %-36s %-7s %10s -> %-7s %10s%s\n", (unsigned long long)i + 1,
                (unsigned long long)job->n, rz_show(name, sizeof(name), a->name.data, a->name.len),
                rz_type_info(a->type)->name, rz_cli_bytes(x, a->bytes), rz_type_info(b->type)->name,
                rz_cli_bytes(y, b->bytes), weighted ? " (weighted)" : "");
}

static int32_t write_tensor(struct rz_tools_job *job, struct rz_tools_recode *r, uint64_t i,
                            struct rz_err *err)
{
    float *importance = NULL;
    void *own = NULL;
    int32_t code = RZ_OK;
    if (job->importance && job->types[i] != job->from[i].type)
        code = rz_tools_importance_get(job->importance, &job->from[i], &importance, err);
    const void *data = code ? NULL : bytes_of(job, i, &own, err);
    if (data) {
        say_tensor(job, i, importance != NULL);
        code = rz_tools_recode_tensor(r, &job->from[i], data, job->types[i], importance, err);
    } else if (!code) {
        code = err->code;
    }
    if (!code)
        code = rz_tools_gguf_pad(r->out);
    free(own);
    free(importance);
    return code;
}

static int32_t report(const struct rz_tools_job *job, struct rz_err *err)
{
    uint64_t weights = 0, elements = 0;
    char size[32];
    for (uint64_t i = 0; i < job->n; i++) {
        const struct rz_tensor *t = &job->to[i];
        weights += t->bytes;
        elements += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    }
    double bits = 8.0 * (double)weights / (double)elements;
    if (job->json)
        return rz_cli_json(json_pack("{s:o,s:s,s:I,s:I,s:I,s:f}", "file",
                                     rz_cli_json_text(job->out, strlen(job->out)), "type", job->what, "bytes",
                                     (json_int_t)job->bytes, "tensors", (json_int_t)job->n, "parameters",
                                     (json_int_t)elements, "bits_per_weight", bits),
                           err);
    if (job->quiet)
        return RZ_OK;
    int32_t code = rz_cli_print(err, "%s: %s, %s, %llu tensors, %.2f bits per weight\n", job->out, job->what,
                                rz_cli_bytes(size, job->bytes), (unsigned long long)job->n, bits);
    return code ? code : rz_cli_write("", 0, err);
}

/* All tensors, then the file's name. */
static int32_t write_file(struct rz_tools_job *job, struct rz_tools_recode *r, struct rz_err *err)
{
    int32_t code = rz_tools_gguf_head(r->out, &job->meta, job->to, job->n);
    for (uint64_t i = 0; i < job->n && !code; i++)
        code = write_tensor(job, r, i, err);
    rz_tools_progress_end(r->progress);
    if (!code)
        code = job->model.api->check(job->model.model, err);
    if (!code)
        code = rz_cli_file_commit(&r->out->file, err);
    job->bytes = r->out->at;
    return code;
}

/* The same figures without the file: gguf writes nowhere. */
static int32_t only_tell(struct rz_tools_job *job, struct rz_tools_gguf *gguf, struct rz_err *err)
{
    int32_t code = rz_tools_gguf_head(gguf, &job->meta, job->to, job->n);
    for (uint64_t i = 0; i < job->n && !code; i++) {
        say_tensor(job, i, false);
        gguf->at += job->to[i].bytes;
        code = rz_tools_gguf_pad(gguf);
    }
    job->bytes = gguf->at;
    return code ? code : report(job, err);
}

int32_t rz_tools_job_run(struct rz_tools_job *job, struct rz_err *err)
{
    struct rz_tools_gguf gguf = {.err = err};
    struct rz_tools_progress progress = {0};
    struct rz_tools_recode r = {.out = &gguf, .progress = &progress};
    uint64_t total = 0;
    for (uint64_t i = 0; i < job->n; i++) {
        job->to[i] = job->from[i];
        job->to[i].type = job->types[i];
        total += job->from[i].bytes;
    }
    r.threads = job->model.api->threads(job->model.api->ctx, err);
    int32_t code = r.threads ? rz_tools_recode_init(&r, err) : err->code;
    if (!code && job->dry)
        return only_tell(job, &gguf, err);
    if (!code)
        code = rz_cli_file_create(&gguf.file, job->out, job->replace, err);
    if (!code) {
        rz_tools_progress_start(&progress, total, NULL, job->quiet || job->verbose);
        code = write_file(job, &r, err);
    }
    rz_cli_file_discard(&gguf.file);
    rz_tools_recode_free(&r);
    return code ? code : report(job, err);
}
