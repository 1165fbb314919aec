/* options.c - reads a command's options by its table: names, types, ranges, and the nearest name of a
 * mistyped one.
 *
 * A value is the next argument or follows `=`; `--` ends the options. Every error is a usage error and
 * names the option, the value and what would be right.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define NAME_MAX_LEN 40 /* no option is longer; a longer word has no nearest name */

/* One argument while it is read. */
struct arg {
    const char *command;
    const struct rz_cli_option *row;
    const char *value; /* NULL: none yet        */
    char shown[80];    /* "-n" or "--top-k"     */
};

bool rz_cli_int(const char *text, int64_t *out)
{
    char *end;
    if (*text != '-' && (*text < '0' || *text > '9'))
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return false;
    *out = v;
    return true;
}

bool rz_cli_float(const char *text, double *out)
{
    char *end;
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v))
        return false;
    *out = v;
    return true;
}

/* Edits (insert, delete, replace) that turn a into b. */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), row[NAME_MAX_LEN + 1];
    if (na > NAME_MAX_LEN || nb > NAME_MAX_LEN)
        return NAME_MAX_LEN;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[nb];
}

static int unknown(const struct rz_cli_option *table, const char *command, const char *word,
                   struct rz_err *err)
{
    const char *name = word[0] == '-' && word[1] == '-' ? word + 2 : "";
    const struct rz_cli_option *near = NULL;
    size_t best = 4, n = strcspn(name, "=");
    char plain[NAME_MAX_LEN + 1] = "", shown[80];
    if (n <= NAME_MAX_LEN)
        memcpy(plain, name, n);
    for (const struct rz_cli_option *o = table; o->name && *plain; o++) {
        size_t d = distance(plain, o->name);
        if (d < best && d < n) {
            best = d;
            near = o;
        }
    }
    rz_show(shown, sizeof(shown), word, strlen(word));
    if (near)
        rz_fail(err, RZ_ECONFIG, command, "%s: no such option (did you mean --%s?)", shown, near->name);
    else
        rz_fail(err, RZ_ECONFIG, command, "%s: no such option (see rz %s --help)", shown, command);
    return 2;
}

static int refuse(const struct arg *a, const char *wanted, struct rz_err *err)
{
    char shown[80];
    const struct rz_cli_option *o = a->row;
    rz_show(shown, sizeof(shown), a->value, strlen(a->value));
    if (o->min < o->max)
        rz_fail(err, RZ_ECONFIG, a->command, "%s %s: not %s from %.12g to %.12g", a->shown, shown, wanted,
                o->min, o->max);
    else
        rz_fail(err, RZ_ECONFIG, a->command, "%s %s: not %s", a->shown, shown, wanted);
    return 2;
}

static bool in_range(const struct rz_cli_option *o, double v)
{
    return o->min >= o->max || (v >= o->min && v <= o->max);
}

static int read_ints(const struct arg *a, struct rz_cli_value *v, struct rz_err *err)
{
    const char *at = a->value;
    v->n = 0;
    for (;;) {
        char item[24] = "";
        size_t n = strcspn(at, ",");
        int64_t i;
        if (n >= sizeof(item) || v->n == RZ_CLI_LIST_MAX)
            return refuse(a, "a list of integers", err);
        memcpy(item, at, n);
        if (!rz_cli_int(item, &i) || !in_range(a->row, (double)i))
            return refuse(a, "a list of integers", err);
        v->ints[v->n++] = i;
        if (!at[n])
            return 0;
        at += n + 1;
    }
}

static int read_u64(const struct arg *a, struct rz_cli_value *v, struct rz_err *err)
{
    char *end;
    errno = 0;
    v->u = strtoull(a->value, &end, 10);
    if (*a->value < '0' || *a->value > '9' || errno || *end)
        return refuse(a, "a whole number below 2^64", err);
    return 0;
}

