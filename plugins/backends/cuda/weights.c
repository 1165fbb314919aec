/* weights.c - weights in device memory: the planes that unit.h reads, and vectors as they are.
 *
 * Rows are laid out by the host's threads into one pinned buffer while the other one is copied. Types that
 * kernels do not know become f16, or float32 where f16 cannot hold a value that precisely.
 */
#include "cuda.h"

#include "checked.h"
#include "err.h"
#include "numeric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STAGE (16u << 20)
#define ROW_ALIGN 16u
#define ALIGN 256u

/* How a block of a type is cut: bytes [a_from, a_from + a) go to plane a, the rest to plane b. */
struct layout {
    int32_t type;
    const char *name;
    uint32_t a, b; /* bytes of a block in each plane */
    void (*put)(const uint8_t *block, uint8_t *a, uint8_t *b);
};

/* --- blocks: from the order of the file to the two planes (rz/quant.h, unit.h) --- */

#define PUT(name) static void put_##name(const uint8_t *s, uint8_t *a, uint8_t *b)

PUT(d16) /* d, 16 bytes */
{
    memcpy(b, s, 2);
    memcpy(a, s + 2, 16);
}
PUT(q4_1)
{
    memcpy(b, s, 4);
    memcpy(a, s + 4, 16);
}
PUT(q5_0)
{
    memcpy(b, s + 2, 4);
    memcpy(b + 4, s, 2);
    memset(b + 6, 0, 2);
    memcpy(a, s + 6, 16);
}
PUT(q5_1)
{
    memcpy(b, s + 4, 4);
    memcpy(b + 4, s, 4);
    memcpy(a, s + 8, 16);
}
PUT(q8_0)
{
    memcpy(b, s, 2);
    memcpy(a, s + 2, 32);
}
PUT(q2_k)
{
    memcpy(a, s, 80);
    memcpy(b, s + 80, 4);
}
PUT(q3_k)
{
    memcpy(a, s, 96);
    memcpy(b, s + 96, 14);
    memset(b + 14, 0, 2);
}
PUT(q6_k)
{
    memcpy(a, s, 208);
    memcpy(b, s + 208, 2);
}
PUT(iq4_xs)
{
    memcpy(b, s, 8);
    memcpy(a, s + 8, 128);
}
PUT(mxfp4)
{
    b[0] = s[0];
    memcpy(a, s + 1, 16);
}

/* put NULL: the block as it is. */
static const struct layout layouts[] = {
    {RZ_TYPE_F32, "F32", 4, 0, NULL},
    {RZ_TYPE_F16, "F16", 2, 0, NULL},
    {RZ_TYPE_BF16, "BF16", 2, 0, NULL},
    {RZ_TYPE_Q4_0, "Q4_0", 16, 2, put_d16},
    {RZ_TYPE_Q4_1, "Q4_1", 16, 4, put_q4_1},
    {RZ_TYPE_Q5_0, "Q5_0", 16, 8, put_q5_0},
    {RZ_TYPE_Q5_1, "Q5_1", 16, 8, put_q5_1},
    {RZ_TYPE_Q8_0, "Q8_0", 32, 2, put_q8_0},
    {RZ_TYPE_Q2_K, "Q2_K", 80, 4, put_q2_k},
    {RZ_TYPE_Q3_K, "Q3_K", 96, 16, put_q3_k},
    {RZ_TYPE_Q4_K, "Q4_K", 144, 0, NULL},
    {RZ_TYPE_Q5_K, "Q5_K", 176, 0, NULL},
    {RZ_TYPE_Q6_K, "Q6_K", 208, 2, put_q6_k},
    {RZ_TYPE_IQ4_NL, "IQ4_NL", 16, 2, put_d16},
    {RZ_TYPE_IQ4_XS, "IQ4_XS", 128, 8, put_iq4_xs},
    {RZ_TYPE_MXFP4, "MXFP4", 16, 1, put_mxfp4},
};

static const struct layout *layout_of(int32_t type)
{
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
        if (layouts[i].type == type)
            return &layouts[i];
    return NULL;
}

const char *cu_type_name(int32_t type)
{
    const struct layout *l = layout_of(type);
    return l ? l->name : NULL;
}

/* --- types that are decoded on load --- */

struct range {
    const struct rz_weight *w;
    _Atomic int fails;
};

