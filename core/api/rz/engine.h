/* engine.h - rz.engine/1: requests in, events out; and rz.host.model/1: what a model is.
 *
 * These are the seams that frontends see. A frontend submits a request, is woken when something
 * happened, and polls its events; it never touches tensors, pages or plans.
 */
#ifndef RZ_ENGINE_H
#define RZ_ENGINE_H

#include <rz/format.h>
#include <rz/host.h>
#include <rz/tokenizer.h>
#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_ENGINE_1 "rz.engine/1"
#define RZ_HOST_MODEL_1 "rz.host.model/1"

/* The sampler chain, in this order: bias, penalties, top-k, typical, top-p, min-p, temperature, draw.
 * temperature 0 takes the best. The neutral value of each field switches that step off. */
struct rz_sampling {
    uint32_t size;
    int32_t top_k;        /* 0: off                                                          */
    float temperature;    /* 0: greedy                                                       */
    float top_p, min_p;   /* 1 and 0: off                                                    */
    float typical_p;      /* 1: off                                                          */
    float repeat_penalty; /* 1: off; divides positive and multiplies negative logits         */
    float presence_penalty, frequency_penalty; /* 0: off                                         */
    int32_t penalty_last_n; /* tokens looked at by the penalties; -1: the whole context        */
    uint64_t seed;
};
RZ_ABI_SIZE(struct rz_sampling, 48, seed);

struct rz_bias {
    int32_t token;
    float add; /* -inf bans the token */
};
RZ_ABI_SIZE(struct rz_bias, 8, add);

#define RZ_REQUEST_IGNORE_EOS 1u
#define RZ_REQUEST_SPECIAL_TEXT 2u /* control tokens appear in the text */
#define RZ_REQUEST_EMBED 4u        /* one vector of the whole prompt in place of text: rz_engine.embedding */
#define RZ_REQUEST_SCORE 8u        /* log probabilities of the prompt's tokens as well: rz_engine.score */

/* How the hidden states of a text become one vector: the numbers of GGUF's pooling_type. */
#define RZ_POOL_MODEL 0 /* as the model says; else the mean for encoders and the last for the others */
#define RZ_POOL_MEAN 1
#define RZ_POOL_CLS 2 /* the first position */
#define RZ_POOL_LAST 3

/* What constrains the text of a request (rz_request.grammar_kind). */
#define RZ_GRAMMAR_NONE 0
#define RZ_GRAMMAR_JSON 1        /* any JSON object; the text is empty      */
#define RZ_GRAMMAR_JSON_SCHEMA 2 /* JSON Schema, draft 2020-12              */
#define RZ_GRAMMAR_GBNF 3
#define RZ_GRAMMAR_REGEX 4 /* the whole text matches               */

/* How tokens may be guessed ahead (rz_request.speculate); it never changes what comes out. */
#define RZ_SPECULATE_MODEL 0 /* as configured */
#define RZ_SPECULATE_OFF 1
#define RZ_SPECULATE_LOOKUP 2 /* from the text so far     */
#define RZ_SPECULATE_DRAFT 3  /* by the configured draft model */

#define RZ_FINISH_NONE 0
#define RZ_FINISH_STOP 1   /* an end token or a stop string */
#define RZ_FINISH_LENGTH 2 /* max_new or the context        */
#define RZ_FINISH_CANCELLED 3
#define RZ_FINISH_ERROR 4
#define RZ_FINISH_TIMEOUT 5

#define RZ_LOGPROBS_MAX 20

