/* wide.h - a program over the width of several devices: each has some heads, some columns of the feed-forward
 * half, some rows of the vocabulary. */
#ifndef RZ_WIDE_H
#define RZ_WIDE_H

#include "arena.h"

#include <pthread.h>
#include <rz/device.h>
#include <stdbool.h>

#define RZ_WIDE_MAX 8    /* devices                           */
#define RZ_WIDE_GROUPS 8 /* of KV, in the program to divide */
#define RZ_WIDE_WHOLE 0  /* the scheme of an undivided value  */

/* Who runs what: each leaf of the program belongs to a place, and a place is one or several devices. */
struct rz_wide_setup {
    const struct rz_program *program; /* outlives the wide one */
    const uint8_t *of;                /* [n_nodes]: places     */
    const uint16_t *places;           /* [RZ_WIDE_MAX]: masks of devices; 0: not used */
};

/* --- wide_plan.c: which values are divided, and where --- */

/* `units` equal parts of a value (heads, blocks of columns), of which device d has n[d] from first[d] on.
 * Units may be on several devices: heads of keys and values that more than one of them asks. */
struct rz_scheme {
    uint32_t units;
    uint16_t devices; /* of the place */
    uint32_t first[RZ_WIDE_MAX], n[RZ_WIDE_MAX];
};

/* A value as `parts` equal parts behind each other (experts), each divided alike. */
struct rz_share {
    uint32_t scheme, parts;
};

struct rz_wide_plan {
    struct rz_scheme *schemes; /* [0] is RZ_WIDE_WHOLE */
    uint32_t n_schemes;
    size_t cap;
    struct rz_share *shares; /* [n_values] */
    /* Of attention by KV group and place: schemes of queries, of keys and values. */
    uint32_t heads[RZ_WIDE_GROUPS][RZ_WIDE_MAX], keys[RZ_WIDE_GROUPS][RZ_WIDE_MAX];
};

int32_t rz_wide_plan(const struct rz_wide_setup *setup, struct rz_arena *arena, struct rz_wide_plan *out,
                     struct rz_err *err);

/* wide_told.c: what is divided and what is not, in lines for people; malloc'd, NULL: no memory. */
char *rz_wide_told(const struct rz_wide_setup *setup, const struct rz_wide_plan *plan);

/* --- wide_weight.c: pieces of weights --- */

/* Rows and columns of a weight of `depth` matrices behind each other, the same of each; of a vector (rows 1)
 * of `depth` vectors, columns. */
struct rz_wide_piece {
    uint64_t depth, first_row, n_rows, first_col, n_cols;
};

/* A piece that lies nowhere as a whole: its bytes are written into memory of ours before a device compiles,
 * and given back when the device has copied them. */
struct rz_wide_packed {
    const struct rz_weight *from;
    struct rz_wide_piece piece;
    uint64_t offset;
    uint32_t device;
    uint32_t weight; /* of the wide program */
};

struct rz_wide_weights {
    struct rz_arena *arena;
    struct rz_wide_packed *packed;
    uint32_t n_packed;
    size_t cap_packed;
    uint8_t *memory[RZ_WIDE_MAX];
    uint64_t bytes[RZ_WIDE_MAX];
    uint32_t users[RZ_WIDE_MAX]; /* plans that read it */
    bool filled[RZ_WIDE_MAX];
    pthread_mutex_t lock;
};

bool rz_wide_weights_init(struct rz_wide_weights *w, struct rz_arena *arena);
void rz_wide_weights_deinit(struct rz_wide_weights *w);
/* weights[at] becomes the piece, for device d; where a packed one lies is known after take. */
int32_t rz_wide_weights_piece(struct rz_wide_weights *w, const struct rz_weight *from,
                              const struct rz_wide_piece *piece, uint32_t d, struct rz_weight *weights,
                              uint32_t at, struct rz_err *err);
int32_t rz_wide_weights_take(struct rz_wide_weights *w, struct rz_weight *weights, struct rz_err *err);

/* --- wide.c: the program --- */

struct rz_wide {
    const struct rz_program *source;
    struct rz_program program;     /* of primitives, in the order in which devices run them */
    uint8_t *of;                   /* [program.n_nodes]: the device                         */
    uint32_t *origin;              /* [program.n_nodes]: the node of source                 */
    uint32_t *waves;               /* [program.n_nodes]: in one of them nobody needs what another makes */
    uint32_t *groups;              /* [program.n_kv_groups]: that of source */
    int32_t logits[RZ_WIDE_MAX];   /* values of program; -1: the device makes none          */
    uint64_t columns[RZ_WIDE_MAX]; /* the first column of them                              */
    char *told;                    /* rz_wide_told */
    struct rz_wide_weights weights;
    struct rz_arena arena;
};

int32_t rz_wide_init(struct rz_wide *w, const struct rz_wide_setup *setup, struct rz_err *err);
void rz_wide_deinit(struct rz_wide *w);
/* Between the two a plan of the device may read its packed weights: they are written for the first that
 * comes, and their memory goes back to the system behind the last. */
void rz_wide_enter(struct rz_wide *w, uint32_t device);
void rz_wide_leave(struct rz_wide *w, uint32_t device);

#endif
