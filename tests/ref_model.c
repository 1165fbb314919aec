/* ref_model.c - the independent reference: the equations of llama and qwen2 in double precision.
 *
 *     ref_model MODEL.gguf TOKENS.i32 LOGITS.f64     logits [tokens, vocabulary] after each token
 *     ref_model MODEL.gguf TOKENS.i32 --greedy N     the N best next ids, one after the other, one line;
 *                                                    a second line: the gaps between the two best logits
 *
 * One token at a time through all layers, weights decoded to doubles, K and V kept in double. Slow and
 * plain: what it says is the truth for the small models that the tests run.
 */
#include "ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct layer {
    double *attn_norm, *q, *k, *v, *bq, *bk, *bv, *o, *ffn_norm, *gate, *up, *down;
    double *past_k, *past_v; /* [positions_max, n_kv * head_dim] */
};

struct model {
    int n_layer, n_embd, n_ff, n_head, n_kv, head_dim, n_vocab, neox, n_past, positions_max;
    double eps;
    double *inv_freq; /* [head_dim / 2] */
    double *embd, *norm, *head;
    struct layer *layers;
};

/* --- loading --- */

static double arch_number(const struct ref_file *f, const char *key, double otherwise)
{
    char arch[64], full[160];
    ref_string(f, "general.architecture", arch, sizeof arch);
    snprintf(full, sizeof full, "%s.%s", arch, key);
    return ref_number(f, full, otherwise);
}

/* A tensor of exactly this shape; if optional it may be missing. */
static double *load(const struct ref_file *f, int layer, const char *what, int cols, int rows, int optional)
{
    char name[96];
    uint64_t c, r;
    if (layer < 0)
        snprintf(name, sizeof name, "%s", what);
    else
        snprintf(name, sizeof name, "blk.%d.%s", layer, what);
    double *data = ref_tensor(f, name, &c, &r);
    if (!data && !optional)
        ref_die(name, "missing");
    if (data && (c != (uint64_t)cols || r != (uint64_t)rows))
        ref_die(name, "has another shape");
    return data;
}

static void load_layer(struct model *m, const struct ref_file *f, int i)
{
    struct layer *l = &m->layers[i];
    int q = m->n_head * m->head_dim, kv = m->n_kv * m->head_dim;
    size_t past = (size_t)m->positions_max * (size_t)kv * sizeof(double);
    l->attn_norm = load(f, i, "attn_norm.weight", m->n_embd, 1, 0);
    l->q = load(f, i, "attn_q.weight", m->n_embd, q, 0);
    l->k = load(f, i, "attn_k.weight", m->n_embd, kv, 0);
    l->v = load(f, i, "attn_v.weight", m->n_embd, kv, 0);
    l->bq = load(f, i, "attn_q.bias", q, 1, 1);
    l->bk = load(f, i, "attn_k.bias", kv, 1, 1);
    l->bv = load(f, i, "attn_v.bias", kv, 1, 1);
    l->o = load(f, i, "attn_output.weight", q, m->n_embd, 0);
    l->ffn_norm = load(f, i, "ffn_norm.weight", m->n_embd, 1, 0);
    l->gate = load(f, i, "ffn_gate.weight", m->n_embd, m->n_ff, 0);
    l->up = load(f, i, "ffn_up.weight", m->n_embd, m->n_ff, 0);
    l->down = load(f, i, "ffn_down.weight", m->n_ff, m->n_embd, 0);
    l->past_k = ref_alloc(past);
    l->past_v = ref_alloc(past);
}

/* base^(-2i/dim), divided by the factors of llama 3 where the file has them. */
static void load_rope(struct model *m, const struct ref_file *f)
{
    double base = arch_number(f, "rope.freq_base", 10000);
    double *factors = load(f, -1, "rope_freqs.weight", m->head_dim / 2, 1, 1);
    m->inv_freq = ref_alloc((size_t)m->head_dim / 2 * sizeof(double));
    for (int i = 0; i < m->head_dim / 2; i++)
        m->inv_freq[i] = pow(base, -2.0 * i / m->head_dim) / (factors ? factors[i] : 1);
    free(factors);
}

static void load_model(struct model *m, const struct ref_file *f)
{
    char arch[64];
    uint64_t cols, rows;
    ref_string(f, "general.architecture", arch, sizeof arch);
    m->neox = !strcmp(arch, "qwen2");
    if (!m->neox && strcmp(arch, "llama") != 0)
        ref_die(arch, "not an architecture of this reference");
    m->n_layer = (int)arch_number(f, "block_count", 0);
    m->n_embd = (int)arch_number(f, "embedding_length", 0);
    m->n_ff = (int)arch_number(f, "feed_forward_length", 0);
    m->n_head = (int)arch_number(f, "attention.head_count", 0);
    m->n_kv = (int)arch_number(f, "attention.head_count_kv", m->n_head);
    m->head_dim = (int)arch_number(f, "attention.key_length", m->n_embd / m->n_head);
    m->eps = arch_number(f, "attention.layer_norm_rms_epsilon", 1e-5);
    m->embd = ref_tensor(f, "token_embd.weight", &cols, &rows);
    m->n_vocab = (int)rows;
    m->norm = load(f, -1, "output_norm.weight", m->n_embd, 1, 0);
    m->head = load(f, -1, "output.weight", m->n_embd, m->n_vocab, 1);
    load_rope(m, f);
    m->layers = ref_alloc((size_t)m->n_layer * sizeof *m->layers);
    for (int i = 0; i < m->n_layer; i++)
        load_layer(m, f, i);
}