struct rz_request {
    uint32_t size;
    uint32_t flags;        /* RZ_REQUEST_*                                                        */
    const int32_t *prompt; /* token ids; copied by submit                                  */
    uint32_t n_prompt;
    uint32_t max_new;     /* 0: until an end token or a full context                       */
    uint32_t max_context; /* 0: the model's                                                */
    uint32_t n_logprobs;  /* 0..RZ_LOGPROBS_MAX alternatives with each token               */
    uint32_t n_stops, n_biases;
    const struct rz_str *stops;   /* copied                                                  */
    const struct rz_bias *biases; /* copied                                                */
    uint64_t timeout_ms;          /* 0: none                                                        */
    /* Called from the loop thread when events wait or the request ended; must not block nor call the
     * engine. May be NULL. */
    void (*wake)(void *arg);
    void *wake_arg;
    struct rz_sampling sampling;
    uint32_t pooling;      /* RZ_POOL_*, of RZ_REQUEST_EMBED */
    uint32_t grammar_kind; /* RZ_GRAMMAR_*                   */
    struct rz_str grammar; /* its text; copied               */
    /* Not 0: the ticket of a request with the same prompt, not yet released: this one waits until that prompt
     * is computed, and shares its pages. */
    uint64_t like;
    uint32_t speculate; /* RZ_SPECULATE_* */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_request, 168, zero);
RZ_ABI_OFFSET(struct rz_request, pooling, 128);

struct rz_logprob {
    int32_t token;
    float logprob;
};
RZ_ABI_SIZE(struct rz_logprob, 8, logprob);

#define RZ_EVENT_TOKEN \
    1 /* a token was generated; text may be empty while a character or a stop string is open */
#define RZ_EVENT_DONE 2  /* finish says why; text holds what was held back; the last event       */
#define RZ_EVENT_ERROR 3 /* code and text say why; the last event                                */

struct rz_event {
    uint32_t size;
    uint32_t kind;
    int32_t token;
    float logprob;   /* of token, natural log; valid if the request asked for logprobs        */
    uint32_t finish; /* RZ_FINISH_*                                                           */
    int32_t code;    /* RZ_EVENT_ERROR                                                        */
    uint32_t n_prompt, n_new;
    uint32_t n_top, n_text;
    struct rz_logprob top[RZ_LOGPROBS_MAX];
    /* n_text bytes of whole UTF-8 characters; longer pieces come in several events with token -1 */
    char text[1024];
    double t_queue, t_prompt, t_gen; /* DONE: seconds waiting, in prefill, in decode           */
    uint32_t n_cached;               /* DONE: prompt tokens whose pages were there already     */
    uint32_t n_drafted, n_accepted;  /* DONE: tokens guessed ahead, and those that were right  */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_event, 1264, zero);

struct rz_engine_stats {
    uint32_t size;
    uint32_t running, waiting;
    uint32_t pages_total, pages_free; /* free: no request holds them, though the prefix cache may    */
    uint32_t pages_cached;            /* of these, those that the prefix cache would rather not lose */
    uint64_t steps, prompt_tokens, new_tokens, requests, cancelled, failed, preempted;
    uint64_t drafted, accepted; /* tokens guessed ahead, and those that were right */
    /* Prefix cache: prompt tokens that were looked for, and found; pages and states that gave way. */
    uint64_t cache_queries, cache_hits, cache_evictions;
    uint64_t timeouts; /* requests that ended at their deadline */
    uint64_t refused;  /* which found the queue full            */
    uint32_t max_running, max_queue;
};
RZ_ABI_SIZE(struct rz_engine_stats, 144, max_queue);
RZ_ABI_OFFSET(struct rz_engine_stats, drafted, 80);

/* state of a device that an engine uses, or used */
#define RZ_DEVICE_IN_USE 1u /* it runs the steps                                       */
#define RZ_DEVICE_OUT 2u    /* it failed, and runs no more steps: `why` says what happened */
#define RZ_DEVICE_LOST 3u   /* it failed, and another one is being made ready            */

struct rz_engine_device {
    uint32_t size;
    uint32_t state;    /* RZ_DEVICE_*           */
    uint64_t failures; /* steps that it failed  */
    char name[64];
    char why[768]; /* the last of them      */
};
RZ_ABI_SIZE(struct rz_engine_device, 848, why);

