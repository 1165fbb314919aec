/* schema_number.c - numbers: bounds and multipleOf as digits.
 *
 * A bounded number is written without an exponent. Its digits are compared with those of the bounds from the
 * left: as long as they agree with a bound that bound is tight, and afterwards it says nothing more.
 */
#include "schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_MAX 18 /* digits before the point of an unbounded number */
#define FRACTION_MAX 15
#define LISTED_MAX 1000 /* multiples between two bounds are listed */
#define DIVISOR_MAX 2000

/* The size of a bound: digits before and behind the point. */
struct decimal {
    char whole[24], fraction[24];
    uint32_t n_whole, n_fraction;
};

/* Sizes from low to high, which may be missing. */
struct span {
    struct rz_nfa *g;
    uint32_t next;
    const struct decimal *low, *high;
    bool above, below;  /* low and high are excluded                */
    uint32_t fraction;  /* digits behind the point that are allowed */
    uint32_t n_whole;   /* digits before it, of the case that is built */
    uint32_t free_tail; /* what may follow a whole part without tight bounds */
};

static uint32_t digits(struct rz_nfa *g, int lo, int hi, uint32_t next)
{
    return lo > hi ? RZ_NFA_FAIL : rz_nfa_bytes(g, (uint8_t)('0' + lo), (uint8_t)('0' + hi), next);
}

/* At least min and at most max arbitrary digits. */
static uint32_t run(struct rz_nfa *g, uint32_t min, uint32_t max, uint32_t next)
{
    uint32_t at = next;
    for (uint32_t i = max; i > min; i--)
        at = rz_nfa_or(g, digits(g, 0, 9, at), next);
    for (uint32_t i = 0; i < min; i++)
        at = digits(g, 0, 9, at);
    return at;
}

static bool zeros_from(const struct decimal *d, uint32_t at)
{
    for (; at < d->n_fraction; at++)
        if (d->fraction[at] != '0')
            return false;
    return true;
}

/* Behind j digits of the fraction; low, high: that bound is tight. */
static uint32_t fraction(struct span *s, uint32_t j, bool low, bool high)
{
    struct rz_nfa *g = s->g;
    if (!low && !high)
        return j ? run(g, 0, s->fraction - j, s->next) : s->free_tail;
    bool ends =
        !(low && (!zeros_from(s->low, j) || s->above)) && !(high && zeros_from(s->high, j) && s->below);
    uint32_t out = ends ? s->next : RZ_NFA_FAIL, more = RZ_NFA_FAIL;
    if (j == s->fraction || (high && j >= s->high->n_fraction))
        return out;
    if (low && j >= s->low->n_fraction && !s->above)
        low = false; /* more digits only make it larger */
    int lo = low && j < s->low->n_fraction ? s->low->fraction[j] - '0' : 0,
        hi = high ? s->high->fraction[j] - '0' : 9;
    if (lo == hi) {
        more = digits(g, lo, lo, fraction(s, j + 1, low, high));
    } else if (lo < hi) {
        more = digits(g, lo + low, hi - high, fraction(s, j + 1, false, false));
        if (low)
            more = rz_nfa_or(g, more, digits(g, lo, lo, fraction(s, j + 1, true, false)));
        if (high)
            more = rz_nfa_or(g, more, digits(g, hi, hi, fraction(s, j + 1, false, true)));
    }
    return rz_nfa_or(g, out, j ? more : rz_nfa_byte(g, '.', more));
}

/* Behind i digits of the whole part. */
static uint32_t whole(struct span *s, uint32_t i, bool low, bool high)
{
    struct rz_nfa *g = s->g;
    if (i == s->n_whole)
        return fraction(s, 0, low, high);
    if (!low && !high && i)
        return run(g, s->n_whole - i, s->n_whole - i, s->free_tail);
    int least = !i && s->n_whole > 1, lo = low ? s->low->whole[i] - '0' : least,
        hi = high ? s->high->whole[i] - '0' : 9;
    uint32_t out = RZ_NFA_FAIL;
    if (lo > hi)
        return out;
    if (lo == hi && low && high)
        return digits(g, lo, lo, whole(s, i + 1, true, true));
    if (lo + low <= hi - high)
        out = digits(g, lo + low, hi - high, whole(s, i + 1, false, false));
    if (low)
        out = rz_nfa_or(g, out, digits(g, lo, lo, whole(s, i + 1, true, false)));
    if (high && hi >= least)
        out = rz_nfa_or(g, out, digits(g, hi, hi, whole(s, i + 1, false, true)));
    return out;
}

