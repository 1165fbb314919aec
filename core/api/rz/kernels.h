/* kernels.h - rz.kernels/1: a table of CPU kernels.
 *
 * A kernel plugin starts no threads, owns no weights and schedules nothing. It offers rows: "I can run
 * this op, for this weight type, with these attributes". The host merges the rows of all loaded tables,
 * gives each node of the program its best row, prepares weights in the layouts that rows ask for, and
 * calls run on its own thread team. One row is a complete plugin; everything else keeps running on
 * whatever else is loaded.
 *
 * Numerics: the order of additions of a row depends on shapes and absolute positions only, never on
 * how many rows a step has, who runs them or how they are cut into tiles (flag RZ_ROW_INVARIANT).
 */
#ifndef RZ_KERNELS_H
#define RZ_KERNELS_H

#include <rz/batch.h>
#include <rz/plugin.h>
#include <rz/program.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_KERNELS_1 "rz.kernels/1"

/* A matrix [rows, width] of float32 in the host's scratch; stride in floats. 64-byte aligned rows. */
struct rz_view {
    float *data;
    uint64_t stride;
    uint64_t rows, width;
};
RZ_ABI_SIZE(struct rz_view, 32, width);

/* A weight of a node, in the layout that the row asked for. type RZ_TYPE_NONE: absent. */
struct rz_weight_view {
    uint32_t size;
    int32_t type;
    uint32_t layout; /* 0: the bytes of the file */
    uint32_t zero;
    uint64_t cols, rows;
    uint64_t bytes;
    const void *data;
};
RZ_ABI_SIZE(struct rz_weight_view, 48, data);

/* KV layouts: how one page holds the K and V of one layer and head. T = page_tokens.
 * ROWS: K is [T][k_dim]. T8: K is [T / 8][k_dim][8], eight positions side by side. V is [T][v_dim] in
 * both. PAIRS, of 16-bit types, T a multiple of 16, k_dim even: K is [T / 16][k_dim / 2][16][2], two elements
 * of sixteen positions; V is [T / 2][v_dim][2], two positions of an element. */
#define RZ_KV_LAYOUT_ROWS 0
#define RZ_KV_LAYOUT_T8 1
#define RZ_KV_LAYOUT_PAIRS 2

/* Q8_0: the elements of a position and head lie in blocks of 32, the last one maybe shorter, each behind
 * its scale, an f16. ROWS and V: one row is its blocks. T8: eight positions are their blocks side by side,
 * each as eight scales, then [elements][8]. */
#define RZ_KV_BLOCK 32

/* Bytes of one position's K or V of one head; 0: not a type for KV. F8_E4M3: of devices alone; bytes times
 * a power of two for each position and head, which is a byte of its own. */
