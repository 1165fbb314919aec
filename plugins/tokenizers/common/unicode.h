/* unicode.h - one byte for each character: what the rules that cut text into words look at.
 *
 * An ASCII character is its own class; any other is 0x80 + its general category, except the two named
 * below. So a text becomes a byte string on which classes such as "letter" are sets of byte values, in
 * the Unicode version of our own table. A byte that is no part of a UTF-8 character counts as a character
 * of the class of U+FFFD (So).
 */
#ifndef RZ_TOKENIZERS_UNICODE_H
#define RZ_TOKENIZERS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RZ_UC_LU 0x80 /* ... LL LT LM LO = 0x84: letters   */
#define RZ_UC_LO 0x84
#define RZ_UC_MN 0x85 /* MC, ME = 0x87: marks              */
#define RZ_UC_ME 0x87
#define RZ_UC_ND 0x88 /* NL, NO = 0x8a: numbers            */
#define RZ_UC_NO 0x8a
#define RZ_UC_PC 0x8b /* PD PS PE PI PF PO = 0x91          */
#define RZ_UC_PO 0x91
#define RZ_UC_SM 0x92 /* SC SK SO = 0x95                   */
#define RZ_UC_SO 0x95
#define RZ_UC_ZS 0x96 /* ZL, ZP = 0x98: separators         */
#define RZ_UC_ZP 0x98
#define RZ_UC_CC 0x99 /* CF CS CO CN = 0x9d                */
#define RZ_UC_CN 0x9d
#define RZ_UC_LONG_S 0x9e /* U+017F, a letter that folds to "s" */
#define RZ_UC_NEL 0x9f    /* U+0085, the only white space beyond ASCII that is no separator */

uint8_t rz_uc_class(uint32_t cp);
/* The table behind it, from U+0080 on: first code point << 8 | category (RZ_UC_LU = 0), sorted. */
size_t rz_uc_table(const uint32_t **table);

static inline bool rz_uc_is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= RZ_UC_LU && c <= RZ_UC_LO) ||
           c == RZ_UC_LONG_S;
}

static inline bool rz_uc_is_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= RZ_UC_ND && c <= RZ_UC_NO);
}

static inline bool rz_uc_is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= RZ_UC_ZS && c <= RZ_UC_ZP) || c == RZ_UC_NEL;
}

/* Bytes of the character (or the stray byte) at s[0..n), n > 0. */
size_t rz_uc_step(const char *s, size_t n);

#endif