static uint32_t magnitudes(struct span *s)
{
    struct rz_nfa *g = s->g;
    uint32_t from = s->low ? s->low->n_whole : 1, to = s->high ? s->high->n_whole : WHOLE_MAX,
             out = RZ_NFA_FAIL;
    if (to < from && !s->high)
        to = from;
    s->free_tail = s->next;
    if (s->fraction)
        s->free_tail = rz_nfa_or(g, s->next, rz_nfa_byte(g, '.', run(g, 1, s->fraction, s->next)));
    for (uint32_t n = from; n <= to; n++) {
        s->n_whole = n;
        out = rz_nfa_or(g, out, whole(s, 0, s->low && n == from, s->high && n == to));
    }
    return out;
}

/* The digits of |x|; false: it has too many. */
static bool decimal(double x, struct decimal *d)
{
    char text[64];
    *d = (struct decimal){0};
    x = fabs(x);
    if (!(x < 1e18) || (x != 0 && x < 1e-9))
        return false;
    int precision = 1;
    do
        snprintf(text, sizeof(text), "%.*e", precision, x);
    while (strtod(text, NULL) != x && ++precision < 17);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10), places = precision - exponent;
    snprintf(text, sizeof(text), "%.*f", places > 0 ? places : 0, x);
    char *point = strchr(text, '.');
    size_t n = point ? (size_t)(point - text) : strlen(text), m = point ? strlen(point + 1) : 0;
    while (m && point[m] == '0')
        m--;
    if (n >= sizeof(d->whole) || m > FRACTION_MAX)
        return false;
    memcpy(d->whole, text, n);
    memcpy(d->fraction, point ? point + 1 : "", m);
    d->n_whole = (uint32_t)n;
    d->n_fraction = (uint32_t)m;
    return true;
}

/* --- bounds --- */

struct bounds {
    double low, high; /* -inf and inf: none */
    bool above, below;
};

static struct bounds bounds_of(const json_t *schema)
{
    struct bounds b = {.low = -INFINITY, .high = INFINITY};
    const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum"),
                 *above = json_object_get(schema, "exclusiveMinimum"),
                 *below = json_object_get(schema, "exclusiveMaximum");
    if (min)
        b.low = json_number_value(min);
    if (max)
        b.high = json_number_value(max);
    if (above && json_number_value(above) >= b.low) {
        b.low = json_number_value(above);
        b.above = true;
    }
    if (below && json_number_value(below) <= b.high) {
        b.high = json_number_value(below);
        b.below = true;
    }
    return b;
}

/* Numbers between bounds with at most so many digits behind the point. */
static uint32_t between(struct rz_schema *s, struct bounds b, uint32_t places, uint32_t next)
{
    struct decimal low, high;
    uint32_t out = RZ_NFA_FAIL;
    bool bounded_low = b.low != -INFINITY, bounded_high = b.high != INFINITY;
    if ((bounded_low && !decimal(b.low, &low)) || (bounded_high && !decimal(b.high, &high)))
        return rz_schema_bad(s, RZ_ELIMIT, NULL,
                             "a bound of more than 18 digits before or %d behind the point", FRACTION_MAX);
    if (b.low > b.high || (b.low == b.high && (b.above || b.below)))
        return RZ_NFA_FAIL;
    if (b.high > 0 || (b.high == 0 && !b.below)) {
        struct decimal zero = {.whole = "0", .n_whole = 1};
        struct span up = {.g = s->g, .next = next, .fraction = places};
        up.low = b.low >= 0 ? &low : &zero;
        up.above = b.low >= 0 && b.above;
        up.high = bounded_high ? &high : NULL;
        up.below = b.below;
        out = magnitudes(&up);
    }
    if (b.low < 0) {
        struct decimal zero = {.whole = "0", .n_whole = 1};
        struct span down = {.g = s->g, .next = next, .fraction = places};
        down.low = b.high < 0 ? &high : &zero;
        down.above = b.high < 0 ? b.below : true;
        down.high = bounded_low ? &low : NULL;
        down.below = b.above;
        out = rz_nfa_or(s->g, out, rz_nfa_byte(s->g, '-', magnitudes(&down)));
    }
    return out;
}

/* The same bounds for whole numbers. */
static struct bounds whole_bounds(struct bounds b)
{
    double low = ceil(b.low), high = floor(b.high);
    if (b.above && low == b.low)
        low += 1;
    if (b.below && high == b.high)
        high -= 1;
    return (struct bounds){.low = low, .high = high};
}

/* --- multipleOf --- */