static void free_model(struct model *m)
{
    for (int i = 0; i < m->n_layer; i++) {
        struct layer *l = &m->layers[i];
        double *all[] = {l->attn_norm, l->q,  l->k,    l->v,    l->bq,       l->bk,     l->bv,
                         l->o,         l->up, l->gate, l->down, l->ffn_norm, l->past_k, l->past_v};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            free(all[j]);
    }
    free(m->layers);
    free(m->inv_freq);
    free(m->embd);
    free(m->norm);
    free(m->head);
}

/* --- the equations --- */

static void rms_norm(const double *x, const double *weight, int n, double eps, double *out)
{
    double squares = 0;
    for (int i = 0; i < n; i++)
        squares += x[i] * x[i];
    double scale = 1 / sqrt(squares / n + eps);
    for (int i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

/* out[r] = w[r] . x + bias[r] */
static void multiply(const double *w, const double *bias, const double *x, int cols, int rows, double *out)
{
    for (int r = 0; r < rows; r++) {
        double sum = bias ? bias[r] : 0;
        for (int c = 0; c < cols; c++)
            sum += w[(size_t)r * (size_t)cols + (size_t)c] * x[c];
        out[r] = sum;
    }
}

static void rotate(const struct model *m, double *x, int n_heads)
{
    int half = m->head_dim / 2;
    for (int h = 0; h < n_heads; h++) {
        double *head = x + h * m->head_dim;
        for (int i = 0; i < half; i++) {
            double angle = m->n_past * m->inv_freq[i];
            double *a = &head[m->neox ? i : 2 * i], *b = &head[m->neox ? i + half : 2 * i + 1];
            double x0 = *a, x1 = *b;
            *a = x0 * cos(angle) - x1 * sin(angle);
            *b = x0 * sin(angle) + x1 * cos(angle);
        }
    }
}

/* One query head over positions 0..n_past of its K and V head. score: room for n_past + 1. */
static void attend(const struct model *m, const struct layer *l, const double *q, int kv_head, double *score,
                   double *out)
{
    int dim = m->head_dim, stride = m->n_kv * dim;
    double best = -INFINITY, total = 0;
    for (int p = 0; p <= m->n_past; p++) {
        const double *k = l->past_k + (size_t)p * (size_t)stride + kv_head * dim;
        double sum = 0;
        for (int i = 0; i < dim; i++)
            sum += q[i] * k[i];
        score[p] = sum / sqrt(dim);
        best = fmax(best, score[p]);
    }
    for (int p = 0; p <= m->n_past; p++)
        total += score[p] = exp(score[p] - best);
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int p = 0; p <= m->n_past; p++) {
        const double *v = l->past_v + (size_t)p * (size_t)stride + kv_head * dim;
        for (int i = 0; i < dim; i++)
            out[i] += score[p] / total * v[i];
    }
}

static void attention_half(struct model *m, struct layer *l, double *x)
{
    int q_width = m->n_head * m->head_dim, kv_width = m->n_kv * m->head_dim;
    double *normed = ref_alloc((size_t)m->n_embd * sizeof(double));
    double *q = ref_alloc((size_t)q_width * sizeof(double));
    double *y = ref_alloc((size_t)q_width * sizeof(double));
    double *score = ref_alloc(((size_t)m->n_past + 1) * sizeof(double));
    double *add = ref_alloc((size_t)m->n_embd * sizeof(double));
    double *k = l->past_k + (size_t)m->n_past * (size_t)kv_width;
    double *v = l->past_v + (size_t)m->n_past * (size_t)kv_width;
    rms_norm(x, l->attn_norm, m->n_embd, m->eps, normed);
    multiply(l->q, l->bq, normed, m->n_embd, q_width, q);
    multiply(l->k, l->bk, normed, m->n_embd, kv_width, k);
    multiply(l->v, l->bv, normed, m->n_embd, kv_width, v);
    rotate(m, q, m->n_head);
    rotate(m, k, m->n_kv);
    for (int h = 0; h < m->n_head; h++)
        attend(m, l, q + h * m->head_dim, h / (m->n_head / m->n_kv), score, y + h * m->head_dim);
    multiply(l->o, NULL, y, q_width, m->n_embd, add);
    for (int i = 0; i < m->n_embd; i++)
        x[i] += add[i];
    free(normed);
    free(q);
    free(y);
    free(score);
    free(add);
}

static void feed_forward_half(const struct model *m, const struct layer *l, double *x)
{
    double *normed = ref_alloc((size_t)m->n_embd * sizeof(double));
    double *gate = ref_alloc((size_t)m->n_ff * sizeof(double));
    double *up = ref_alloc((size_t)m->n_ff * sizeof(double));
    double *add = ref_alloc((size_t)m->n_embd * sizeof(double));
    rms_norm(x, l->ffn_norm, m->n_embd, m->eps, normed);
    multiply(l->gate, NULL, normed, m->n_embd, m->n_ff, gate);
    multiply(l->up, NULL, normed, m->n_embd, m->n_ff, up);
    for (int i = 0; i < m->n_ff; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    multiply(l->down, NULL, up, m->n_ff, m->n_embd, add);
    for (int i = 0; i < m->n_embd; i++)
        x[i] += add[i];
    free(normed);
    free(gate);
    free(up);
    free(add);
}

/* Reads one more token; logits of what comes after it. */
static void step(struct model *m, int32_t token, double *logits)
{
    if (token < 0 || token >= m->n_vocab || m->n_past >= m->positions_max)
        ref_die("token", "out of range");
    double *x = ref_alloc((size_t)m->n_embd * sizeof *x);
    memcpy(x, m->embd + (size_t)token * (size_t)m->n_embd, (size_t)m->n_embd * sizeof *x);
    for (int i = 0; i < m->n_layer; i++) {
        attention_half(m, &m->layers[i], x);
        feed_forward_half(m, &m->layers[i], x);
    }
    m->n_past++;
    rms_norm(x, m->norm, m->n_embd, m->eps, x);
    multiply(m->head ? m->head : m->embd, NULL, x, m->n_embd, m->n_vocab, logits);
    free(x);
}

/* --- the two commands --- */

static int32_t *read_tokens(const char *path, int *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        ref_die(path, "cannot read it");
    *n = (int)(ftell(f) / 4);
    rewind(f);
    int32_t *ids = ref_alloc((size_t)*n * sizeof *ids);
    if (fread(ids, sizeof *ids, (size_t)*n, f) != (size_t)*n)
        ref_die(path, "cannot read it");
    fclose(f);
    return ids;
}

static void write_logits(struct model *m, const int32_t *ids, int n, const char *path)
{
    double *logits = ref_alloc((size_t)m->n_vocab * sizeof *logits);
    FILE *f = fopen(path, "wb");
    if (!f)
        ref_die(path, "cannot write it");
    for (int i = 0; i < n; i++) {
        step(m, ids[i], logits);
        if (fwrite(logits, sizeof *logits, (size_t)m->n_vocab, f) != (size_t)m->n_vocab)
            ref_die(path, "cannot write it");
    }
    if (fclose(f) != 0)
        ref_die(path, "cannot write it");
    free(logits);
}

static void write_greedy(struct model *m, const int32_t *ids, int n, int n_new)
{
    double *logits = ref_alloc((size_t)m->n_vocab * sizeof *logits);
    double *gaps = ref_alloc((size_t)n_new * sizeof *gaps);
    for (int i = 0; i < n; i++)
        step(m, ids[i], logits);
    for (int i = 0; i < n_new; i++) {
        int best = 0;
        double second = -INFINITY;
        for (int t = 1; t < m->n_vocab; t++)
            best = logits[t] > logits[best] ? t : best;
        for (int t = 0; t < m->n_vocab; t++)
            second = t != best && logits[t] > second ? logits[t] : second;
        gaps[i] = logits[best] - second;
        printf("%d%c", best, i + 1 < n_new ? ' ' : '\n');
        if (i + 1 < n_new)
            step(m, best, logits);
    }
    for (int i = 0; i < n_new; i++)
        printf("%.6g%c", gaps[i], i + 1 < n_new ? ' ' : '\n');
    free(gaps);
    free(logits);
}

int main(int argc, char **argv)
{
    int greedy = argc == 5 && !strcmp(argv[3], "--greedy");
    if (argc != 4 && !greedy)
        ref_die("usage", "ref_model MODEL.gguf TOKENS.i32 (LOGITS.f64 | --greedy N)");
    int n, n_new = greedy ? (int)strtol(argv[4], NULL, 10) : 0;
    int32_t *ids = read_tokens(argv[2], &n);
    struct model m = {.positions_max = n + n_new};
    struct ref_file *f = ref_open(argv[1]);
    load_model(&m, f);
    ref_close(f);
    if (greedy)
        write_greedy(&m, ids, n, n_new);
    else
        write_logits(&m, ids, n, argv[3]);
    free_model(&m);
    free(ids);
    return 0;
}
