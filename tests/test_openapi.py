#!/usr/bin/env python3
"""test_openapi.py - the document at /openapi.json and the server say the same.

All routes of the table are in it, what they answer has the shape that it promises, and schemathesis (PyPI), where
it is installed, finds neither an answer that it does not allow nor a body that is wrongly taken or refused.
RZ_CLIENTS names a Python whose packages are used in place of this one's; SCHEMATHESIS_CASES how many cases for
each operation.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

import rzlib
import scripted
from server import Server

CLIENTS = os.environ.get("RZ_CLIENTS")
if CLIENTS and not os.environ.get("RZ_CLIENTS_RUN"):
    os.environ["RZ_CLIENTS_RUN"] = "1"
    os.execv(CLIENTS, [CLIENTS] + sys.argv)

CASES = os.environ.get("SCHEMATHESIS_CASES", "2")
USER = {"role": "user", "content": "Hi"}
ASKED = {
    "/v1/completions": {"prompt": ["a", "b"], "max_tokens": 4, "logprobs": 2, "n": 2},
    "/v1/chat/completions": {"messages": [USER], "logprobs": True, "top_logprobs": 2, "max_tokens": 5, "n": 2},
    "/v1/responses": {"input": "Hi"},
    "/v1/embeddings": {"input": ["a", "b"]},
    "/tokenize": {"text": "a"},
    "/generate": {"prompt": "a"},
    "/stream/generate": {"prompt": "a"},
    "/batch/tokenize": {"texts": ["a", ""]},
    "/batch/generate": {"prompts": ["a", "b"]},
}
# schemathesis would wait for every body that asks for as many tokens as fit: all ask for few. And what no schema can say: how many do,
# which texts are grammars and schemas, that there is one of these at most, that a tool of this name is there, and that
# best_of is at least n. Only values of the right type are touched, so that what is to be refused still is.
HOOKS = """
import json
import schemathesis

SCHEMAS = [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
           {"enum": ["x", None, 5]}, {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3}, {}]
TEXTS = {"grammar": 'root ::= "a" [b-d]+', "guided_grammar": 'root ::= %json {"type": "boolean"}', "guided_regex": "[ab]{2,5}"}
MOST = 40
FORMS = ("json_schema", "guided_json", "grammar", "guided_grammar", "guided_regex")

def schema(value):
    return SCHEMAS[len(json.dumps(value)) % len(SCHEMAS)]

def shape(body):
    form = body.get("response_format") or (body.get("text") or {} if isinstance(body.get("text"), dict) else {}).get("format")
    taken = bool(form)
    for inner in (form, form.get("json_schema") if isinstance(form, dict) else None):
        if isinstance(inner, dict) and isinstance(inner.get("schema"), dict):
            inner["schema"] = schema(inner["schema"])
    for name in FORMS:
        value = body.get(name)
        if isinstance(value, dict if "json" in name else str) and value != "":
            body[name] = None if taken else TEXTS[name] if isinstance(value, str) else schema(value)
            taken = True
    return taken

def tool_parts(body):
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        f = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(f, dict) and isinstance(f.get("name"), str):
            if isinstance(f.get("parameters"), dict):
                f["parameters"] = SCHEMAS[0]
            yield f

def choose(body, shaped):
    names = [f["name"] for f in tool_parts(body)]
    choice = body.get("tool_choice")
    if choice == "required" and shaped:
        body["tool_choice"] = "auto"
    if not isinstance(choice, dict):
        return
    named = choice.get("function", choice)
    good = isinstance(named, dict) and isinstance(named.get("name"), str)
    allowed = choice.get("allowed_tools", choice)
    some = isinstance(allowed, dict) and allowed.get("mode") in ("auto", "required") and allowed.get("tools")
    if choice.get("type") == "function" and good and names:
        named["name"] = names[0]
    elif choice.get("type") == "allowed_tools" and isinstance(some, list) and names:
        tool = {"name": names[0]}
        allowed["tools"] = [dict(tool, type="function") if allowed is choice else {"type": "function", "function": tool}]
    else:
        return
    if shaped:
        body["tool_choice"] = "auto"

@schemathesis.hook
def filter_body(context, body):
    return not isinstance(body, (dict, list)) or len(json.dumps(body)) < 6000