struct rz_engine {
    uint32_t size, minor;
    void *ctx;
    /* Queues a request. RZ_EBUSY: the queue is full; RZ_ELIMIT: prompt or limits do not fit (both
     * numbers in err); RZ_EDEVICE: its device failed and none took its place, so no request is taken any
     * more. Any thread. */
    int32_t (*submit)(void *ctx, const struct rz_request *request, uint64_t *ticket, struct rz_err *err);
    /* Takes the next event: RZ_OK, RZ_AGAIN after timeout_ms without one, RZ_END after the last. If no
     * loop thread runs, the caller's thread does the work. One thread a ticket. */
    int32_t (*poll)(void *ctx, uint64_t ticket, struct rz_event *out, uint32_t timeout_ms);
    /* Ends a request within one step; its last event says so. Any thread. */
    int32_t (*cancel)(void *ctx, uint64_t ticket);
    /* Gives the ticket back (cancels first if still running). When it returns, the request's wake is not
     * being called and will not be. Any thread but the one that wake is called in. */
    void (*release)(void *ctx, uint64_t ticket);
    /* Does one step in the caller's thread: RZ_OK did something, RZ_AGAIN idle. Only without a loop
     * thread. */
    int32_t (*step)(void *ctx, struct rz_err *err);
    int32_t (*stats)(void *ctx, struct rz_engine_stats *out);
    /* The vector of a request with RZ_REQUEST_EMBED, after its RZ_EVENT_DONE: writes its first n floats and
     * returns how many it has; RZ_ENOTFOUND: there is none (yet). Any thread. */
    int32_t (*embedding)(void *ctx, uint64_t ticket, float *out, uint32_t n);
    /* Sessions. save: writes to a file what the prefix cache has of the beginning of a text (the prompt of a
     * request that is over, and what was generated), in whole pages; returns the number of tokens, 0 without
     * a file if it has none. restore: what a file holds is in the prefix cache again; returns the number of
     * tokens. RZ_EFORMAT: it is cut or damaged; RZ_EINVAL: it is of another model, or another shape of
     * pages; RZ_EUNSUPPORTED: another version, or no prefix cache. A file must not be written by others
     * meanwhile. Any thread; waits for the step in progress. */
    int64_t (*save)(void *ctx, const int32_t *tokens, uint32_t n, const char *path, struct rz_err *err);
    int64_t (*restore)(void *ctx, const char *path, struct rz_err *err);
    /* Device i of those that were used, in that order; RZ_END after the last. All are out: requests are
     * refused. Any thread. */
    int32_t (*device)(void *ctx, uint32_t i, struct rz_engine_device *out);
    /* Of a request with RZ_REQUEST_SCORE and n_logprobs, from its first token on: the log probability of
     * token i of its prompt behind those before it, and the n_logprobs best in its place, best first.
     * Returns how many these are. RZ_ENOTFOUND: there is none (yet); token 0 has none. Any thread. */
    int32_t (*score)(void *ctx, uint64_t ticket, uint32_t i, float *logprob,
                     struct rz_logprob top[RZ_LOGPROBS_MAX]);
};
RZ_ABI_SIZE(struct rz_engine, 104, score);

/* --- rz.host.model/1 --- */

#define RZ_MODEL_META 0u      /* tables only: what `rz info` needs           */
#define RZ_MODEL_TOKENIZER 1u /* and the tokenizer                           */
#define RZ_MODEL_RUN 2u       /* and the program, plan and engine            */

struct rz_model;

struct rz_model_info {
    uint32_t size;
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx_train;
    uint32_t n_ctx; /* as planned; 0 when not opened with RZ_MODEL_RUN            */
    uint32_t has_template;
    int32_t kv_type;
    uint64_t n_params, weight_bytes, file_bytes, kv_bytes_token;
    const char *arch, *name, *path;
    double load_seconds;
};
RZ_ABI_SIZE(struct rz_model_info, 112, load_seconds);

struct rz_eval {
    uint32_t size;
    uint32_t flags;
    const int32_t *tokens;
    uint64_t n_tokens;
    uint32_t chunk;  /* rows of the sequence in one step; 0: as many as fit             */
    uint32_t beside; /* other sequences in the same steps                               */
    uint32_t hidden; /* 1: the final hidden state instead of logits                     */
    uint32_t last;   /* 1: only the last row                                            */
    /* Called in order for each row of the result, n floats. A non-zero return ends the evaluation. */
    int32_t (*row)(void *arg, uint64_t index, const float *values, uint64_t n);
    void *arg;
    /* Not NULL: shown what each matrix is multiplied with: rows of cols floats, stride floats apart. The
     * model must have been opened with observe = 1. */
    void (*input)(void *arg, const struct rz_str *weight, const float *x, uint64_t stride, uint64_t rows,
                  uint64_t cols);
    uint32_t
        fork; /* not 0: from this position on a copy of the sequence is evaluated beside the original, which
                    * goes on with other tokens */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_eval, 72, zero);

