/* test_http.c - the HTTP frontend from outside: a real server process, libcurl as the client.
 *
 * The texts are known beforehand because all the weight lies on one token (logit_bias), or compared
 * with another answer of the same seed.
 */
#include "http_rig.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rz_test.h"

#define CLIENTS 8
#define LONG_RUN \
    "{\"prompt\":\"the king\",\"max_tokens\":60000,\"ignore_eos\":true,\"temperature\":0,\"stream\":%s," \
    "\"logit_bias\":{\"100\":100}}"

static const char *const roomy[] = {"-o", "engine.context=65536", "-o", "engine.max_seqs=8", NULL};
static const char *const narrow[] = {"-o", "engine.context=65536", "-o", "engine.max_queue=1",
                                     "-o", "engine.max_seqs=1",    NULL};

static json_t *choice(const json_t *o)
{
    return json_array_get(json_object_get(o, "choices"), 0);
}

static const char *choice_text(const json_t *o)
{
    return json_string_value(json_object_get(choice(o), "text"));
}

static const char *finish_reason(const json_t *o)
{
    return json_string_value(json_object_get(choice(o), "finish_reason"));
}

static json_int_t usage(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(o, "usage"), key));
}

static const char *error_field(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(json_object_get(o, "error"), key));
}

RZ_TEST(http, health_and_models)
{
    struct rz_rig rig;
    struct rz_rig_call health = {.path = "/health"}, models = {.path = "/v1/models"};
    rz_rig_start(&rig, NULL);
    rz_rig_do(&rig, &health);
    rz_check_eq(health.status, 200);
    rz_check_has(health.text.data, "{\"status\":\"healthy\",\"version\":");
    rz_rig_do(&rig, &models);
    rz_check_eq(models.status, 200);
    json_t *o = rz_rig_json(&models);
    const json_t *first = json_array_get(json_object_get(o, "data"), 0);
    rz_check_streq(json_string_value(json_object_get(o, "object")), "list");
    rz_check_has(json_string_value(json_object_get(first, "id")), "tiny-llama");
    rz_check(!strchr(json_string_value(json_object_get(first, "id")), '/'));
    json_decref(o);
    rz_rig_free(&health);
    rz_rig_free(&models);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, plain_completion)
{
    struct rz_rig rig;
    rz_rig_start(&rig, NULL);
    struct rz_rig_call c =
        rz_rig_complete(&rig, "{\"prompt\":[1,75,80],\"max_tokens\":5,\"ignore_eos\":true,"
                              "\"logit_bias\":{\"100\":100},\"nonsense\":1,\"user\":\"u\"}");
    rz_check_eq(c.status, 200);
    json_t *o = rz_rig_json(&c);
    rz_check_streq(json_string_value(json_object_get(o, "object")), "text_completion");
    rz_check_streq(choice_text(o), "aaaaa");
    rz_check_streq(finish_reason(o), "length");
    rz_check_eq(usage(o, "prompt_tokens"), 3);
    rz_check_eq(usage(o, "completion_tokens"), 5);
    rz_check_eq(usage(o, "total_tokens"), 8);
    rz_check_has(c.headers.data, "X-Rz-Ignored: nonsense");
    rz_check(!strstr(c.headers.data, "user"));
    json_decref(o);
    rz_rig_free(&c);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, text_and_its_ids_are_one_prompt)
{
    struct rz_rig rig;
    json_t *o[2];
    rz_rig_start(&rig, NULL);
    /* BOS, then the bytes: a text without merges in the fixtures' vocabulary, behind its blank */
    struct rz_rig_call a = rz_rig_complete(&rig, "{\"prompt\":[\"QQ\"],\"max_tokens\":8,\"temperature\":0}");
    o[0] = rz_rig_json(&a);
    rz_check_eq(a.status, 200);
    rz_check_eq(usage(o[0], "prompt_tokens"), 4);
    struct rz_rig_call b =
        rz_rig_complete(&rig, "{\"prompt\":[1,294,84,84],\"max_tokens\":8,\"temperature\":0}");
    o[1] = rz_rig_json(&b);
    rz_check(json_equal(choice(o[0]), choice(o[1])));
    for (int i = 0; i < 2; i++)
        json_decref(o[i]);
    rz_rig_free(&a);
    rz_rig_free(&b);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

#define SEEDED "\"prompt\":\"the king was\",\"max_tokens\":24,\"seed\":7,\"temperature\":1.2"

RZ_TEST(http, stream_gives_the_same_text)
{
    struct rz_rig rig;
    struct rz_buf text;
    unsigned n = 0, total;
    rz_rig_start(&rig, NULL);
    struct rz_rig_call plain = rz_rig_complete(&rig, "{" SEEDED "}");
    struct rz_rig_call c =
        rz_rig_complete(&rig, "{" SEEDED ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    json_t *want = rz_rig_json(&plain), *o;
    rz_check_eq(c.status, 200);
    rz_check_has(c.headers.data, "Content-Type: text/event-stream");
    rz_buf_init(&text, 1 << 20);
    rz_check(!rz_rig_event(&c, 0xffff, &total));
    rz_check(total >= 3);
    rz_check(strstr(c.text.data, "data: [DONE]\n\n") == c.text.data + c.text.len - 14);
    for (unsigned i = 0; i + 2 < total; i++) {
        o = rz_rig_event(&c, i, &n);
        rz_buf_add(&text, choice_text(o), json_string_length(json_object_get(choice(o), "text")));
        rz_check(json_is_null(json_object_get(o, "usage")));
        if (i + 3 == total)
            rz_check_streq(finish_reason(o), finish_reason(want));
        else
            rz_check(!finish_reason(o));
        json_decref(o);
    }
    o = rz_rig_event(&c, total - 2, &n);
    rz_check_eq(json_array_size(json_object_get(o, "choices")), 0);
    rz_check_eq(usage(o, "completion_tokens"), usage(want, "completion_tokens"));
    rz_check_eq(usage(o, "prompt_tokens"), usage(want, "prompt_tokens"));
    rz_check_eq(text.len, json_string_length(json_object_get(choice(want), "text")));
    rz_check_memeq(text.data, choice_text(want), text.len);
    json_decref(o);
    json_decref(want);
    rz_buf_free(&text);
    rz_rig_free(&c);
    rz_rig_free(&plain);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, stream_begins_before_the_end)
{
    struct rz_rig rig;
    char body[256];
    rz_rig_start(&rig, roomy);
    snprintf(body, sizeof(body), LONG_RUN, "true");
    struct rz_rig_call c = {.path = "/v1/completions", .body = body, .cut_after = 1};
    rz_rig_do(&rig, &c);
    rz_check_eq(c.result, CURLE_WRITE_ERROR);
    rz_check_eq(c.pieces, 1);
    rz_check_has(c.text.data, "\"text\":\"a");
    rz_check(!strstr(c.text.data, "[DONE]"));
    rz_rig_free(&c);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, stop_texts)
{
    static const char *const bodies[] = {
        "{\"prompt\":\"x\",\"max_tokens\":20,\"logit_bias\":{\"100\":100},\"stop\":\"aaaa\"}",
        "{\"prompt\":\"x\",\"max_tokens\":20,\"logit_bias\":{\"100\":100},\"stop\":[\"zz\",\"aaaa\"]}",
    };
    struct rz_rig rig;
    rz_rig_start(&rig, NULL);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct rz_rig_call c = rz_rig_complete(&rig, bodies[i]);
        json_t *o = rz_rig_json(&c);
        rz_check_streq(choice_text(o), "");
        rz_check_streq(finish_reason(o), "stop");
        rz_check_eq(usage(o, "completion_tokens"), 4);
        json_decref(o);
        rz_rig_free(&c);
    }
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, logprobs)
{
    struct rz_rig rig;
    rz_rig_start(&rig, NULL);
    struct rz_rig_call c = rz_rig_complete(&rig, "{\"prompt\":\"x\",\"max_tokens\":3,\"logprobs\":2,\"logit_"
                                                 "bias\":{\"100\":100},\"ignore_eos\":true}");
    json_t *o = rz_rig_json(&c);
    const json_t *lp = json_object_get(choice(o), "logprobs");
    for (size_t i = 0; i < 3; i++) {
        double own = json_real_value(json_array_get(json_object_get(lp, "token_logprobs"), i));
        const json_t *top = json_array_get(json_object_get(lp, "top_logprobs"), i);
        rz_check(own <= 0);
        rz_check_eq(json_object_size(top), 2);
        rz_check_streq(json_string_value(json_array_get(json_object_get(lp, "tokens"), i)), "a");
        rz_check_eq(json_integer_value(json_array_get(json_object_get(lp, "text_offset"), i)), i);
    }
    rz_check_eq(json_array_size(json_object_get(lp, "tokens")), 3);
    json_decref(o);
    rz_rig_free(&c);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

/* Bodies that are refused: with this status, naming this field. */
static const struct {
    const char *body;
    long status;
    const char *param;
} refused[] = {
    {"", 400, NULL},
    {"[", 400, NULL},
    {"[]", 400, NULL},
    {"{}", 400, "prompt"},
    {"{\"prompt\":\"a\",\"prompt\":\"b\"}", 400, NULL},
    {"{\"prompt\":\"a\"} x", 400, NULL},
    {"{\"prompt\":5}", 400, "prompt"},
    {"{\"prompt\":[]}", 400, "prompt"},
    {"{\"prompt\":[\"a\",[1]]}", 400, "prompt"},
    {"{\"prompt\":[\"a\",5]}", 400, "prompt"},
    {"{\"prompt\":[1,-2]}", 400, "prompt"},
    {"{\"prompt\":[1,99999999]}", 400, "prompt"},
    {"{\"prompt\":[1,\"a\"]}", 400, "prompt"},
    {"{\"prompt\":\"a\",\"model\":\"other\"}", 404, "model"},
    {"{\"prompt\":\"a\",\"model\":1}", 400, "model"},
    {"{\"prompt\":\"a\",\"max_tokens\":-1}", 400, "max_tokens"},
    {"{\"prompt\":\"a\",\"max_tokens\":1.5}", 400, "max_tokens"},
    {"{\"prompt\":\"a\",\"max_tokens\":99999999999}", 400, "max_tokens"},
    {"{\"prompt\":\"a\",\"max_tokens\":\"5\"}", 400, "max_tokens"},
    {"{\"prompt\":\"a\",\"temperature\":-0.1}", 400, "temperature"},
    {"{\"prompt\":\"a\",\"temperature\":1e6}", 400, "temperature"},
    {"{\"prompt\":\"a\",\"temperature\":true}", 400, "temperature"},
    {"{\"prompt\":\"a\",\"top_p\":1.01}", 400, "top_p"},
    {"{\"prompt\":\"a\",\"min_p\":-1}", 400, "min_p"},
    {"{\"prompt\":\"a\",\"typical_p\":2}", 400, "typical_p"},
    {"{\"prompt\":\"a\",\"top_k\":-2}", 400, "top_k"},
    {"{\"prompt\":\"a\",\"repeat_penalty\":0}", 400, "repeat_penalty"},
    {"{\"prompt\":\"a\",\"presence_penalty\":3}", 400, "presence_penalty"},
    {"{\"prompt\":\"a\",\"frequency_penalty\":-3}", 400, "frequency_penalty"},
    {"{\"prompt\":\"a\",\"seed\":1.5}", 400, "seed"},
    {"{\"prompt\":\"a\",\"logprobs\":21}", 400, "logprobs"},
    {"{\"prompt\":\"a\",\"stop\":\"\"}", 400, "stop"},
    {"{\"prompt\":\"a\",\"stop\":[1]}", 400, "stop"},
    {"{\"prompt\":\"a\",\"logit_bias\":[]}", 400, "logit_bias"},
    {"{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", 400, "logit_bias"},
    {"{\"prompt\":\"a\",\"logit_bias\":{\"1\":101}}", 400, "logit_bias"},
    {"{\"prompt\":\"a\",\"logit_bias\":{\"99999999\":1}}", 400, "logit_bias"},
    {"{\"prompt\":\"a\",\"stream\":1}", 400, "stream"},
    {"{\"prompt\":\"a\",\"stream_options\":{}}", 400, "stream_options"},
    {"{\"prompt\":\"a\",\"stream\":true,\"stream_options\":{\"x\":1}}", 400, "stream_options"},
    {"{\"prompt\":\"a\",\"n\":0}", 400, "n"},
    {"{\"prompt\":\"a\",\"n\":129}", 400, "n"},
    {"{\"prompt\":\"a\",\"best_of\":0}", 400, "best_of"},
    {"{\"prompt\":\"a\",\"n\":3,\"best_of\":2}", 400, "best_of"},
    {"{\"prompt\":\"a\",\"best_of\":2,\"stream\":true}", 400, "best_of"},
    {"{\"prompt\":\"a\",\"user\":1}", 400, "user"},
    {"{\"prompt\":\"a\",\"logit_bias\":{\"01\":1}}", 400, "logit_bias"},
    {"{\"prompt\":\"a\",\"suffix\":\"b\"}", 400, "suffix"},
    {"{\"prompt\":\"a\",\"grammar\":1}", 400, "grammar"},
    {"{\"prompt\":\"a\",\"response_format\":{}}", 400, "response_format"},
    {"{\"prompt\":\"a\",\"ignore_eos\":\"yes\"}", 400, "ignore_eos"},
    {"{\"prompt\":\"a\xff\"}", 400, NULL},
};

RZ_TEST(http, wrong_fields_are_named)
{
    struct rz_rig rig;
    rz_rig_start(&rig, NULL);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct rz_rig_call c = rz_rig_complete(&rig, refused[i].body);
        json_t *o = rz_rig_json(&c);
        if (c.status != refused[i].status || !error_field(o, "message") || !error_field(o, "type"))
            rz_fail_test("%s: status %ld: %s", refused[i].body, c.status, c.text.data);
        rz_check_streq(error_field(o, "param"), refused[i].param);
        json_decref(o);
        rz_rig_free(&c);
    }
    struct rz_rig_call ok = rz_rig_complete(
        &rig,
        "{\"prompt\":\"a\",\"n\":1,\"best_of\":1,\"echo\":false,\"suffix\":null,\"stop\":null,\"top_k\":-1,"
        "\"top_p\":1,\"max_tokens\":1,\"stream\":false,\"seed\":null,\"logit_bias\":{},\"logprobs\":0}");
    rz_check_eq(ok.status, 200);
    rz_rig_free(&ok);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, routes)
{
    struct rz_rig rig;
    struct rz_rig_call calls[] = {
        {.path = "/nope"},
        {.path = "/v1/completions"},
        {.path = "/health", .body = "{}"},
        {.path = "/v1/completions", .body = "{\"prompt\":\"a\"}", .header = "Content-Type: text/plain"},
        {.path = "/v1/completions", .body = "{\"prompt\":\"a\"}", .header = "Content-Type:"},
    };
    static const long status[] = {404, 405, 405, 415, 415};
    rz_rig_start(&rig, NULL);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        CURL *curl = rz_rig_prepare(&rig, &calls[i]);
        if (status[i] == 415) { /* in place of the usual type, not beside it */
            struct curl_slist *only = curl_slist_append(NULL, calls[i].header);
            curl_slist_free_all(calls[i].list);
            calls[i].list = only;
            curl_easy_setopt(curl, CURLOPT_HTTPHEADER, only);
        }
        rz_rig_finish(&calls[i], curl_easy_perform(curl));
        rz_check_eq(calls[i].status, status[i]);
        if (status[i] == 405)
            rz_check_has(calls[i].headers.data, i == 1 ? "Allow: POST" : "Allow: GET, HEAD");
        rz_rig_free(&calls[i]);
    }
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, keys)
{
    char path[] = "/tmp/rz-keys-XXXXXX";
    int fd = mkstemp(path);
    const char *const extra[] = {"--api-key-file", path, NULL};
    struct rz_rig rig;
    struct {
        const char *path, *header;
        long status;
    } cases[] = {
        {"/health", NULL, 200},
        {"/v1/models", NULL, 401},
        {"/nope", NULL, 401},
        {"/v1/models", "Authorization: Bearer key-one", 200},
        {"/v1/models", "Authorization: bearer key two", 200},
        {"/v1/models", "Authorization: Bearer key-on", 401},
        {"/v1/models", "Authorization: Bearer key-onee", 401},
        {"/v1/models", "Authorization: Bearer # a comment", 401},
        {"/v1/models", "Authorization: Basic key-one", 401},
        {"/v1/models", "Authorization: key-one", 401},
        {"/v1/models", "Authorization: Bearer", 401},
    };
    rz_check(fd >= 0);
    rz_check(write(fd, "# a comment\nkey-one\r\n\n  key two \n", 33) == 33);
    close(fd);
    rz_rig_start(&rig, extra);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rz_rig_call c = {.path = cases[i].path, .header = cases[i].header};
        rz_rig_do(&rig, &c);
        rz_check_eq(c.status, cases[i].status);
        if (c.status == 401)
            rz_check_has(c.headers.data, "WWW-Authenticate: Bearer");
        rz_rig_free(&c);
    }
    unlink(path);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, limits)
{
    static const char *const extra[] = {"-o", "plugin.http.max_body=4K", "-o", "plugin.http.strict=1", NULL};
    static char body[8192];
    struct rz_rig rig;
    rz_rig_start(&rig, extra);
    snprintf(body, sizeof(body), "{\"prompt\":\"%*s\"}", 6000, "x");
    struct rz_rig_call big = rz_rig_complete(&rig, body);
    rz_check_eq(big.status, 413);
    struct rz_rig_call chunked = {
        .path = "/v1/completions", .body = body, .header = "Transfer-Encoding: chunked"};
    rz_rig_do(&rig, &chunked);
    rz_check_eq(chunked.status, 413);
    snprintf(body, sizeof(body), "{\"prompt\":\"%*s\"}", 4096 - 13, "x");
    rz_check_eq(strlen(body), 4096);
    struct rz_rig_call fits = rz_rig_complete(&rig, body);
    json_t *o = rz_rig_json(&fits); /* it fits into the body's limit, not into the context */
    rz_check_eq(fits.status, 400);
    rz_check_streq(error_field(o, "code"), "context_length_exceeded");
    struct rz_rig_call strict = rz_rig_complete(&rig, "{\"prompt\":\"a\",\"nonsense\":1}");
    rz_check_eq(strict.status, 400);
    rz_check_has(strict.text.data, "nonsense");
    json_decref(o);
    rz_rig_free(&big);
    rz_rig_free(&chunked);
    rz_rig_free(&fits);
    rz_rig_free(&strict);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

/* Tries until the server has room again, for at most a minute or so. */
static long status_within(const struct rz_rig *rig, int tries)
{
    long status = 0;
    for (int i = 0; i < tries && status != 200; i++) {
        struct rz_rig_call c = rz_rig_complete(rig, "{\"prompt\":\"a\",\"max_tokens\":1}");
        status = c.status;
        if (status == 503)
            rz_check_has(c.headers.data, "Retry-After: ");
        rz_rig_free(&c);
        if (status != 200)
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return status;
}

/* Whether the engine computes a request. */
static bool is_running(const struct rz_rig *rig)
{
    struct rz_rig_call c = {.path = "/metrics"};
    rz_rig_do(rig, &c);
    rz_check_eq(c.status, 200);
    bool found = strstr(c.text.data, "vllm:num_requests_running{model_name=\"tiny-llama\"} 1\n") != NULL;
    rz_rig_free(&c);
    return found;
}

/* Starts a long request by hand and leaves it: returns when the client has gone. */
static void leave(const struct rz_rig *rig, const char *stream, bool *was_full)
{
    char body[256];
    int running = 1;
    CURLM *multi = curl_multi_init();
    snprintf(body, sizeof(body), LONG_RUN, stream);
    struct rz_rig_call c = {.path = "/v1/completions", .body = body};
    curl_multi_add_handle(multi, rz_rig_prepare(rig, &c));
    *was_full = false;
    for (int i = 0; i < 6000 && running && !*was_full; i++) {
        curl_multi_perform(multi, &running);
        curl_multi_poll(multi, NULL, 0, 20, NULL);
        if (is_running(rig))
            *was_full = status_within(rig, 1) == 503;
    }
    rz_check(running);
    curl_multi_remove_handle(multi, c.curl);
    rz_rig_finish(&c, CURLE_OK);
    rz_rig_free(&c);
    curl_multi_cleanup(multi);
}

RZ_TEST(http, a_full_queue_and_clients_that_leave)
{
    struct rz_rig rig;
    bool was_full;
    rz_rig_start(&rig, narrow);
    leave(&rig, "true", &was_full);
    rz_check(was_full);
    rz_check_eq(status_within(&rig, 3000), 200);
    leave(&rig, "false", &was_full);
    rz_check(was_full);
    rz_check_eq(status_within(&rig, 3000), 200);
    rz_check_eq(rz_rig_stop(&rig), 0);
}

RZ_TEST(http, eight_clients_get_what_each_gets_alone)
{
    struct rz_rig rig;
    struct rz_rig_call alone[CLIENTS], together[CLIENTS] = {{0}};
    char bodies[CLIENTS][256];
    int running = CLIENTS;
    CURLM *multi = curl_multi_init();
    rz_rig_start(&rig, roomy);
    for (int i = 0; i < CLIENTS; i++) {
        snprintf(bodies[i], sizeof(bodies[i]),
                 "{\"prompt\":\"client %d of the king\",\"max_tokens\":%d,\"seed\":%d,\"temperature\":1,"
                 "\"ignore_eos\":true}",
                 i, 40 + i, i);
        alone[i] = rz_rig_complete(&rig, bodies[i]);
        rz_check_eq(alone[i].status, 200);
        together[i] = (struct rz_rig_call){.path = "/v1/completions", .body = bodies[i]};
        curl_multi_add_handle(multi, rz_rig_prepare(&rig, &together[i]));
    }
    while (running) {
        curl_multi_perform(multi, &running);
        curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        curl_multi_remove_handle(multi, together[i].curl);
        rz_rig_finish(&together[i], CURLE_OK);
        json_t *a = rz_rig_json(&alone[i]), *b = rz_rig_json(&together[i]);
        rz_check_eq(together[i].status, 200);
        rz_check(json_equal(choice(a), choice(b)));
        rz_check_eq(usage(b, "completion_tokens"), 40 + i);
        json_decref(a);
        json_decref(b);
        rz_rig_free(&alone[i]);
        rz_rig_free(&together[i]);
    }
    curl_multi_cleanup(multi);
    rz_check_eq(rz_rig_stop(&rig), 0);
}
