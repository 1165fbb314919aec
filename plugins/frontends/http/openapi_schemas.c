/* openapi_schemas.c - the schemas that /openapi.json refers to, but for those that depend on the models.
 *
 * They are JSON with ' in place of ". tests/test_openapi.py holds the server to them.
 */
#include "openapi.h"

#define REF(name) "{'$ref': '#/components/schemas/" name "'}"
#define OR_NULL(schema) "{'anyOf': [" schema ", {'type': 'null'}]}"
#define TEXT "{'type': 'string'}"
#define TEXT_OR_NULL "{'type': ['string', 'null']}"
#define BOOL_OR_NULL "{'type': ['boolean', 'null']}"
#define SCHEMA "'schema': {'type': ['object', 'boolean', 'null']}, 'strict': " BOOL_OR_NULL
#define ALLOWED(tool) \
    "'mode': {'enum': ['auto', 'required']}, 'tools': {'type': 'array', 'minItems': 1, 'items': " tool "}"
#define NAMED OBJECT("'name'", "'name': " TEXT)
#define COUNT "{'type': 'integer', 'minimum': 0}"
#define OBJECT(required, properties) \
    "{'type': 'object', 'required': [" required "], 'properties': {" properties "}}"
#define LIST(items) "{'type': 'array', 'items': " items "}"

#define LOGPROB_OR_NULL "{'type': ['number', 'null'], 'maximum': 0}"
#define BEST_OR_NULL "{'type': ['object', 'null'], 'additionalProperties': {'type': 'number'}}"
#define CHUNK_COMMON "'id': " TEXT ", 'created': " COUNT ", 'model': " TEXT
#define FINISH(names) "'finish_reason': {'enum': [" names "]}"
#define CALL_PARTS "'id': " TEXT ", 'type': {'const': 'function'}, 'function': " REF("CalledFunction")

