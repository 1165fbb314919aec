/* parse_json.c - JSON as bytes: whether it is valid so far, where a value ends, what its members are.
 *
 * No tree is made, so that arguments reach the client as the model wrote them. Nesting is bounded.
 */
#include "parse_call.h"
#include "utf8.h"

#include <string.h>

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct rz_part rz_part_trim(struct rz_part part)
{
    while (part.n && blank(part.p[0])) {
        part.p++;
        part.n--;
    }
    while (part.n && blank(part.p[part.n - 1]))
        part.n--;
    return part;
}

static size_t skip_blanks(const char *p, size_t n, size_t i)
{
    while (i < n && blank(p[i]))
        i++;
    return i;
}

/* --- byte by byte --- */

static const char *const words[] = {"true", "false", "null"};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static void value_over(struct rz_json_push *j)
{
    j->state = j->depth ? RZ_JP_NEXT : RZ_JP_ENDED;
}

static bool open_box(struct rz_json_push *j, char c)
{
    if (j->depth == RZ_JSON_NEST_MAX)
        return false;
    uint64_t bit = (uint64_t)1 << j->depth++;
    j->objects = c == '{' ? j->objects | bit : j->objects & ~bit;
    j->state = c == '{' ? RZ_JP_MEMBER : RZ_JP_ITEM;
    return true;
}

static bool close_box(struct rz_json_push *j, char c)
{
    if (c != (j->objects >> (j->depth - 1) & 1 ? '}' : ']'))
        return false;
    j->depth--;
    value_over(j);
    return true;
}

static bool begin_text(struct rz_json_push *j, char c, bool key)
{
    j->key = key;
    j->state = RZ_JP_TEXT;
    return c == '"';
}

static bool begin_value(struct rz_json_push *j, char c)
{
    if (c == '{' || c == '[')
        return open_box(j, c);
    if (c == '"')
        return begin_text(j, c, false);
    j->at = 1;
    for (j->word = 0; j->word < 3; j->word++)
        if (words[j->word][0] == c) {
            j->state = RZ_JP_WORD;
            return true;
        }
    j->state = c == '-' ? RZ_JP_MINUS : c == '0' ? RZ_JP_ZERO : RZ_JP_WHOLE;
    return c == '-' || digit(c);
}

