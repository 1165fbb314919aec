#!/usr/bin/env python3
"""test_clients.py - unchanged clients of other people against `rz serve`: openai, langchain-openai, litellm, llm.

They are Python packages from PyPI; what is absent is skipped by name. RZ_CLIENTS names a Python that has them, in
place of the one that runs this. Needs the default model, or RZ_MODEL. What the small model says is of no concern:
that each client understands it is.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Literal

CLIENTS = os.environ.get("RZ_CLIENTS")
if CLIENTS and not os.environ.get("RZ_CLIENTS_RUN"):
    os.environ["RZ_CLIENTS_RUN"] = "1"
    os.execv(CLIENTS, [CLIENTS] + sys.argv)

os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", NO_PROXY="127.0.0.1,localhost", no_proxy="127.0.0.1,localhost")

import rzlib  # noqa: E402
import scripted  # noqa: E402
from server import Server  # noqa: E402

MODEL = rzlib.default_model()
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
CALL = ["Let me see.", "<tool_call>", "{\"name\": \"get\", ", "\"arguments\": {\"ci", "ty\": \"Pa", "ris\"", "}}", "</tool_call>"]
FUNCTION = {"name": "get", "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
TOOL = {"type": "function", "function": FUNCTION}


def needs(*packages):
    absent = [p for p in packages if importlib.util.find_spec(p) is None]
    return unittest.skipIf(absent, "needs the Python package %s (RZ_CLIENTS)" % ", ".join(p.replace("_", "-") for p in absent))


@unittest.skipUnless(MODEL, "the default model has not been fetched")
class Case(unittest.TestCase):
    """Two servers: the default model, and one that calls a tool."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        caller = scripted.write(os.path.join(cls.folder.name, "caller.gguf"), CALL, context=8192)
        cls.server, cls.caller = Server(MODEL), Server(caller)
        cls.base, cls.model = cls.server.base + "/v1", cls.server.json("/v1/models")["data"][0]["id"]

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.caller.stop()
        cls.folder.cleanup()


