/* device_rig.h - programs of a few nodes, and devices that run them beside the reference.
 *
 * For tests. Inputs are rows of random tables, looked up by token; the result is the hidden value. A rig
 * owns its program and its weights.
 */
#ifndef RZ_DEVICE_RIG_H
#define RZ_DEVICE_RIG_H

#include "fixture.h"

#include <rz/device.h>
#include <rz/plugin.h>
#include <stdbool.h>

#define RIG_TOKENS 97
#define RIG_NODES 24
#define RIG_VALUES 32
#define RIG_WEIGHTS 24
#define RIG_SEQS 9
#define RIG_CONTEXT 640
#define RIG_ROWS 512

struct rig {
    struct rz_program program;
    struct rz_value values[RIG_VALUES];
    struct rz_node nodes[RIG_NODES];
    struct rz_attr attrs[RIG_NODES][RZ_A_COUNT];
    struct rz_weight weights[RIG_WEIGHTS];
    int32_t refs[256];
    struct rz_rope ropes[2];
    double inv_freq[2][128];
    struct rz_kv_group groups[2];
    struct rz_state states[4];
    struct rng rng;
};

void device_begin(struct rig *r, uint64_t seed);
void device_close(struct rig *r);
/* A value of all rows. */
int32_t device_value(struct rig *r, uint64_t width);
/* A random weight, mean 0. */
int32_t device_weight(struct rig *r, int32_t type, uint64_t cols, uint64_t rows, double std);
/* A value that the tokens of the rows choose. */
int32_t device_input(struct rig *r, uint64_t width, double std);
/* A node; each list ends with RIG_END, -1 is an absent operand. Returns its index. */
#define RIG_END (-9)
uint32_t device_node(struct rig *r, uint16_t op, const int32_t *in, const int32_t *out,
                     const int32_t *weights);
#define RIG_LIST(...) \
    (const int32_t[]) \
    { \
        __VA_ARGS__, RIG_END \
    }
#define RIG_NONE ((const int32_t[]){RIG_END})
void device_attr(struct rig *r, uint32_t node, uint32_t id, int64_t i, double f);
void device_rope(struct rig *r, uint32_t dim);
/* value is the result, and maybe the logits: then logits, hidden else. */
void device_end(struct rig *r, int32_t value, bool logits);

/* Rows of each sequence in a step; their positions go on from step to step. */
struct device_step {
    uint32_t n[RIG_SEQS];
};

struct device_options {
    int32_t kv_type;
    uint32_t max_rows;
    bool all;                /* sequences see themselves whole */
    uint32_t k;              /* of top-k; 0: all logits */
    const struct rig *truth; /* what the reference runs instead, with KV of float32; NULL: the same */
};

/* A plan of the rig's program, and how far its sequences are. */
struct device_plan {
    const struct rz_device *device;
    const struct rig *rig;
    struct rz_plan *plan;
    struct device_options options;
    uint32_t length[RIG_SEQS];
};

void device_open(struct device_plan *p, const struct rz_device *d, const struct rig *r,
                 const struct device_options *options);
void device_plan_close(struct device_plan *p);
/* Runs a step; out gets [rows, width]. Returns the number of rows. The token of a row depends on its
 * sequence and its position only. */
uint32_t device_run(struct device_plan *p, const struct device_step *step, float *out);
/* What one plan has in page 0 of a group (of the states: in slot 0) goes to another; a byte less is
 * refused. */
void device_hand_over(const struct device_plan *from, struct device_plan *to, uint32_t group);

/* The device of a plugin in a shared object; values are those of its options, in order. */
const struct rz_device *device_find(const char *path, const struct rz_option_value *values, uint32_t n);
/* The reference kernels. */
const struct rz_device *device_reference(void);

#endif
