/* served.h - the models of `rz serve`: which there are, which are loaded, who uses them and who waits.
 *
 * served.c is what frontends ask (rz_host_serve), from any thread; keeper.c is the thread that loads and
 * unloads; served_open.c makes the list of the configuration. shelf.c decides.
 *
 * One mutex guards all that changes. `model` is set and cleared by the keeper alone, and only while nobody
 * uses the model; loading and unloading happen without the mutex.
 */
#ifndef RZ_SERVED_H
#define RZ_SERVED_H

#include "arena.h"
#include "models.h"
#include "shelf.h"

#include <pthread.h>

struct rz_entry {
    /* constant */
    struct rz_model_name found;
    const char *name;
    const char **aliases;
    uint32_t n_aliases;
    bool at_start;
    int32_t draft; /* the entry that it guesses with; -1: none */
    /* under the mutex */
    struct rz_model *model; /* NULL: not loaded */
    bool loading, unloading;
    bool leaving; /* others wait for its room: it takes no new users */
    bool failed;
    uint32_t waiting;
    uint64_t loads, unloads, failures;
    struct rz_engine_stats past; /* of the times before this one */
    bool known;                  /* the facts below */
    struct rz_model_info info;
    struct rz_tokenizer_info vocab;
};

#define RZ_WAIT_YET 0
#define RZ_WAIT_GRANTED 1
#define RZ_WAIT_FAILED 2

/* Somebody who waits for a model, in the order of their coming. */
struct rz_wait {
    struct rz_wait *next;
    uint64_t ticket;
    uint32_t entry;
    int state; /* RZ_WAIT_* */
    void (*wake)(void *arg);
    void *arg;
    struct rz_err err;
};

struct rz_served {
    struct rz_models *models;
    struct rz_host_serve table;
    struct rz_entry entries[RZ_SHELF_MAX];
    uint32_t n;
    uint64_t budget; /* 0: none */
    uint32_t max_waiting;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct rz_arena arena; /* names and facts */
    struct rz_book books[RZ_SHELF_MAX];
    struct rz_wait *waits;
    uint64_t last_ticket;
    uint32_t wanted; /* what the keeper loads, perhaps with a draft model before */
    pthread_t thread;
    bool threaded, quit;
};

/* served_open.c: makes the list, loads what is loaded at the start, starts the thread. name: one model in
 * place of the configured ones, or NULL. */
int32_t rz_served_open(struct rz_models *m, const char *name, struct rz_served **out, struct rz_err *err);
/* Ends the thread, and the loops within drain_ms. */
void rz_served_stop(struct rz_served *s, uint32_t drain_ms);
void rz_served_free(struct rz_served *s);

/* served.c */
const struct rz_host_serve *rz_served_table(struct rz_served *s);
void rz_served_fill(struct rz_served *s);
/* Gives the model to all who wait for it, or the error. The caller holds the mutex. */
void rz_served_answer(struct rz_served *s, uint32_t i, const struct rz_err *failure);
/* Adds what a plan's engine counted to what was counted before. */
void rz_served_count(struct rz_engine_stats *sum, const struct rz_engine_stats *add);

/* keeper.c; the caller holds the mutex, which is given up meanwhile */

uint64_t rz_keeper_now(void);
/* Reads what there is to know of a model without loading it. */
int32_t rz_keeper_survey(struct rz_served *s, uint32_t i, struct rz_err *err);
/* Loads a model and those that it needs. Without a thread nobody is waited for. */
int32_t rz_keeper_load(struct rz_served *s, uint32_t i, struct rz_err *err);
int32_t rz_keeper_start(struct rz_served *s, struct rz_err *err);

#endif
