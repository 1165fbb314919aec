/* decode.h - the reference decoders, one a type, for the table in numeric.c; each as the decode of
 * struct rz_type_info says. Layouts: rz/quant.h. */
#ifndef RZ_BASE_DECODE_H
#define RZ_BASE_DECODE_H

#include <stdint.h>

#define RZ_DECODER(name) void rz_decode_##name(const void *src, float *dst, uint64_t n)

/* decode_plain.c */
RZ_DECODER(f32);
RZ_DECODER(f64);
RZ_DECODER(f16);
RZ_DECODER(bf16);
RZ_DECODER(i8);
RZ_DECODER(i16);
RZ_DECODER(i32);
RZ_DECODER(i64);
RZ_DECODER(q4_0);
RZ_DECODER(q4_1);
RZ_DECODER(q5_0);
RZ_DECODER(q5_1);
RZ_DECODER(q8_0);
/* decode_k.c */
RZ_DECODER(q2_k);
RZ_DECODER(q3_k);
RZ_DECODER(q4_k);
RZ_DECODER(q5_k);
RZ_DECODER(q6_k);
/* decode_iq.c */
RZ_DECODER(iq1_s);
RZ_DECODER(iq1_m);
RZ_DECODER(iq2_xxs);
RZ_DECODER(iq2_xs);
RZ_DECODER(iq2_s);
RZ_DECODER(iq3_xxs);
RZ_DECODER(iq3_s);
/* decode_small.c */
RZ_DECODER(iq4_nl);
RZ_DECODER(iq4_xs);
RZ_DECODER(mxfp4);
RZ_DECODER(nvfp4);
RZ_DECODER(tq1_0);
RZ_DECODER(tq2_0);
RZ_DECODER(q1_0);
RZ_DECODER(q2_0);

#endif