const struct rz_http_schema rz_http_schemas[] = {
    /* --- what requests hold --- */
    {"Texts", "{'type': 'array', 'minItems': 1, 'maxItems': 2048, 'items': " REF("Text") "}"},
    {"AnyTexts", "{'type': 'array', 'minItems': 1, 'maxItems': 2048, 'items': " TEXT "}"},
    {"Ids", "{'type': 'array', 'minItems': 1, 'items': " REF("TokenId") "}"},
    {"Prompt", "{'anyOf': [" REF("Text") ", " REF("Texts") ", " REF(
                   "Ids") ", "
                          "{'type': 'array', 'minItems': 1, 'maxItems': 2048, 'items': " REF("Ids") "}]}"},
    {"TextParts", LIST(OBJECT("'type', 'text'", "'type': {'const': 'text'}, 'text': " TEXT))},
    {"Content", "{'anyOf': [" TEXT ", " REF("TextParts") "]}"},
    {"Messages", "{'type': 'array', 'minItems': 1, 'items': {'anyOf': [" REF("Message") ", " REF(
                     "AssistantMessage") ", " REF("CallingMessage") ", " REF("ToolMessage") "]}}"},
    {"Message",
     OBJECT("'role', 'content'", "'role': {'enum': ['system', 'developer', 'user']}, 'content': " REF(
                                     "Content") ", 'name': " TEXT_OR_NULL)},
    {"AssistantMessage",
     OBJECT("'role', 'content'",
            "'role': {'const': 'assistant'}, 'content': " REF(
                "Content") ", 'name': " TEXT_OR_NULL ", 'reasoning_content': " TEXT_OR_NULL
                           ", 'tool_calls': " OR_NULL(REF("Calls")))},
    {"CallingMessage", OBJECT("'role', 'tool_calls'",
                              "'role': {'const': 'assistant'}, 'content': " OR_NULL(REF(
                                  "Content")) ", 'name': " TEXT_OR_NULL ", 'reasoning_content': " TEXT_OR_NULL
                                              ", 'tool_calls': " REF("Calls"))},
    {"ToolMessage", OBJECT("'role', 'content', 'tool_call_id'",
                           "'role': {'const': 'tool'}, 'content': " REF(
                               "Content") ", 'name': " TEXT_OR_NULL ", 'tool_call_id': " TEXT)},
    {"Calls", LIST(OBJECT("'function'",
                          "'id': " TEXT_OR_NULL ", 'type': {'const': 'function'}, 'function': " OBJECT(
                              "'name', 'arguments'", "'name': " TEXT ", 'arguments': {'type': ['string', "
                                                     "'object']}")))},
    {"Tools", LIST(OBJECT("'type', 'function'",
                          "'type': {'const': 'function'}, 'function': " OBJECT(
                              "'name'", "'name': " TEXT ", 'description': " TEXT_OR_NULL ", 'parameters': "
                                        "{'type': ['object', 'null']}, 'strict': " BOOL_OR_NULL)))},
    {"ToolChoice",
     "{'anyOf': [{'enum': ['none', 'auto', 'required']}, " OBJECT(
         "'type', 'function'",
         "'type': {'const': 'function'}, 'function': " OBJECT(
             "'name'",
             "'name': " TEXT)) ", " OBJECT("'type', 'allowed_tools'",
                                           "'type': {'const': 'allowed_tools'}, 'allowed_tools': " OBJECT(
                                               "'mode', 'tools'",
                                               ALLOWED(OBJECT("'function'", "'function': " NAMED)))) "]}"},
    {"ResponseFormat",
     OBJECT("'type'", "'type': {'enum': ['text', 'json_object', 'json_schema']}, 'json_schema': "
                      "{'type': 'object', 'properties': {'name': " TEXT ", " SCHEMA "}}")},
    {"StreamOptions", "{'type': 'object', 'properties': {'include_usage': " BOOL_OR_NULL ", "
                      "'include_obfuscation': {'enum': [false, null]}}, 'additionalProperties': false}"},
    {"Stop",
     "{'anyOf': [" REF("StopText") ", {'type': 'array', 'maxItems': 16, 'items': " REF("StopText") "}]}"},
    {"StopText", "{'type': 'string', 'minLength': 1, 'maxLength': 256}"},
    {"Metadata", "{'type': 'object', 'additionalProperties': " TEXT "}"},
    /* --- of /v1/responses --- */
    {"Input", "{'anyOf': [" TEXT ", {'type': 'array', 'minItems': 1, 'items': " REF(
                  "InputItem") ", 'contains': {'properties': {'type': {'not': {'const': 'reasoning'}}}}}]}"},
    {"InputItem", "{'anyOf': [" REF("InputMessage") ", " REF("InputCall") ", " REF("InputResult") ", " REF(
                      "InputReasoning") "]}"},
    {"InputParts",
     LIST(OBJECT("'type', 'text'", "'type': {'enum': ['input_text', 'output_text', 'reasoning_text', "
                                   "'text']}, 'text': " TEXT))},
    {"InputContent", "{'anyOf': [" TEXT ", " REF("InputParts") "]}"},
    {"InputMessage",
     OBJECT("'role', 'content'", "'type': {'const': 'message'}, 'role': {'enum': ['system', "
                                 "'developer', 'user', 'assistant']}, 'content': " REF("InputContent"))},
    {"InputCall",
     OBJECT("'type', 'call_id', 'name', 'arguments'",
            "'type': {'const': 'function_call'}, 'call_id': " TEXT ", 'name': " TEXT ", 'arguments': " TEXT)},
    {"InputResult",
     OBJECT("'type', 'call_id', 'output'", "'type': {'const': 'function_call_output'}, 'call_id': " TEXT
                                           ", 'output': " REF("InputContent"))},
    {"InputReasoning",
     OBJECT("'type'", "'type': {'const': 'reasoning'}, 'content': " OR_NULL(REF("InputContent")))},
    {"FlatTools", LIST(OBJECT("'type', 'name'",
                              "'type': {'const': 'function'}, 'name': " TEXT ", 'description': " TEXT_OR_NULL
                              ", 'parameters': {'type': ['object', 'null']}, 'strict': " BOOL_OR_NULL))},
    {"FlatToolChoice",
     "{'anyOf': [{'enum': ['none', 'auto', 'required']}, " OBJECT(
         "'type', 'name'",
         "'type': {'const': 'function'}, 'name': " TEXT) ", " OBJECT("'type', 'mode', 'tools'",
                                                                     "'type': {'const': "
                                                                     "'allowed_tools'}, " ALLOWED(
                                                                         NAMED)) "]}"},
    {"TextOptions", "{'type': 'object', 'properties': {'format': " OR_NULL(
                        REF("FlatFormat")) ", 'verbosity': {'enum': ['medium', null]}}}"},
    {"FlatFormat",
     OBJECT("'type'", "'type': {'enum': ['text', 'json_object', 'json_schema']}, 'name': " TEXT ", " SCHEMA)},
    {"Reasoning",
     "{'type': 'object', 'properties': {'effort': " TEXT_OR_NULL "}, 'additionalProperties': {'enum': "
     "[null]}, 'patternProperties': {'^(generate_)?summary$': {'enum': ['auto', null]}}}"},
    /* --- what answers hold --- */
    {"Error", OBJECT("'error'", "'error': " OBJECT("'message', 'type', 'param', 'code'",
                                                   "'message': " TEXT ", 'type': " TEXT
                                                   ", 'param': " TEXT_OR_NULL ", 'code': " TEXT_OR_NULL))},
    {"PlainError", OBJECT("'error'", "'error': " TEXT)},
    {"Anything", "{'type': 'object'}"},
    {"Health", OBJECT("'status', 'version', 'compute_mode'",
                      "'status': {'enum': ['healthy', 'degraded', 'failed', 'draining']}, 'version': " TEXT
                      ", 'compute_mode': {'enum': ['cpu', 'gpu']}, 'reason': " TEXT)},
    {"Ready", OBJECT("'status'", "'status': {'const': 'ready'}")},
    {"Version", OBJECT("'name', 'version'", "'name': {'const': 'rz'}, 'version': " TEXT)},
    {"Model", OBJECT("'id', 'object', 'created', 'owned_by'",
                     "'id': " TEXT ", 'object': {'const': 'model'}, "
                     "'created': " COUNT ", 'owned_by': " TEXT ", 'context_length': " COUNT
                     ", 'state': {'enum': ['loaded', 'loading', 'unloaded', 'unloading', 'failed']}, "
                     "'aliases': {'type': 'array', 'items': " TEXT "}, 'memory_bytes': " COUNT)},
    {"ModelList", OBJECT("'object', 'data'", "'object': {'const': 'list'}, 'data': " LIST(REF("Model")))},
    {"PlainModels",
     OBJECT("'models'", "'models': " LIST(OBJECT("'id', 'name', 'description', 'format', 'loaded'",
                                                 "'id': " TEXT ", 'name': " TEXT ", 'description': " TEXT
                                                 ", 'format': " TEXT
                                                 ", 'loaded': {'type': 'boolean'}, 'state': " TEXT)))},
    {"Usage",
     OBJECT("'prompt_tokens', 'completion_tokens', 'total_tokens', 'prompt_tokens_details'",
            "'prompt_tokens': " COUNT ", 'completion_tokens': " COUNT ", 'total_tokens': " COUNT
            ", 'prompt_tokens_details': " OBJECT(
                "'cached_tokens'",
                "'cached_tokens': " COUNT) ", 'completion_tokens_details': " OBJECT("'reasoning_tokens'",
                                                                                    "'reasoning_tokens':"
                                                                                    " " COUNT))},
    {"Logprobs",
     OBJECT("'tokens', 'token_logprobs', 'top_logprobs', 'text_offset'",
            "'tokens': " LIST(TEXT) ", 'token_logprobs': " LIST(LOGPROB_OR_NULL) ", 'top_logprobs': " LIST(
                BEST_OR_NULL) ", 'text_offset': " LIST(COUNT))},
    {"Completion",
     OBJECT("'id', 'object', 'created', 'model', 'choices'", CHUNK_COMMON
            ", 'object': {'const': 'text_completion'}, 'usage': " OR_NULL(REF("Usage")) ", 'choices': " LIST(
                OBJECT("'index', 'text', 'logprobs', 'finish_reason'",
                       "'index': " COUNT ", 'text': " TEXT
                       ", 'logprobs': " OR_NULL(REF("Logprobs")) ", " FINISH("'stop', 'length', null"))))},
    {"ChatLogprobs",
     OBJECT("'content', 'refusal'",
            "'refusal': {'type': 'null'}, 'content': " LIST("{'allOf': [" REF("TokenLogprob") ", " OBJECT(
                "'top_logprobs'", "'top_logprobs': " LIST(REF("TokenLogprob"))) "]}"))},
    {"TokenLogprob",
     OBJECT("'token', 'logprob', 'bytes'",
            "'token': " TEXT ", 'logprob': {'type': 'number', "
            "'maximum': 0}, 'bytes': " LIST("{'type': 'integer', 'minimum': 0, 'maximum': 255}"))},
    {"CalledFunction", OBJECT("'name', 'arguments'", "'name': " TEXT ", 'arguments': " TEXT)},
    {"ChatCompletion",
     OBJECT("'id', 'object', 'created', 'model', 'choices', 'usage'", CHUNK_COMMON
            ", 'object': {'const': 'chat.completion'}, 'usage': " REF("Usage") ", 'choices': " LIST(
                OBJECT("'index', 'message', 'logprobs', 'finish_reason'",
                       "'index': " COUNT ", 'message': " REF("AnswerMessage") ", 'logprobs': " OR_NULL(
                           REF("ChatLogprobs")) ", " FINISH("'stop', 'length', 'tool_calls'"))))},
    {"AnswerMessage",
     OBJECT("'role', 'content', 'refusal'",
            "'role': {'const': 'assistant'}, 'content': " TEXT_OR_NULL
            ", 'refusal': {'type': 'null'}, 'reasoning_content': " TEXT ", 'tool_calls': "
            "{'type': 'array', 'minItems': 1, 'items': " OBJECT("'id', 'type', 'function'", CALL_PARTS) "}")},
    {"ChatChunk",
     OBJECT(
         "'id', 'object', 'created', 'model', 'choices'", CHUNK_COMMON
         ", 'object': {'const': 'chat.completion.chunk'}, 'usage': " OR_NULL(REF(
             "Usage")) ", 'choices': " LIST(OBJECT("'index', 'delta', 'logprobs', 'finish_reason'",
                                                   "'index': " COUNT
                                                   ", 'delta': " REF("Delta") ", 'logprobs': " OR_NULL(REF(
                                                       "ChatLogprobs")) ", " FINISH("'stop', 'length', "
                                                                                    "'tool_calls', null"))))},
    {"Delta",
     "{'type': 'object', 'properties': {'role': {'const': 'assistant'}, 'content': " TEXT
     ", 'reasoning_content': " TEXT ", 'tool_calls': " LIST(OBJECT(
         "'index', 'function'",
         "'index': " COUNT ", 'id': " TEXT ", 'type': {'const': 'function'}, 'function': " OBJECT(
             "'arguments'", "'name': " TEXT ", 'arguments': " TEXT))) "}, 'additionalProperties': false}"},
    {"Response",
     OBJECT("'id', 'object', 'created_at', 'status', 'model', 'output', 'error', 'incomplete_details', "
            "'usage', 'tools', 'tool_choice', 'parallel_tool_calls'",
            "'id': " TEXT ", 'object': "
            "{'const': 'response'}, 'created_at': " COUNT ", 'status': {'enum': ['in_progress', "
            "'completed', 'incomplete', 'failed']}, 'model': " TEXT
            ", 'output': " LIST(REF("OutputItem")) ", 'usage': " OR_NULL(REF("ResponseUsage")))},
    {"ResponseUsage",
     OBJECT(
         "'input_tokens', 'output_tokens', 'total_tokens', 'input_tokens_details', "
         "'output_tokens_details'",
         "'input_tokens': " COUNT ", 'output_tokens': " COUNT ", 'total_tokens': " COUNT
         ", 'input_tokens_details': " OBJECT(
             "'cached_tokens'",
             "'cached_tokens': " COUNT) ", 'output_tokens_details': " OBJECT("'reasoning_tokens'",
                                                                             "'reasoning_tokens': " COUNT))},
    {"OutputItem",
     OBJECT("'id', 'type', 'status'",
            "'id': " TEXT ", 'type': {'enum': ['message', 'reasoning', "
            "'function_call']}, 'status': {'enum': ['in_progress', 'completed', 'incomplete']}")},
    {"ResponseEvent", OBJECT("'type', 'sequence_number'", "'type': " TEXT ", 'sequence_number': " COUNT)},
    {"Embeddings",
     OBJECT("'object', 'data', 'model', 'usage'",
            "'object': {'const': 'list'}, 'model': " TEXT ", 'data': " LIST(OBJECT(
                "'object', 'index', 'embedding'",
                "'object': {'const': 'embedding'}"
                ", 'index': " COUNT ", 'embedding': {'anyOf': [" TEXT
                ", " LIST("{'type': 'number'}") "]}")) ", 'usage': " OBJECT("'prompt_tokens', 'total_tokens'",
                                                                            "'prompt_tokens': " COUNT
                                                                            ", 'total_tokens': " COUNT))},
    {"Tokens", OBJECT("'token_ids', 'num_tokens'", "'token_ids': " LIST(COUNT) ", 'num_tokens': " COUNT)},
    {"TokensAll", OBJECT("'results'", "'results': " LIST(REF("Tokens")))},
    {"Generated", OBJECT("'token_ids', 'text', 'num_generated'",
                         "'token_ids': " LIST(COUNT) ", 'text': " TEXT ", 'num_generated': " COUNT)},
    {"GeneratedAll", OBJECT("'results'", "'results': " LIST(REF("Generated")))},
    {"GeneratedEvent",
     "{'anyOf': [" OBJECT("'token_id', 'text'", "'token_id': " COUNT ", 'text': " TEXT) ", " OBJECT(
         "'num_generated'", "'num_generated': " COUNT ", 'text': " TEXT) ", " REF("PlainError") "]}"},
    {NULL, NULL},
};
