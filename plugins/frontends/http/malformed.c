/* malformed.c - requests that must not be interpreted, because two readers could read them differently
 * (RFC 9112, 11.2). libmicrohttpd lets these through, so they are refused before anything else is done.
 */
#include <string.h>
#include <strings.h>

#include "http.h"

/* What the headers of one request add up to. */
struct seen {
    const char *why;
    unsigned n_length, n_encoding, n_host;
};

static bool is_token(const char *s, size_t n)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";
    if (!n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (!c || !strchr(extra, c)))
            return false;
    }
    return true;
}

static bool has_control(const char *s, size_t n, bool tab_allowed)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == 0x7f || (c < 0x20 && !(tab_allowed && c == '\t')))
            return true;
    }
    return false;
}

static bool is_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return n > 0 && n < 20;
}

static bool named(const char *name, size_t n, const char *wanted)
{
    return n == strlen(wanted) && !strncasecmp(name, wanted, n);
}

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name, size_t n_name,
                            const char *value, size_t n_value)
{
    struct seen *s = arg;
    (void)kind;
    if (!is_token(name, n_name))
        s->why = "a header name is not a token";
    else if (has_control(value ? value : "", n_value, true))
        s->why = "a header value holds a control character";
    if (named(name, n_name, "Content-Length")) {
        s->n_length++;
        if (!is_digits(value ? value : "", n_value))
            s->why = "Content-Length is not a number";
    } else if (named(name, n_name, "Transfer-Encoding")) {
        s->n_encoding++;
        if (n_value != 7 || strncasecmp(value, "chunked", 7))
            s->why = "Transfer-Encoding is not chunked";
    } else if (named(name, n_name, "Host")) {
        s->n_host++;
        if (n_value && (strpbrk(value, " \t,/@?#\\") || strlen(value) != n_value))
            s->why = "Host is not a host";
    }
    return s->why ? MHD_NO : MHD_YES;
}

const char *http_malformed(struct MHD_Connection *c, const char *url, const char *method)
{
    struct seen s = {0};
    if (!is_token(method, strlen(method)))
        return "the method is not a token";
    if (has_control(url, strlen(url), false) || strchr(url, ' '))
        return "the target holds a control character or a space";
    MHD_get_connection_values_n(c, MHD_HEADER_KIND, look, &s);
    if (s.why)
        return s.why;
    if (s.n_length && s.n_encoding)
        return "both Content-Length and Transfer-Encoding";
    if (s.n_length > 1 || s.n_encoding > 1)
        return "a repeated Content-Length or Transfer-Encoding";
    if (s.n_host > 1)
        return "a repeated Host";
    return NULL;
}
