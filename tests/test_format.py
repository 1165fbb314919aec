#!/usr/bin/env python3
"""test_format.py - answers of a given form over HTTP: response_format, tool_choice, grammar, guided_*.

The model says what is left to it nearly at random, so each answer here is its form's doing. Values are judged by
a small checker of the keywords that are used.
"""

import json
import os
import re
import tempfile
import unittest

import scripted
import serving

USER = [{"role": "user", "content": "Hi"}]
# Byte b is token 3 + b: quotes and closing marks come often, so that texts end.
CLOSING = {str(3 + ord(c)): 8 for c in "\"]}"}
SCHEMA = {"type": "object", "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 6}, "n": {"type": "integer", "minimum": -5, "maximum": 300},
    "tags": {"type": "array", "items": {"enum": ["a", "b", None]}, "minItems": 1, "maxItems": 3},
    "ok": {"type": "boolean"}}, "required": ["name", "n", "tags", "ok"], "additionalProperties": False}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"], "additionalProperties": False}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def tool(name, parameters):
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("get", CITY), tool("put", {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"],
                                         "additionalProperties": False})]


def strict(value, schema):
    """Raises an AssertionError that names what does not fit."""
    if "enum" in schema:
        assert value in schema["enum"], value
        return
    assert isinstance(value, TYPES[schema["type"]]) and (schema["type"] == "boolean") == isinstance(value, bool), value
    if schema["type"] == "object":
        assert set(schema["required"]) <= set(value) <= set(schema["properties"]), value
        for name, inner in value.items():
            strict(inner, schema["properties"][name])
    elif schema["type"] == "array":
        assert schema["minItems"] <= len(value) <= schema["maxItems"], value
        for inner in value:
            strict(inner, schema["items"])
    elif schema["type"] == "string":
        assert schema.get("minLength", 0) <= len(value) <= schema["maxLength"], value
    elif schema["type"] == "integer":
        assert schema["minimum"] <= value <= schema["maximum"], value


