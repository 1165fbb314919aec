#!/usr/bin/env python3
"""test_models.py - several models in one server: loaded on first use, unloaded for room or for want of use, never
while in use; names; loads that fail; and answers that do not depend on any of it.

tests/plugins/gate.c holds a load up as long as a file lies beside the model.
"""

import json
import os
import random
import re
import shutil
import tempfile
import threading
import time
import unittest

import rzlib
import test_faults
from serving import Server, post, read_all, read_to

SMALL = ("-o", "engine.context=512", "-o", "engine.max_seqs=4")
FILES = {"a": "tiny-llama", "b": "tiny-mqa", "c": "tiny-q4_k", "d": "tiny-f16"}
ASK = {"prompt": "the king was", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.gate = test_faults.build("gate", cls.folder)
        for name, file in FILES.items():
            shutil.copy(rzlib.fixture(file + ".gguf"), cls.path(name))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name + ".gguf")

    def config(self, models, gated=False):
        """Options of a server with these models: name -> options of its section."""
        path = os.path.join(self.folder, "rz.ini")
        with open(path, "w") as f:
            for name, options in models.items():
                f.write("[model.%s]\n" % name)
                for key, value in dict({"path": self.path(name), "load": "use"}, **options).items():
                    f.write("%s = %s\n" % (key, value))
            if gated:
                f.write("[plugin.gate]\npath = %s\nprefer = 1\n" % self.gate)
        return ("--config", path)

    def start(self, models, *args, gated=False):
        server = Server(*self.config(models, gated), *SMALL, *args, model=None)
        self.addCleanup(server.kill)
        return server

    def close_gate(self, name):
        open(self.path(name) + ".gate", "w").close()
        self.addCleanup(lambda: self.open_gate(name))

    def open_gate(self, name):
        if os.path.exists(self.path(name) + ".gate"):
            os.remove(self.path(name) + ".gate")

    def states(self, server):
        status, _, text = server.request("GET", "/v1/models")
        self.assertEqual(status, 200)
        return {m["id"]: m["state"] for m in json.loads(text)["data"]}

    def of(self, server, what, name):
        return server.metrics()['%s{model_name="%s"}' % (what, name)]

    def until(self, what, why):
        end = time.monotonic() + 60
        while not what():
            self.assertLess(time.monotonic(), end, why)
            time.sleep(0.02)

    def text(self, server, name, **fields):
        status, text = server.ask(dict(ASK, model=name, **fields))
        self.assertEqual(status, 200, text)
        return json.loads(text)["choices"][0]["text"]

    def alone(self, name, *args):
        server = Server("-o", "engine.context=512", *args, model=self.path(name))
        self.addCleanup(server.kill)
        return server

    def sizes(self, names, *args):
        """What each takes, in bytes."""
        server = self.start({name: {} for name in names}, *args)
        found = {name: int(self.of(server, "rz_model_memory_bytes", name)) for name in names}
        self.assertEqual(server.stop(), 0)
        return found