/* Does f16 hold every value of the row as well as it holds any? */
static void judge_row(void *arg, uint32_t row)
{
    struct range *r = arg;
    const struct rz_type_info *t = rz_type_info(r->w->type);
    uint64_t row_bytes = r->w->bytes / r->w->rows;
    float *x = malloc(r->w->cols * sizeof(*x) + 1);
    if (x)
        t->decode((const uint8_t *)r->w->data + row * row_bytes, x, r->w->cols);
    for (uint64_t i = 0; x && i < r->w->cols; i++)
        if (x[i] != 0 && !(fabsf(x[i]) >= 0x1p-14f && fabsf(x[i]) < 65504))
            r->fails = 1;
    if (!x)
        r->fails = 1;
    free(x);
}

static int32_t device_type(const struct rz_plan *plan, const struct rz_weight *w)
{
    struct range r = {.w = w};
    if (layout_of(w->type))
        return w->type;
    cu_parallel(plan->device, (uint32_t)w->rows, judge_row, &r);
    return r.fails ? RZ_TYPE_F32 : RZ_TYPE_F16;
}

/* --- places --- */

static bool is_matrix_op(uint16_t op)
{
    return op == RZ_OP_GET_ROWS || op == RZ_OP_MATMUL || op == RZ_OP_MATMUL_ID || op == RZ_OP_MATMUL_HEADS ||
           op == RZ_OP_ADD_POS || op == RZ_OP_ADD_ROW;
}

static bool take(uint64_t *at, uint64_t bytes, uint64_t *place)
{
    *place = *at;
    return rz_add_u64(*at, bytes, at) && rz_align_u64(*at, ALIGN, at);
}

/* Offsets stand in the pointers until the memory is there. */
static int32_t place_matrix(struct rz_plan *plan, uint32_t i, struct rz_err *err)
{
    const struct rz_weight *w = rz_weight_at(plan->program, i);
    struct cu_mat *m = &plan->mats[i];
    uint64_t a, b, a_bytes, b_bytes;
    *m = (struct cu_mat){.cols = (uint32_t)w->cols, .rows = (uint32_t)w->rows, .type = device_type(plan, w)};
    const struct layout *l = layout_of(m->type);
    uint64_t blocks = (w->cols + rz_type_info(m->type)->block - 1) / rz_type_info(m->type)->block;
    m->a_pitch = rz_round_up(blocks * l->a, ROW_ALIGN);
    m->b_pitch = rz_round_up(blocks * l->b, ROW_ALIGN);
    if (!rz_mul_u64(m->a_pitch, w->rows, &a_bytes) || !rz_mul_u64(m->b_pitch, w->rows, &b_bytes) ||
        !take(&plan->weight_bytes, a_bytes, &a) || !take(&plan->weight_bytes, b_bytes, &b))
        return rz_fail(err, RZ_ELIMIT, "plan", "%.*s is too large", (int)w->name.len, w->name.data);
    m->a = (const uint8_t *)(uintptr_t)a;
    m->b = (const uint8_t *)(uintptr_t)b;
    return RZ_OK;
}

static int32_t place_vector(struct rz_plan *plan, uint32_t i, struct rz_err *err)
{
    const struct rz_weight *w = rz_weight_at(plan->program, i);
    uint64_t at;
    if (!take(&plan->weight_bytes, w->bytes, &at))
        return rz_fail(err, RZ_ELIMIT, "plan", "%.*s is too large", (int)w->name.len, w->name.data);
    plan->vectors[i] = (const float *)(uintptr_t)at;
    return RZ_OK;
}

/* How a weight is needed: bit 0 as a matrix, bit 1 as it is. */
static uint8_t *needs(const struct rz_plan *plan)
{
    uint8_t *out = calloc(plan->program->n_weights + 1, 1);
    for (uint32_t i = 0; i < plan->n_ops && out; i++)
        for (uint32_t k = 0; k < CU_WEIGHTS; k++)
            if (plan->ops[i].weight[k] >= 0)
                out[plan->ops[i].weight[k]] |= k == 0 && is_matrix_op(plan->ops[i].n->op) ? 1 : 2;
    return out;
}

