/* chat_default.c - chat templates for models whose file has none, chosen by the control tokens that their
 * vocabulary has. docs/chat.md lists them.
 *
 * A vocabulary with these tokens was made for this form of conversation; one without any of them says
 * nothing, and no guess is made from the architecture alone.
 */
#include "chat.h"

#include <string.h>

#define EACH "{% for message in messages %}"
#define END "{% endfor %}"
#define ASK(text) "{% if add_generation_prompt %}{{ '" text "' }}{% endif %}"
/* A system message that is put before the first user's. */
#define SYSTEM \
    "{% set ns = namespace(system='') %}" EACH "{% if message['role'] == 'system' %}" \
    "{% set ns.system = ns.system + message['content'] + '\\n\\n' %}{% endif %}" END

static const struct {
    const char *name;
    const char *tokens[3]; /* all of them must be there; NULL: no more */
    const char *text;
} defaults[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     EACH "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" END ASK(
         "<|im_start|>assistant\\n")},
    {"llama3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     EACH
     "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content']|trim + "
     "'<|eot_id|>' }}" END ASK("<|start_header_id|>assistant<|end_header_id|>\\n\\n")},
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     SYSTEM EACH
     "{% if message['role'] != 'system' %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' "
     "else 'user') + '\\n' }}{% if message['role'] == 'user' %}{{ ns.system }}{% set ns.system = '' %}"
     "{% endif %}{{ message['content']|trim + '<end_of_turn>\\n' }}{% endif %}" END ASK(
         "<start_of_turn>model\\n")},
    {"phi3",
     {"<|user|>", "<|assistant|>", "<|end|>"},
     EACH "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}" END ASK(
         "<|assistant|>\\n")},
    {"glm4",
     {"<|user|>", "<|assistant|>", "<|observation|>"},
     "{{ '[gMASK]<sop>' }}" EACH
     "{{ '<|' + message['role'] + '|>\\n' + message['content'] }}" END ASK("<|assistant|>\\n")},
    {"deepseek",
     {"<｜User｜>", "<｜Assistant｜>"},
     EACH
     "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% elif message['role'] == "
     "'assistant' %}{{ '<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}{% else %}"
     "{{ message['content'] + '\\n\\n' }}{% endif %}" END ASK("<｜Assistant｜>")},
    {"granite",
     {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
     EACH "{{ '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + "
          "'<|end_of_text|>\\n' }}" END ASK("<|start_of_role|>assistant<|end_of_role|>")},
    {"command-r",
     {"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"},
     EACH
     "{{ '<|START_OF_TURN_TOKEN|>' + ({'user': '<|USER_TOKEN|>', 'system': '<|SYSTEM_TOKEN|>'}"
     ".get(message['role'], '<|CHATBOT_TOKEN|>')) + message['content']|trim + '<|END_OF_TURN_TOKEN|>' }}" END
         ASK("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>")},
    {"mistral",
     {"[INST]", "[/INST]"},
     SYSTEM EACH
     "{% if message['role'] == 'user' %}{{ '[INST]' + ns.system + message['content'] + '[/INST]' }}"
     "{% set ns.system = '' %}{% elif message['role'] != 'system' %}{{ message['content'] + eos_token }}"
     "{% endif %}" END},
};

/* The vocabulary has this token: the text is one id, and that is spelled like it. */
static bool has_token(const struct rz_model *model, const char *text)
{
    int32_t ids[4];
    char piece[64];
    uint64_t n = 0;
    size_t len = strlen(text);
    if (model->tokenizer->encode(model->tok, text, len, RZ_ENCODE_SPECIAL, ids, 4, &n, NULL) || !n || n > 2)
        return false;
    /* a tokenizer may put an empty word before it */
    return model->tokenizer->piece(model->tok, ids[n - 1], piece, sizeof(piece)) == (int64_t)len &&
           !memcmp(piece, text, len);
}

const char *rz_chat_default(const struct rz_model *model, const char **name)
{
    for (size_t i = 0; model->tok && i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        bool all = true;
        for (size_t k = 0; k < 3 && defaults[i].tokens[k] && all; k++)
            all = has_token(model, defaults[i].tokens[k]);
        if (!all)
            continue;
        *name = defaults[i].name;
        return defaults[i].text;
    }
    return NULL;
}