class Loading(Models):
    def test_loaded_on_use(self):
        server = self.start({"a": {"load": "start"}, "b": {}, "c": {}})
        self.assertEqual(self.states(server), {"a": "loaded", "b": "unloaded", "c": "unloaded"})
        listed = json.loads(server.request("GET", "/models")[2])["models"]
        self.assertEqual([m["loaded"] for m in listed], [True, False, False])
        self.assertIn("llama", listed[1]["description"])
        self.assertEqual(server.request("GET", "/ready")[0], 200)
        self.text(server, "b")
        self.assertEqual(self.states(server), {"a": "loaded", "b": "loaded", "c": "unloaded"})
        status, text = server.ask({"model_id": "c", "text": "the king"}, "/tokenize")
        self.assertEqual(status, 200, text)
        self.assertEqual(self.states(server)["c"], "loaded")
        self.assertEqual(self.text(server, "a"), json.loads(server.ask(ASK)[1])["choices"][0]["text"])
        self.assertEqual(server.stop(), 0)

    def test_the_first_who_come_together_wait_for_one_load(self):
        server = self.start({"a": {"load": "start"}, "b": {}}, "-o", "engine.context=60000", gated=True)
        self.close_gate("b")
        texts, errors = [], []

        def ask():
            try:
                texts.append(self.text(server, "b"))
            except Exception as e:  # told by the main thread
                errors.append(e)
        threads = [threading.Thread(target=ask) for _ in range(12)]
        stream = server.stream(model="a")
        for t in threads:
            t.start()
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 12, "nobody waits")
        self.assertEqual(self.states(server)["b"], "loading")
        self.assertEqual(self.of(server, "vllm:num_requests_waiting", "b"), 12)
        self.assertEqual(server.request("GET", "/ready")[0], 200)
        for _ in range(3):  # others go on
            self.assertIn(b"data: ", read_to(stream, b"data: "))
            self.text(server, "a")
        self.open_gate("b")
        for t in threads:
            t.join()
        stream.close()
        self.assertEqual((errors, len(set(texts)), len(texts)), ([], 1, 12))
        self.assertEqual(self.of(server, "rz_model_loads_total", "b"), 1)
        self.assertEqual(server.stop(), 0)

    def test_who_waits_may_leave(self):
        server = self.start({"a": {"load": "start"}, "b": {}}, "-o", "engine.max_queue=3", gated=True)
        self.close_gate("b")
        sockets = [server.connect() for _ in range(3)]
        for s in sockets:
            s.sendall(post(dict(ASK, model="b", stream=True)))
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 3, "nobody waits")
        status, headers, text = server.request("POST", "/v1/completions", dict(ASK, model="b"))
        self.assertEqual((status, json.loads(text)["error"]["code"]), (503, "queue_full"))
        self.assertIsNotNone(headers["Retry-After"])
        for s in sockets[:2]:
            s.close()
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 1, "they still wait")
        self.open_gate("b")
        self.assertIn(b"[DONE]", self.rest(sockets[2]))
        self.text(server, "b")
        self.assertEqual(server.stop(), 0)

    def rest(self, s):
        got = read_to(s, b"[DONE]")
        s.close()
        return got

    def test_who_waits_too_long_is_told(self):
        server = self.start({"a": {"load": "start"}, "b": {}}, "-o", "plugin.http.request_timeout_s=1", gated=True)
        self.close_gate("b")
        status, text = server.ask(dict(ASK, model="b"))
        self.assertEqual((status, json.loads(text)["error"]["code"]), (504, "timeout"), text)
        self.open_gate("b")
        for name in "ab":  # a second may be too short for a good one as well
            self.until(lambda: server.ask(dict(ASK, model=name))[0] == 200, "it is never loaded")
        self.assertEqual(server.stop(), 0)

    def test_the_end_comes_while_a_model_is_loaded(self):
        server = self.start({"a": {"load": "start"}, "b": {}}, "-o", "rz.drain_ms=60000", gated=True)
        self.close_gate("b")
        s = server.connect()
        s.sendall(post(dict(ASK, model="b")))
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 1, "nobody waits")
        server.term()
        self.open_gate("b")
        self.assertIn(b"200 OK", read_all(s))
        s.close()
        self.assertEqual(server.wait(), 0)

    def test_the_end_does_not_wait_for_a_load(self):
        server = self.start({"a": {"load": "start"}, "b": {}}, "-o", "rz.drain_ms=300", gated=True)
        self.close_gate("b")
        s = server.connect()
        s.sendall(post(dict(ASK, model="b")))
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 1, "nobody waits")
        server.term()
        got = read_all(s)
        self.assertTrue(b"HTTP/1.1 503" in got and b"the server ended the request" in got, got)
        s.close()
        self.open_gate("b")
        self.assertEqual(server.wait(), 0)

    def test_a_load_that_fails(self):
        late = os.path.join(self.folder, "late.gguf")
        server = self.start({"a": {"load": "start"}, "late": {}})
        self.assertEqual(self.states(server)["late"], "failed")
        for damage in (None, b"GGUF and nothing else"):
            if damage:
                with open(late, "wb") as f:
                    f.write(damage)
            for path in ("/v1/completions", "/v1/chat/completions"):
                body = {"model": "late", "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
                del body["prompt" if "chat" in path else "messages"]
                status, text = server.ask(body, path)
                error = json.loads(text)["error"]
                self.assertEqual((status, error["code"]), (503, "model_load_failed"))
                self.assertIn("the model late cannot be loaded: ", error["message"])
            self.text(server, "a")
        self.assertIsNotNone(server.wait_line("model late: cannot be loaded: " + re.escape(late)))
        self.assertEqual(self.of(server, "rz_model_load_failures_total", "late"), 4)
        shutil.copy(self.path("b"), late)
        self.assertEqual(self.text(server, "late"), self.text(self.alone("b"), "b"))
        self.assertEqual(self.states(server)["late"], "loaded")
        self.assertEqual(server.stop(), 0)


class Room(Models):
    def test_the_least_recently_used_gives_way(self):
        size = self.sizes("abc")
        server = self.start({n: {} for n in "abc"}, "-o", "engine.memory=%d" % (sum(size.values()) - 1))
        for name in "abab":
            self.text(server, name)
        self.assertEqual(self.states(server), {"a": "loaded", "b": "loaded", "c": "unloaded"})
        self.text(server, "c")
        states = self.states(server)
        self.assertEqual((states["a"], states["c"]), ("unloaded", "loaded"))
        self.text(server, "a")
        self.assertEqual(self.states(server)["a"], "loaded")
        loaded = sum(size[n] for n, state in self.states(server).items() if state == "loaded")
        self.assertLess(loaded, sum(size.values()))
        steps = self.of(server, "rz_engine_steps_total", "a")
        self.text(server, "c")
        self.text(server, "b")
        self.assertGreaterEqual(self.of(server, "rz_engine_steps_total", "a"), steps)  # counted over all loads
        self.assertEqual(server.stop(), 0)

    def test_a_model_in_use_stays(self):
        # The stream is so long that it cannot be over before somebody reads it.
        roomy = "-o", "engine.context=8192", "-o", "engine.kv_pages=200"
        size = self.sizes("ab", *roomy)
        server = self.start({"a": {}, "b": {}}, "-o", "engine.memory=%d" % (sum(size.values()) - 1), *roomy)
        stream = server.stream(model="a", max_tokens=6000)
        done = []
        waiter = threading.Thread(target=lambda: done.append(self.text(server, "b")))
        waiter.start()
        self.until(lambda: self.of(server, "rz_model_requests_waiting", "b") == 1, "nobody waits")
        self.assertEqual((self.states(server)["a"], done), ("loaded", []))
        got = read_to(stream, b"[DONE]")
        stream.close()
        waiter.join()
        self.assertEqual(done, [self.text(self.alone("b"), "b")])
        self.assertEqual((got.count(b'"finish_reason":"length"'), got.count(b"[DONE]")), (1, 1))
        self.assertEqual(self.states(server), {"a": "unloaded", "b": "loaded"})
        self.assertEqual(server.stop(), 0)

    def test_whoever_waits_for_room_gets_it(self):
        """A model that is asked for all the time takes nobody new after a while."""
        size = self.sizes("ab")
        server = self.start({"a": {}, "b": {}}, "-o", "engine.memory=%d" % (sum(size.values()) - 1))
        over, bad = threading.Event(), []

        def ask():
            while not over.is_set():
                status, text = server.ask(dict(ASK, model="a", max_tokens=60))
                if status != 200:
                    bad.append(text)
        threads = [threading.Thread(target=ask) for _ in range(3)]
        self.text(server, "a")
        for t in threads:
            t.start()
        self.text(server, "b")
        over.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])
        self.assertEqual(server.stop(), 0)

    def test_budgets_that_cannot_be(self):
        size = self.sizes("ab")
        for models, memory, says in (
                ({"a": {}, "b": {}}, min(size.values()) - 1, "the model . takes .* MiB, and all may take"),
                ({"a": {"load": "start"}, "b": {"load": "start"}}, sum(size.values()) - 1,
                 "the 2 models that are loaded at the start take .* MiB, and all may take")):
            done = rzlib.rz(*self.config(models), *SMALL, "-o", "engine.memory=%d" % memory, "serve", "--port", "0", status=2)
            self.assertRegex(done.err, says)

    def test_unused_models_leave(self):
        server = self.start({"a": {"keep_alive": 1}, "b": {"keep_alive": 0}, "c": {}}, "-o", "engine.keep_alive=-1")
        for name in "ac":
            self.text(server, name)
        stream = server.stream(model="b", max_tokens=400)
        self.until(lambda: self.states(server)["a"] == "unloaded", "a is kept")
        self.assertEqual(self.states(server)["c"], "loaded")
        self.assertIn(b"[DONE]", read_to(stream, b"[DONE]"))
        stream.close()
        self.until(lambda: self.states(server)["b"] == "unloaded", "b is kept")
        self.text(server, "a")
        self.text(server, "b")
        self.assertEqual(self.of(server, "rz_model_loads_total", "a"), 2)
        self.assertEqual(server.stop(), 0)