/* Timed without sampling: n_prompt tokens as one prompt, or n_gen tokens one by one, after depth
 * tokens are already in the KV, for n_seqs sequences together. */
struct rz_speed {
    uint32_t size;
    uint32_t n_prompt, n_gen, depth, n_seqs;
    uint32_t zero;
    double seconds;       /* out */
    uint64_t bytes_token; /* weight bytes read for one token; 0: to be filled in */
};
RZ_ABI_SIZE(struct rz_speed, 40, bytes_token);

struct rz_model_options {
    uint32_t size;
    uint32_t level;         /* RZ_MODEL_*                                                     */
    uint32_t context;       /* 0: the configuration's, else min(trained, 4096)                */
    uint32_t max_seqs;      /* 0: the configuration's                                         */
    uint32_t exact_context; /* 1: context may exceed what the model was trained for         */
    uint32_t observe;       /* 1: rz_eval.input is wanted; every node runs in its smallest parts */
};
RZ_ABI_SIZE(struct rz_model_options, 24, observe);

/* --- the models that are served: some are loaded, others when they are asked for --- */

#define RZ_SERVED_OUT 0     /* not loaded */
#define RZ_SERVED_LOADING 1 /* or waiting until there is room for it */
#define RZ_SERVED_IN 2
#define RZ_SERVED_LEAVING 3 /* being unloaded, or about to be when who uses it is done */

struct rz_served_info {
    uint32_t size;
    uint32_t state;          /* RZ_SERVED_*                                           */
    uint32_t users, waiting; /* who has taken it, and who waits for it                */
    uint32_t n_aliases;
    uint32_t failed; /* 1: the last load did, and the log says why */
    const char *name;
    const char *const *aliases;        /* other names that find it; "*": all that no model has  */
    uint64_t bytes;                    /* that it takes, or would; 0: not known                 */
    uint64_t loads, unloads, failures; /* so far                                                */
};
RZ_ABI_SIZE(struct rz_served_info, 72, failures);

/* All functions: any thread, concurrently, without blocking for long. i: 0 to n - 1; names live as long as
 * the table. */
struct rz_host_serve {
    uint32_t size, minor;
    void *ctx;
    uint32_t n, zero; /* models */
    uint64_t memory;  /* the budget of all in bytes; 0: none */
    /* The model of a name or an alias; NULL: the default one. RZ_ENOTFOUND. */
    int32_t (*find)(void *ctx, const char *name, uint32_t *i);
    int32_t (*info)(void *ctx, uint32_t i, struct rz_served_info *out);
    /* What its file says; RZ_ENOTFOUND: nobody has read it yet. Texts live as long as the table. */
    int32_t (*facts)(void *ctx, uint32_t i, struct rz_model_info *model, struct rz_tokenizer_info *vocab);
    int32_t (*sampling)(void *ctx, uint32_t i, struct rz_sampling *out);
    /* Its engine's numbers: counters since the server started, over all times that it was loaded. */
    int32_t (*stats)(void *ctx, uint32_t i, struct rz_engine_stats *out);
    /* The model for use until give_back: it is not unloaded meanwhile. RZ_OK: *out. RZ_AGAIN: it is being
     * loaded; wake(arg) is called when there is an answer for *ticket, from a thread that must not be blocked
     * and in which nothing here may be called. RZ_EBUSY: too many wait, or the server ends. */
    int32_t (*take)(void *ctx, uint32_t i, void (*wake)(void *arg), void *arg, struct rz_model **out,
                    uint64_t *ticket, struct rz_err *err);
    /* The answer: RZ_AGAIN: not yet. RZ_OK: *out, as of take. Else err says why it cannot be loaded; the next
     * take tries again. The ticket is gone unless RZ_AGAIN. */
    int32_t (*claim)(void *ctx, uint64_t ticket, struct rz_model **out, struct rz_err *err);
    /* Waits no longer; after it wake is not being called and will not be. */
    void (*leave)(void *ctx, uint64_t ticket);
    /* The model is no longer used; all of its tickets and chats were given back. */
    void (*give_back)(void *ctx, uint32_t i);
    /* Device k of its engine, as rz_engine.device; RZ_END also while it is not loaded. */
    int32_t (*device)(void *ctx, uint32_t i, uint32_t k, struct rz_engine_device *out);
};
RZ_ABI_SIZE(struct rz_host_serve, 112, device);