@needs("openai")
class OpenAI(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import openai
        cls.openai = openai
        cls.client = openai.OpenAI(base_url=cls.base, api_key="none", max_retries=0)
        cls.tools = openai.OpenAI(base_url=cls.caller.base + "/v1", api_key="none", max_retries=0)

    def chat(self, **fields):
        return self.client.chat.completions.create(
            **dict({"model": self.model, "messages": MESSAGES, "max_completion_tokens": 12, "seed": 1}, **fields))

    def test_chat(self):
        o = self.chat(n=2)
        self.assertEqual([c.index for c in o.choices], [0, 1])
        for c in o.choices:
            self.assertTrue(c.message.content)
            self.assertIn(c.finish_reason, ("stop", "length"))
        self.assertEqual(o.usage.total_tokens, o.usage.prompt_tokens + o.usage.completion_tokens)
        self.assertIsNotNone(o.usage.prompt_tokens_details.cached_tokens)

    def test_stream(self):
        whole = self.chat(n=2)
        texts, usage, finished = ["", ""], None, 0
        for chunk in self.chat(n=2, stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for c in chunk.choices:
                texts[c.index] += c.delta.content or ""
                finished += c.finish_reason is not None
        self.assertEqual(texts, [c.message.content for c in whole.choices])
        self.assertEqual((usage.completion_tokens, finished), (whole.usage.completion_tokens, 2))

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=self.model, messages=MESSAGES, stop=[" "], max_completion_tokens=99) as s:
            kinds = {e.type for e in s}
            final = s.get_final_completion()
        self.assertLessEqual({"chunk", "content.delta", "content.done"}, kinds)
        self.assertTrue(final.choices[0].message.content)

    def test_tools(self):
        ask = {"model": "caller", "messages": MESSAGES, "temperature": 0, "tools": [TOOL]}
        choice = self.tools.chat.completions.create(**ask).choices[0]
        call = choice.message.tool_calls[0]
        self.assertEqual((choice.finish_reason, call.function.name), ("tool_calls", "get"))
        self.assertEqual(json.loads(call.function.arguments), {"city": "Paris"})
        with self.tools.chat.completions.stream(**ask) as s:
            pieces = [e.arguments_delta for e in s if e.type == "tool_calls.function.arguments.delta"]
            streamed = s.get_final_completion().choices[0].message.tool_calls[0]
        self.assertEqual((len(pieces), "".join(pieces)), (4, call.function.arguments))
        self.assertEqual(streamed.function.arguments, call.function.arguments)
        back = MESSAGES + [choice.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "21"}]
        again = self.tools.chat.completions.create(**dict(ask, messages=back))
        self.assertGreater(again.usage.prompt_tokens, 0)

    def test_json_schema(self):
        import pydantic

        class Person(pydantic.BaseModel):
            name: str = pydantic.Field(max_length=8)
            age: int = pydantic.Field(ge=0, le=150)
            colours: list[Literal["red", "green"]] = pydantic.Field(max_length=3)

        ask = {"model": self.model, "messages": MESSAGES, "max_completion_tokens": 200, "seed": 1}
        parsed = self.client.chat.completions.parse(**ask, response_format=Person).choices[0].message.parsed
        self.assertIsInstance(parsed, Person)
        self.assertIsInstance(self.client.responses.parse(model=self.model, input="Who?", text_format=Person).output_parsed, Person)
        calls = self.client.chat.completions.parse(
            **ask, tools=[self.openai.pydantic_function_tool(Person)], tool_choice="required",
            parallel_tool_calls=False).choices[0].message.tool_calls
        self.assertIsInstance(calls[0].function.parsed_arguments, Person)
        whole = self.chat(max_completion_tokens=60, response_format={"type": "json_object"}).choices[0]
        self.assertTrue(whole.message.content.startswith("{"))

    def test_strict_tools(self):
        """The model would say Paris."""
        strict = {"type": "function", "function": dict(FUNCTION, strict=True, parameters={
            "type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"], "additionalProperties": False})}
        allowed = {"type": "allowed_tools", "allowed_tools": {
            "mode": "auto", "tools": [{"type": "function", "function": {"name": "get"}}]}}
        for choice in ("auto", allowed):
            answer = self.tools.chat.completions.create(model="caller", messages=MESSAGES, temperature=0, tools=[strict],
                                                        tool_choice=choice, max_completion_tokens=300)
            self.assertEqual(json.loads(answer.choices[0].message.tool_calls[0].function.arguments), {"city": "Rome"})

    def test_logprobs(self):
        entries = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
        for e in entries:
            self.assertEqual((len(e.top_logprobs), e.logprob <= 0), (3, True))
            self.assertEqual(bytes(e.bytes).decode("utf-8", "replace"), e.token)
        old = self.client.completions.create(model=self.model, prompt="One two", max_tokens=4, logprobs=2).choices[0]
        self.assertEqual("".join(old.logprobs.tokens), old.text)

    def test_completions(self):
        o = self.client.completions.create(model=self.model, prompt=["One two", "Red"], max_tokens=4, n=2, echo=True)
        self.assertEqual([c.text.startswith(p) for c, p in zip(o.choices, ("One two", "One two", "Red", "Red"))], [True] * 4)
        o = self.client.completions.create(model=self.model, prompt="One two", max_tokens=0, echo=True, logprobs=1)
        self.assertEqual((o.choices[0].logprobs.tokens, o.choices[0].logprobs.token_logprobs[0]), (["One", " two"], None))
        o = self.client.completions.create(model=self.model, prompt="One two", max_tokens=4, n=2, best_of=3)
        self.assertEqual([c.index for c in o.choices], [0, 1])
        parts = list(self.client.completions.create(model=self.model, prompt="One two", max_tokens=4, stream=True))
        self.assertEqual(parts[-1].choices[0].finish_reason, "length")

    def test_embeddings(self):
        o = self.client.embeddings.create(model=self.model, input=["a dog", "a cat"])  # base64 on the wire
        plain = self.client.embeddings.create(model=self.model, input="a dog", encoding_format="float")
        self.assertEqual(len(o.data), 2)
        for a, b in zip(o.data[0].embedding, plain.data[0].embedding):
            self.assertAlmostEqual(a, b, places=6)

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], [self.model])
        self.assertEqual(self.client.models.retrieve(self.model).owned_by, "rz")

    def test_responses(self):
        ask = {"model": self.model, "input": "Name a colour.", "instructions": "Be brief.", "max_output_tokens": 200, "temperature": 0}
        whole = self.client.responses.create(**ask)
        self.assertTrue(whole.output_text)
        with self.client.responses.stream(**ask) as s:
            text = "".join(e.delta for e in s if e.type == "response.output_text.delta")
            final = s.get_final_response()
        self.assertEqual((text, final.output_text, final.status), (whole.output_text, whole.output_text, whole.status))
        called = self.tools.responses.create(model="caller", input="Hi", temperature=0, tools=[dict(FUNCTION, type="function", strict=False)])
        self.assertEqual([i.type for i in called.output], ["message", "function_call"])
        flat = dict(FUNCTION, type="function", strict=False)
        with self.tools.responses.stream(model="caller", input="Hi", temperature=0, tools=[flat]) as s:
            pieces = [e.delta for e in s if e.type == "response.function_call_arguments.delta"]
            final = s.get_final_response().output[1]
        self.assertEqual((len(pieces), "".join(pieces), final.arguments), (4, final.arguments, called.output[1].arguments))
        with self.assertRaises(self.openai.BadRequestError) as e:
            self.client.responses.create(**ask, previous_response_id="resp_1")
        self.assertEqual(e.exception.param, "previous_response_id")

    def test_errors(self):
        with self.assertRaises(self.openai.NotFoundError) as e:
            self.chat(model="other")
        self.assertEqual((e.exception.code, e.exception.param), ("model_not_found", "model"))
        with self.assertRaises(self.openai.BadRequestError) as e:
            self.chat(temperature=-1)
        self.assertEqual(e.exception.param, "temperature")
        with self.assertRaises(self.openai.BadRequestError) as e:
            self.chat(messages=[{"role": "user", "content": "a b " * 5000}])
        self.assertEqual(e.exception.code, "context_length_exceeded")


