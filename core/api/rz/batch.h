/* batch.h - all that varies from step to step.
 *
 * A step processes rows (tokens) of several sequences. Row order inside a sequence is ascending in
 * position, and a row sees the rows of its own sequence up to itself unless the mask says more. Results
 * must not depend on which rows share a step.
 */
#ifndef RZ_BATCH_H
#define RZ_BATCH_H

#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_WANT_NONE 0
#define RZ_WANT_HIDDEN 1 /* the final hidden state, float32 [n_embd]                         */
#define RZ_WANT_LOGITS 2 /* all logits, float32 [n_vocab]                                    */
/* Logits, of which any may be -inf that is not among the k best, or more than gap below the best one. */
#define RZ_WANT_TOP_K 3

#define RZ_MASK_CAUSAL 0
#define RZ_MASK_ALL 1 /* a row sees all rows of its sequence, which are all in this step */

struct rz_batch_row {
    int32_t token;  /* id; negative: row -1 - token of the batch's embedding input           */
    uint32_t seq;   /* index into seqs                                                       */
    int32_t pos[4]; /* pos[0] is the position; the others are for multi-axis rope            */
    uint32_t want;  /* RZ_WANT_*                                                             */
    uint32_t k;     /* of RZ_WANT_TOP_K: 1 or more; as many as there are: no such limit      */
    float gap;      /* of RZ_WANT_TOP_K: 0: no such limit                                    */
};
RZ_ABI_SIZE(struct rz_batch_row, 36, gap);

struct rz_batch_seq {
    uint32_t length;       /* positions in the KV after this step                            */
    uint32_t mask;         /* RZ_MASK_*                                                      */
    int32_t state_slot;    /* of recurrent state; -1: none                                   */
    uint32_t rope_variant; /* which table of a length-dependent rope                         */
    int32_t adapter;       /* -1: none                                                       */
    uint32_t zero;
    /* [n_kv_groups] block tables: page of position p is [p / page_tokens]. In a group with a window the
     * entries that lie wholly before the window of all rows of this step name pages of others. */
    const int32_t *const *pages;
};
RZ_ABI_SIZE(struct rz_batch_seq, 32, pages);

struct rz_page_copy {
    uint32_t group;
    int32_t from, to;
    uint32_t n_tokens;
};
RZ_ABI_SIZE(struct rz_page_copy, 16, n_tokens);

/* The whole state of a sequence, in all layers. */
struct rz_state_copy {
    int32_t from, to; /* slots */
};
RZ_ABI_SIZE(struct rz_state_copy, 8, to);

/* Floats between the rows of a value that crosses from one device to another; those behind the width are
 * anything. */
#define RZ_VALUE_STRIDE(width) (((uint64_t)(width) + 15) / 16 * 16)

struct rz_batch {
    uint32_t size;
    uint32_t n_rows, n_seqs, n_copies;
    const struct rz_batch_row *rows;
    const struct rz_batch_seq *seqs;
    const struct rz_page_copy *copies; /* done before the step, in order */
    const float *embeddings;           /* [*, n_embd] or NULL            */
    uint32_t n_state_copies, n_clears;
    const struct rz_state_copy *state_copies; /* done before the step, in order               */
    const int32_t *clears;                    /* slots that are zeroed then, after the copies */
    /* Of a program with stages: which one runs. All of a step have the same rows and sequences; copies and
     * clears come with the first. */
    uint32_t stage;
    uint32_t zero;
    /* Rows of values, RZ_VALUE_STRIDE apart, in the caller's memory: [n_in of the stage], read before it
     * runs, and [n_out], written behind it. */
    const float *const *inputs;
    float *const *outputs;
};
RZ_ABI_SIZE(struct rz_batch, 96, outputs);

/* Results in the order of the rows that want something. The memory is the device's and stays until the
 * next execute of the same plan. */
struct rz_result {
    uint32_t size;
    uint32_t n;          /* wanted rows                                                    */
    const float *logits; /* [n, n_vocab]; rows that want only hidden are undefined         */
    const float *hidden; /* [n, n_embd]                                                    */
    uint64_t logits_stride, hidden_stride; /* floats between rows                            */
};
RZ_ABI_SIZE(struct rz_result, 40, hidden_stride);

#ifdef __cplusplus
}
#endif
#endif
