/* options.c - the options of the frontend, and what follows from them.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define GIVE_UP_S 30 /* after its own deadline the engine is given so long to say so */

/* The order of the table below. */
enum {
    LISTEN,
    KEYS,
    INSECURE,
    HOSTS,
    ORIGINS,
    TLS_CERT,
    TLS_KEY,
    MAX_BODY,
    MAX_BODIES,
    MAX_HEADER,
    MAX_PROMPT,
    CONNECTIONS,
    CONNECTIONS_IP,
    IDLE,
    HEADER,
    BODY,
    WRITE,
    REQUEST,
    KEEP_ALIVE,
    THREADS,
    STRICT,
    CHUNKED,
    ACCESS_LOG,
    LOG_PROMPTS,
    METRICS,
    PAGE,
    N_OPTIONS
};

#define OPTION(name_, type_, def_, min_, max_, help_) \
    { \
        .size = sizeof(struct rz_option), .type = RZ_OPT_##type_, .name = name_, .def = def_, .min = min_, \
        .max = max_, .help = help_ \
    }

const struct rz_option rz_http_options[N_OPTIONS] = {
    [LISTEN] = OPTION("listen", STRING, "127.0.0.1:8080", 0, 0,
                      "HOST:PORT, [IPV6]:PORT, unix:PATH, systemd, with commas; port 0: any"),
    [KEYS] = {.size = sizeof(struct rz_option),
              .type = RZ_OPT_STRING,
              .flags = RZ_OPT_SECRET,
              .name = "api_keys",
              .help = "keys that clients must send, one a line (use @file:)"},
    [INSECURE] = OPTION("insecure", BOOL, "0", 0, 0, "let other machines connect without a key"),
    [HOSTS] = OPTION("allowed_hosts", STRING, NULL, 0, 0,
                     "names in Host that are answered; unset: any, or local ones when it listens locally"),
    [ORIGINS] = OPTION("cors_origins", STRING, NULL, 0, 0,
                       "origins of web pages that may ask, or *; unset: only pages of this server"),
    [TLS_CERT] = OPTION("tls_cert", PATH, NULL, 0, 0, "certificate chain in PEM; with tls_key: TLS"),
    [TLS_KEY] = OPTION("tls_key", PATH, NULL, 0, 0, "its private key in PEM"),
    [MAX_BODY] = OPTION("max_body", SIZE, "8M", 1024, 1073741824, "largest request body"),
    [MAX_BODIES] = OPTION("max_bodies", SIZE, "256M", 1024, 0x1p40, "bytes of all bodies that are read"),
    [MAX_HEADER] = OPTION("max_header", SIZE, "32K", 4096, 1048576, "first line and header of a request"),
    [MAX_PROMPT] = OPTION("max_prompt_tokens", INT, "0", 0, 2147483647,
                          "tokens of a prompt; 0: as many as the context holds"),
    [CONNECTIONS] = OPTION("max_connections", INT, "512", 1, 65536, "open connections; others get 503"),
    [CONNECTIONS_IP] = OPTION("max_connections_ip", INT, "0", 0, 65536, "of one address; 0: any number"),
    [IDLE] =
        OPTION("timeout_s", INT, "60", 1, 86400, "seconds without a byte after which a connection is closed"),
    [HEADER] = OPTION("header_timeout_s", INT, "10", 1, 86400, "seconds that a header may take"),
    [BODY] = OPTION("body_timeout_s", INT, "60", 1, 86400, "seconds that a body may take"),
    [WRITE] = OPTION("write_timeout_s", INT, "30", 1, 86400,
                     "seconds that a client may take to read 8 KiB of its answer"),
    [REQUEST] =
        OPTION("request_timeout_s", INT, "600", 0, 86400, "seconds that a generation may take; 0: any"),
    [KEEP_ALIVE] = OPTION("keep_alive_s", INT, "10", 1, 86400,
                          "seconds of silence in a stream after which it says that it lives"),
    [THREADS] = OPTION("threads", INT, "2", 1, 64, "threads that serve connections"),
    [STRICT] = OPTION("strict", BOOL, "0", 0, 0, "refuse unknown fields of a request"),
    [CHUNKED] = OPTION("chunked", BOOL, "1", 0, 0, "take bodies in chunks; 0: only those with a length"),
    [ACCESS_LOG] = OPTION("access_log", BOOL, "1", 0, 0, "a line for each request at the level info"),
    [LOG_PROMPTS] = OPTION("log_prompts", BOOL, "0", 0, 0, "log the bodies of requests too"),
    [METRICS] = {.size = sizeof(struct rz_option),
                 .type = RZ_OPT_CHOICE,
                 .name = "metrics_names",
                 .def = "vllm",
                 .choices = "vllm|rz",
                 .help = "what metrics are called that vLLM has too: vllm:NAME or rz_NAME"},
    [PAGE] = OPTION("page", BOOL, "1", 0, 0, "a web page to chat with, at /"),
};
_Static_assert(N_OPTIONS == RZ_HTTP_N_OPTIONS, "as the header says");

int32_t rz_http_options_read(struct rz_http *h, const struct rz_config *config, struct rz_err *err)
{
    const struct rz_option_value *v = config->values;
    if (config->n_values < N_OPTIONS)
        return rz_fail(err, RZ_EINVAL, "http", "%u options, not %d", config->n_values, N_OPTIONS);
    h->listen_text = v[LISTEN].text;
    h->keys_text = v[KEYS].text;
    h->insecure = v[INSECURE].i != 0;
    h->hosts = v[HOSTS].text;
    h->origins = v[ORIGINS].text;
    h->tls_cert = v[TLS_CERT].text;
    h->tls_key = v[TLS_KEY].text;
    h->max_body = (uint64_t)v[MAX_BODY].i;
    h->max_bodies = (uint64_t)v[MAX_BODIES].i;
    h->max_header = (uint64_t)v[MAX_HEADER].i;
    h->max_prompt = (uint32_t)v[MAX_PROMPT].i;
    h->max_connections = (uint32_t)v[CONNECTIONS].i;
    h->max_connections_ip = (uint32_t)v[CONNECTIONS_IP].i;
    h->timeout_s = (uint32_t)v[IDLE].i;
    h->header_timeout_s = (uint32_t)v[HEADER].i;
    h->body_timeout_s = (uint32_t)v[BODY].i;
    h->write_timeout_s = (uint32_t)v[WRITE].i;
    h->request_timeout_s = (uint32_t)v[REQUEST].i;
    h->keep_alive_s = (uint32_t)v[KEEP_ALIVE].i;
    h->give_up_s = h->request_timeout_s ? h->request_timeout_s + GIVE_UP_S : 0;
    h->n_threads = (uint32_t)v[THREADS].i;
    h->strict = v[STRICT].i != 0;
    h->chunked = v[CHUNKED].i != 0;
    h->access_log = v[ACCESS_LOG].i != 0;
    h->log_prompts = v[LOG_PROMPTS].i != 0;
    h->metrics_rz = v[METRICS].i == 1;
    h->page = v[PAGE].i != 0;
    return RZ_OK;
}
