/* encode_types.h - the encoders of single blocks, for the table in encode.c.
 *
 * Each encodes one block: x and imatrix (or NULL) have as many elements as a block of the type, all finite.
 */
#ifndef RZ_BASE_ENCODE_TYPES_H
#define RZ_BASE_ENCODE_TYPES_H

#define RZ_ENCODER(name) void rz_encode_##name(const float *x, const float *imatrix, void *block)

/* encode_plain.c: no search, but for the first four with an imatrix */
RZ_ENCODER(q4_0);
RZ_ENCODER(q4_1);
RZ_ENCODER(q5_0);
RZ_ENCODER(q5_1);
RZ_ENCODER(f32);
RZ_ENCODER(f64);
RZ_ENCODER(f16);
RZ_ENCODER(bf16);
RZ_ENCODER(q8_0);
/* encode_small.c: no search */
RZ_ENCODER(tq1_0);
RZ_ENCODER(tq2_0);
RZ_ENCODER(mxfp4);
RZ_ENCODER(nvfp4);
RZ_ENCODER(q1_0);
RZ_ENCODER(q2_0);
/* encode_k.c */
RZ_ENCODER(q2_k);
RZ_ENCODER(q3_k);
RZ_ENCODER(q4_k);
RZ_ENCODER(q5_k);
RZ_ENCODER(q6_k);
RZ_ENCODER(iq4_nl);
RZ_ENCODER(iq4_xs);
/* encode_iq.c */
RZ_ENCODER(iq1_s);
RZ_ENCODER(iq1_m);
RZ_ENCODER(iq2_xxs);
RZ_ENCODER(iq2_xs);
RZ_ENCODER(iq2_s);
RZ_ENCODER(iq3_xxs);
RZ_ENCODER(iq3_s);

#endif
