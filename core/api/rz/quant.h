/* quant.h - the block layouts of quantised weights, once for the whole program.
 *
 * The layouts are those of the GGUF file format (ggml's types); x is the decoded value. d and m are
 * IEEE half floats kept as uint16_t. Every size in rz derives from sizeof of these structs.
 */
#ifndef RZ_QUANT_H
#define RZ_QUANT_H

#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_QK 32   /* elements of a plain block */
#define RZ_QKK 256 /* elements of a K block     */

/* x[j] = d * (q - 8); low nibble of qs[j] is element j, high nibble element j + 16 */
struct rz_block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q4_0) == 18, "q4_0");

/* x = d * q + m, nibbles as in q4_0 */
struct rz_block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q4_1) == 20, "q4_1");

/* x = d * (q - 16); bit j of qh is the fifth bit of element j */
struct rz_block_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q5_0) == 22, "q5_0");

/* x = d * q + m, bits as in q5_0 */
struct rz_block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q5_1) == 24, "q5_1");

/* x = d * q */
struct rz_block_q8_0 {
    uint16_t d;
    int8_t qs[32];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q8_0) == 34, "q8_0");

/* 8 groups of 32 with a 6-bit scale and a 6-bit minimum each, packed in scales[12]:
 * groups 0-3: low 6 bits of bytes g and g + 4; groups 4-7: nibbles of byte g + 4, and on top of them
 * the upper 2 bits of bytes g - 4 (scale) and g (minimum). Each 64 elements take 32 bytes of qs: low
 * nibbles first. x = d * scale * q - dmin * minimum */
struct rz_block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q4_k) == 144, "q4_k");

/* as q4_k; bits 2i and 2i + 1 of qh[j] are the fifth bits of the halves of 64-group i */
struct rz_block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q5_k) == 176, "q5_k");

/* 16 groups of 16 with an int8 scale. Each 128 elements: l and l + 32 from the low nibbles of ql[l] and
 * ql[l + 32], l + 64 and l + 96 from the high ones; their upper bits from qh[l] at shifts 0 2 4 6.
 * x = d * scale * (q - 32) */
struct rz_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q6_k) == 210, "q6_k");

#ifdef __cplusplus
}
#endif
#endif