class Names(Models):
    def test_aliases(self):
        server = self.start({"a": {"aliases": "small, gpt-4o"}, "b": {"aliases": "b2"}})
        self.assertEqual(self.text(server, "small"), self.text(server, "a"))
        self.assertEqual(self.text(server, "b2"), self.text(server, "b"))
        status, _, text = server.request("GET", "/v1/models/gpt-4o")
        self.assertEqual((status, json.loads(text)["id"]), (200, "a"))
        self.assertEqual(json.loads(text)["aliases"], ["small", "gpt-4o"])
        status, text = server.ask(dict(ASK, model="c"))
        error = json.loads(text)["error"]
        self.assertEqual((status, error["code"], error["param"]), (404, "model_not_found", "model"))
        status, text = server.ask({"model_id": "c", "prompt": "x"}, "/generate")
        self.assertEqual((status, json.loads(text)), (404, {"error": "the server has no such model"}))
        names = json.loads(server.request("GET", "/openapi.json")[2])["components"]["schemas"]["ModelName"]["enum"]
        self.assertEqual(sorted(names), ["a", "b", "b2", "gpt-4o", "small"])
        self.assertEqual(server.stop(), 0)

    def test_any_name(self):
        server = self.start({"a": {}, "b": {"aliases": "*"}})
        self.assertEqual(self.text(server, "claude"), self.text(server, "b"))
        self.assertEqual(json.loads(server.ask(ASK)[1])["model"], "a")  # no name at all: the first
        self.assertEqual(server.stop(), 0)

    def test_names_are_of_one_model(self):
        for models in ({"a": {"aliases": "b"}, "b": {}}, {"a": {"aliases": "x"}, "b": {"aliases": "x"}}):
            done = rzlib.rz(*self.config(models), "serve", "--port", "0", status=2)
            self.assertIn("is a name of the model", done.err)