@needs("langchain_openai")
class LangChain(Case):
    def model_of(self, server, name, **fields):
        from langchain_openai import ChatOpenAI
        return ChatOpenAI(**dict({"base_url": server.base + "/v1", "api_key": "none", "model": name, "max_retries": 0,
                                  "temperature": 0, "max_completion_tokens": 12}, **fields))

    def test_chat_and_stream(self):
        chat = self.model_of(self.server, self.model)
        whole = chat.invoke([("system", "Be brief."), ("user", "Name a colour.")])
        self.assertTrue(whole.content)
        self.assertGreater(whole.usage_metadata["input_tokens"], 0)
        parts = list(chat.stream([("system", "Be brief."), ("user", "Name a colour.")]))
        self.assertEqual("".join(p.content for p in parts), whole.content)
        self.assertEqual(len(chat.batch(["a", "b"])), 2)

    def test_tools(self):
        chat = self.model_of(self.caller, "caller", max_completion_tokens=None).bind_tools([TOOL])
        answer = chat.invoke("Hi")
        self.assertEqual([(c["name"], c["args"]) for c in answer.tool_calls], [("get", {"city": "Paris"})])
        merged = None
        for part in chat.stream("Hi"):
            merged = part if merged is None else merged + part
        self.assertEqual(merged.tool_calls[0]["args"], {"city": "Paris"})

    def test_structured_output(self):
        schema = {"title": "Person", "type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
                                                                     "age": {"type": "integer", "minimum": 0, "maximum": 150}},
                  "required": ["name", "age"], "additionalProperties": False}
        for method, strict in (("json_schema", True), ("function_calling", True), ("function_calling", None)):
            chat = self.model_of(self.server, self.model, max_completion_tokens=200)
            said = chat.with_structured_output(schema, method=method, strict=strict).invoke("Who are you?")
            self.assertEqual(set(said), {"name", "age"})
            self.assertIsInstance(said["age"], int)

    def test_responses_logprobs_embeddings_errors(self):
        import openai
        from langchain_openai import OpenAIEmbeddings
        self.assertTrue(self.model_of(self.server, self.model, use_responses_api=True).invoke("Name a colour.").content)
        probs = self.model_of(self.server, self.model, logprobs=True, top_logprobs=2).invoke("Hi").response_metadata["logprobs"]
        self.assertEqual(len(probs["content"][0]["top_logprobs"]), 2)
        embed = OpenAIEmbeddings(base_url=self.base, api_key="none", model=self.model, check_embedding_ctx_length=False)
        self.assertEqual(len(embed.embed_documents(["a", "b"])), 2)
        with self.assertRaises(openai.BadRequestError):
            self.model_of(self.server, self.model, top_p=2).invoke("Hi")


