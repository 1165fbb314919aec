/* http_rig.c - starts and stops the server, and turns libcurl's callbacks into buffers. */
#include "http_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rz_test.h"

#define READY_MS 60000
#define CALL_S 120L
#define TEXT_MAX ((size_t)64 << 20)

static void run_server(int log, const char *const *extra)
{
    char model[512];
    const char *rz = getenv("RZ"), *fixtures = getenv("RZ_FIXTURES");
    const char *argv[16 + RIG_EXTRA_MAX] = {
        rz ? rz : "build/release/rz", "serve", "-m", model, "--port", "0"};
    int n = 6;
    for (int i = 0; extra && extra[i] && i < RIG_EXTRA_MAX; i++)
        argv[n++] = extra[i];
    snprintf(model, sizeof(model), "%s/tiny-llama.gguf", fixtures ? fixtures : "build/fixtures");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no server behind */
    dup2(log, 2);
    close(log);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

/* Reads the log up to the line that says where it listens. */
static bool wait_ready(struct rz_rig *rig)
{
    char text[8192];
    size_t n = 0;
    struct pollfd p = {.fd = rig->log, .events = POLLIN};
    while (n + 1 < sizeof(text) && poll(&p, 1, READY_MS) == 1) {
        ssize_t got = read(rig->log, text + n, sizeof(text) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        text[n] = 0;
        const char *at = strstr(text, "ready: ");
        if (at && strchr(at, '\n'))
            return sscanf(at, "ready: %127s", rig->url) == 1;
    }
    return false;
}

void rz_rig_start(struct rz_rig *rig, const char *const *extra)
{
    int ends[2];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    rz_check(pipe(ends) == 0);
    rig->pid = fork();
    rz_check(rig->pid >= 0);
    if (!rig->pid) {
        close(ends[0]);
        run_server(ends[1], extra);
    }
    close(ends[1]);
    rig->log = ends[0];
    fcntl(rig->log, F_SETFD, FD_CLOEXEC);
    rz_check(wait_ready(rig));
}

int rz_rig_stop(struct rz_rig *rig)
{
    int status = 0;
    kill(rig->pid, SIGTERM);
    waitpid(rig->pid, &status, 0);
    close(rig->log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static size_t take_text(char *data, size_t size, size_t n, void *arg)
{
    struct rz_rig_call *c = arg;
    c->pieces++;
    rz_buf_add(&c->text, data, size * n);
    return c->cut_after && c->text.len >= c->cut_after ? 0 : size * n;
}

static size_t take_header(char *data, size_t size, size_t n, void *arg)
{
    struct rz_rig_call *c = arg;
    rz_buf_add(&c->headers, data, size * n);
    return size * n;
}

CURL *rz_rig_prepare(const struct rz_rig *rig, struct rz_rig_call *c)
{
    char url[256];
    snprintf(url, sizeof(url), "%s%s", rig->url, c->path);
    rz_buf_init(&c->text, TEXT_MAX);
    rz_buf_init(&c->headers, TEXT_MAX);
    c->curl = curl_easy_init();
    rz_check(c->curl);
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, CALL_S);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_text);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
    if (c->body) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->body);
        c->list = curl_slist_append(c->list, "Content-Type: application/json");
    }
    if (c->header)
        c->list = curl_slist_append(c->list, c->header);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->list);
    return c->curl;
}

void rz_rig_finish(struct rz_rig_call *c, CURLcode result)
{
    c->result = result;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->list);
    c->curl = NULL;
    c->list = NULL;
}

void rz_rig_do(const struct rz_rig *rig, struct rz_rig_call *c)
{
    CURL *curl = rz_rig_prepare(rig, c);
    rz_rig_finish(c, curl_easy_perform(curl));
}

void rz_rig_free(struct rz_rig_call *c)
{
    rz_buf_free(&c->text);
    rz_buf_free(&c->headers);
}

struct rz_rig_call rz_rig_complete(const struct rz_rig *rig, const char *body)
{
    struct rz_rig_call c = {.path = "/v1/completions", .body = body};
    rz_rig_do(rig, &c);
    return c;
}

json_t *rz_rig_json(const struct rz_rig_call *c)
{
    json_error_t why;
    json_t *o = json_loadb(c->text.data ? c->text.data : "", c->text.len,
                           JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!o)
        rz_fail_test("not JSON (%s), status %ld: %s", why.text, c->status, c->text.data ? c->text.data : "");
    return o;
}

json_t *rz_rig_event(const struct rz_rig_call *c, unsigned i, unsigned *n)
{
    json_t *found = NULL;
    const char *at = c->text.data ? c->text.data : "";
    for (*n = 0; *at; (*n)++) {
        const char *end = strstr(at, "\n\n");
        if (strncmp(at, "data: ", 6) != 0 || !end)
            rz_fail_test("not an event: %.100s", at);
        if (*n == i && strncmp(at + 6, "[DONE]", 6) != 0)
            found = json_loadb(at + 6, (size_t)(end - at - 6), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        at = end + 2;
    }
    return found;
}
