#!/usr/bin/env python3
"""test_api.py - the routes of the server beyond a plain answer: several choices and prompts, embeddings, responses,
models, and the original system's routes.
"""

import base64
import json
import os
import socket
import struct
import tempfile
import unittest

import rzlib
import scripted
from server import Server

TINY = rzlib.fixture("tiny-llama.gguf")
THOUGHTS = scripted.TEMPLATE + "{# <think></think> #}"
CALL = ["<tool_call>", "{\"name\": \"get\", ", "\"arguments\": {\"city\": \"Paris\"}}", "</tool_call>"]
SECOND = ["<tool_call> ", "{\"name\": \"get\",  ", "\"arguments\": {\"city\": \"Rome\"}}", "</tool_call> "]
FUNCTION = {"name": "get", "description": "d", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}
FLAT = dict(FUNCTION, type="function")


def user(text):
    return {"role": "user", "content": text}


class Tiny(unittest.TestCase):
    """Real, if random, weights: what is compared are answers with each other."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(TINY, "-o", "engine.context=512")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def complete(self, **fields):
        body = dict({"prompt": "the king was", "max_tokens": 12, "temperature": 1.1, "ignore_eos": True}, **fields)
        return self.server.json("/v1/completions", body)

    def test_choices_have_the_seeds_that_follow(self):
        together = self.complete(n=5, seed=40)
        self.assertEqual([c["index"] for c in together["choices"]], [0, 1, 2, 3, 4])
        for i, choice in enumerate(together["choices"]):
            alone = self.complete(seed=40 + i)["choices"][0]
            self.assertEqual(dict(choice, index=0), alone)
        self.assertEqual(len({c["text"] for c in together["choices"]}), 5)
        usage = together["usage"]
        self.assertEqual((usage["completion_tokens"], usage["total_tokens"]), (60, 60 + usage["prompt_tokens"]))
        self.assertEqual(usage["prompt_tokens"], self.complete()["usage"]["prompt_tokens"])

    def test_more_than_are_given_to_the_engine_at_once(self):
        texts = [c["text"] for c in self.complete(n=40, seed=7, max_tokens=3)["choices"]]
        self.assertEqual(len(texts), 40)
        for i in (0, 15, 16, 39):
            self.assertEqual(texts[i], self.complete(seed=7 + i, max_tokens=3)["choices"][0]["text"])

    def test_several_prompts(self):
        answer = self.complete(prompt=["the king", "a queen"], n=2, seed=1)
        for p, prompt in enumerate(("the king", "a queen")):
            for i in range(2):
                alone = self.complete(prompt=prompt, seed=1 + i)
                self.assertEqual(answer["choices"][2 * p + i]["text"], alone["choices"][0]["text"])
        ids = self.server.json("/tokenize", {"text": "the king"})["token_ids"]
        lists = self.complete(prompt=[ids, ids], seed=1)
        self.assertEqual([c["text"] for c in lists["choices"]], [answer["choices"][0]["text"]] * 2)

    def test_choices_of_a_stream_go_on_side_by_side(self):
        whole = self.complete(n=3, seed=9, max_tokens=20)
        body = {"prompt": "the king was", "max_tokens": 20, "temperature": 1.1, "ignore_eos": True, "n": 3, "seed": 9,
                "stream": True, "stream_options": {"include_usage": True}}
        events = [e for _, e in self.server.events("/v1/completions", body)]
        self.assertEqual(events.pop(), "[DONE]")
        self.assertEqual((events[-1]["choices"], events[-1]["usage"]["completion_tokens"]), ([], 60))
        parts = [e["choices"][0] for e in events[:-1]]
        order = [c["index"] for c in parts]
        for i in range(3):
            mine = [c for c in parts if c["index"] == i]
            self.assertEqual("".join(c["text"] for c in mine), whole["choices"][i]["text"])
            self.assertEqual([c["finish_reason"] for c in mine], [None] * (len(mine) - 1) + ["length"])
        self.assertNotEqual(order, sorted(order))

    def test_echo(self):
        plain = self.complete(seed=3)["choices"][0]["text"]
        self.assertEqual(self.complete(seed=3, echo=True)["choices"][0]["text"], "the king was" + plain)
        body = {"prompt": ["a", "b"], "max_tokens": 2, "seed": 3, "echo": True, "stream": True}
        events = [e["choices"][0] for _, e in self.server.events("/v1/completions", body) if e != "[DONE]"]
        for i, prompt in enumerate("ab"):
            self.assertTrue(next(c for c in events if c["index"] == i)["text"].startswith(prompt))

    def test_echo_with_log_probabilities(self):
        """What the model makes of a prompt is what it said of the same tokens when it made them."""
        text = "the king was in the house and the queen was in the garden " * 9
        answer = self.complete(prompt=text, temperature=0, logprobs=3, ignore_eos=False)
        self.assertGreater(answer["usage"]["prompt_tokens"], 130)  # more than are scored in two steps
        first = answer["choices"][0]["logprobs"]
        ids = self.server.json("/generate", {"prompt": text, "max_tokens": 12})["token_ids"]
        n = len(first["tokens"])
        self.assertEqual(len(ids), answer["usage"]["total_tokens"])
        for _ in range(2):  # the second finds pages in the cache, and computes them all the same
            whole = self.server.json("/v1/completions", {"prompt": ids, "max_tokens": 0, "logprobs": 3, "echo": True})
            entry = whole["choices"][0]
            self.assertEqual((whole["usage"]["completion_tokens"], entry["finish_reason"]), (0, "length"))
            self.assertEqual(entry["logprobs"]["token_logprobs"][0], None)
            for key in ("tokens", "token_logprobs", "top_logprobs"):
                self.assertEqual(entry["logprobs"][key][-n:], first[key])
            # Of what is generated some tokens are parts of a character, which have no text of their own.
            self.assertTrue(entry["text"].startswith("".join(entry["logprobs"]["tokens"][:-n])))
        body = {"prompt": ["the king", "a queen"], "max_tokens": 3, "logprobs": 1, "echo": True, "n": 2, "ignore_eos": True,
                "seed": 3}
        choices = self.server.json("/v1/completions", body)["choices"]
        for c in choices:
            self.assertTrue("".join(c["logprobs"]["tokens"]).startswith(body["prompt"][c["index"] // 2]))
            self.assertEqual(c["logprobs"]["text_offset"][0], 0)
        self.assertEqual(choices[0]["logprobs"]["token_logprobs"][:2], choices[1]["logprobs"]["token_logprobs"][:2])
        events = [e["choices"][0] for _, e in self.server.events("/v1/completions", dict(body, stream=True)) if e != "[DONE]"]
        for i in range(4):
            parts = [e for e in events if e["index"] == i]
            tokens = [t for e in parts if e["logprobs"] for t in e["logprobs"]["tokens"]]
            self.assertEqual(tokens, choices[i]["logprobs"]["tokens"])
            self.assertEqual("".join(e["text"] for e in parts), choices[i]["text"])

    def test_best_of(self):
        ask = {"prompt": ["the king", "a queen"], "max_tokens": 6, "seed": 4, "temperature": 1.3, "logprobs": 0, "ignore_eos": True}
        all_of = self.server.json("/v1/completions", dict(ask, n=5))["choices"]
        best = self.server.json("/v1/completions", dict(ask, n=2, best_of=5))
        for p in range(2):
            order = sorted(all_of[5 * p:5 * p + 5], key=lambda c: -sum(c["logprobs"]["token_logprobs"]))
            self.assertEqual([c["text"] for c in best["choices"][2 * p:2 * p + 2]], [c["text"] for c in order[:2]])
        self.assertEqual([c["index"] for c in best["choices"]], [0, 1, 2, 3])
        self.assertEqual(best["usage"]["completion_tokens"], 60)

    def test_limits_of_batches(self):
        for fields in ({"prompt": ["a"] * 2049}, {"prompt": ["a"] * 100, "n": 100}, {"prompt": ["a", [1]]}):
            error = self.server.json("/v1/completions", dict({"max_tokens": 1}, **fields), status=400)["error"]
            self.assertEqual(error["param"], "prompt")

    def test_embeddings(self):
        texts = ["the king", "a queen", "the king"]
        answer = self.server.json("/v1/embeddings", {"input": texts})
        vectors = [d["embedding"] for d in answer["data"]]
        self.assertEqual([d["index"] for d in answer["data"]], [0, 1, 2])
        self.assertEqual(vectors[0], vectors[2])
        self.assertNotEqual(vectors[0], vectors[1])
        for v in vectors:
            self.assertAlmostEqual(sum(x * x for x in v), 1, places=5)
        tokens = sum(self.server.json("/tokenize", {"text": t})["num_tokens"] for t in texts)
        self.assertEqual(answer["usage"], {"prompt_tokens": tokens, "total_tokens": tokens})
        coded = self.server.json("/v1/embeddings", {"input": texts[0], "encoding_format": "base64"})["data"][0]["embedding"]
        raw = base64.b64decode(coded)
        for a, b in zip(struct.unpack("<%df" % len(vectors[0]), raw), vectors[0]):
            self.assertAlmostEqual(a, b, places=6)
        short = self.server.json("/v1/embeddings", {"input": texts[0], "dimensions": 4})["data"][0]["embedding"]
        norm = sum(x * x for x in vectors[0][:4]) ** 0.5
        for a, b in zip(short, vectors[0][:4]):
            self.assertAlmostEqual(a, b / norm, places=5)
        ids = self.server.json("/tokenize", {"text": texts[0]})["token_ids"]
        self.assertEqual(self.server.json("/v1/embeddings", {"input": ids})["data"][0]["embedding"], vectors[0])
        many = self.server.json("/v1/embeddings", {"input": ["%d" % i for i in range(60)]})["data"]
        self.assertEqual([d["index"] for d in many], list(range(60)))
        for fields, param in (({"dimensions": 100000}, "dimensions"), ({"encoding_format": "int8"}, "encoding_format"),
                              ({"input": []}, "input"), ({"input": {}}, "input"), ({"user": 1}, "user")):
            error = self.server.json("/v1/embeddings", dict({"input": "a"}, **fields), status=400)["error"]
            self.assertEqual(error["param"], param)

    def test_the_same_vector_as_rz_embed(self):
        done = rzlib.rz("embed", "-m", TINY, "-p", "the king", "--normalize", "--format", "text")
        want = [float(x) for x in done.out.split()]
        got = self.server.json("/v1/embeddings", {"input": "the king"})["data"][0]["embedding"]
        self.assertEqual(len(got), len(want))
        for a, b in zip(got, want):
            self.assertAlmostEqual(a, b, places=5)

    def test_models(self):
        listed = self.server.json("/v1/models")["data"]
        name = listed[0]["id"]
        self.assertEqual(self.server.json("/v1/models/" + name), listed[0])
        self.assertEqual(self.server.json("/v1/models/" + "".join("%%%02x" % b for b in name.encode())), listed[0])
        for wrong in ("x", name + "x", name[:-1], name + "%00", "%", "%2"):
            self.assertEqual(self.server.json("/v1/models/" + wrong, status=404)["error"]["code"], "model_not_found")
        self.assertEqual(self.server.ask("/v1/models/")[0], 404)
        plain = self.server.json("/models")["models"][0]
        self.assertEqual((plain["id"], plain["format"], plain["loaded"]), (name, "GGUF", True))

    def test_about(self):
        self.assertLessEqual({"status": "healthy", "compute_mode": "cpu"}.items(), self.server.json("/health").items())
        self.assertEqual(self.server.json("/ready")["status"], "ready")
        self.assertEqual(self.server.json("/version")["name"], "rz")

    def test_the_original_systems_routes(self):
        one = self.server.json("/tokenize", {"text": "the king"})
        self.assertEqual(one["num_tokens"], len(one["token_ids"]))
        both = self.server.json("/batch/tokenize", {"texts": ["the king", ""]})["results"]
        self.assertEqual(both[0], one)
        plain = self.server.json("/generate", {"prompt": "the king", "max_tokens": 6})
        self.assertEqual(plain["token_ids"][:one["num_tokens"]], one["token_ids"])
        self.assertEqual(len(plain["token_ids"]), one["num_tokens"] + plain["num_generated"])
        again = self.complete(prompt="the king", max_tokens=6, temperature=0, ignore_eos=False)
        self.assertTrue(plain["text"].endswith(again["choices"][0]["text"]))
        self.assertIn("the king", plain["text"])
        events = self.server.events("/stream/generate", {"prompt": "the king", "max_tokens": 6})
        self.assertEqual([n for n, _ in events], ["token"] * plain["num_generated"] + ["done"])
        self.assertEqual([e["token_id"] for _, e in events[:-1]], plain["token_ids"][one["num_tokens"]:])
        self.assertEqual(events[-1][1]["num_generated"], plain["num_generated"])
        batch = self.server.json("/batch/generate", {"prompts": ["a", "the king"], "max_tokens": 6})["results"]
        self.assertEqual(batch[1], plain)
        drawn = [self.server.json("/generate", {"prompt": "a", "max_tokens": 8, "strategy": "top_k", "temperature": 2,
                                                "seed": s})["token_ids"] for s in (1, 1, 2)]
        self.assertEqual(drawn[0], drawn[1])
        self.assertNotEqual(drawn[0], drawn[2])

    def test_their_errors(self):
        for path, body, status in (("/generate", {}, 400), ("/generate", {"prompt": 1}, 400), ("/batch/generate", {"prompts": []}, 400),
                                   ("/tokenize", {"text": "a", "model_id": "x"}, 404), ("/batch/tokenize", {"texts": "a"}, 400),
                                   ("/generate", {"prompt": "a", "strategy": "beam"}, 400)):
            self.assertIsInstance(self.server.json(path, body, status=status)["error"], str)
        self.assertEqual(self.server.ask("/tokenize")[0], 405)

    def test_unknown_fields(self):
        status, _, headers = self.server.ask("/v1/embeddings", {"input": "a", "nonsense": 1, "more": 2})
        self.assertEqual((status, headers["X-Rz-Ignored"]), (200, "nonsense, more"))

    def test_numbers_as_json_has_them(self):
        self.assertEqual(self.complete(max_tokens=2.0, seed=5)["usage"]["completion_tokens"], 2)
        status, _, headers = self.server.ask("/v1/completions", {"prompt": "a", "max_tokens": 1, "nonsense": 10 ** 40})
        self.assertEqual((status, headers["X-Rz-Ignored"]), (200, "nonsense"))


class Talk(unittest.TestCase):
    """Answers that a script has written."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        model = scripted.write(os.path.join(cls.folder.name, "call.gguf"),
                               ["<think>", "hm", " ok", "</think>", "Let me see."] + CALL + SECOND, THOUGHTS)
        cls.server = Server(model)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def test_choices(self):
        o = self.server.json("/v1/chat/completions", {"messages": [user("Hi")], "tools": [TOOL], "n": 2, "temperature": 0})
        self.assertEqual([c["index"] for c in o["choices"]], [0, 1])
        ids = [call["id"] for c in o["choices"] for call in c["message"]["tool_calls"]]
        self.assertEqual((len(ids), len(set(ids))), (4, 4))
        self.assertEqual(o["usage"]["completion_tokens"], 26)
        self.assertEqual(o["usage"]["completion_tokens_details"]["reasoning_tokens"], 6)

    def test_one_call_at_most(self):
        body = {"messages": [user("Hi")], "tools": [TOOL], "parallel_tool_calls": False, "temperature": 0}
        o = self.server.json("/v1/chat/completions", body)
        choice = o["choices"][0]
        self.assertEqual((len(choice["message"]["tool_calls"]), choice["finish_reason"]), (1, "tool_calls"))
        self.assertEqual(o["usage"]["completion_tokens"], 8)  # with the last brace of its arguments
        events = [e["choices"][0] for _, e in self.server.events("/v1/chat/completions", dict(body, stream=True)) if e != "[DONE]"]
        self.assertEqual(len([1 for c in events if "tool_calls" in c["delta"]]), 1)
        self.assertEqual(events[-1]["finish_reason"], "tool_calls")

    def test_arguments_while_they_are_written(self):
        """Each token of the arguments is a delta; together they are what an answer in one piece has."""
        said = ["Hm.", "<tool_call>", "{\"name\": \"get\", \"argu", "ments\": {\"ci", "ty\": \"\u00cele\", ", "\"n\": [1", ", 2]", "}}",
                "</tool_call>", "<tool_call> ", "{\"name\": \"get\", \"arguments\": {\"city\":", " 5 x"]
        server = Server(scripted.write(os.path.join(self.folder.name, "pieces.gguf"), said, THOUGHTS))
        try:
            for limit in [None] + list(range(1, len(said) + 1)):
                body = {"messages": [user("Hi")], "tools": [TOOL], "temperature": 0, "max_tokens": limit}
                choice = server.json("/v1/chat/completions", body)["choices"][0]
                whole = [c["function"] for c in choice["message"].get("tool_calls", [])]
                events = [e["choices"][0] for _, e in server.events("/v1/chat/completions", dict(body, stream=True)) if e != "[DONE]"]
                calls, pieces = [], []
                for call in [c for e in events for c in e["delta"].get("tool_calls", [])]:
                    if call["index"] == len(calls):
                        self.assertEqual((set(call), call["type"], len(call["id"])), ({"index", "id", "type", "function"}, "function", 9))
                        calls.append(call["function"])
                        pieces.append(1)
                    else:
                        self.assertEqual((call["index"] + 1, set(call), set(call["function"])), (len(calls), {"index", "function"}, {"arguments"}))
                        calls[-1]["arguments"] += call["function"]["arguments"]
                        pieces[-1] += 1
                self.assertEqual(calls, whole)
                content = "".join(e["delta"].get("content", "") for e in events)
                self.assertEqual((content, events[-1]["finish_reason"]), (choice["message"]["content"] or "", choice["finish_reason"]))
                response = {"input": "Hi", "tools": [FLAT], "temperature": 0, "max_output_tokens": limit}
                items = [i for i in server.json("/v1/responses", response)["output"] if i["type"] == "function_call"]
                self.assertEqual([(i["name"], i["arguments"]) for i in items], [(c["name"], c["arguments"]) for c in whole])
                told = server.events("/v1/responses", dict(response, stream=True))
                self.assertEqual("".join(e["delta"] for n, e in told if n == "response.function_call_arguments.delta"),
                                 "".join(c["arguments"] for c in whole))
                done = [e["item"] for n, e in told if n == "response.output_item.done" and e["item"]["type"] == "function_call"]
                self.assertEqual([(i["name"], i["arguments"], i["status"]) for i in done], [(i["name"], i["arguments"], i["status"]) for i in items])
                if limit == 6:
                    self.assertEqual((whole[0]["arguments"], items[0]["status"], choice["finish_reason"]),
                                     ("{\"city\": \"\u00cele\", \"n\": [1", "incomplete", "length"))
            self.assertEqual([c["arguments"] for c in whole], ["{\"city\": \"\u00cele\", \"n\": [1, 2]}", "{\"city\": 5 "])
            self.assertEqual((content, pieces, [i["status"] for i in items]), ("Hm.x", [5, 2], ["completed", "incomplete"]))
        finally:
            server.stop()

    def respond(self, status=200, **fields):
        return self.server.json("/v1/responses", dict({"input": "Hi", "temperature": 0}, **fields), status=status)

    def test_a_response(self):
        o = self.respond(tools=[FLAT], metadata={"a": "b"}, instructions="Be.")
        self.assertEqual((o["object"], o["status"], o["metadata"], o["instructions"]), ("response", "completed", {"a": "b"}, "Be."))
        self.assertEqual([i["type"] for i in o["output"]], ["reasoning", "message", "function_call", "function_call"])
        self.assertEqual(o["output"][0]["content"], [{"type": "reasoning_text", "text": "hm ok", **{}}])
        self.assertEqual(o["output"][1]["content"][0]["text"], "Let me see.")
        self.assertEqual((o["output"][2]["name"], json.loads(o["output"][3]["arguments"])), ("get", {"city": "Rome"}))
        self.assertEqual((o["usage"]["output_tokens"], o["usage"]["output_tokens_details"]["reasoning_tokens"]), (13, 3))
        short = self.respond(max_output_tokens=5)
        self.assertEqual((short["status"], short["incomplete_details"]), ("incomplete", {"reason": "max_output_tokens"}))

    def test_its_events(self):
        events = self.server.events("/v1/responses", {"input": "Hi", "temperature": 0, "tools": [FLAT], "stream": True})
        self.assertEqual([e["sequence_number"] for _, e in events], list(range(len(events))))
        self.assertTrue(all(name == e["type"] for name, e in events))
        kinds = [name for name, _ in events]
        self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added",
                                     "response.content_part.added"])
        self.assertEqual(kinds[-1], "response.completed")
        text = "".join(e["delta"] for n, e in events if n == "response.output_text.delta")
        thoughts = "".join(e["delta"] for n, e in events if n == "response.reasoning_text.delta")
        self.assertEqual((text, thoughts), ("Let me see.", "hm ok"))
        done = [e["item"] for n, e in events if n == "response.output_item.done"]
        self.assertEqual(done, events[-1][1]["response"]["output"])
        calls = [e for n, e in events if n == "response.function_call_arguments.done"]
        self.assertEqual([json.loads(c["arguments"])["city"] for c in calls], ["Paris", "Rome"])

    def test_log_probabilities_of_a_response(self):
        body = {"input": "Hi", "temperature": 0, "tools": [FLAT], "include": ["message.output_text.logprobs"], "top_logprobs": 2}
        said = self.server.json("/v1/responses", body)["output"][1]["content"][0]
        self.assertEqual("".join(e["token"] for e in said["logprobs"]), said["text"])
        for e in said["logprobs"]:
            self.assertEqual((len(e["top_logprobs"]), e["top_logprobs"][0]["token"]), (2, e["token"]))
        events = self.server.events("/v1/responses", dict(body, stream=True))
        deltas = [p for n, e in events if n == "response.output_text.delta" for p in e["logprobs"]]
        done = [e["logprobs"] for n, e in events if n == "response.output_text.done"]
        self.assertEqual((deltas, done), (said["logprobs"], [said["logprobs"]]))
        self.assertEqual(self.respond()["output"][1]["content"][0]["logprobs"], [])

    def test_a_conversation_in_items(self):
        items = [{"role": "developer", "content": "Be."}, {"type": "message", "role": "user",
                                                          "content": [{"type": "input_text", "text": "Weather?"}]},
                 {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
                 {"type": "function_call", "call_id": "1", "name": "get", "arguments": "{\"city\": \"Rome\"}"},
                 {"type": "function_call", "call_id": "2", "name": "get", "arguments": "{}"},
                 {"type": "function_call_output", "call_id": "1", "output": "21"},
                 {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "22"}]}]
        messages = [{"role": "developer", "content": "Be."}, user("Weather?"),
                    {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "get", "arguments": "{\"city\": \"Rome\"}"}},
                        {"id": "2", "type": "function", "function": {"name": "get", "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "1", "content": "21"}, {"role": "tool", "tool_call_id": "2", "content": "22"}]
        a = self.respond(input=items, tools=[FLAT])
        b = self.server.json("/v1/chat/completions", {"messages": messages, "tools": [TOOL], "temperature": 0})
        self.assertEqual(a["usage"]["input_tokens"], b["usage"]["prompt_tokens"])

    def test_refused(self):
        for param, fields in (("previous_response_id", {"previous_response_id": "resp_1"}), ("store", {"store": True}),
                              ("background", {"background": True}), ("truncation", {"truncation": "auto"}),
                              ("include", {"include": ["file_search_call.results"]}), ("conversation", {"conversation": "c"}),
                              ("reasoning", {"reasoning": {"summary": "detailed"}}), ("input", {"input": []}),
                              ("text.verbosity", {"text": {"verbosity": "low"}}), ("top_logprobs", {"top_logprobs": 21}),
                              ("tools[0].type", {"tools": [{"type": "web_search"}]}),
                              ("input[0].type", {"input": [{"type": "item_reference", "id": "x"}]}),
                              ("input[0].role", {"input": [{"role": "critic", "content": "x"}]}),
                              ("input[0].content", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
                              ("input[0].arguments", {"input": [{"type": "function_call", "call_id": "1", "name": "f"}]})):
            self.assertEqual(self.respond(400, **fields)["error"]["param"], param)


class Silence(unittest.TestCase):
    def test_comments_while_there_is_nothing_to_say(self):
        """A stream whose tokens have no text shows that it lives."""
        server = Server(TINY, "-o", "engine.context=65536", "-o", "plugin.http.keep_alive_s=1")
        body = json.dumps({"prompt": "the king", "max_tokens": 60000, "ignore_eos": True, "temperature": 0, "stream": True,
                           "logit_bias": {"1": 100}}).encode()
        with socket.create_connection(("127.0.0.1", server.port), 60) as s:
            s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(body) + body)
            got = b""
            while b"\n: " not in got and b"[DONE]" not in got:
                got += s.recv(4096)
        server.stop()
        self.assertIn(b"200 OK", got)
        self.assertIn(b"\n: ", got)
        self.assertNotIn(b"data: ", got)


if __name__ == "__main__":
    unittest.main()
