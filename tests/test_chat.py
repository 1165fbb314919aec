#!/usr/bin/env python3
"""test_chat.py - conversations: rz run, rz chat and /v1/chat/completions with models that say what the test wants,
default templates, and whether a message can forge a control token.
"""

import json
import os
import pty
import re
import select
import tempfile
import time
import unittest

import rzlib
import serving
import scripted

THOUGHTS = scripted.TEMPLATE + "{# <think></think> #}"
CALL = ["<tool_call>", "{\"name\": \"get\", ", "\"arguments\": {\"city\": \"Paris\"}}", "</tool_call>"]
TOOL = {"type": "function", "function": {"name": "get", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}


def user(text):
    return {"role": "user", "content": text}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = scripted.write(cls.path("call.gguf"),
                                   ["<think>", "hm", " ok", "</think>", "Let me see."] + CALL, THOUGHTS)
        cls.plain = scripted.write(cls.path("plain.gguf"), ["Good", " morning", "!"])
        cls.bare = scripted.write(cls.path("bare.gguf"), ["a", "b"], template=None)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def file(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def fails(self, status, *args, says, stdin=None):
        lines = rzlib.rz(*args, status=status, stdin=stdin).err.splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(says, lines[0])


class Run(Case):
    def test_answer_and_reasoning_are_apart(self):
        done = rzlib.rz("run", "-m", self.model, "-p", "Hello")
        self.assertEqual(done.out, "Let me see.<tool_call>{\"name\": \"get\", \"arguments\": {\"city\": \"Paris\"}}</tool_call>")
        self.assertEqual(done.err, "hm ok")
        self.assertEqual(rzlib.rz("run", "-q", "-m", self.model, "-p", "Hello").err, "")
        last = rzlib.run_json("-m", self.model, "-p", "Hello")
        self.assertEqual((last["text"], last["reasoning"]), (done.out, "hm ok"))
        self.assertEqual(last["new_tokens"], 9)

    def test_the_prompt_is_the_templates(self):
        messages = json.dumps([{"role": "system", "content": "Be"}, user("Hi <|end|>")]).encode()
        ids = rzlib.rz("template", "-m", self.plain, "--ids", stdin=messages).out.split()
        last = rzlib.run_json("-m", self.plain, "-p", "Hi <|end|>", "--system", "Be")
        self.assertEqual([str(i) for i in last["prompt"]], ids)
        self.assertEqual(last["text"], "Good morning!")
        raw = rzlib.run_json("-m", self.plain, "--raw", "-p", "Hi <|end|>", "-n", "1")["prompt"]
        self.assertIn(261, raw)
        self.assertEqual(last["prompt"].count(261), 2)  # <|end|>: the template's own two

    def test_without_a_template(self):
        done = rzlib.rz("run", "-m", self.bare, "-p", "x", "-n", "1", "--ignore-eos")
        self.assertIn("no chat template", done.err)
        self.assertEqual(rzlib.rz("run", "-q", "-m", self.bare, "-p", "x", "-n", "1", "--ignore-eos").err, "")
        self.fails(2, "run", "-m", self.bare, "-p", "x", "--system", "y", says="-o model.chat_template=@file:")
        self.fails(2, "run", "-m", self.plain, "-p", "x", "--system", "y", "--raw", says="--system")

    def test_a_configured_template(self):
        templ = self.file("t.jinja", "{{ messages[0].content }}" + scripted.GO)
        option = ("-o", "model.chat_template=@file:" + templ)
        self.assertEqual(rzlib.rz("run", "-m", self.bare, "-p", "x", *option).out, "ab")
        ini = self.file("t.ini", "[model.b]\npath = %s\nchat_template = @file:%s\n" % (self.bare, templ))
        self.assertEqual(rzlib.rz("run", "--config", ini, "-m", "b", "-p", "x").out, "ab")
        done = rzlib.rz("template", "-m", self.bare, "--json", *option, stdin=json.dumps([user("q")]).encode())
        self.assertEqual(json.loads(done.out)["template"], "configuration")

    def test_templates_that_want_other_forms(self):
        """Arguments as texts, content in parts, no system role."""
        def shown(templ, messages):
            path = self.file("form.jinja", templ)
            return rzlib.rz("template", "-m", self.plain, "--template", path, stdin=json.dumps(messages).encode()).out
        call = {"role": "assistant", "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}
        self.assertEqual(shown("{{ messages[1].tool_calls[0].function.arguments.a }}", [user("x"), call]), "1")
        self.assertEqual(shown("{{ 'A' + messages[1].tool_calls[0].function.arguments }}", [user("x"), call]), "A{\"a\": 1}")
        self.assertEqual(shown("{{ messages[1].content }}.", [user("x"), call]), ".")
        parts = [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])]
        self.assertEqual(shown("{{ messages[0].content + '' }}", parts), "a\nb")
        typed = "{% for p in messages[0].content %}{{ '<' + p['text'] + '>' }}{% endfor %}"
        self.assertEqual(shown(typed, parts), "<a><b>")
        strict = ("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
                  "{{ messages[0].content }}")
        self.assertEqual(shown(strict, [{"role": "system", "content": "S"}, user("U")]), "S\n\nU")
        self.assertEqual(shown("{{ messages[0].role }}", [{"role": "developer", "content": "S"}]), "system")

    def test_defaults_by_vocabulary(self):
        for tokens, name, want in (
                (("<|im_start|>", "<|im_end|>"), "chatml", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
                (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "llama3",
                 "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
                (("<start_of_turn>", "<end_of_turn>"), "gemma", "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"),
                (("<|user|>", "<|assistant|>", "<|end|>"), "phi3", "<|user|>\nHi<|end|>\n<|assistant|>\n"),
                (("[INST]", "[/INST]"), "mistral", "[INST]Hi[/INST]")):
            controls = [t for t in tokens if t != "<|end|>"]
            model = scripted.write(self.path(name + ".gguf"), ["ok"], None, controls, go=10)
            done = rzlib.rz("template", "-m", model, "--json", stdin=json.dumps([user("Hi")]).encode())
            got = json.loads(done.out)
            self.assertEqual((got["template"], got["prompt"]), (name, want))
            self.assertGreaterEqual(sum(i >= 260 for i in got["ids"]), 2, name)


class Chat(Case):
    def chat(self, text, *args, model=None, status=0):
        return rzlib.rz("chat", "-m", model or self.plain, *args, stdin=text.encode(), status=status)

    def test_turns_and_commands(self):
        saved = self.path("c.json")
        done = self.chat("Hi\n\n/nonsense\n\"\"\"two\nlines\"\"\"\none\\\ntwo\n/undo\n/retry\n/show\n/save %s\n/bye\nnever\n" % saved,
                         "--system", "Be")
        self.assertEqual(done.out, "Good morning!\n" * 4)
        self.assertIn("no such command", done.err)
        self.assertIn("messages 5", done.err)
        with open(saved, encoding="utf-8") as f:
            messages = json.load(f)
        self.assertEqual([m["role"] for m in messages], ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual(messages[3]["content"], "two\nlines")
        done = self.chat("/show\n/clear\n/system\n/show\n/load %s\n/show\n" % saved, "-f", saved)
        self.assertEqual(re.findall(r"messages (\d+)", done.err), ["5", "0", "5"])
        self.assertEqual(self.chat("\"\"\"/clear\"\"\"\n").out, "Good morning!\n")

    def test_settings(self):
        done = self.chat("/set temp 0\n/set new 2\n/set top-k 7\n/set nothing 1\n/show\nHi\n/help\n")
        self.assertIn("temp 0, top-k 7", done.err)
        self.assertIn("/set: temp", done.err)
        self.assertEqual(done.out, "Good morning\n")
        self.assertIn("/retry", done.err)

    def test_reasoning_is_kept_apart(self):
        saved = self.path("r.json")
        done = self.chat("Hi\n/save %s\n" % saved, model=self.model)
        self.assertTrue(done.out.startswith("Let me see."))
        with open(saved, encoding="utf-8") as f:
            self.assertEqual(json.load(f)[1]["reasoning_content"], "hm ok")

    def test_errors(self):
        self.fails(1, "chat", "-m", self.bare, says="has no chat template", stdin=b"Hi\n")
        self.fails(1, "chat", "-m", self.plain, "-c", "16", says="16", stdin=b"a long text for such a context\n")
        self.fails(2, "chat", "-m", self.plain, "--json", says="--json", stdin=b"")
        self.fails(1, "chat", "-m", self.plain, "-f", self.file("x.json", "{}"), says="no list of messages", stdin=b"")
        self.assertEqual(self.chat("").out, "")

    def test_on_a_terminal(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(rzlib.RZ, [rzlib.RZ, "chat", "-m", self.plain])
        seen = b""

        def wait_for(text, seconds=60):
            nonlocal seen
            end = time.monotonic() + seconds
            while text not in seen and time.monotonic() < end:
                if select.select([fd], [], [], 1)[0]:
                    try:
                        seen += os.read(fd, 4096)
                    except OSError:
                        break
            self.assertIn(text, seen)
            seen = seen[seen.index(text) + len(text):]
        wait_for(b"> ")
        os.write(fd, b"Hi\r")
        wait_for(b"Good morning!")
        wait_for(b"> ")
        os.write(fd, b"/bye\r")
        _, status = os.waitpid(pid, 0)
        os.close(fd)
        self.assertEqual(status, 0)


class Server(serving.Server):
    def __init__(self, model, *args):
        super().__init__(*args, model=model)

    def post(self, body, path="/v1/chat/completions"):
        status, headers, text = self.request("POST", path, body)
        return status, text.decode(), dict(headers.items())


class Http(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(cls.model)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        super().tearDownClass()
        assert status == 0, status

    def ask(self, **fields):
        body = {"messages": [user("Hi")]}
        body.update(fields)
        status, text, _ = self.server.post(body)
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def stream(self, **fields):
        status, text, headers = self.server.post(dict({"messages": [user("Hi")], "stream": True}, **fields))
        self.assertEqual(status, 200, text)
        self.assertTrue(headers["Content-Type"].startswith("text/event-stream"))
        events = [e[6:] for e in text.split("\n\n") if e]
        self.assertEqual(events[-1], "[DONE]")
        return [json.loads(e) for e in events[:-1]]

    def refused(self, param, says="", status=400, **fields):
        got, text, _ = self.server.post(dict({"messages": [user("Hi")]}, **fields))
        error = json.loads(text)["error"]
        self.assertEqual((got, error["param"]), (status, param), text)
        self.assertIn(says, error["message"])

    def test_a_call(self):
        o = self.ask(tools=[TOOL])
        self.assertEqual((o["object"], o["model"]), ("chat.completion", "call"))
        self.assertTrue(o["id"].startswith("chatcmpl-"))
        choice = o["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]), (0, "tool_calls", None))
        message = choice["message"]
        self.assertEqual((message["role"], message["content"], message["reasoning_content"], message["refusal"]),
                         ("assistant", "Let me see.", "hm ok", None))
        call = message["tool_calls"][0]
        self.assertEqual((len(message["tool_calls"]), call["type"], call["function"]["name"]), (1, "function", "get"))
        self.assertEqual(json.loads(call["function"]["arguments"]), {"city": "Paris"})
        self.assertRegex(call["id"], "^[0-9a-z]{9}$")  # what templates of Mistral insist on
        usage = o["usage"]
        self.assertEqual((usage["completion_tokens"], usage["total_tokens"]), (9, 9 + usage["prompt_tokens"]))
        self.assertEqual(usage["completion_tokens_details"]["reasoning_tokens"], 3)

    def test_a_call_of_a_strict_function(self):
        """The model wants to say Paris; what its schema does not allow it cannot say, and text is as it was."""
        for strict, cities in ((True, ["Rome", "Oslo"]), (False, ["Rome"]), (True, ["Paris", "Rome"])):
            f = dict(TOOL["function"], strict=strict, parameters={"type": "object", "properties": {"city": {"enum": cities}},
                                                          "required": ["city"], "additionalProperties": False})
            plain = self.ask(tools=[TOOL])["choices"][0]["message"]
            said = self.ask(tools=[{"type": "function", "function": f}], max_tokens=200, temperature=0)["choices"][0]["message"]
            self.assertEqual(said["content"], plain["content"])
            city = json.loads(said["tool_calls"][0]["function"]["arguments"])["city"]
            self.assertIn(city, cities if strict else ["Paris"])
            if "Paris" in cities:
                self.assertEqual(city, "Paris")

    def test_its_stream(self):
        chunks = self.stream(tools=[TOOL], stream_options={"include_usage": True})
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual({c["object"] for c in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({(c["id"], c["created"]) for c in chunks}), 1)
        self.assertEqual((chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]), ([], 9))
        self.assertTrue(all(c["usage"] is None for c in chunks[:-1]))
        deltas = [c["choices"][0] for c in chunks[:-1]]
        self.assertEqual([d["finish_reason"] for d in deltas], [None] * (len(deltas) - 1) + ["tool_calls"])
        self.assertEqual("".join(d["delta"].get("content", "") for d in deltas), "Let me see.")
        self.assertEqual("".join(d["delta"].get("reasoning_content", "") for d in deltas), "hm ok")
        calls = [c for d in deltas for c in d["delta"].get("tool_calls", [])]
        self.assertEqual([(c["index"], c["type"], c["function"]["name"]) for c in calls], [(0, "function", "get")])
        self.assertEqual(json.loads(calls[0]["function"]["arguments"]), {"city": "Paris"})

    def test_without_tools_it_is_content(self):
        want = "Let me see." + "".join(CALL)
        for fields in ({}, {"tools": []}, {"tools": [TOOL], "tool_choice": "none"}):
            choice = self.ask(**fields)["choices"][0]
            self.assertEqual((choice["message"]["content"], choice["finish_reason"]), (want, "stop"))
            self.assertNotIn("tool_calls", choice["message"])
        cut = self.ask(tools=[TOOL], max_tokens=7)["choices"][0]
        self.assertEqual((cut["message"]["content"], cut["finish_reason"]),
                         ("Let me see.<tool_call>{\"name\": \"get\", ", "length"))

    def test_limits_stops_and_logprobs(self):
        choice = self.ask(max_completion_tokens=5, max_tokens=1)["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("Let me see.", "length"))
        choice = self.ask(stop=[" me"], logprobs=True, top_logprobs=2)["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("Let", "stop"))
        entries = choice["logprobs"]["content"]
        self.assertEqual([e["token"] for e in entries], ["<think>", "hm", " ok", "</think>", "Let me see."])
        self.assertEqual(bytes(entries[2]["bytes"]), b" ok")
        self.assertTrue(all(e["logprob"] <= 0 and len(e["top_logprobs"]) == 2 for e in entries))
        self.assertEqual(entries[1]["top_logprobs"][0]["token"], "hm")
        events = self.stream(logprobs=True, stop=" me")
        self.assertIsNone(events[0]["choices"][0]["logprobs"])  # says who speaks, and nothing else
        streamed = [e for c in events for e in (c["choices"][0]["logprobs"] or {"content": []})["content"]]
        self.assertEqual([e["token"] for e in streamed], [e["token"] for e in entries])

    def test_a_whole_conversation(self):
        call = {"id": "call_1", "type": "function", "function": {"name": "get", "arguments": "{\"city\": \"Rome\"}"}}
        messages = [{"role": "developer", "content": "Be."}, user([{"type": "text", "text": "Weather?"}]),
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "21"}]
        o = self.ask(messages=messages, tools=[TOOL], temperature=0, top_p=0.5, seed=3, n=1, user="u", metadata={},
                     parallel_tool_calls=True, response_format={"type": "text"}, chat_template_kwargs={"x": 1})
        self.assertEqual(o["choices"][0]["finish_reason"], "tool_calls")

    def test_refused(self):
        self.refused("n", n=0)
        self.refused("n", n=129)
        self.refused("metadata", metadata={"a": 1})
        self.refused("messages", messages=[])
        self.refused("messages", messages="Hi")
        self.refused("messages[0]", messages=["Hi"])
        self.refused("messages[0].role", messages=[{"role": "critic", "content": "x"}])
        self.refused("messages[1].content", messages=[user("x"), {"role": "user"}])
        self.refused("messages[0].content", messages=[user([{"type": "image_url", "image_url": {"url": "x"}}])])
        self.refused("messages[0].tool_call_id", messages=[{"role": "tool", "content": "x"}])
        self.refused("messages[0].tool_calls", messages=[{"role": "assistant", "tool_calls": [{"function": {}}]}])
        self.refused("messages", "context", messages=[user("x" * 5000)])
        self.refused("tools", tools={})
        self.refused("tools[0].type", tools=[{"type": "retrieval"}])
        self.refused("tools[0].function", tools=[{"type": "function", "function": {}}])
        self.refused("tools[0].function", tools=[{"type": "function", "function": {"name": "f", "strict": 1}}])
        self.refused("tool_choice", tool_choice="required")
        self.refused("tool_choice", tool_choice={"type": "function", "function": {"name": "get"}})
        self.refused("parallel_tool_calls", parallel_tool_calls=0)
        self.refused("response_format", response_format={"type": "xml"})
        self.refused("response_format", "uniqueItems", response_format={"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"uniqueItems": True}}})
        self.refused("modalities", modalities=["text", "audio"])
        self.refused("top_logprobs", top_logprobs=2)
        self.refused("top_logprobs", logprobs=True, top_logprobs=21)
        self.refused("stream_options", stream_options={"include_usage": True})
        self.refused("chat_template_kwargs", chat_template_kwargs=1)
        for name in ("functions", "function_call", "audio", "prediction", "web_search_options", "verbosity", "grammar"):
            self.refused(name, **{name: {}})
        self.refused("store", store=True)
        self.refused("model", status=404, model="other")

    def test_unknown_fields_are_named(self):
        status, _, headers = self.server.post({"messages": [user("Hi")], "nonsense": 1, "prompt": "x", "max_tokens": 1})
        self.assertEqual((status, headers["X-Rz-Ignored"]), (200, "nonsense, prompt"))

    def test_the_template_refuses(self):
        templ = self.file("no.jinja", "{{ raise_exception('Not with me.') }}")
        for option, says in (("model.chat_template=@file:" + templ, "Not with me."),
                             ("model.chat_template=x", "does not show tools")):
            server = Server(self.plain, "-o", option)
            status, text, _ = server.post({"messages": [user("Hi")], "tools": [TOOL]})
            self.assertEqual(status, 400)
            self.assertIn(says, text)
            self.assertEqual(server.stop(), 0)

    def test_answers_of_several_messages(self):
        """<|end|> ends a message of gpt-oss, <|call|> the answer."""
        script = ["<|channel|>", "analysis", "<|message|>", "hm", "<|end|>", "<|start|>", "assistant",
                  "<|channel|>commentary to=functions.get <|constrain|>json<|message|>", "{\"city\": \"Paris\"}", "<|call|>", "no"]
        model = scripted.write(self.path("harmony.gguf"), script, scripted.TEMPLATE + "{# <|channel|><|message|> #}",
                               ["<|channel|>", "<|message|>", "<|start|>", "<|call|>", "<|return|>"])
        server = Server(model)
        status, text, _ = server.post({"messages": [user("Hi")], "tools": [TOOL]})
        self.assertEqual(status, 200, text)
        o = json.loads(text)
        message = o["choices"][0]["message"]
        self.assertEqual((message["content"], message["reasoning_content"], o["choices"][0]["finish_reason"]),
                         (None, "hm", "tool_calls"))
        self.assertEqual(message["tool_calls"][0]["function"], {"name": "get", "arguments": "{\"city\": \"Paris\"}"})
        self.assertEqual(o["usage"]["completion_tokens"], 9)
        self.assertEqual(server.stop(), 0)

    def test_tools_for_a_template_that_knows_none(self):
        templ = "{% for m in messages %}<|begin|>{{ m.role }}:{{ m.content }}<|end|>{% endfor %}" + scripted.GO
        model = scripted.write(self.path("simple.gguf"), CALL, templ)
        call = {"id": "1", "type": "function", "function": {"name": "get", "arguments": "{\"city\": \"Rome\"}"}}
        given = {"messages": [{"role": "system", "content": "Be."}, user("Hi"),
                              {"role": "assistant", "content": None, "tool_calls": [call]},
                              {"role": "tool", "tool_call_id": "1", "content": "21"},
                              {"role": "tool", "tool_call_id": "2", "content": "22"}], "tools": [TOOL]}
        got = json.loads(rzlib.rz("template", "-m", model, "--json", stdin=json.dumps(given).encode()).out)
        self.assertEqual((got["tools"], got["format"]), (True, "hermes"))
        self.assertIn("<|begin|>system:Be.\n\n", got["prompt"])
        self.assertIn("<tools>\n{\"name\": \"get\", ", got["prompt"])
        self.assertIn("<|begin|>assistant:<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>"
                      "<|end|><|begin|>user:<tool_response>\n21\n</tool_response>\n<tool_response>\n22\n</tool_response><|end|>",
                      got["prompt"])
        server = Server(model)
        status, text, _ = server.post(given)
        self.assertEqual((status, json.loads(text)["choices"][0]["finish_reason"]), (200, "tool_calls"))
        self.assertEqual(server.stop(), 0)

    def test_a_model_without_template(self):
        server = Server(self.bare)
        status, text, _ = server.post({"messages": [user("Hi")]})
        self.assertEqual(status, 400)
        self.assertIn("-o model.chat_template=@file:", text)
        self.assertEqual(server.post({"prompt": "x", "max_tokens": 1}, "/v1/completions")[0], 200)
        self.assertEqual(server.stop(), 0)


class Forged(unittest.TestCase):
    """What a conversation says is never a control token, whatever the template does with it."""

    def test_every_template_with_every_vocabulary(self):
        folder, vocabularies = rzlib.shared("templates"), rzlib.shared("vocab")
        if not folder or not vocabularies:
            self.skipTest("no reference data: RZ_SHARED")
        models = sorted(os.path.join(vocabularies, n) for n in os.listdir(vocabularies) if n.endswith(".gguf"))
        templates = sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".jinja"))
        self.assertGreaterEqual(len(templates), 37)
        rendered = checked = 0
        for model in models if rzlib.SLOW else [m for m in models if "qwen2" in m]:
            a, b = self.check_model(model, templates if rzlib.SLOW else templates[::4])
            rendered, checked = rendered + a, checked + b
        print("%d prompts rendered, %d control tokens of templates in them, none of messages" % (rendered, checked))

    def test_every_template_with_a_vocabulary_of_its_own(self):
        """The words in brackets that a template holds are the control tokens, and all of them are said to it."""
        folder = rzlib.shared("templates")
        if not folder:
            self.skipTest("no reference data: RZ_SHARED")
        paths = sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".jinja"))
        rendered = total = 0
        with tempfile.TemporaryDirectory() as out:
            for path in paths if rzlib.SLOW else paths[::3]:
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                words = set(re.findall("<[|\uff5c]?[A-Za-z_/:\u2581-]+[|\uff5c]?>|\\[/?[A-Z_]+\\]", text))
                words |= {"<|%s|>" % r for r in ("user", "assistant", "system", "tool")}
                model = scripted.write(os.path.join(out, "v.gguf"), [], None, sorted(words - {"<|begin|>", "<|end|>"}))
                a, b = self.check_model(model, [path], 0)
                rendered, total = rendered + a, total + b
        print("%d prompts rendered, %d control tokens of templates in them" % (rendered, total))
        self.assertGreater(total, 2 * len(paths) // (1 if rzlib.SLOW else 3))

    def guarded(self, model):
        """id -> spelling of what may not be forged."""
        vocab = json.loads(rzlib.rz("info", model, "--vocab", "--json").out)["vocab"]
        return {t["id"]: t["piece"] for t in vocab
                if t["piece"] and (t["kind"] in ("control", 3) or re.fullmatch(r"<\|.*\|>", t["piece"], re.S))}

    def check_model(self, model, templates, least=2 / 3):
        control = self.guarded(model)
        spelled = list(control.values())
        hostile = " ".join(spelled) + "".join(spelled[:50]) + "<|im_" + "</"
        messages = [{"role": "system", "content": "S " + hostile}, user(hostile),
                    {"role": "assistant", "content": "A " + hostile, "reasoning_content": hostile}, user("x" + hostile)]
        given = json.dumps({"messages": messages, "tools": [dict(TOOL, function=dict(
            TOOL["function"], name="f" + hostile[:500], description=hostile))]}).encode()
        short = json.dumps([user(hostile)]).encode()
        prompts, want = [], []
        for template in templates:
            done = rzlib.rz("template", "-m", model, "--template", template, "--json", stdin=given, status=None)
            if done.returncode:
                done = rzlib.rz("template", "-m", model, "--template", template, "--json", stdin=short, status=None)
            if done.returncode:  # refuses any message that it did not write itself
                self.assertEqual(done.returncode, 1, template)
                continue
            got = json.loads(done.out)
            prompts.append(self.blanked(got))
            want.append((template, [i for i in got["ids"] if i in control]))
        self.assertGreaterEqual(len(prompts), int(len(templates) * least))
        lines = rzlib.rz("tokenize", "-m", model, "--lines", stdin="".join(json.dumps(p) + "\n" for p in prompts).encode())
        total = 0
        for line, (template, found) in zip(lines.out.splitlines(), want):
            own = [int(i) for i in line.split() if int(i) in control]
            bos = found[:1] if len(found) == len(own) + 1 else []  # of the vocabulary, where the template gives none
            self.assertEqual(found, bos + own, "%s with %s" % (model, template))
            total += len(own)
        return len(prompts), total

    @staticmethod
    def blanked(got):
        """The prompt with other text in place of what the conversation gave."""
        text, at, out = got["prompt"].encode(), 0, b""
        for begin, end in got["outside"]:
            out, at = out + text[at:begin] + b"x", end
        return (out + text[at:]).decode()


if __name__ == "__main__":
    unittest.main()
