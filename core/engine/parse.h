/* parse.h - the text that a model generates, read as content, reasoning and tool calls, piece by piece.
 *
 * How a model writes them is seen from its chat template (rz_parse_detect); a parser takes text cut
 * anywhere and gives the same pieces for each way of cutting. What looks like a call and is none is content.
 */
#ifndef RZ_PARSE_H
#define RZ_PARSE_H

#include <rz/chat.h>
#include <stdbool.h>

#include "buf.h"

/* How calls are enclosed, and what is inside. Texts are static. */
struct rz_parse_format {
    const char *name;
    const char *needs[2];    /* texts that a template of this kind holds; NULL: none              */
    const char *open;        /* begins a call; NULL: only a bare one at the beginning             */
    const char *close;       /* ends it; NULL: the end of its JSON                                */
    const char *sections[2]; /* around all calls: not shown if calls are there                    */
    const char *drops[4];    /* around content: never shown                                       */
    uint32_t flags;          /* RZ_PARSE_*                                                        */
};

#define RZ_PARSE_NAMED 1u    /* a name stands before the JSON of the arguments          */
#define RZ_PARSE_BARE 2u     /* JSON at the beginning, if it names a known function      */
#define RZ_PARSE_KEYED 4u    /* {"name": {arguments}}                                    */
#define RZ_PARSE_LOOSE 8u    /* name{key:value} with strings between <|"|>               */
#define RZ_PARSE_CALLS 16u   /* [name(key=value)], as in Python                          */
#define RZ_PARSE_INVOKE 32u  /* name"> and parameters in tags of their own               */
#define RZ_PARSE_HARMONY 64u /* channels: parse_harmony.c                                */
#define RZ_PARSE_ALL 128u    /* the name "all" means content                             */

/* What the answers to a prompt look like. */
struct rz_parse_kind {
    const struct rz_parse_format *format; /* never NULL: "none" at least */
    const char *think_open, *think_close; /* NULL: no reasoning          */
    bool thinking;                        /* begins inside of reasoning  */
    bool inside;                          /* begins inside of a call     */
};

/* templ: the source of a template. prompt: what it made (n bytes, of which the last `own` ones surely come
 * from the template and not from the conversation). */
struct rz_parse_kind rz_parse_detect(const char *templ, size_t n_templ, const char *prompt, size_t n,
                                     size_t own);

/* The format of this name. */
const struct rz_parse_format *rz_parse_format(const char *name);

struct rz_parser;

/* tools: the JSON list of the request's tools, copied; NULL or empty: calls are not looked for. NULL: no
 * memory. */
struct rz_parser *rz_parser_new(const struct rz_parse_kind *kind, const char *tools, size_t n);
void rz_parser_free(struct rz_parser *p);
/* rz_chat_api.feed, finish and state. */
int32_t rz_parser_feed(struct rz_parser *p, const char *text, size_t n, rz_chat_emit *emit, void *arg,
                       struct rz_err *err);
int32_t rz_parser_finish(struct rz_parser *p, rz_chat_emit *emit, void *arg, struct rz_err *err);
uint32_t rz_parser_state(const struct rz_parser *p);

#endif
