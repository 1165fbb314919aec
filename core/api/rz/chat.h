/* chat.h - rz.chat/1: a conversation to the ids of a prompt, and generated text to what it says.
 *
 * The host knows chat templates and how models write reasoning and tool calls; frontends know neither.
 */
#ifndef RZ_CHAT_H
#define RZ_CHAT_H

#include <rz/engine.h>
#include <rz/tokenizer.h>
#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_CHAT_1 "rz.chat/1"

#define RZ_CHAT_CONTENT 1u   /* text of the answer                            */
#define RZ_CHAT_REASONING 2u /* text of the model's reasoning                 */
#define RZ_CHAT_CALL 3u      /* a tool call: text holds arguments             */

/* A call comes in one piece or in several, one after the other. */
#define RZ_CHAT_BEGIN 1u /* its first piece                                              */
#define RZ_CHAT_END 2u   /* its last piece: all texts together are a JSON object ...      */
#define RZ_CHAT_CUT 4u   /* ... or the beginning of one, that the model did not finish    */

/* A piece of an answer. Texts live until the callback returns. */
struct rz_chat_piece {
    uint32_t size;
    uint32_t kind;      /* RZ_CHAT_*                                                       */
    uint32_t index;     /* RZ_CHAT_CALL: 0 for the first call of the answer, 1 for the next */
    uint32_t flags;     /* RZ_CHAT_CALL: RZ_CHAT_BEGIN, _END, _CUT                         */
    struct rz_str text; /* RZ_CHAT_CALL: of a JSON object, len may be 0                */
    struct rz_str name; /* RZ_CHAT_CALL: of the function, in each of its pieces         */
    struct rz_str id;   /* RZ_CHAT_CALL: as the model gave it; len 0: it gives none     */
};
RZ_ABI_SIZE(struct rz_chat_piece, 64, id);

typedef void rz_chat_emit(void *arg, const struct rz_chat_piece *piece);

#define RZ_CHAT_NO_TOOLS 1u /* tool calls in the answer are not looked for: they stay content */

struct rz_chat_ask {
    uint32_t size;
    uint32_t flags; /* RZ_CHAT_NO_TOOLS */
    /* As for rz_host_model.render. Messages have the shape of OpenAI's API: arguments of tool calls may be
     * JSON in a text, and content may be a list of parts of type text; both are given to the template in
     * the form that it takes. */
    const char *json;
    uint64_t n;
    const char *templ; /* NULL: the configured one, the model's own, or the default for its vocabulary */
};
RZ_ABI_SIZE(struct rz_chat_ask, 32, templ);

/* A rendered conversation; what is pointed to lives until close. */
struct rz_chat_info {
    uint32_t size;
    uint32_t request_flags; /* RZ_REQUEST_* that reading the answer needs                        */
    const char *text;       /* the prompt                                                        */
    uint64_t n_text;
    const struct rz_span *outside; /* stretches of it that the conversation gave                 */
    uint64_t n_outside;
    const int32_t *ids; /* of the prompt; BOS is there once, from the template or the vocabulary */
    uint64_t n_ids;
    const char *source; /* where the template came from: "model", "configuration", a default's name, ... */
    const char *format; /* how tool calls are read: "hermes", ...; "none"                        */
    uint32_t reasoning; /* 1: the answer begins inside of reasoning                              */
    uint32_t tools;     /* 1: tools were given and the template shows them to the model          */
};
RZ_ABI_SIZE(struct rz_chat_info, 80, tools);

#define RZ_CHAT_DEMAND_CALL 1u     /* the answer must be a tool call                       */
#define RZ_CHAT_DEMAND_ONE_CALL 2u /* and no more than one                                 */
#define RZ_CHAT_DEMAND_OBJECT 4u   /* the answer must be a JSON object                     */
#define RZ_CHAT_DEMAND_STRICT 8u   /* calls may come; those of strict functions must fit   */

/* What an answer must be. */
struct rz_chat_demand {
    uint32_t size;
    uint32_t flags;        /* RZ_CHAT_DEMAND_*                                                */
    struct rz_str tools;   /* the JSON list of the request's tools, of CALL and STRICT        */
    struct rz_str name;    /* of the function that must be called; len 0: any of tools        */
    struct rz_str schema;  /* a JSON Schema that the content must fit; len 0: none            */
    struct rz_str grammar; /* the same in GBNF */
    struct rz_str regex;   /* the same as a regular expression */
};
RZ_ABI_SIZE(struct rz_chat_demand, 88, regex);

struct rz_chat; /* a conversation and the parser of its answer */

struct rz_chat_api {
    uint32_t size, minor;
    void *ctx;
    /* Renders and encodes. model: opened with RZ_MODEL_TOKENIZER or RZ_MODEL_RUN. RZ_ENOTFOUND: the model has
     * no template and there is no default for it. RZ_EFORMAT: as for render. Any thread, concurrently. */
    int32_t (*open)(void *ctx, struct rz_model *model, const struct rz_chat_ask *ask, struct rz_chat **out,
                    struct rz_err *err);
    void (*close)(struct rz_chat *chat);
    int32_t (*info)(struct rz_chat *chat, struct rz_chat_info *out);
    /* Takes the next n bytes of the answer, cut anywhere, and calls emit for what they complete. All the
     * content, reasoning and calls together do not depend on how the answer was cut. Text that looks like
     * a call and is none comes as content. RZ_ELIMIT: a call does not end. One thread a chat. */
    int32_t (*feed)(struct rz_chat *chat, const char *text, uint64_t n, rz_chat_emit *emit, void *arg,
                    struct rz_err *err);
    /* The answer is over: calls emit for what was held back. Then another answer may follow. */
    int32_t (*finish)(struct rz_chat *chat, rz_chat_emit *emit, void *arg, struct rz_err *err);
    /* RZ_CHAT_* of the bytes that come next, as far as it is known. */
    uint32_t (*state)(struct rz_chat *chat);
    /* What a demand means for the text of an answer, in the way in which the model writes calls and
     * reasoning: the kind (RZ_GRAMMAR_*) and the text of a grammar for rz_request, which live until close.
     * RZ_EUNSUPPORTED: calls in the model's form cannot be demanded. */
    int32_t (*constrain)(struct rz_chat *chat, const struct rz_chat_demand *demand, uint32_t *kind,
                         struct rz_str *grammar, struct rz_err *err);
};
RZ_ABI_SIZE(struct rz_chat_api, 72, constrain);

#ifdef __cplusplus
}
#endif
#endif