class Same(Models):
    def bodies(self, n):
        chance = random.Random(8)
        words = "the king and queen of a small land had one son who was".split()
        for _ in range(n):
            yield {"prompt": " ".join(chance.choices(words, k=chance.randint(1, 12))), "seed": chance.randint(1, 99),
                   "max_tokens": chance.randint(1, 10), "temperature": chance.choice([0, 0.9]), "ignore_eos": True}

    def test_two_hundred_requests_over_three_models(self):
        size = self.sizes("abc")
        chance = random.Random(4)
        jobs = [(chance.choice("abc"), body) for body in self.bodies(200 if rzlib.CONFIG == "release" else 60)]
        alone = {n: self.alone(n) for n in "abc"}
        want = [json.loads(alone[name].ask(body)[1])["choices"][0]["text"] for name, body in jobs]
        for server in alone.values():
            server.stop()
        server = self.start({n: {} for n in "abc"}, "-o", "engine.memory=%d" % (sum(size.values()) - 1))
        got, todo = [None] * len(jobs), iter(range(len(jobs)))
        lock = threading.Lock()

        def ask():
            while True:
                with lock:
                    i = next(todo, None)
                if i is None:
                    return
                name, body = jobs[i]
                status, text = server.ask(dict(body, model=name))
                got[i] = json.loads(text)["choices"][0]["text"] if status == 200 else (status, text)
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(got, want)
        self.assertGreater(sum(self.of(server, "rz_model_unloads_total", n) for n in "abc"), 5)
        for name in "abc":
            self.until(lambda: self.of(server, "vllm:num_requests_running", name) == 0, "a request goes on")
        self.assertEqual(server.stop(), 0)


