/* engine_rig.h - a whole engine over the fake device, for tests: make one, run texts, compare with the truth.
 */
#ifndef RZ_TESTS_ENGINE_RIG_H
#define RZ_TESTS_ENGINE_RIG_H

#include "engine.h"
#include "fake_device.h"

struct rig {
    struct fake fake;
    struct fake_tokenizer tokenizer;
    struct rz_engine_setup setup;
    struct rz_loop *loop;
    const struct rz_engine *engine;
};

/* A roomy engine: change rig->setup between rig_setup and rig_open. */
void rig_setup(struct rig *rig);
void rig_open(struct rig *rig);
/* Checks that all pages are free and that the device saw no breach, then frees everything. */
void rig_close(struct rig *rig);

/* A request: greedy, the given prompt. */
struct rz_request rig_request(const int32_t *prompt, uint32_t n);
/* A prompt made from a number. */
void rig_prompt(uint32_t seed, int32_t *prompt, uint32_t n);

struct rig_output {
    int32_t tokens[4096];
    uint32_t n, n_text;
    char text[65536];
    struct rz_event last; /* kind 0 until it came */
};
/* Adds an event to an output. */
void rig_collect(struct rig_output *out, const struct rz_event *event);
/* Submits, polls to the end, releases. */
void rig_run(struct rig *rig, const struct rz_request *request, struct rig_output *out);
/* What the request must give: tokens and RZ_FINISH_* by a naive loop over the device's truth. Greedy. */
uint32_t rig_expect(const struct rig *rig, const struct rz_request *request, int32_t *tokens, uint32_t *n);

/* One of several requests at a time. */
struct rig_ticket {
    uint64_t id;
    struct rz_request request;
    int32_t prompt[128];
    struct rig_output out;
    bool done;
};

/* A greedy request with a prompt made from a number. */
void rig_make(struct rig_ticket *t, uint32_t seed, uint32_t n_prompt, uint32_t max_new);
void rig_submit(struct rig *rig, struct rig_ticket *t);
/* Polls one ticket once, without waiting; true if something came. */
bool rig_poll(struct rig *rig, struct rig_ticket *t);
/* Polls them in turns until all have ended, then releases them. */
void rig_finish(struct rig *rig, struct rig_ticket *tickets, uint32_t n);
struct rz_engine_stats rig_stats(const struct rig *rig);
/* The output is what rig_expect says. */
void rig_check(const struct rig *rig, const struct rz_request *q, const struct rig_output *out);

#endif