static int set_value(const struct arg *a, struct rz_cli_value *v, struct rz_err *err)
{
    v->given = true;
    v->text = a->value;
    switch (a->row->type) {
    case OPT_INT:
        if (!rz_cli_int(a->value, &v->i) || !in_range(a->row, (double)v->i))
            return refuse(a, "an integer", err);
        return 0;
    case OPT_U64:
        return read_u64(a, v, err);
    case OPT_FLOAT:
        if (!rz_cli_float(a->value, &v->f) || !in_range(a->row, v->f))
            return refuse(a, "a number", err);
        return 0;
    case OPT_LIST:
        if (v->n == RZ_CLI_LIST_MAX) {
            rz_fail(err, RZ_ECONFIG, a->command, "%s: given more than %d times", a->shown, RZ_CLI_LIST_MAX);
            return 2;
        }
        v->list[v->n++] = a->value;
        return 0;
    case OPT_INTS:
        return read_ints(a, v, err);
    default:
        return 0;
    }
}

/* The row that `word` names, and the value behind its `=`. */
static const struct rz_cli_option *find(const struct rz_cli_option *table, const char *word, struct arg *a)
{
    bool is_long = word[1] == '-';
    size_t n = is_long ? strcspn(word + 2, "=") : 1;
    const char *rest = is_long ? word + 2 + n : word + 2;
    a->value = NULL;
    if (*rest == '=')
        a->value = rest + 1;
    else if (*rest)
        return NULL;
    for (const struct rz_cli_option *o = table; o->name; o++) {
        bool same = is_long ? strlen(o->name) == n && !memcmp(o->name, word + 2, n) : o->letter == word[1];
        if (same) {
            if (is_long)
                snprintf(a->shown, sizeof(a->shown), "--%s", o->name);
            else
                snprintf(a->shown, sizeof(a->shown), "-%c", o->letter);
            a->row = o;
            return o;
        }
    }
    return NULL;
}

static int wants_no_value(const struct arg *a, struct rz_err *err)
{
    rz_fail(err, RZ_ECONFIG, a->command, "%s: takes no value", a->shown);
    return 2;
}

static int one_option(const struct rz_cli_option *table, struct arg *a, int32_t argc, const char *const *argv,
                      int32_t *i, void *values, bool model_named, struct rz_err *err)
{
    const struct rz_cli_option *o = find(table, argv[*i], a);
    if (!o)
        return unknown(table, a->command, argv[*i], err);
    if (o->type == OPT_MISSING) {
        rz_fail(err, RZ_ECONFIG, a->command, "%s: not available in this build", a->shown);
        return 2;
    }
    struct rz_cli_value *v = (struct rz_cli_value *)((char *)values + o->at);
    bool more = *i + 1 < argc;
    if (o->type == OPT_FLAG) {
        if (a->value)
            return wants_no_value(a, err);
    } else if (o->type == OPT_MAYBE) {
        if (!a->value && model_named && more && argv[*i + 1][0] != '-')
            a->value = argv[++*i];
    } else if (!a->value) {
        if (!more) {
            rz_fail(err, RZ_ECONFIG, a->command, "%s: needs a value", a->shown);
            return 2;
        }
        a->value = argv[++*i];
    }
    return set_value(a, v, err);
}

int rz_cli_parse_words(const struct rz_cli_option *table, int32_t argc, const char *const *argv, void *values,
                       const char **words, uint32_t max, uint32_t *n, struct rz_err *err)
{
    struct arg a = {.command = argc > 0 ? argv[0] : ""};
    bool only_words = false, model_named = false;
    *n = 0;
    for (int32_t i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_words || word[0] != '-' || !word[1]) {
            char shown[80];
            if (*n == max) {
                rz_fail(err, RZ_ECONFIG, a.command, "%s: unexpected argument (see rz %s --help)",
                        rz_show(shown, sizeof(shown), word, strlen(word)), a.command);
                return 2;
            }
            words[(*n)++] = word;
            model_named = true;
        } else if (!strcmp(word, "--")) {
            only_words = true;
        } else {
            int status = one_option(table, &a, argc, argv, &i, values, model_named, err);
            if (status)
                return status;
            model_named |= a.row->letter == 'm';
        }
    }
    return 0;
}

int rz_cli_parse(const struct rz_cli_option *table, int32_t argc, const char *const *argv, void *values,
                 const char **positional, struct rz_err *err)
{
    uint32_t n;
    return rz_cli_parse_words(table, argc, argv, values, positional, positional ? 1 : 0, &n, err);
}