def named(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


class Format(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        model = scripted.write(os.path.join(cls.folder.name, "free.gguf"), ["Good", " morning", "<tool_call>", "</tool_call>"])
        cls.server = serving.Server(model=model)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        cls.folder.cleanup()
        assert status == 0, status

    def post(self, path, fields):
        body = dict({"temperature": 1, "max_tokens": 800, "seed": 1, "logit_bias": CLOSING}, **fields)
        return self.server.ask({k: v for k, v in body.items() if v is not None}, path)

    def chat(self, **fields):
        status, text = self.post("/v1/chat/completions", dict({"messages": USER}, **fields))
        self.assertEqual(status, 200, text)
        return json.loads(text)["choices"]

    def completion(self, **fields):
        status, text = self.post("/v1/completions", dict({"prompt": "Hi"}, **fields))
        self.assertEqual(status, 200, text)
        return json.loads(text)["choices"]

    def content(self, **fields):
        choice = self.chat(**fields)[0]
        self.assertEqual(choice["finish_reason"], "stop")
        return choice["message"]["content"]

    def test_an_object(self):
        for seed in range(3):
            self.assertIsInstance(json.loads(self.content(response_format={"type": "json_object"}, seed=seed)), dict)
        text = self.completion(response_format={"type": "json_object"})[0]["text"]
        self.assertIsInstance(json.loads(text), dict)

    def test_a_schema_in_each_field(self):
        for fields in ({"response_format": named(SCHEMA)}, {"json_schema": SCHEMA}, {"guided_json": SCHEMA},
                       {"response_format": {"type": "json_object", "schema": SCHEMA}}):
            strict(json.loads(self.content(**fields)), SCHEMA)
            choice = self.completion(**fields)[0]
            self.assertEqual(choice["finish_reason"], "stop")
            strict(json.loads(choice["text"]), SCHEMA)

    def test_grammars_and_expressions(self):
        for field in ("grammar", "guided_grammar"):
            self.assertRegex(self.content(**{field: "root ::= x{3} \";\"\nx ::= [a-c] | \"(\" [0-9]+ \")\""}),
                             r"\A([a-c]|\(\d+\)){3};\Z")
        text = self.content(guided_regex="\\d{4}-(?:\\p{Lu}|é){2}[^\\d]")
        self.assertTrue(re.match(r"\A\d{4}-(.)(.)\D\Z", text, re.S) and text[5:7].isupper() or "é" in text[5:7], text)
        # Where the text must end it does, whatever ignore_eos says.
        self.assertEqual(self.content(guided_regex="Good morning!", ignore_eos=True), "Good morning!")

    def test_many_answers_and_seeds(self):
        fields = {"response_format": named(SCHEMA), "n": 4}
        first = [c["message"]["content"] for c in self.chat(**fields)]
        self.assertEqual(len(first), 4)
        self.assertEqual(len(set(first)), 4)
        for text in first:
            strict(json.loads(text), SCHEMA)
        self.assertEqual([c["message"]["content"] for c in self.chat(**fields)], first)
        self.assertNotEqual([c["message"]["content"] for c in self.chat(seed=2, **fields)], first)
        greedy = {"response_format": named(SCHEMA), "temperature": 0}
        self.assertEqual(self.content(**greedy), self.content(seed=9, **greedy))

    def test_streams(self):
        fields = {"response_format": named(SCHEMA), "seed": 5}
        status, text = self.post("/v1/chat/completions", dict(fields, messages=USER, stream=True))
        self.assertEqual(status, 200, text)
        events = [e[6:] for e in text.decode().split("\n\n") if e]
        self.assertEqual(events[-1], "[DONE]")
        deltas = [json.loads(e)["choices"][0] for e in events[:-1]]
        whole = "".join(d["delta"].get("content") or "" for d in deltas)
        self.assertEqual(whole, self.content(**fields))
        self.assertEqual(deltas[-1]["finish_reason"], "stop")

    def test_a_stop_inside_and_a_limit(self):
        fields = {"response_format": named(SCHEMA)}
        whole = self.content(**fields)
        self.assertEqual(self.content(stop=["\"n\""], **fields), whole[:whole.index("\"n\"")])
        cut = self.chat(max_tokens=7, **fields)[0]
        self.assertEqual(cut["finish_reason"], "length")
        self.assertTrue(whole.startswith(cut["message"]["content"]))

    def test_logprobs(self):
        choice = self.chat(response_format=named(SCHEMA), logprobs=True, top_logprobs=3)[0]
        strict(json.loads(choice["message"]["content"]), SCHEMA)
        entries = choice["logprobs"]["content"]
        said = b"".join(bytes(e["bytes"]) for e in entries if e["token"] != "</s>")
        self.assertEqual(said.decode(), choice["message"]["content"])
        for e in entries:
            self.assertLessEqual(e["logprob"], 0)
            self.assertEqual(len(e["top_logprobs"]), 3)

    def test_calls(self):
        for choice, names in (("required", {"get", "put"}), ({"type": "function", "function": {"name": "put"}}, {"put"})):
            for seed in range(3):
                c = self.chat(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, seed=seed)[0]
                self.assertEqual((c["finish_reason"], len(c["message"]["tool_calls"])), ("tool_calls", 1), c)
                call = c["message"]["tool_calls"][0]["function"]
                self.assertIn(call["name"], names)
                schema = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == call["name"])
                strict(json.loads(call["arguments"]), schema)

    def test_some_of_the_tools(self):
        for mode, some in (("required", "put"), ("required", "get"), ("auto", "put")):
            choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tool(some, None)]}}
            c = self.chat(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)[0]["message"]
            names = {call["function"]["name"] for call in c.get("tool_calls") or []}
            self.assertEqual(names, {some} if mode == "required" else set())

    def refused(self, param, *says, path="/v1/chat/completions", **fields):
        asked = {"messages": USER} if "chat" in path else {"prompt": "x"}
        status, text = self.post(path, dict(asked, **fields))
        error = json.loads(text)["error"]
        self.assertEqual((status, error["param"]), (400, param), text)
        for word in says:
            self.assertIn(word, error["message"])

    def test_refused(self):
        deep = {"properties": {"a/b": {"items": {"uniqueItems": True}}}}
        for path in ("/v1/chat/completions", "/v1/completions"):
            self.refused("response_format", "#/properties/a~1b/items/uniqueItems", path=path, response_format=named(deep))
            self.refused("guided_json", "#/not", path=path, guided_json={"not": {}})
            self.refused("json_schema", "no text fits", path=path, json_schema={"enum": []})
            self.refused("grammar", "line 2", "column", path=path, grammar="root ::= x\nx ::= [a")
            self.refused("guided_grammar", "line 1", path=path, guided_grammar="root = ")
            self.refused("guided_regex", "byte 2", path=path, guided_regex="a(")
            self.refused("guided_regex", path=path, guided_regex="")
            self.refused("response_format", "guided_regex asks", path=path, guided_regex="a", response_format=named(SCHEMA))
            self.refused("response_format", path=path, response_format={"type": "json_schema"})
            self.refused("response_format", path=path, response_format={"type": "yaml"})
        self.refused("tool_choice", "tools are not given", tool_choice="required")
        self.refused("tool_choice", "no tool has this name", tools=TOOLS,
                     tool_choice={"type": "function", "function": {"name": "x"}})
        self.refused("tool_choice", "not among tools", tools=TOOLS,
                     tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("x", None)]}})
        self.refused("tool_choice", "mode", tools=TOOLS, tool_choice={"type": "allowed_tools", "allowed_tools": {"tools": TOOLS}})
        self.refused("tools", "#/contains", tools=[{"type": "function", "function": {
            "name": "f", "parameters": {"contains": {}}, "strict": True}}])
        self.refused("tool_choice", "guided_regex", tools=TOOLS, tool_choice="required", guided_regex="a")
        self.refused("tool_choice", "#/contains", tools=[tool("f", {"contains": {}})], tool_choice="required")
        # And the server goes on.
        self.assertEqual(self.content(guided_regex="yes"), "yes")


if __name__ == "__main__":
    unittest.main()