@schemathesis.hook
def before_call(context, case, **kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    most = {"/v1/chat/completions": "max_completion_tokens", "/v1/responses": "max_output_tokens"}.get(case.path, "max_tokens")
    for name in {most, "max_tokens"}:
        if type(body.get(name)) is int and body[name] > MOST:
            body[name] = MOST
    if body.get(most) is None and case.path in ("/v1/completions", "/v1/chat/completions", "/v1/responses"):
        body[most] = MOST
    n, best = body.get("n"), body.get("best_of")
    if type(n) in (int, float) and type(best) in (int, float) and 1 <= best < n <= 128:
        body["best_of"] = n if not body.get("stream") else None
    choose(body, shape(body))
"""
# The parser of JSON knows no NUL in names.
CONFIG = "[generation]\nallow-x00 = false\n"


def has(package):
    return importlib.util.find_spec(package) is not None


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        model = scripted.write(os.path.join(cls.folder.name, "m.gguf"), ["Good", " morning", "!"], context=32768)
        # With a draft model, so that each way of guessing ahead that the document names is there.
        cls.server = Server(model, "-o", "engine.context=8192", "-o", "plugin.http.strict=1", "-o", "engine.speculate=draft",
                            "-o", "engine.draft_model=" + model)
        cls.document = cls.server.json("/openapi.json")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()


class Document(Case):
    def test_it_lists_the_routes(self):
        paths = self.document["paths"]
        self.assertEqual(self.document["openapi"], "3.1.0")
        self.assertEqual(set(ASKED), {p for p in paths if "post" in paths[p]})
        for path in paths:
            if "get" in paths[path]:
                status, _, headers = self.server.ask(path.replace("{name}", "m"))
                self.assertEqual(status, 200, path)
                self.assertIn(headers["Content-Type"].split(";")[0], paths[path]["get"]["responses"]["200"]["content"])
        self.assertEqual(self.server.ask("/nothing")[0], 404)

    def test_its_references_lead_somewhere(self):
        schemas, used = self.document["components"]["schemas"], set()

        def walk(value):
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, (dict, list)):
                    walk(item)
            if isinstance(value, dict) and "$ref" in value:
                used.add(value["$ref"].rsplit("/", 1)[1])

        walk(self.document)
        self.assertEqual(used, set(schemas))
        self.assertNotIn(None, schemas.values())

    def test_bodies(self):
        """Fields that are needed, and no others, when the server is strict."""
        for path, body in ASKED.items():
            schema = self.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            self.assertFalse(schema["additionalProperties"])
            self.assertLessEqual(set(body), set(schema["properties"]))
            self.assertTrue(schema["required"])
            for name in schema["required"]:
                self.assertEqual(self.server.ask(path, {k: v for k, v in body.items() if k != name})[0], 400, path)
            self.assertEqual(self.server.ask(path, dict(body, nonsense=1))[0], 400)

    def test_token_ids_of_a_bias(self):
        import re
        pattern = re.compile(self.document["components"]["schemas"]["LogitBias"]["propertyNames"]["pattern"])
        n = self.document["components"]["schemas"]["TokenId"]["maximum"] + 1
        for i in list(range(2 * n)) + [10 ** 9]:
            self.assertEqual(bool(pattern.search(str(i))), i < n, i)
        self.assertFalse(pattern.search("01"))


@unittest.skipUnless(has("jsonschema"), "needs the Python package jsonschema")
class Answers(Case):
    def check(self, name, value):
        import jsonschema
        schema = {"$ref": "#/components/schemas/" + name, "components": self.document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    def contents(self, path, method):
        return self.document["paths"][path][method]["responses"]["200"]["content"]

    def test_answers(self):
        for path, item in self.document["paths"].items():
            for method in item:
                content = self.contents(path, method)
                if "application/json" in content:
                    name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                    self.check(name, self.server.json(path.replace("{name}", "m"), ASKED.get(path)))

    def test_events(self):
        for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/stream/generate"):
            data = self.contents(path, "post")["text/event-stream"]["schema"]["properties"]["data"]
            name = data["else"]["contentSchema"]["anyOf"][0]["$ref"].rsplit("/", 1)[1]
            body = dict(ASKED[path], **({} if path == "/stream/generate" else {"stream": True}))
            events = self.server.events(path, body)
            self.assertGreater(len(events), 2)
            for _, event in events:
                if event != "[DONE]":
                    self.check(name, event)

    def test_errors(self):
        for path in ASKED:
            name = self.document["paths"][path]["post"]["responses"]["4XX"]["content"]["application/json"]["schema"]
            self.check(name["$ref"].rsplit("/", 1)[1], self.server.json(path, {}, status=400))

    @unittest.skipUnless(has("openapi_spec_validator"), "needs the Python package openapi-spec-validator")
    def test_it_is_one_of_openapi(self):
        import openapi_spec_validator
        openapi_spec_validator.validate(self.document)


@unittest.skipUnless(has("schemathesis"), "needs the Python package schemathesis")
class Schemathesis(Case):
    def test_no_surprise(self):
        with open(os.path.join(self.folder.name, "hooks.py"), "w") as f:
            f.write(HOOKS)
        with open(os.path.join(self.folder.name, "schemathesis.toml"), "w") as f:
            f.write(CONFIG)
        environment = dict(os.environ, SCHEMATHESIS_HOOKS="hooks", PYTHONPATH=self.folder.name)
        done = subprocess.run([sys.executable, "-m", "schemathesis.cli", "run", self.server.base + "/openapi.json", "-n", CASES,
                               "--continue-on-failure", "--no-color", "--request-timeout", "60", "--seed", "1"],
                              cwd=self.folder.name, env=environment, capture_output=True, text=True)
        print([line.strip() for line in done.stdout.splitlines() if "generated" in line])
        self.assertEqual(done.returncode, 0, "\n".join(line[:400] for line in done.stdout.splitlines()[-200:]))


if __name__ == "__main__":
    unittest.main()