int32_t cu_weights_plan(struct rz_plan *plan, struct rz_err *err)
{
    uint32_t n = plan->program->n_weights;
    uint8_t *need = needs(plan);
    int32_t status = RZ_OK;
    plan->mats = calloc(n + 1, sizeof(*plan->mats));
    plan->vectors = calloc(n + 1, sizeof(*plan->vectors));
    if (!need || !plan->mats || !plan->vectors)
        status = rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u weights", n);
    if (!status)
        take(&plan->weight_bytes, 1, &(uint64_t){0}); /* no weight lies at 0, which says there is none */
    for (uint32_t i = 0; i < n && !status; i++) {
        plan->mats[i].type = RZ_TYPE_NONE;
        if (need[i] & 1)
            status = place_matrix(plan, i, err);
        if (need[i] & 2 && !status)
            status = place_vector(plan, i, err);
    }
    free(need);
    return status;
}

/* --- laying out and copying --- */

/* Bytes of the planes that rows lie in, side by side in a buffer: first all of a, then all of b. */
struct stretch {
    const struct rz_weight *w;
    const struct cu_mat *m;
    const struct layout *l;
    uint64_t first, rows;
    uint8_t *to;
};

static void put_decoded(const struct stretch *s, const uint8_t *from, uint8_t *a)
{
    const struct rz_type_info *t = rz_type_info(s->w->type);
    float x[512];
    for (uint64_t i = 0; i < s->w->cols; i += 512) {
        uint64_t n = s->w->cols - i < 512 ? s->w->cols - i : 512;
        t->decode(from + i / t->block * t->bytes, x, n);
        for (uint64_t k = 0; k < n; k++) {
            uint16_t h = rz_f32_to_f16(x[k]);
            if (s->m->type == RZ_TYPE_F32)
                memcpy(a + 4 * (i + k), &x[k], 4);
            else
                memcpy(a + 2 * (i + k), &h, 2);
        }
    }
}

static void put_row(void *arg, uint32_t row)
{
    const struct stretch *s = arg;
    const struct rz_type_info *t = rz_type_info(s->w->type);
    uint64_t row_bytes = s->w->bytes / s->w->rows, blocks = s->w->cols / t->block;
    const uint8_t *from = (const uint8_t *)s->w->data + (s->first + row) * row_bytes;
    uint8_t *a = s->to + row * s->m->a_pitch, *b = s->to + s->rows * s->m->a_pitch + row * s->m->b_pitch;
    memset(a, 0, s->m->a_pitch);
    memset(b, 0, s->m->b_pitch);
    if (s->m->type != s->w->type)
        put_decoded(s, from, a);
    else if (!s->l->put)
        memcpy(a, from, row_bytes);
    else
        for (uint64_t i = 0; i < blocks; i++)
            s->l->put(from + i * t->bytes, a + i * s->l->a, b + i * s->l->b);
}

/* The two buffers, by turns. */
struct stage {
    uint8_t *memory[2];
    cudaEvent_t done[2];
    uint64_t bytes;
    int at;
};

static int32_t stage_open(struct stage *s, uint64_t bytes, struct rz_err *err)
{
    int32_t status = RZ_OK;
    s->bytes = bytes;
    for (int i = 0; i < 2 && !status; i++) {
        status = cu_check(cudaMallocHost((void **)&s->memory[i], bytes), "pinned memory of the host", err);
        if (!status)
            status = cu_check(cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming), "an event", err);
    }
    return status;
}

static void stage_close(struct stage *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->done[i])
            cudaEventDestroy(s->done[i]);
        if (s->memory[i])
            cudaFreeHost(s->memory[i]);
    }
}

static int32_t copy_up(struct rz_plan *plan, const void *to, const void *from, uint64_t n, struct rz_err *err)
{
    return cu_check(cudaMemcpyAsync((void *)(uintptr_t)to, from, n, cudaMemcpyHostToDevice, plan->stream),
                    "copying weights", err);
}

static int32_t upload_matrix(struct rz_plan *plan, struct stage *stage, uint32_t i, struct rz_err *err)
{
    const struct cu_mat *m = &plan->mats[i];
    struct stretch s = {.w = rz_weight_at(plan->program, i), .m = m, .l = layout_of(m->type)};
    uint64_t together = stage->bytes / (m->a_pitch + m->b_pitch);
    int32_t status = RZ_OK;
    for (; s.first < s.w->rows && !status; s.first += s.rows, stage->at ^= 1) {
        s.rows = s.w->rows - s.first < together ? s.w->rows - s.first : together;
        s.to = stage->memory[stage->at];
        status = cu_check(cudaEventSynchronize(stage->done[stage->at]), "copying weights", err);
        if (status)
            break;
        cu_parallel(plan->device, (uint32_t)s.rows, put_row, &s);
        status = copy_up(plan, m->a + s.first * m->a_pitch, s.to, s.rows * m->a_pitch, err);
        if (!status)
            status = copy_up(plan, m->b + s.first * m->b_pitch, s.to + s.rows * m->a_pitch,
                             s.rows * m->b_pitch, err);
        if (!status)
            status = cu_check(cudaEventRecord(stage->done[stage->at], plan->stream), "copying weights", err);
    }
    return status;
}