class Guesses(Models):
    DRAFTED = "vllm:spec_decode_num_draft_tokens_total"
    TALK = {"prompt": "the king and the queen saw the king and the", "max_tokens": 60, "temperature": 0, "ignore_eos": True}

    def test_a_draft_model_that_is_served_is_there_once(self):
        small = os.path.join(self.folder, "e.gguf")
        if not os.path.exists(small):
            rzlib.rz("quantize", self.path("d"), small, "Q4_0")
        plain, want = self.sizes("de"), self.text(self.alone("d"), "d", **self.TALK)
        server = self.start({"d": {"draft_model": "e", "speculate": "draft"}, "e": {"keep_alive": 1}})
        both = int(self.of(server, "rz_model_memory_bytes", "d"))
        self.assertEqual(self.text(server, "d", **self.TALK), want)
        self.assertEqual(self.states(server), {"d": "loaded", "e": "loaded"})
        self.assertGreater(self.of(server, self.DRAFTED, "d"), 0)
        time.sleep(1.5)  # d needs it
        self.assertEqual(self.states(server)["e"], "loaded")
        self.assertEqual(self.text(server, "e", max_tokens=20), self.text(self.alone("e"), "e", max_tokens=20))
        self.assertEqual(server.stop(), 0)
        weights = os.path.getsize(small) * 3 // 4
        self.assertLess(both, plain["d"] + plain["e"] - weights, (both, plain, weights))

    def on_device(self, *device):
        """What d takes that guesses with e, and e, and what e's weights take, on a device; they say what they said."""
        small = os.path.join(self.folder, "e.gguf")
        if not os.path.exists(small):
            rzlib.rz("quantize", self.path("d"), small, "Q4_0")
        server = self.start({"d": {}, "e": {}}, *device)
        want, _ = self.text(server, "d", **self.TALK), self.text(server, "e")
        plain = {name: int(self.of(server, "rz_model_memory_bytes", name)) for name in "de"}
        self.assertEqual(server.stop(), 0)
        server = self.start({"d": {"draft_model": "e", "speculate": "draft"}, "e": {}}, *device)
        self.assertEqual(self.text(server, "d", **self.TALK), want)
        self.assertGreater(self.of(server, self.DRAFTED, "d"), 0)
        both = [int(self.of(server, "rz_model_memory_bytes", name)) for name in "de"]
        self.assertEqual(server.stop(), 0)
        weights = os.path.getsize(small) * 3 // 4
        self.assertEqual(both[1], plain["e"])
        self.assertLess(both[0], plain["d"] + plain["e"] - weights, (both, plain, weights))
        return sum(both), weights

    def test_a_draft_model_is_once_on_a_gpu(self):
        plugin = os.path.join(rzlib.BUILD, "tests", "cuda-host.so")
        device = ("--plugin", plugin, "-o", "plugin.cuda-host.reserve=0", "-o", "engine.kv_pages=64")
        taken, weights = self.on_device(*device)
        os.environ["RZ_SHIM_MEMORY"] = str(taken + weights // 2)  # no room for them once more
        self.addCleanup(os.environ.pop, "RZ_SHIM_MEMORY")
        self.on_device(*device)

    @unittest.skipIf(rzlib.CONFIG == "tsan", "the platform's own threads are not built with this sanitizer")
    def test_a_draft_model_is_once_on_opencl(self):
        why = rzlib.device_missing("opencl")
        if why:
            self.skipTest("no OpenCL device: " + why)
        self.on_device("--plugin", "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE)

    def test_a_request_may_do_without(self):
        server = self.start({"c": {"speculate": "lookup"}})
        texts, drafted = [], []
        for how in (True, False, "off", "lookup", None):
            before = self.of(server, self.DRAFTED, "c")
            texts.append(self.text(server, "c", speculate=how, **self.TALK))
            drafted.append(self.of(server, self.DRAFTED, "c") > before)
        self.assertEqual(len(set(texts)), 1)
        self.assertEqual((any(drafted), drafted[1:3]), (True, [False, False]))  # it guesses where that pays
        for how, says in (("draft", "no draft model"), ("fast", 'not true, false, "off"'), (3, "not true")):
            status, text = server.ask(dict(ASK, model="c", speculate=how))
            self.assertEqual(status, 400)
            self.assertIn(says, json.loads(text)["error"]["message"])
        self.assertEqual(server.stop(), 0)

    def test_models_that_need_each_other(self):
        done = rzlib.rz(*self.config({"a": {"draft_model": "b"}, "b": {"draft_model": "a"}}), "serve", "--port", "0", status=2)
        self.assertIn("guess for each other", done.err)


if __name__ == "__main__":
    unittest.main()
