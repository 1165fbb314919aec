/* chat.h - what the files of rz.chat/1 share: chat.c, chat_messages.c, chat_default.c. */
#ifndef RZ_CORE_CHAT_H
#define RZ_CORE_CHAT_H

#include <jansson.h>

#include "buf.h"
#include "models.h"

#include <rz/chat.h>

/* --- chat_messages.c: a conversation in the forms that templates take --- */

#define RZ_CHAT_FORMS 5u

/* Conversations come in the shape of OpenAI's API; templates differ in what they want of it. Form 0 is what
 * most take: arguments of calls as objects, content as one text. The others are tried where a template
 * refuses it: 1 arguments as texts, 2 content as it is given, 3 no content where there is none, 4 the system
 * message at the beginning of the first user message. developer: the template knows that role. The caller
 * decrefs; NULL: no memory, or the conversation has no such form. */
json_t *rz_chat_form(const json_t *root, unsigned form, bool developer);
/* Checks what forms rely on: RZ_EFORMAT names the message. */
int32_t rz_chat_check(const json_t *root, struct rz_err *err);

/* --- chat_tools.c: tools for templates that know none --- */

/* The conversation with its tools told in messages, to be called as the format RZ_CHAT_PLAIN_FORMAT says. The
 * caller decrefs; NULL: no memory. */
json_t *rz_chat_plain_tools(const json_t *root);
#define RZ_CHAT_PLAIN_FORMAT "hermes"

/* --- chat_demand.c: what an answer must be, as a grammar --- */

struct rz_parse_kind;
/* Writes the grammar of a demand to out and its kind. model: whose tokenizer knows the marks of calls. */
int32_t rz_chat_demand_write(const struct rz_model *model, const struct rz_parse_kind *kind, bool plain_tools,
                             const struct rz_chat_demand *demand, uint32_t *grammar_kind, struct rz_buf *out,
                             struct rz_err *err);

/* --- chat_default.c: templates for models that bring none --- */

/* The default for the vocabulary, and its name; NULL: there is none. */
const char *rz_chat_default(const struct rz_model *model, const char **name);

#endif