static uint64_t stage_bytes(const struct rz_plan *plan)
{
    uint64_t most = STAGE;
    for (uint32_t i = 0; i < plan->program->n_weights; i++)
        if (plan->mats[i].type != RZ_TYPE_NONE && plan->mats[i].a_pitch + plan->mats[i].b_pitch > most)
            most = plan->mats[i].a_pitch + plan->mats[i].b_pitch;
    return most;
}

/* Offsets become addresses. */
static void settle(struct rz_plan *plan)
{
    for (uint32_t i = 0; i < plan->program->n_weights; i++) {
        if (plan->vectors[i])
            plan->vectors[i] = (const float *)(plan->weights + (uintptr_t)plan->vectors[i]);
        if (plan->mats[i].type == RZ_TYPE_NONE)
            continue;
        plan->mats[i].a = plan->weights + (uintptr_t)plan->mats[i].a;
        plan->mats[i].b = plan->weights + (uintptr_t)plan->mats[i].b;
    }
}

int32_t cu_weights_upload(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    struct stage stage = {.at = 0};
    settle(plan);
    if (plan->shares)
        return RZ_OK;
    int32_t status = stage_open(&stage, stage_bytes(plan), err);
    for (uint32_t i = 0; i < p->n_weights && !status; i++) {
        const struct rz_weight *w = rz_weight_at(p, i);
        if (plan->vectors[i])
            status = copy_up(plan, plan->vectors[i], w->data, w->bytes, err);
        if (plan->mats[i].type != RZ_TYPE_NONE && !status)
            status = upload_matrix(plan, &stage, i, err);
    }
    if (!status)
        status = cu_check(cudaStreamSynchronize(plan->stream), "copying weights", err);
    stage_close(&stage);
    return status;
}

/* --- one set of weights for all plans that want the same --- */

/* a has offsets yet, b has addresses. */
static bool same_places(const struct rz_plan *a, const struct rz_plan *b)
{
    bool same = a->program == b->program && a->weight_bytes == b->weight_bytes;
    for (uint32_t i = 0; same && i < a->program->n_weights; i++) {
        const struct cu_mat *x = &a->mats[i], *y = &b->mats[i];
        const uint8_t *v = (const uint8_t *)b->vectors[i];
        same = x->type == y->type && (uintptr_t)a->vectors[i] == (v ? (uintptr_t)(v - b->weights) : 0);
        if (same && x->type != RZ_TYPE_NONE)
            same = (uintptr_t)x->a == (uintptr_t)(y->a - b->weights) &&
                   (uintptr_t)x->b == (uintptr_t)(y->b - b->weights);
    }
    return same;
}

void cu_weights_share(struct rz_plan *plan)
{
    pthread_mutex_lock(&plan->device->lock);
    const struct rz_plan *other = plan->device->plans;
    while (other && !same_places(plan, other))
        other = other->next;
    if (other) {
        plan->weights = other->weights;
        plan->weight_refs = other->weight_refs;
        plan->shares = true;
        ++*plan->weight_refs;
    }
    pthread_mutex_unlock(&plan->device->lock);
}

void cu_weights_offer(struct rz_plan *plan)
{
    pthread_mutex_lock(&plan->device->lock);
    plan->next = plan->device->plans;
    plan->device->plans = plan;
    pthread_mutex_unlock(&plan->device->lock);
}

void cu_weights_free(struct rz_plan *plan)
{
    pthread_mutex_lock(&plan->device->lock);
    struct rz_plan **at = &plan->device->plans;
    while (*at && *at != plan)
        at = &(*at)->next;
    if (*at)
        *at = plan->next;
    bool others = plan->weight_refs && --*plan->weight_refs;
    pthread_mutex_unlock(&plan->device->lock);
    if (others)
        return;
    if (plan->weights)
        cudaFree(plan->weights);
    free(plan->weight_refs);
}
