#!/usr/bin/env python3
"""test_fields.py - each field that a route knows, of a wrong type and with a wrong value: refused with 400 and its name.

The fields are those of /openapi.json: one that is new there needs a line here.
"""

import os
import tempfile
import unittest

import scripted
from server import Server

# Values that are refused, the first of a wrong type. FREE: any text is good.
FREE = [5, ["x"], {"x": 1}]
BOOL = ["yes", 1, []]
TOOL = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "get"}
COUNT = ["1", 1.5, 0, -1, 1e30, True, [1]]
FORMAT = [5, "json", {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": 5},
          {"type": "json_schema", "json_schema": {"name": 5}}, {"type": "json_schema", "json_schema": {"schema": 5}},
          {"type": "json_schema", "json_schema": {"name": "n", "schema": {"contains": {}}}}]
SCHEMA = [5, "x", {"type": "nothing"}, {"if": {}}, {"type": "integer", "minimum": 2, "maximum": 1}]
GRAMMAR = [5, "", "root ::= x", "root ::= \"a", {"x": 1}]
RANGE = ["1", [], True]
WRONG = {
    "model": FREE, "model_id": FREE, "instructions": FREE, "reasoning_effort": FREE, "user": FREE, "service_tier": [5, "flex", "priority"],
    "prompt_cache_key": FREE, "prompt_cache_retention": [5, "24h"], "safety_identifier": FREE,
    "prompt": [5, [], {}, True, [-1], [10 ** 8], [1.5], ["x", 5], [[1], "x"], [[]]],
    "prompts": [5, [], "x", [5], ["x", []]],
    "text": [5, [], {}], "texts": ["x", [], [5]],
    "input": [5, [], {}, True],
    "messages": [5, "x", [], [5], [{"role": "critic", "content": "x"}], [{"role": "user"}], [{"role": "user", "content": 5}],
                 [{"role": "user", "content": [{"type": "image_url"}]}], [{"role": "tool", "content": "x"}],
                 [{"role": "assistant", "content": "", "tool_calls": [{}]}]],
    "tools": [5, "x", [5], [{}], [{"type": "web_search"}]],
    "tool_choice": [5, "some", [], {"type": "function"}, {"type": "allowed_tools"}, "required"],
    "parallel_tool_calls": BOOL, "stream": BOOL, "ignore_eos": BOOL, "echo": BOOL,
    "chat_template_kwargs": [5, "x", []], "documents": [5, "x", {}],
    "reasoning": [5, "x", {"effort": 5}, {"summary": "detailed"}, {"x": 1}],
    "stream_options": [5, [], {"include_usage": 1}, {"x": True}, {"include_obfuscation": True}, {"include_usage": True}],
    "max_tokens": COUNT, "max_completion_tokens": COUNT, "max_output_tokens": COUNT, "dimensions": COUNT + [100000],
    "n": COUNT + [129], "best_of": COUNT + [129],
    "logprobs": ["1", 1.5, -1, 21, []], "top_logprobs": ["1", 1.5, -1, 21, True],
    "stop": [5, {}, "", [5], [""], "x" * 300, ["a"] * 17],
    "response_format": FORMAT, "json_schema": SCHEMA, "guided_json": SCHEMA,
    "grammar": GRAMMAR, "guided_grammar": GRAMMAR, "guided_regex": [5, "", "(", "(?=a)", "a**"],
    "modalities": [5, "text", ["audio"], ["text", "audio"], []],
    "encoding_format": [5, "int8"], "include": [5, "x", ["file_search_call.results"], [5]],
    "temperature": RANGE + [-1, 101], "top_k": RANGE + [-2, 1.5], "top_p": RANGE + [-0.1, 1.1], "min_p": RANGE + [-0.1, 1.1],
    "typical_p": RANGE + [-0.1, 1.1], "repeat_penalty": RANGE + [0, 101], "presence_penalty": RANGE + [-2.1, 2.1],
    "frequency_penalty": RANGE + [-2.1, 2.1], "seed": RANGE + [1.5, 1e17],
    "logit_bias": [5, [], {"x": 1}, {"1": "x"}, {"1": 101}, {"-1": 1}, {"99999999": 1}, {"01": 1}],
    "strategy": [5, "beam"], "speculate": [5, "more", [], "draft"],
    "metadata": [5, [], {"a": 5}], "truncation": [5, "auto"], "verbosity": [5, "low"],
    "store": [5, True], "background": [5, True],
}
# Where a route asks for something else under the same name.
ALSO = {
    ("/v1/responses", "text"): [5, "x", {"verbosity": "low"}, {"format": 5}] + [{"format": f} for f in FORMAT[1:4]]
    + [{"format": {"type": "json_schema", "schema": {"contains": {}}}}],
    ("/v1/responses", "tools"): [5, "x", [5], [{}], [{"type": "web_search"}], [{"type": "function"}]],
    ("/v1/responses", "input"): [5, [], {}, [5], [{"role": "critic", "content": "x"}], [{"type": "item_reference", "id": "x"}],
                                 [{"role": "user", "content": 5}], [{"type": "function_call", "call_id": "1"}]],
    ("/v1/responses", "tool_choice"): [5, "some", [], {"type": "function", "name": 5}, "required"],
    ("/v1/embeddings", "input"): [5, [], {}, [-1], [10 ** 8], ["x", 5]],
    ("/v1/chat/completions", "logprobs"): BOOL,
    ("/v1/completions", "max_tokens"): ["1", 1.5, -1, 1e30, True],
    ("/generate", "prompt"): [5, [], {}], ("/stream/generate", "prompt"): [5, [], {}],
}
# What a field needs beside itself to be looked at.
BESIDE = {("/v1/chat/completions", "top_logprobs"): {"logprobs": True}}
# Known, and never available.
NEVER = ("previous_response_id", "conversation", "max_tool_calls", "suffix", "functions", "function_call", "audio", "prediction",
         "web_search_options")
BODIES = {
    "/v1/completions": {"prompt": "x", "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1},
    "/v1/responses": {"input": "x", "max_output_tokens": 1},
    "/v1/embeddings": {"input": "x"},
    "/tokenize": {"text": "x"}, "/batch/tokenize": {"texts": ["x"]},
    "/generate": {"prompt": "x", "max_tokens": 1}, "/stream/generate": {"prompt": "x", "max_tokens": 1},
    "/batch/generate": {"prompts": ["x"], "max_tokens": 1},
}


class Fields(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        model = scripted.write(os.path.join(cls.folder.name, "talker.gguf"), ["Hello."])
        cls.server = Server(model, "-o", "plugin.http.strict=1", "-o", "engine.context=512")
        cls.addClassCleanup(cls.server.stop)
        cls.document = cls.server.json("/openapi.json")

    def known(self, path):
        schema = self.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema["properties"]

    def values(self, path, name):
        if (path, name) in ALSO:
            return ALSO[path, name]
        never = name in NEVER or (path, name) == ("/v1/responses", "prompt")
        return ["x", 5, {"x": 1}, False] if never else WRONG.get(name, [])

    def check(self, path, name, body):
        status, text, _ = self.server.ask(path, body)
        self.assertIn(status, (400, 404) if name in ("model", "model_id") else (400,), (path, name, body, text))
        error = self.server.json(path, body, status=status)["error"]
        plain = not path.startswith("/v1/")
        said = error if plain else error["param"]
        where = (path, name, body.get(name), error)
        self.assertIsNotNone(said, where)
        self.assertTrue(said == name or said.startswith((name + "[", name + ".", name + ":")), where)
        if not plain:
            self.assertEqual(error["type"], "invalid_request_error", where)
            self.assertIn(name, error["message"], where)

    def test_every_field_is_refused_by_name(self):
        tried = 0
        for path, body in sorted(BODIES.items()):
            self.server.json(path, body) if path != "/stream/generate" else self.server.events(path, body)
            for name in sorted(self.known(path)):
                values = self.values(path, name)
                self.assertTrue(values, "%s knows %s: which values of it are wrong?" % (path, name))
                beside = BESIDE.get((path, name), {})
                for value in values:
                    with self.subTest(path=path, name=name, value=value):
                        self.check(path, name, dict(body, **{name: value}, **beside))
                    tried += 1
        self.assertGreater(tried, 500)

    def test_null_is_as_if_it_were_not_there(self):
        for path, body in sorted(BODIES.items()):
            nothing = {name: None for name in self.known(path) if name not in body}
            self.assertEqual(self.server.ask(path, dict(body, **nothing))[0], 200, path)

    def test_what_is_missing_is_named(self):
        for path, body in sorted(BODIES.items()):
            name = next(n for n in body if not n.startswith("max"))
            self.check(path, name, {k: v for k, v in body.items() if k != name})

    def test_combinations_name_the_one_that_is_too_much(self):
        chat, text = "/v1/chat/completions", "/v1/completions"
        for path, name, fields in (
                (chat, "top_logprobs", {"top_logprobs": 2}), (chat, "stream_options", {"stream_options": {}}),
                (text, "best_of", {"n": 3, "best_of": 2}), (text, "best_of", {"best_of": 2, "stream": True}),
                (chat, "guided_regex", {"guided_json": {}, "guided_regex": "a"}),
                (chat, "guided_json", {"grammar": "root ::= \"a\"", "guided_json": {}}),
                (chat, "tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "put"}}}),
                (chat, "tool_choice", {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
                    "mode": "auto", "tools": [{"type": "function", "function": {"name": "put"}}]}}}),
                (chat, "tool_choice", {"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}}),
                ("/v1/responses", "tool_choice", {"tools": [FLAT], "tool_choice": {"type": "function", "name": "put"}})):
            self.check(path, name, dict(BODIES[path], **fields))

    def test_unknown_fields_are_named(self):
        for path, body in sorted(BODIES.items()):
            self.check(path, "colour", dict(body, colour="red"))


if __name__ == "__main__":
    unittest.main()
