/* recode.c - one tensor from its stored type into the file's, a slab of rows at a time, on the thread team.
 *
 * A slab is decoded to float32 and encoded in tasks of whole rows; what a row becomes does not depend on the
 * tasks or threads. Memory: two or three slabs, whatever the tensor's size (one row, if that is longer).
 */
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "numeric.h"
#include "tools.h"

#define SLAB ((uint64_t)4 << 20)  /* elements of a slab    */
#define TASK ((uint64_t)16 << 10) /* elements of a task    */
#define COPY ((uint64_t)4 << 20)  /* bytes copied at once  */
#define ALIGNED 8u                /* what decoders may ask of a row's address */

/* A slab at work; rows are counted in the whole tensor. */
struct slab {
    const struct rz_tensor *t;
    const uint8_t *src; /* of its first row */
    float *floats;
    uint8_t *encoded;
    const float *importance;
    int32_t to;
    uint64_t first, rows, task_rows;
    uint64_t src_row, dst_row; /* bytes */
    uint32_t n_tasks;
    struct rz_err *errs; /* one a task */
};

int32_t rz_tools_recode_init(struct rz_tools_recode *r, struct rz_err *err)
{
    r->floats = NULL;
    r->raw = r->encoded = NULL;
    if (!r->threads)
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_THREADS_1, "the host does not offer it");
    return RZ_OK;
}

static void free_slabs(struct rz_tools_recode *r)
{
    free(r->floats);
    free(r->raw);
    free(r->encoded);
    r->floats = NULL;
    r->raw = r->encoded = NULL;
}

void rz_tools_recode_free(struct rz_tools_recode *r)
{
    free_slabs(r);
}

/* Encodes n rows from `row` of the slab on, never across two matrices of a stack. */
static int32_t encode_rows(const struct slab *s, uint64_t row, uint64_t n, const float *from,
                           struct rz_err *err)
{
    uint64_t cols = s->t->dims[0], per_matrix = s->t->dims[1];
    while (n) {
        uint64_t in_matrix = (s->first + row) % per_matrix, part = per_matrix - in_matrix;
        const float *weights = s->importance ? s->importance + (s->first + row) / per_matrix * cols : NULL;
        part = part < n ? part : n;
        int32_t code = rz_encode(s->to, from, part, cols, weights, s->encoded + row * s->dst_row, err);
        if (code)
            return code;
        row += part;
        n -= part;
        from += part * cols;
    }
    return RZ_OK;
}

static void run_task(void *arg, uint32_t i)
{
    const struct slab *s = arg;
    uint64_t row = i * s->task_rows, left = s->rows - row, cols = s->t->dims[0];
    uint64_t n = left < s->task_rows ? left : s->task_rows;
    const uint8_t *src = s->src + row * s->src_row;
    float *to = s->floats ? s->floats + row * cols : NULL;
    if (s->to == RZ_TYPE_F32) { /* the decoder's result is the result */
        rz_type_info(s->t->type)->decode(src, (float *)(void *)(s->encoded + row * s->dst_row), n * cols);
        return;
    }
    if (to)
        rz_type_info(s->t->type)->decode(src, to, n * cols);
    encode_rows(s, row, n, to ? to : (const float *)(const void *)src, &s->errs[i]);
}

static int32_t run_slab(struct rz_tools_recode *r, struct slab *s, struct rz_err *err)
{
    s->n_tasks = (uint32_t)((s->rows + s->task_rows - 1) / s->task_rows);
    s->errs = calloc(s->n_tasks, sizeof(*s->errs));
    if (!s->errs)
        return rz_fail(err, RZ_ENOMEM, "quantize", "no memory");
    for (uint32_t i = 0; i < s->n_tasks; i++)
        s->errs[i].size = sizeof(s->errs[i]);
    r->threads->parallel_for(r->threads->ctx, s->n_tasks, run_task, s);
    int32_t code = RZ_OK;
    for (uint32_t i = 0; i < s->n_tasks && !code; i++)
        if (s->errs[i].code) {
            char name[96];
            rz_show(name, sizeof(name), s->t->name.data, s->t->name.len);
            code = rz_fail(err, s->errs[i].code, name, "from row %llu on: %s",
                           (unsigned long long)(s->first + i * s->task_rows), s->errs[i].message);
        }
    free(s->errs);
    return code ? code : rz_tools_gguf_write(r->out, s->encoded, s->rows * s->dst_row);
}

static int32_t copy(struct rz_tools_recode *r, const struct rz_tensor *t, const uint8_t *data)
{
    int32_t code = RZ_OK;
    for (uint64_t at = 0; at < t->bytes && !code; at += COPY) {
        uint64_t n = t->bytes - at < COPY ? t->bytes - at : COPY;
        code = rz_tools_gguf_write(r->out, data + at, n);
        rz_tools_progress_add(r->progress, n);
    }
    return code;
}

/* Buffers for `rows` rows; a map that is not aligned is copied to raw first. */
static int32_t make_slabs(struct rz_tools_recode *r, const struct slab *s, uint64_t rows, bool aligned,
                          struct rz_err *err)
{
    bool decode = s->t->type != RZ_TYPE_F32 && s->to != RZ_TYPE_F32;
    if (decode)
        r->floats = malloc(rows * s->t->dims[0] * sizeof(float));
    if (!aligned)
        r->raw = malloc(rows * s->src_row);
    r->encoded = malloc(rows * s->dst_row);
    if ((decode && !r->floats) || (!aligned && !r->raw) || !r->encoded)
        return rz_fail(err, RZ_ENOMEM, "quantize", "no memory for %llu rows of %llu",
                       (unsigned long long)rows, (unsigned long long)s->t->dims[0]);
    return RZ_OK;
}

int32_t rz_tools_recode_tensor(struct rz_tools_recode *r, const struct rz_tensor *t, const void *data,
                               int32_t to, const float *importance, struct rz_err *err)
{
    struct slab s = {.t = t, .to = to, .importance = importance};
    const struct rz_type_info *info = rz_type_info(t->type);
    uint64_t cols = t->dims[0], total = t->dims[1] * t->dims[2] * t->dims[3];
    bool aligned = (uintptr_t)data % ALIGNED == 0;
    char name[96];
    if (t->type == to)
        return copy(r, t, data);
    rz_show(name, sizeof(name), t->name.data, t->name.len);
    if (!info->decode || !rz_type_bytes(t->type, cols, &s.src_row) || !rz_type_bytes(to, cols, &s.dst_row) ||
        (to != RZ_TYPE_F32 && !rz_encode_knows(to)))
        return rz_fail(err, RZ_EUNSUPPORTED, name, "%s cannot become %s", info->name, rz_type_info(to)->name);
    uint64_t rows = SLAB / cols;
    rows = rows < 1 ? 1 : rows < total ? rows : total;
    s.task_rows = TASK / cols ? TASK / cols : 1;
    int32_t code = make_slabs(r, &s, rows, aligned, err);
    for (; s.first < total && !code; s.first += s.rows) {
        s.rows = total - s.first < rows ? total - s.first : rows;
        s.src = (const uint8_t *)data + s.first * s.src_row;
        if (!aligned)
            s.src = memcpy(r->raw, s.src, s.rows * s.src_row);
        s.floats = r->floats;
        s.encoded = r->encoded;
        code = run_slab(r, &s, err);
        rz_tools_progress_add(r->progress, s.rows * s.src_row);
    }
    free_slabs(r);
    return code;
}