struct rz_host_model {
    uint32_t size, minor;
    void *ctx;
    /* Opens a model by path or configured name. NULL name: the only configured one. Control thread. */
    int32_t (*open)(void *ctx, const char *name, const struct rz_model_options *options,
                    struct rz_model **out, struct rz_err *err);
    void (*close)(struct rz_model *model);
    int32_t (*info)(struct rz_model *model, struct rz_model_info *out);
    /* The format's tables; live until close. */
    const struct rz_format_model *(*tables)(struct rz_model *model);
    /* NULL below RZ_MODEL_TOKENIZER; *tok is the first argument of its functions. */
    const struct rz_tokenizer *(*tokenizer)(struct rz_model *model, void **tok);
    /* NULL below RZ_MODEL_RUN. */
    const struct rz_engine *(*engine)(struct rz_model *model);
    int32_t (*eval)(struct rz_model *model, const struct rz_eval *eval, struct rz_err *err);
    int32_t (*speed)(struct rz_model *model, struct rz_speed *speed, struct rz_err *err);
    /* Calls line once for each line of the plan report. */
    int32_t (*explain)(struct rz_model *model, void (*line)(void *arg, const char *text), void *arg,
                       struct rz_err *err);
    /* The models of `rz serve`; NULL: nothing is served (yet). */
    const struct rz_host_serve *(*serve)(void *ctx);
    /* The default sampling of this model: the INI's, else the built-in. */
    int32_t (*sampling)(struct rz_model *model, struct rz_sampling *out);
    /* The stored bytes of a tensor of tables(), nothing applied; NULL: they are not inside of its file. They
     * live until close and may be read from any thread; ask check before believing what was made of them. */
    const void *(*tensor_data)(struct rz_model *model, const struct rz_tensor *tensor);
    /* RZ_EIO if a file of the model was cut or changed since it was opened. Control thread. */
    int32_t (*check)(struct rz_model *model, struct rz_err *err);
    /* The thread team (rz.host.threads/1), which is started by the first who asks or runs a model; NULL:
     * it cannot be. Control thread. */
    const struct rz_host_threads *(*threads)(void *ctx, struct rz_err *err);
    /* The prompt of a conversation. templ: the text of a chat template; NULL: the model's own, from whose
     * vocabulary bos_token and the like come (model may be NULL if templ is not). json: an object with
     * messages and whatever else the template knows (tools, documents, add_generation_prompt, which is
     * true unless given, chat_template_kwargs; "now", seconds since 1970 of the local clock, in place of
     * the real one), or a bare list of messages. emit gets the text in one or more pieces, none after a
     * failure. RZ_ENOTFOUND: the model has no template. RZ_EFORMAT: template or JSON, with the line;
     * where = "template" and a message of the template's own if it refuses the conversation. Any thread,
     * concurrently. */
    int32_t (*render)(struct rz_model *model, const char *templ, const char *json, uint64_t n,
                      void (*emit)(void *arg, const char *text, uint64_t n), void *arg, struct rz_err *err);
    /* Calls line with the name and the text of each thing that sets the model apart: its family, attention,
     * rope, experts, pooling, settings that its file lacks; "runs" with the reason where rz cannot run it.
     * Control thread. */
    int32_t (*describe)(struct rz_model *model, void (*line)(void *arg, const char *name, const char *text),
                        void *arg);
};
RZ_ABI_SIZE(struct rz_host_model, 144, describe);
RZ_ABI_OFFSET(struct rz_host_model, sampling, 96);

#ifdef __cplusplus
}
#endif
#endif
