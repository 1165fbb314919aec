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

/* 16 groups of 16; scales[g]: scale in the low nibble, minimum in the high one. Each 128 elements take 32
 * bytes of qs: element 32 i + l has bits 2i of qs[l]. x = d * scale * q - dmin * minimum */
struct rz_block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q2_k) == 84, "q2_k");

/* 16 groups of 16 with a 6-bit scale: its low nibble from byte g % 8 of scales (low nibble for g < 8), its
 * upper two bits from byte 8 + g % 4 at shift 2 (g / 4). qs as in q2_k; bit i of hmask[l] is the third bit
 * of element 32 i + l. x = d * (scale - 32) * (q - 4) */
struct rz_block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q3_k) == 110, "q3_k");

/* --- types whose elements are points of a fixed grid, with signs (core/base/grids.h) ---
 * "parity": 7 bits are the signs of elements 0 to 6, and that of element 7 makes their number even. */

/* 8 groups of 32: four bytes of qs are points of 8 elements, the other four a word of four 7-bit signs and,
 * on top, a 4-bit scale. x = d * (2 scale + 1) / 8 * point */
struct rz_block_iq2_xxs {
    uint16_t d;
    uint16_t qs[32];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq2_xxs) == 66, "iq2_xxs");

/* 32 points of 8: 9 bits of point, 7 of signs; 4-bit scales of 16 elements, low nibbles first */
struct rz_block_iq2_xs {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq2_xs) == 74, "iq2_xs");

/* points of 8 with 10 bits: 8 in qs, 2 in qh (point i in byte i / 4); all 8 signs; scales as in iq2_xs */
struct rz_block_iq2_s {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq2_s) == 82, "iq2_s");

/* 64 points of 4; then a word a 32-group: four 7-bit signs of 8 elements and a 4-bit scale.
 * x = d * (2 scale + 1) / 4 * point */
struct rz_block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint8_t words[32];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq3_xxs) == 98, "iq3_xxs");

/* 64 points of 4 with 9 bits (the ninth of point i is bit i % 8 of qh[i / 8]); all signs; a 4-bit scale a
 * 32-group. x = d * (2 scale + 1) * point */
struct rz_block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq3_s) == 110, "iq3_s");

/* points of 8 elements -1, 0, 1 with 11 bits: 8 in qs, 3 in qh (a word a 32-group: 4 x 3 bits, a 3-bit
 * scale, and the sign of the shift). x = d * (2 scale + 1) * (point +- 1/8) */
struct rz_block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq1_s) == 50, "iq1_s");

/* as iq1_s, with the upper bits and the sign of the shift in a nibble a point, and 3-bit scales of 16
 * elements in four words, whose top nibbles are d, lowest first */
struct rz_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint8_t scales[8];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq1_m) == 56, "iq1_m");

/* --- types with a table of 16 values (core/base/numeric.h) --- */

/* nibbles as in q4_0; x = d * value */
struct rz_block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq4_nl) == 18, "iq4_nl");

/* 8 groups of 32, each with nibbles as in q4_0; 6-bit scales: 4 bits in scales_l, 2 in scales_h.
 * x = d * (scale - 32) * value */
struct rz_block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_iq4_xs) == 136, "iq4_xs");

/* e: exponent, 2^(e - 127); nibbles as in q4_0; x = 2^(e - 127) / 2 * value */
struct rz_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_mxfp4) == 17, "mxfp4");

/* 4 groups of 16, each with a scale in unsigned E4M3 and 8 bytes: low nibbles are its elements 0 to 7.
 * x = scale / 2 * value */
struct rz_block_nvfp4 {
    uint8_t scales[4];
    uint8_t qs[32];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_nvfp4) == 36, "nvfp4");

/* --- one, one and a half, and two bits --- */

/* Five elements -1, 0, 1 a byte (qs) or four (qh): q / 256 in base 3, the first digit on top. The first 32
 * bytes hold elements 32 i + l as digit i, the other 16 elements 160 + 16 i + l, qh 240 + 4 i + l. */
struct rz_block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_tq1_0) == 54, "tq1_0");

/* qs as in q2_k; x = d * (q - 1) */
struct rz_block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_tq2_0) == 66, "tq2_0");

/* 128 elements, a bit each, lowest first: x = d or -d */
struct rz_block_q1_0 {
    uint16_t d;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q1_0) == 18, "q1_0");

/* 64 elements, 2 bits each, lowest first: x = d * (q - 1) */
struct rz_block_q2_0 {
    uint16_t d;
    uint8_t qs[16];
};
RZ_STATIC_ASSERT(sizeof(struct rz_block_q2_0) == 18, "q2_0");

#ifdef __cplusplus
}
#endif
#endif