__attribute__((unused)) static inline uint64_t rz_kv_row_bytes(int32_t type, uint64_t dim)
{
    switch (type) {
    case RZ_TYPE_F32:
        return 4 * dim;
    case RZ_TYPE_F16:
    case RZ_TYPE_BF16:
        return 2 * dim;
    case RZ_TYPE_Q8_0:
        return dim + (dim + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK * 2;
    case RZ_TYPE_F8_E4M3:
        return (dim + 7) / 8 * 8 + 1;
    default:
        return 0;
    }
}

/* Where the KV of a group lies: page p, layer l, head h begin at
 * base + p * page_bytes + l * layer_bytes + h * head_bytes, with K first and V v_offset bytes later.
 * v_offset 0: there is no V, values are the first v_dim elements of the keys (RZ_A_LATENT). */
struct rz_kv_view {
    uint32_t size;
    int32_t type;    /* RZ_TYPE_F16, BF16, F32, Q8_0 */
    uint32_t layout; /* RZ_KV_LAYOUT_*             */
    uint32_t page_tokens, n_heads, k_dim, v_dim, zero;
    uint8_t *base;
    uint64_t page_bytes, layer_bytes, head_bytes, v_offset;
};
RZ_ABI_SIZE(struct rz_kv_view, 72, v_offset);

/* Where a state block lies: what slot s remembers begins at base + s * stride, 64-byte aligned. */
struct rz_state_view {
    float *base;
    uint64_t stride, floats;
};
RZ_ABI_SIZE(struct rz_state_view, 24, floats);

/* cos and sin of one rope: [position][dim / 2], magnitude included. */
struct rz_rope_view {
    uint32_t size;
    uint32_t dim;
    uint64_t n_positions;
    const float *cos, *sin;
};
RZ_ABI_SIZE(struct rz_rope_view, 32, sin);

/* Keys are summed in splits of this many absolute positions, and the splits merged in order. */
#define RZ_ATTENTION_SPLIT 256

/* A node as a kernel sees it; constant from load to unload. */
struct rz_kernel_node {
    uint32_t size;
    uint16_t op, zero;
    int32_t layer;
    uint32_t n_weights;
    uint64_t attr_mask;
    const struct rz_attr *attr; /* [RZ_A_COUNT] */
    const struct rz_weight_view *weights;
    uint32_t weight_stride, n_in, n_out, max_rows; /* most rows that a step can have */
    uint64_t in_width[4], out_width[4];
    uint64_t max_context;  /* most positions that a sequence can have */
    uint64_t matrix_types; /* of all matrices of the program: mask of 1 << RZ_TYPE_* */
};
RZ_ABI_SIZE(struct rz_kernel_node, 136, matrix_types);

/* The step as kernels see it. */
struct rz_step {
    uint32_t size;
    uint32_t n_rows, n_seqs, n_wanted;
    const struct rz_batch_row *rows;
    const struct rz_batch_seq *seqs;
    const uint32_t *wanted; /* [n_wanted] row numbers, ascending */
    const float *embeddings;
    const struct rz_kv_view *kv;        /* [n_kv_groups] */
    const struct rz_rope_view *ropes;   /* [n_ropes]     */
    const struct rz_state_view *states; /* [n_states]  */
};
RZ_ABI_SIZE(struct rz_step, 72, states);

/* The host's thread team inside one node. All functions: any member, with its own tid. */
struct rz_team {
    uint32_t size;
    uint32_t n_threads;
    /* Returns when all members have called it. Memory written before is visible after. */
    void (*barrier)(struct rz_team *team, uint32_t tid);
    /* Starts to share out tiles 0..n-1; every member calls it with the same n. Between two shares
     * there must be a barrier. */
    void (*share)(struct rz_team *team, uint32_t tid, uint32_t n);
    /* The next tile for this member: its own part first, then the others'. -1: none left. */
    int32_t (*take)(struct rz_team *team, uint32_t tid);
};
RZ_ABI_SIZE(struct rz_team, 32, take);

struct rz_kernel_call {
    uint32_t size;
    uint32_t n_rows; /* rows of this node in this step */
    uint32_t tid, n_threads;
    uint32_t tile, n_tiles; /* RZ_ROW_TILED only */
    const struct rz_kernel_node *node;
    const struct rz_view *in, *out; /* [node->n_in], [node->n_out] */
    const struct rz_step *step;
    struct rz_team *team; /* RZ_ROW_TEAM only */
    uint8_t *scratch;     /* scratch() bytes, shared by the team, 64-byte aligned, undefined content */
};
RZ_ABI_SIZE(struct rz_kernel_call, 72, scratch);

/* flags of a row. With neither TILED nor TEAM, run is called once, by one thread. */
#define RZ_ROW_TILED 1u     /* run is called once a tile; tiles are independent                   */
#define RZ_ROW_TEAM 2u      /* run is called by every thread, uses call->team, and fails on all or none */
#define RZ_ROW_INVARIANT 4u /* keeps the numerics rule above                                      */

struct rz_kernel_row {
    uint32_t size;
    uint16_t op;        /* RZ_OP_*                                                                    */
    uint16_t flags;     /* RZ_ROW_*                                                                   */
    int32_t weight;     /* type of the matrix operands; RZ_TYPE_ANY (accept decides), RZ_TYPE_NONE    */
    uint32_t kv_types;  /* KV ops: mask of 1 << RZ_TYPE_*                                         */
    uint32_t kv_layout; /* KV ops: RZ_KV_LAYOUT_*                                                 */
    uint32_t min_rows, max_rows; /* of a step; 0: no bound                                        */
    uint32_t numerics;           /* rows of one id give the same bits                             */
    uint64_t attrs;              /* attributes that the row honours                               */
    const char *name;            /* for `rz plan --explain`; NULL: the op's name                  */
    /* 1 if the row can run this node (shapes, weight types); NULL: every node that fits the fields. */
    int32_t (*accept)(const struct rz_kernel_node *node);
    /* Layout wanted for weight w of the node; NULL: 0 for all. */
    uint32_t (*layout)(const struct rz_kernel_node *node, uint32_t w);
    /* Bytes of scratch that run needs for max_rows rows; NULL: none. */
    uint64_t (*scratch)(const struct rz_kernel_node *node, uint32_t max_rows, uint32_t n_threads);
    /* Number of tiles for this call; RZ_ROW_TILED only. */
    uint32_t (*tiles)(const struct rz_kernel_call *call);
    int32_t (*run)(const struct rz_kernel_call *call, struct rz_err *err);
};
RZ_ABI_SIZE(struct rz_kernel_row, 88, run);

/* A layout: what prep makes of a weight. Ids below 0x10000 belong to rz. */
struct rz_layout {
    uint32_t size;
    uint32_t id;
    int32_t type;       /* weight type that it takes */
    uint32_t row_group; /* prep works on groups of this many rows */
    const char *name;
    uint64_t (*bytes)(const struct rz_weight_view *file);
    /* Writes row groups first .. first+n-1 of the blob at dst. Any thread, disjoint groups. */
    void (*prep)(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n);
};
RZ_ABI_SIZE(struct rz_layout, 40, prep);

struct rz_kernels {
    uint32_t size, minor;
    const char *name;
    const struct rz_kernel_row *rows;
    uint32_t n_rows, row_stride;
    const struct rz_layout *layouts;
    uint32_t n_layouts, layout_stride;
};
RZ_ABI_SIZE(struct rz_kernels, 48, layout_stride);

/* clang-format off */
#define RZ_KERNEL_ROW(...) {.size = sizeof(struct rz_kernel_row), __VA_ARGS__}

/* A whole plugin around one array of rows. ISA: RZ_ISA_* bits that the rows need, 0 for none. */
#define RZ_KERNELS_PLUGIN(NAME, VERSION, VENDOR, LICENCE, ROWS, ISA) \
    static const struct rz_kernels rz_kernels_table = { \
        .size = sizeof(struct rz_kernels), .name = NAME, .rows = (ROWS), \
        .n_rows = sizeof(ROWS) / sizeof((ROWS)[0]), .row_stride = sizeof((ROWS)[0])}; \
    static int32_t rz_kernels_init(const struct rz_host *host, const struct rz_config *config, \
                                   void **self, struct rz_err *err) \
    { \
        (void)host, (void)config, (void)err; \
        *self = NULL; \
        return RZ_OK; \
    } \
    static const void *rz_kernels_query(void *self, const char *id, uint32_t minor_need) \
    { \
        (void)self; \
        return minor_need == 0 && !__builtin_strcmp(id, RZ_KERNELS_1) ? &rz_kernels_table : NULL; \
    } \
    RZ_PLUGIN_DEFINE = { \
        .header = {RZ_HEADER(RZ_KIND_KERNELS), .isa = {ISA}, .name = NAME, \
                   .version = VERSION, .vendor = VENDOR, .licence = LICENCE, .provides = "kernels:" NAME}, \
        .init = rz_kernels_init, .query = rz_kernels_query}
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