@needs("litellm")
class LiteLLM(Case):
    def common(self, server=None):
        return {"api_base": (server or self.server).base + "/v1", "api_key": "none", "num_retries": 0}

    def test_chat_stream_and_logprobs(self):
        import litellm
        name = "openai/" + self.model
        ask = dict(self.common(), model=name, messages=MESSAGES, max_tokens=12, seed=1)
        whole = litellm.completion(**ask, logprobs=True, top_logprobs=2)
        self.assertEqual(len(whole.choices[0].logprobs.content[0].top_logprobs), 2)
        text = "".join(c.choices[0].delta.content or "" for c in litellm.completion(**ask, stream=True))
        self.assertEqual(text, whole.choices[0].message.content)

    def test_tools(self):
        import litellm
        answer = litellm.completion(model="openai/caller", messages=MESSAGES, tools=[TOOL], temperature=0, **self.common(self.caller))
        self.assertEqual(json.loads(answer.choices[0].message.tool_calls[0].function.arguments), {"city": "Paris"})
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")

    def test_json_schema(self):
        import litellm
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
        answer = litellm.completion(model="openai/" + self.model, messages=MESSAGES, max_tokens=60, **self.common(), response_format={
            "type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}})
        self.assertIsInstance(json.loads(answer.choices[0].message.content)["ok"], bool)
        old = litellm.text_completion(model="text-completion-openai/" + self.model, prompt="One two", max_tokens=4, **self.common())
        self.assertTrue(old.choices[0].text)

    def test_models(self):
        import litellm
        from litellm.types.router import LiteLLM_Params
        where = LiteLLM_Params(model="openai/x", api_base=self.base, api_key="none")
        names = litellm.get_valid_models(check_provider_endpoint=True, custom_llm_provider="openai", litellm_params=where)
        self.assertEqual([n.split("/")[-1] for n in names], [self.model])

    def test_embeddings_and_errors(self):
        import litellm
        vectors = litellm.embedding(model="openai/" + self.model, input=["a", "b"], **self.common()).data
        self.assertEqual(len(vectors), 2)
        with self.assertRaises(litellm.NotFoundError):
            litellm.completion(model="openai/other", messages=MESSAGES, **self.common())
        with self.assertRaises(litellm.BadRequestError):
            litellm.completion(model="openai/" + self.model, messages=MESSAGES, temperature=-1, **self.common())


@needs("llm")
class Llm(Case):
    """The command-line program of that name, with an endpoint in its configuration."""

    def llm(self, *args, status=0):
        home = os.path.join(self.folder.name, "llm")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "extra-openai-models.yaml"), "w") as f:
            for name, model, base in (("rz", self.model, self.base), ("caller", "caller", self.caller.base + "/v1")):
                f.write("- model_id: %s\n  model_name: %s\n  api_base: \"%s\"\n  supports_tools: true\n  supports_schema: true\n"
                        % (name, model, base))
            f.write("- model_id: old\n  model_name: %s\n  api_base: \"%s\"\n  completion: true\n" % (self.model, self.base))
        done = subprocess.run([sys.executable, "-m", "llm", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, LLM_USER_PATH=home, OPENAI_API_KEY="none"), timeout=300)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout if not status else done.stderr

    def test_prompt_stream_and_tools(self):
        ask = ("prompt", "-m", "rz", "-o", "max_tokens", "12", "-o", "temperature", "0", "-s", "Be brief.", "Name a colour.")
        streamed = self.llm(*ask)
        self.assertTrue(streamed.strip())
        self.assertEqual(self.llm(*ask, "--no-stream"), streamed)
        called = self.llm("prompt", "-m", "caller", "-o", "temperature", "0", "--td", "--functions",
                          "def get(city: str) -> str:\n    return 'sun in ' + city\n", "--chain-limit", "1", "Hi", status=1)
        self.assertIn("chain limit", called.lower())

    def test_schema_completions_and_models(self):
        said = json.loads(self.llm("prompt", "-m", "rz", "-o", "max_tokens", "200", "--schema", json.dumps({
            "type": "object", "properties": {"age": {"type": "integer", "maximum": 150}}, "required": ["age"],
            "additionalProperties": False}), "Who?"))
        self.assertIsInstance(said["age"], int)
        self.assertTrue(self.llm("prompt", "-m", "old", "-o", "max_tokens", "8", "-o", "logprobs", "2", "One two").strip())
        logged = json.loads(self.llm("logs", "-n", "1", "--json"))[0]
        self.assertTrue(logged["response_json"]["logprobs"])
        self.assertIn("rz", self.llm("models", "list"))

    def test_errors(self):
        self.assertIn("temperature", self.llm("prompt", "-m", "rz", "-o", "temperature", "1000", "Hi", status=1).lower())


if __name__ == "__main__":
    unittest.main()