static bool text_byte(struct rz_json_push *j, char c)
{
    if (j->state == RZ_JP_HEX) {
        if (!digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f'))
            return false;
        j->state = ++j->at == 4 ? RZ_JP_TEXT : RZ_JP_HEX;
    } else if (j->state == RZ_JP_ESCAPE) {
        j->at = 0;
        j->state = c == 'u' ? RZ_JP_HEX : RZ_JP_TEXT;
        return c && strchr("\"\\/bfnrtu", c);
    } else if (c == '"' && j->key) {
        j->state = RZ_JP_COLON;
    } else if (c == '"') {
        value_over(j);
    } else if (c == '\\') {
        j->state = RZ_JP_ESCAPE;
    }
    return (unsigned char)c >= ' ';
}

static bool word_byte(struct rz_json_push *j, char c)
{
    if (words[j->word][j->at++] != c)
        return false;
    if (!words[j->word][j->at])
        value_over(j);
    return true;
}

static bool number_whole(uint32_t state)
{
    return state == RZ_JP_ZERO || state == RZ_JP_WHOLE || state == RZ_JP_FRACTION || state == RZ_JP_EXPONENT;
}

/* False: not part of the number. */
static bool number_byte(struct rz_json_push *j, char c)
{
    uint32_t s = j->state;
    if (digit(c)) {
        j->state = s == RZ_JP_MINUS                  ? (c == '0' ? RZ_JP_ZERO : RZ_JP_WHOLE)
                   : s == RZ_JP_POINT                ? RZ_JP_FRACTION
                   : s == RZ_JP_E || s == RZ_JP_SIGN ? RZ_JP_EXPONENT
                                                     : s;
        return s != RZ_JP_ZERO;
    }
    if (c == '.' && (s == RZ_JP_ZERO || s == RZ_JP_WHOLE))
        j->state = RZ_JP_POINT;
    else if ((c | 32) == 'e' && number_whole(s) && s != RZ_JP_EXPONENT)
        j->state = RZ_JP_E;
    else if ((c == '+' || c == '-') && s == RZ_JP_E)
        j->state = RZ_JP_SIGN;
    else
        return false;
    return true;
}

/* Between texts, words and numbers. */
static bool mark_byte(struct rz_json_push *j, char c)
{
    if (blank(c))
        return j->state != RZ_JP_ENDED;
    switch (j->state) {
    case RZ_JP_ITEM:
        return c == ']' ? close_box(j, c) : begin_value(j, c);
    case RZ_JP_MEMBER:
        return c == '}' ? close_box(j, c) : begin_text(j, c, true);
    case RZ_JP_KEY:
        return begin_text(j, c, true);
    case RZ_JP_COLON:
        j->state = RZ_JP_VALUE;
        return c == ':';
    case RZ_JP_NEXT:
        if (c != ',')
            return close_box(j, c);
        j->state = j->objects >> (j->depth - 1) & 1 ? RZ_JP_KEY : RZ_JP_VALUE;
        return true;
    default:
        return j->state == RZ_JP_VALUE && begin_value(j, c);
    }
}

bool rz_json_push(struct rz_json_push *j, char c)
{
    if (j->state >= RZ_JP_TEXT && j->state <= RZ_JP_HEX)
        return text_byte(j, c);
    if (j->state == RZ_JP_WORD)
        return word_byte(j, c);
    if (j->state >= RZ_JP_MINUS) {
        if (number_byte(j, c))
            return true;
        if (!number_whole(j->state) || (j->state == RZ_JP_ZERO && digit(c)))
            return false;
        value_over(j);
    }
    return mark_byte(j, c);
}

size_t rz_json_valid(const char *p, size_t n)
{
    struct rz_json_push j = {0};
    size_t i = 0;
    if (!n || blank(p[0]))
        return 0;
    while (i < n && j.state != RZ_JP_ENDED && rz_json_push(&j, p[i]))
        i++;
    return j.state == RZ_JP_ENDED || (!j.depth && number_whole(j.state)) ? i : 0;
}

bool rz_json_is(struct rz_part part)
{
    part = rz_part_trim(part);
    return part.n && rz_json_valid(part.p, part.n) == part.n;
}

bool rz_json_next(struct rz_part box, size_t *at, struct rz_part *key, struct rz_part *value)
{
    size_t i = skip_blanks(box.p, box.n, *at ? *at : 1);
    if (*at && i < box.n && box.p[i] == ',')
        i = skip_blanks(box.p, box.n, i + 1);
    *key = (struct rz_part){"", 0};
    if (i >= box.n || box.p[i] == '}' || box.p[i] == ']')
        return false;
    if (box.p[0] == '{') {
        size_t len = rz_json_valid(box.p + i, box.n - i);
        *key = (struct rz_part){box.p + i + 1, len - 2};
        i = skip_blanks(box.p, box.n, i + len);
        i = skip_blanks(box.p, box.n, i + 1); /* behind the colon */
    }
    *value = (struct rz_part){box.p + i, rz_json_valid(box.p + i, box.n - i)};
    *at = i + value->n;
    return value->n > 0;
}

void rz_json_quote(struct rz_buf *out, const char *p, size_t n)
{
    rz_buf_str(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\')
            rz_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            rz_buf_str(out, "\\n");
        else if (c == '\t')
            rz_buf_str(out, "\\t");
        else if (c < ' ')
            rz_buf_printf(out, "\\u%04x", c);
        else
            rz_buf_add(out, p + i, 1);
    }
    rz_buf_str(out, "\"");
}

static uint32_t hex_value(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

void rz_json_unquote(struct rz_buf *out, struct rz_part s)
{
    static const char names[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] != '\\') {
            rz_buf_add(out, s.p + i, 1);
            continue;
        }
        i++;
        if (s.p[i] != 'u') {
            rz_buf_add(out, strchr(names, s.p[i]) + 1, 1);
            continue;
        }
        char utf8[4];
        uint32_t cp = hex_value(s.p + i + 1), low;
        i += 4;
        if (cp >= 0xd800 && cp < 0xdc00 && i + 6 < s.n && s.p[i + 1] == '\\' && s.p[i + 2] == 'u') {
            low = hex_value(s.p + i + 3);
            if (low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            }
        }
        if (cp >= 0xd800 && cp < 0xe000)
            cp = 0xfffd;
        rz_buf_add(out, utf8, rz_utf8_encode(cp, utf8));
    }
}
