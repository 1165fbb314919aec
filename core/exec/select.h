/* select.h - which kernel row runs a node. */
#ifndef RZ_EXEC_SELECT_H
#define RZ_EXEC_SELECT_H

#include "access.h"
#include "exec.h"

#define RZ_CHOICES_MAX 4

/* The rows of one table that run a node, in order; more than one only where rows bound their row
 * count. n = 0: nobody. */
struct rz_choice {
    uint32_t table;
    uint32_t n;
    const struct rz_kernel_row *rows[RZ_CHOICES_MAX];
};

/* What nodes are judged by besides themselves. */
struct rz_select {
    const struct rz_cpu_table *tables;
    uint32_t n_tables;
    const struct rz_program *program;
    uint32_t kv_layouts[8]; /* [KV group], RZ_KV_LAYOUT_* */
    int32_t kv_type;
    uint32_t page_tokens;
};

/* Fills a kernel's view of a node with the weights as in the file. weights: room for n_weights. */
void rz_kernel_node_fill(const struct rz_program *p, uint32_t node, uint32_t max_rows, uint64_t max_context,
                         struct rz_kernel_node *out, struct rz_weight_view *weights);

/* Chooses the KV layout of each group: that of the first table that can both store and read it. */
int32_t rz_select_kv_layouts(struct rz_select *s, struct rz_err *err);
/* The best rows for the node as a whole; n = 0 if there are none. */
void rz_select_rows(const struct rz_select *s, uint32_t node, struct rz_choice *out);
/* True if the node should run as a whole by `choice`: no table that comes before has a row for one of
 * its parts. */
bool rz_select_whole(const struct rz_select *s, uint32_t node, const struct rz_choice *choice);

#endif