/* Digits by their remainder: one loop node for each. */
static uint32_t divisible(struct rz_schema *s, uint32_t k, uint32_t next)
{
    struct rz_nfa *g = s->g;
    uint32_t *at = calloc(k, sizeof(*at)), out = RZ_NFA_FAIL;
    if (!at)
        return rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
    for (uint32_t r = 0; r < k; r++)
        at[r] = rz_nfa_loop(g);
    for (uint32_t r = 0; r < k && !g->rc; r++) {
        uint32_t body = RZ_NFA_FAIL;
        for (uint32_t d = 0; d < 10; d++)
            body = rz_nfa_or(g, body, digits(g, (int)d, (int)d, at[(10 * r + d) % k]));
        rz_nfa_loop_close(g, at[r], body, r ? RZ_NFA_FAIL : next);
    }
    for (uint32_t d = 1; d < 10; d++)
        out = rz_nfa_or(g, out, digits(g, (int)d, (int)d, at[d % k]));
    free(at);
    out = rz_nfa_or(g, out, rz_nfa_byte(g, '-', out));
    return rz_nfa_or(g, out, rz_nfa_byte(g, '0', next));
}

static uint32_t multiples(struct rz_schema *s, struct bounds b, double k, uint32_t next)
{
    b = whole_bounds(b);
    if (b.low == -INFINITY && b.high == INFINITY) {
        if (k <= DIVISOR_MAX)
            return divisible(s, (uint32_t)k, next);
        return rz_schema_bad(s, RZ_ELIMIT, "multipleOf", "%.17g: at most %d without bounds", k, DIVISOR_MAX);
    }
    double first = ceil(b.low / k) * k, n = floor((b.high - first) / k) + 1;
    if (!(n <= LISTED_MAX) || !(fabs(b.low) < 1e15) || !(fabs(b.high) < 1e15))
        return rz_schema_bad(s, RZ_EUNSUPPORTED, "multipleOf",
                             "with bounds at most %d multiples may lie between two of them", LISTED_MAX);
    char(*text)[24] = calloc(n > 0 ? (size_t)n : 1, sizeof(*text));
    const char **words = calloc(n > 0 ? (size_t)n : 1, sizeof(char *));
    uint32_t count = 0, out = RZ_NFA_FAIL;
    for (; text && words && count < n; count++) {
        snprintf(text[count], sizeof(text[count]), "%lld", (long long)(first + count * k));
        words[count] = text[count];
    }
    if (!text || !words)
        rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
    else
        out = rz_schema_words(s, words, count, next);
    free(text);
    free(words);
    return out;
}

/* 0.01 is two places; 0: it is no such power. */
static uint32_t places_of(double k)
{
    for (uint32_t i = 1; i <= 9; i++) {
        char text[16];
        snprintf(text, sizeof(text), "1e-%u", i);
        if (strtod(text, NULL) == k)
            return i;
    }
    return 0;
}

/* --- the whole --- */

static uint32_t unbounded(struct rz_nfa *g, bool integer, uint32_t next)
{
    uint32_t after = next;
    if (!integer) {
        struct rz_byteset sign = {0}, e = {0};
        rz_byteset_add(&sign, '+');
        rz_byteset_add(&sign, '-');
        rz_byteset_add(&e, 'e');
        rz_byteset_add(&e, 'E');
        uint32_t power = run(g, 1, 2, next);
        after = rz_nfa_or(g, next, rz_nfa_set(g, &e, rz_nfa_or(g, power, rz_nfa_set(g, &sign, power))));
        after = rz_nfa_or(g, after, rz_nfa_byte(g, '.', run(g, 1, 17, after)));
    }
    uint32_t size =
        rz_nfa_or(g, rz_nfa_byte(g, '0', after), digits(g, 1, 9, run(g, 0, WHOLE_MAX - 1, after)));
    return rz_nfa_or(g, size, rz_nfa_byte(g, '-', size));
}

uint32_t rz_schema_number(struct rz_schema *s, const json_t *schema, bool integer, uint32_t next)
{
    struct bounds b = bounds_of(schema);
    const json_t *multiple = json_object_get(schema, "multipleOf");
    double k = json_number_value(multiple);
    if (multiple && !(k > 0))
        return rz_schema_bad(s, RZ_EFORMAT, "multipleOf", "it must be above 0");
    if (multiple && k == floor(k) && k < 1e15)
        return multiples(s, b, k, next);
    if (multiple && !(integer ? fmod(1, k) == 0 : places_of(k) != 0))
        return rz_schema_bad(s, RZ_EUNSUPPORTED, "multipleOf",
                             "%.17g: whole numbers and powers of ten down to 1e-9 are supported", k);
    if (b.low == -INFINITY && b.high == INFINITY && !multiple)
        return unbounded(s->g, integer, next);
    return between(s, integer ? whole_bounds(b) : b,
                   integer    ? 0
                   : multiple ? places_of(k)
                              : FRACTION_MAX,
                   next);
}
