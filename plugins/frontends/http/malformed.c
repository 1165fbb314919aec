/* malformed.c - requests that must not be interpreted, because two readers could read them differently
 * (RFC 9112, 11.2). libmicrohttpd lets these through, so they are refused before anything else is done.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "http.h"

#define HEADERS_MAX 100

char rz_http_bad_target;

/* What the headers of one request add up to. */
struct seen {
    const char *why;
    unsigned n, n_length, n_encoding, n_host;
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

/* libmicrohttpd up to 0.9.75 hands out texts inside its read buffer and ends them at the first NUL, so a
 * NUL of the client would hide what follows. Its own ends are told apart by what stands behind them: a
 * line end is CR LF and leaves two NULs, a name is followed by blanks and its value. (A NUL at the very end
 * of a value looks like a line end; it hides nothing.) Later versions
 * refuse such requests themselves, and their buffers are none of our business. */
static bool knows_buffers(void)
{
    return !strncmp(MHD_get_version(), "0.9.7", 5) && MHD_get_version()[5] <= '5';
}

static const char *hidden(const char *name, size_t n_name, const char *value, size_t n_value)
{
    const char *at = name + n_name + 1;
    if (!value || !knows_buffers())
        return NULL;
    while (at < value && (*at == ' ' || *at == '\t'))
        at++;
    if (at != value)
        return "a header is folded over lines";
    return value[n_value + 1] ? "a header line holds NUL, or ends without CR LF" : NULL;
}

void *rz_http_target(void *http, const char *target, struct MHD_Connection *c)
{
    (void)http;
    (void)c;
    if (!knows_buffers() || !strncmp(target + strlen(target) + 1, "HTTP/", 5))
        return NULL;
    return &rz_http_bad_target;
}

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name, size_t n_name,
                            const char *value, size_t n_value)
{
    struct seen *s = arg;
    (void)kind;
    s->why = ++s->n > HEADERS_MAX ? "there are more than 100 headers" : hidden(name, n_name, value, n_value);
    if (s->why)
        return MHD_NO;
    while (n_value && (value[n_value - 1] == ' ' || value[n_value - 1] == '\t'))
        n_value--;
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
        if (n_value && strcspn(value, " \t,/@?#\\") < n_value)
            s->why = "Host is not a host";
    }
    return s->why ? MHD_NO : MHD_YES;
}

const char *rz_http_malformed(struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, bool bad_target)
{
    struct seen s = {0};
    if (bad_target)
        return "the target holds NUL";
    if (!is_token(method, strlen(method)))
        return "the method is not a token";
    if (knows_buffers() && url != method + strlen(method) + 1)
        return "the first line has more than one blank before the target";
    if (knows_buffers() && version[strlen(version) + 1])
        return "the first line ends without CR LF";
    if (has_control(url, strlen(url), false) || strchr(url, ' '))
        return "the target holds a control character or a space";
    MHD_get_connection_values_n(c, MHD_HEADER_KIND, look, &s);
    if (s.why)
        return s.why;
    if (s.n_length && s.n_encoding)
        return "both Content-Length and Transfer-Encoding";
    if (s.n_encoding && !strcmp(version, "HTTP/1.0"))
        return "Transfer-Encoding in HTTP/1.0";
    if (s.n_length > 1 || s.n_encoding > 1)
        return "a repeated Content-Length or Transfer-Encoding";
    if (s.n_host > 1)
        return "a repeated Host";
    return NULL;
}
