/* mixed.h - one model on several devices: which device runs which node, and a device made of devices. */
#ifndef RZ_MIXED_H
#define RZ_MIXED_H

#include "arena.h"
#include "buf.h"
#include "wide.h"

#include <rz/device.h>
#include <stdbool.h>

#define RZ_MIXED_MAX 8
#define RZ_MIXED_NOBODY RZ_MIXED_MAX /* in place of a device: the node is left out (trials) */

/* --- mixed_cut.c: a program cut into one program a device --- */

/* What one device runs, with tables of its own. */
struct rz_cut_part {
    const struct rz_device *device;
    uint32_t number;           /* of the device */
    struct rz_program program; /* a stage for each run of nodes           */
    uint32_t *nodes;           /* of each of its nodes, the cut program's */
    uint32_t *groups;          /* of each of its KV groups, likewise      */
};

/* A stage of a part, in the order of the step; values of the cut program. */
struct rz_cut_run {
    uint32_t part, stage, wave;
    uint32_t n_in, n_out, first_end; /* first_end: how many ins and outs the runs before have */
    const int32_t *in, *out;
};

struct rz_cut {
    const struct rz_program *program;
    struct rz_cut_part parts[RZ_MIXED_MAX];
    struct rz_cut_run *runs;
    uint32_t n_parts, n_runs;
    struct rz_arena arena;
};

struct rz_cut_setup {
    const struct rz_program *program; /* outlives the cut */
    const struct rz_device *const *devices;
    const uint8_t *of; /* [n_nodes]: for nodes without children, an index into devices or RZ_MIXED_NOBODY */
    const uint32_t
        *waves; /* [n_nodes]: a stage holds nodes of one of them; NULL: one for all                */
    const int32_t
        *logits; /* what each device has of the logits, or -1; NULL: those of the program           */
};

/* Only devices that run something become parts. */
int32_t rz_cut_init(struct rz_cut *cut, const struct rz_cut_setup *setup, struct rz_err *err);
void rz_cut_deinit(struct rz_cut *cut);

/* --- mixed.c: the device --- */

struct rz_mixed;

struct rz_mixed_setup {
    const struct rz_program *program;
    const struct rz_device *const *devices; /* open; they outlive the mixed one */
    const uint8_t *of;                      /* [n_nodes]: places of nodes without children */
    const uint16_t
        *places; /* [RZ_MIXED_MAX]: masks of devices, which share the nodes; NULL: place i is device i */
    /* Told that nobody reads the mapped bytes of a weight any more (may be NULL). */
    void (*forget)(void *ctx, const void *from, uint64_t bytes);
    void *ctx;
};

/* A device that runs this one program. */
int32_t rz_mixed_new(const struct rz_mixed_setup *setup, struct rz_mixed **out, struct rz_err *err);
void rz_mixed_free(struct rz_mixed *m);
const struct rz_device *rz_mixed_device(struct rz_mixed *m);
/* The name of the device that failed last, in compile or execute; NULL: none has. */
const char *rz_mixed_failed(const struct rz_mixed *m);
/* What of the layers that several devices share is divided, in lines; NULL: there are none, or no memory. */
const char *rz_mixed_told(const struct rz_mixed *m);
/* Offers the program's nodes top-down; what the device refuses whole is offered in parts. nodes[n_nodes] gets
 * those to compile. */
int32_t rz_claim_nodes(const struct rz_device *d, const struct rz_program *p,
                       const struct rz_plan_limits *limits, uint32_t *nodes, uint32_t *n, struct rz_err *err);

/* --- mixed_place.c: who runs what, from the settings --- */

/* What [engine] or [model.NAME] say; NULL: nothing. */
struct rz_placement_text {
    const char *layers, *experts;
    const char *from_layers, *from_experts; /* where it is said */
};

struct rz_placement {
    char names[RZ_MIXED_MAX][64]; /* of devices, or of several that share their layers: a+b */
    uint32_t n_names;
    uint8_t *of;       /* [n_nodes] */
    uint8_t *of_layer; /* [n_layers + 2]: embedding, layers, head */
    uint32_t n_layers;
    int32_t experts; /* a device; -1: with the rest of their layer */
};

uint32_t rz_placement_layers(const struct rz_program *p);
/* "0-9:opencl, 10-29:cpu, head:cpu" or, where layers says nothing of layers, all on `fallback`. */
int32_t rz_placement_read(const struct rz_placement_text *text, const char *fallback,
                          const struct rz_program *p, struct rz_placement *out, struct rz_err *err);
void rz_placement_free(struct rz_placement *p);
/* of[] from of_layer and experts. */
void rz_placement_spread(struct rz_placement *place, const struct rz_program *p);
/* The next of the devices that a name joins by '+', and *names moves on; false: there is none. */
bool rz_placement_member(const char **names, char out[64]);
/* Index of a device, added if it is new; -1: too many. */
int32_t rz_placement_name(struct rz_placement *place, const char *name, size_t n);

/* Gives all that one device has to another; false: there are too many devices. */
bool rz_placement_replace(struct rz_placement *place, const struct rz_program *p, uint32_t device,
                          const char *name);

/* --- mixed_auto.c: of_layer by measured speed and free memory --- */

struct rz_auto_setup {
    const struct rz_program *program;
    const struct rz_device *const *devices; /* open, in the order of placement->names; NULL: it is out */
    struct rz_plan_limits limits; /* page_tokens, max_context, max_seqs, n_pages (0: automatic), n_slots */
};

/* lines: gets what was measured and why it was decided so, for people. */
int32_t rz_placement_choose(const struct rz_auto_setup *setup, struct rz_placement *place,
                            struct rz_buf *lines, struct rz_err *err);

#endif
