/* attention.h - what the files of attention share: a job, and what comes out of one split of it. */
#ifndef RZ_X86_ATTENTION_H
#define RZ_X86_ATTENTION_H

#include "x86.h"

#define SPLIT RZ_ATTENTION_SPLIT
#ifndef QUERIES
#define QUERIES 16 /* (row, head) pairs worked on together */
#endif
#define HEAD_MAX 512 /* largest head                         */

/* What a tile works on: queries of one KV head and one sequence, ordered by row, then head. So the first
 * positions that they see ascend, and the last ones do too. */
struct job {
    const struct rz_kv_view *kv;
    const int32_t *pages;
    uint64_t layer, head, dim;
    int n;                                      /* queries                                          */
    float softcap;                              /* of the scores; 0: none                           */
    bool coarse;                                /* products may be of bfloat16                      */
    uint32_t first[QUERIES], end[QUERIES];      /* positions that the query sees: first .. end - 1  */
    uint32_t pos[QUERIES];                      /* its own                                          */
    float slope[QUERIES];                       /* ALiBi: what a position of distance takes off     */
    union {                                     /* dense, so that they stay in the L1 cache */
        float q[QUERIES * HEAD_MAX];            /* [n][dim], scaled           */
        uint32_t pairs[QUERIES * HEAD_MAX / 2]; /* [n][dim / 2], where coarse */
    };
};

/* A query's sum over some positions: weights relative to max. */
struct partial {
    float max, sum;
    float y[HEAD_MAX];
};

/* kernels_split.c: makes a job whose queries are there ready for its splits. */
void attention_begin(struct job *j);

/* All queries over the positions begin .. end - 1 of one split; w is room for their
 * weights. A query that sees none of them gets max -INFINITY, sum 0 and y 0. */
void attention_split(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT], struct partial *p);

#endif
