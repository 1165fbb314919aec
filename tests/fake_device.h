/* fake_device.h - a device and a tokenizer for tests of the engine.
 *
 * The device keeps (token, position) in pages of its own, and the logits of a row are a hash of all that
 * it reads back through the block table. So a wrong page, position, length or lost recompute changes the
 * tokens, and anybody can tell what they should be: fake_logits gives the truth for a text. The state in a
 * slot is the hash of what its sequence has computed: without KV groups it alone makes the logits, beside
 * pages both must say the same. It also checks every rule of batch.h and counts the breaches.
 */
#ifndef RZ_TESTS_FAKE_DEVICE_H
#define RZ_TESTS_FAKE_DEVICE_H

#include <rz/device.h>
#include <rz/tokenizer.h>
#include <stdatomic.h>
#include <stdbool.h>

#define FAKE_VOCAB 64
#define FAKE_EMBD 4
#define FAKE_END 1 /* the token that ends a text */

struct fake_cell {
    int32_t token, pos; /* token -1: never written */
};

struct fake_state {
    uint64_t hash;
    uint32_t next; /* position of the row that comes next; UINT32_MAX: never cleared */
};

/* Also the struct rz_plan of the device. */
struct fake {
    struct rz_device table;
    struct rz_plan_limits limits;
    uint32_t n_groups;
    uint32_t windows[8];       /* positions that a row sees in each group; 0: all */
    struct fake_cell *cells;   /* [n_groups][n_pages][page_tokens] */
    struct fake_state *states; /* [n_slots] */
    uint64_t *hashes;          /* [max_rows] of the state behind each row of the step */
    float *logits, *hidden;
    uint64_t n_executes, n_rows, n_top_k;
    atomic_bool inside;                     /* an execute is running */
    uint32_t breaches;                      /* of the contract                     */
    char breach[256];                       /* the first                           */
    uint64_t fail_at;                       /* this execute fails, 1 = the first   */
    uint64_t fail_from;                     /* not 0: this one and all behind it   */
    int32_t fail_code;                      /* with this; 0: RZ_EDEVICE            */
    uint64_t nan_at;                        /* this execute gives a NaN            */
    uint32_t most_rows, most_seqs, n_mixed; /* steps with prompt and decode rows together */
    float spread;                           /* of the logits: -spread..spread      */
    int32_t never_end;                      /* 1: FAKE_END is never the best token */
    /* Not 0: mostly the token that stood so far before is the best (a text that repeats itself); else with
     * another salt another token. Without windows. */
    uint32_t period, salt;
};

void fake_init(struct fake *f, const struct rz_plan_limits *limits, uint32_t n_groups);
void fake_deinit(struct fake *f);
struct rz_plan *fake_plan(struct fake *f);
/* The logits behind a text of n tokens: of those of them that the last sees. */
void fake_logits(const struct fake *f, const int32_t *tokens, uint32_t n, float *logits);
/* The hidden state of its last token; without windows. */
void fake_hidden(const int32_t *tokens, uint32_t n, float *hidden);
/* That of the token at pos which sees the whole text. */
void fake_hidden_all(const int32_t *tokens, uint32_t n, uint32_t pos, float *hidden);

/* pieces[id] is what token id adds; FAKE_END ends. */
struct fake_tokenizer {
    const struct rz_str *pieces; /* [FAKE_VOCAB] or NULL: "<id>" */
};
extern const struct rz_tokenizer fake_tokenizer_table;

#endif
