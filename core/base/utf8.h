/* utf8.h - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef RZ_BASE_UTF8_H
#define RZ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the character at s[0..n), n > 0. Returns its length in bytes and sets *cp; 0: the bytes at s
 * are no character (*cp = U+FFFD). */
size_t rz_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Writes cp (a valid code point) to out[4]; returns its length. */
size_t rz_utf8_encode(uint32_t cp, char *out);
bool rz_utf8_valid(const char *s, size_t n);
/* The length of the longest prefix that holds only whole characters or bytes that can never become
 * one; the rest (at most 3 bytes) is the beginning of a character. */
size_t rz_utf8_whole(const char *s, size_t n);
/* Length of the maximal ill-formed part at s[0..n) that is replaced by one U+FFFD (Unicode, 3.9). */
size_t rz_utf8_bad(const char *s, size_t n);

#endif
