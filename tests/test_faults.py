#!/usr/bin/env python3
"""test_faults.py - a server whose parts fail: a backend that returns errors, gives no numbers, or hangs; too few KV pages;
no memory; a model that takes long to load. Requests get errors, never wrong text; the server goes on, or ends.

tests/plugins/faulty.c is the backend: it does what the first byte of a file says.
"""

import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import rzlib
from serving import BODY, HOST, LONG, MODEL, ROOMY, Server, post, read_all

CC = os.environ.get("CC", "gcc")
SANITIZED = os.environ.get("RZ_CONFIG", "release") in ("asan", "tsan", "ubsan")
ASK = {"prompt": "the king was", "max_tokens": 12, "seed": 7, "temperature": 0.8}


def build(name, folder, *flags):
    out = os.path.join(folder, name + ".so")
    subprocess.run([*CC.split(), "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", *flags,
                    "-I" + os.path.join(rzlib.SOURCE, "core", "api"),
                    os.path.join(rzlib.SOURCE, "tests", "plugins", name + ".c"), "-o", out, "-lm"], check=True)
    return out


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.plugin = build("faulty", cls.folder)
        cls.file = os.path.join(cls.folder, "mode")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def mode(self, what):
        new = self.file + ".new"
        with open(new, "w") as f:
            f.write(what)
        os.rename(new, self.file)

    def start(self, *args, faulty=True, **kw):
        self.mode("-")
        words = ("--plugin", self.plugin, "-o", "plugin.faulty.file=" + self.file) if faulty else ()
        server = Server(*words, *args, **kw)
        self.addCleanup(server.kill)
        return server

    def until(self, what, says):
        end = time.monotonic() + 60
        while not what():
            self.assertLess(time.monotonic(), end, says)
            time.sleep(0.05)

    def all_free(self, server):
        self.until(lambda: server.gauge("rz_kv_pages_free") == server.gauge("rz_kv_pages")
                   and not server.gauge("vllm:num_requests_running"), "pages are not given back")

    def text_of(self, server):
        status, text = server.ask(ASK)
        self.assertEqual(status, 200, text)
        return json.loads(text)["choices"][0]["text"]

    def test_a_step_that_fails(self):
        server = self.start(*ROOMY)
        want = self.text_of(server)
        for mode, says in (("e", "an injected error"), ("m", "no memory"), ("n", "")):
            with self.subTest(mode):
                self.mode("s")
                streams = [server.stream() for _ in range(3)]
                self.mode(mode)
                for s in streams:
                    s.settimeout(120)
                    got = b""
                    while b'"error"' not in got:
                        part = s.recv(65536)
                        self.assertTrue(part, "the stream ended without an error")
                        got += part
                    self.assertNotIn(b"[DONE]", got)
                    s.close()
                status, text = server.ask(ASK)
                self.assertEqual(status, 500)
                error = json.loads(text)["error"]
                self.assertIn(says, error["message"])
                self.assertEqual(error["code"], "engine_failed")
                self.assertEqual(server.request("GET", "/ready")[0], 200)
                self.mode("-")
                self.assertEqual(self.text_of(server), want)
                self.all_free(server)
        ended = lambda: server.metrics()['vllm:request_success_total{model_name="tiny-llama",finished_reason="error"}']
        self.until(lambda: ended() >= 12, "errors are not counted")
        self.assertEqual(ended(), 12)
        self.assertEqual(server.stop(), 0)

    def test_some_steps_fail(self):
        """Errors come and go: every answer is the right one, or an error."""
        server = self.start()
        want, seen = self.text_of(server), {200: 0, 500: 0}
        ends = threading.Event()

        def flip():
            while not ends.wait(0.004):
                self.mode("e")
                ends.wait(0.001)
                self.mode("-")
        flipper = threading.Thread(target=flip)
        flipper.start()
        for _ in range(150):
            status, text = server.ask(ASK)
            seen[status] += 1
            if status == 200:
                self.assertEqual(json.loads(text)["choices"][0]["text"], want)
        ends.set()
        flipper.join()
        print("%d right answers, %d errors" % (seen[200], seen[500]))
        self.assertEqual(self.text_of(server), want)
        self.all_free(server)
        self.assertEqual(server.stop(), 0)

    def test_a_backend_that_hangs(self):
        """What needs no engine is answered, and the way down has an end."""
        server = self.start("-o", "rz.drain_ms=100")
        self.mode("h")
        s = server.connect()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % len(BODY) + BODY)
        self.until(lambda: server.gauge("vllm:num_requests_running") == 1, "no request runs")
        self.assertEqual(server.request("GET", "/health")[0], 200)
        self.assertEqual(server.gauge("vllm:num_requests_running"), 1)
        server.term()
        self.assertEqual(server.wait(120), 1)
        self.assertIn("something hangs", server.log())
        s.close()

    def test_a_backend_that_hangs_for_a_while(self):
        server = self.start("-o", "rz.drain_ms=100")
        self.mode("h")
        s = server.connect()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % len(BODY) + BODY)
        self.until(lambda: server.gauge("vllm:num_requests_running") == 1, "no request runs")
        server.term()
        time.sleep(1)  # the time to end in is over long before
        self.mode("-")
        self.assertEqual(server.wait(120), 0)
        s.close()

    def test_three_pages(self):
        """Requests that do not fit together give way and say the same as alone."""
        few = ("-o", "engine.kv_pages=3", "-o", "engine.page_tokens=16")
        server = self.start(*few, faulty=False)
        bodies = [{"prompt": "number %d of the king" % i, "max_tokens": 20, "seed": i, "temperature": 0.9, "ignore_eos": True}
                  for i in range(8)]
        choice = lambda text: json.loads(text)["choices"][0]["text"]
        alone = [choice(server.ask(b)[1]) for b in bodies]
        got = [None] * len(bodies)

        def ask(i):
            got[i] = server.ask(bodies[i])
        for _ in range(3):
            threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual([status for status, _ in got], [200] * len(bodies))
            self.assertEqual([choice(text) for _, text in got], alone)
        status, text = server.ask({"prompt": [5] * 49, "max_tokens": 1})
        self.assertEqual(status, 400)
        self.assertIn(b"49 tokens do not fit a KV cache of 48", text)
        status, text = server.ask({"prompt": [5] * 40, "max_tokens": 100, "ignore_eos": True})
        self.assertEqual((status, json.loads(text)["choices"][0]["finish_reason"]), (200, "length"))
        self.all_free(server)
        self.assertEqual(server.stop(), 0)

    def test_not_ready_while_it_loads(self):
        self.mode("l")
        args = ("--plugin", self.plugin, "-o", "plugin.faulty.file=" + self.file, "-v")
        done = threading.Event()
        seen = []

        def watch(process):
            for line in process.stderr:
                at = re.search(rb"http://127\.0\.0\.1:(\d+): listening", line)
                if at:
                    server = Server.__new__(Server)
                    server.port = int(at.group(1))
                    for path in ("/health", "/ready", "/metrics", "/v1/models"):
                        seen.append((path,) + server.request("GET", path)[:2])
                    seen.append(("POST",) + server.request("POST", "/v1/completions", {"prompt": "x"})[:2])
                    self.mode("-")
                if b"ready: " in line:
                    seen.append(("then",) + server.request("GET", "/ready")[:2])
                    done.set()
                    return
        process = subprocess.Popen([rzlib.RZ, "serve", "-m", MODEL, "--port", "0", *args], stderr=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        watch(process)
        self.assertTrue(done.is_set())
        self.assertEqual([(path, status) for path, status, _ in seen],
                         [("/health", 200), ("/ready", 503), ("/metrics", 200), ("/v1/models", 503), ("POST", 503),
                          ("then", 200)])
        self.assertEqual(seen[1][2]["Retry-After"], "5")
        process.terminate()
        self.assertEqual(process.wait(60), 0)
        process.stderr.close()

    def test_a_model_that_does_not_load(self):
        done = rzlib.rz("serve", "-m", os.path.join(self.folder, "none.gguf"), "--port", "0", status=1)
        self.assertIn("none.gguf", done.err)

    def ask_once(self, server, body, path="/v1/completions"):
        """(status, text); the status "cut" if the answer, or the stream, is not whole."""
        try:
            with server.connect() as s:
                s.sendall(post(body, path, headers=b"Connection: close\r\n"))
                head, _, text = read_all(s).partition(b"\r\n\r\n")
        except ConnectionError:
            return "cut", b""
        length = re.search(rb"Content-Length: (\d+)", head)
        whole = len(text) == int(length.group(1)) if length else b"data: [DONE]" in text
        return (int(head.split()[1]), text) if head and whole else ("cut", text)

    @unittest.skipIf(SANITIZED, "sanitizers bring an allocator of their own")
    def test_allocations_that_fail(self):
        shim = build("failing_malloc", self.folder)
        file = os.path.join(self.folder, "one_of")
        server = self.start(faulty=False, prefix=("env", "LD_PRELOAD=" + shim, "RZ_FAIL_FILE=" + file))
        want, seen = self.text_of(server), {}
        for one_of in (3, 10, 30, 100, 300):
            with open(file, "w") as f:
                f.write(str(one_of))
            time.sleep(0.05)
            for i in range(60):
                status, text = self.ask_once(server, dict(ASK, stream=i % 3 == 0))
                if status == 200 and i % 3:
                    self.assertEqual(json.loads(text)["choices"][0]["text"], want)
                seen[status] = seen.get(status, 0) + 1
            self.assertIsNone(server.process.poll(), "the server died:\n" + server.log())
        os.unlink(file)
        print(seen)
        self.until(lambda: self.ask_once(server, ASK)[0] == 200, "allocations go on to fail")  # it looks now and then
        self.assertEqual(self.text_of(server), want)
        self.all_free(server)
        self.assertEqual(server.stop(), 0)

    @unittest.skipIf(SANITIZED, "sanitizers bring an allocator of their own")
    def test_each_allocation_fails(self):
        """The kth allocation after a request was sent fails, for each k there is: alone, and with some behind it."""
        shim = build("failing_malloc", self.folder)
        file = os.path.join(self.folder, "at")
        with open(file, "wb") as f:
            f.write(bytes(8))
        server = self.start(faulty=False, prefix=("env", "LD_PRELOAD=" + shim, "RZ_FAIL_AT=" + file))
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
        bodies = [("/v1/completions", ASK), ("/v1/completions", dict(ASK, stream=True, n=2, logprobs=1)),
                  ("/v1/completions", dict(ASK, max_tokens=20, response_format={
                      "type": "json_schema", "json_schema": {"name": "x", "schema": schema}})),
                  ("/v1/embeddings", {"input": "the king was"})]
        with open(file, "r+b") as f, mmap.mmap(f.fileno(), 8) as at:
            for path, body in bodies:
                # an answer without its name and time; events of two choices come in any order
                plain = lambda text: sorted(line for line in re.sub(rb'"(id|created)":("[^"]*"|\d+)', b"", text).split(b"\n")
                                            if line[:1] in b"{d")
                want, counts = plain(self.ask_once(server, body, path)[1]), []
                for behind in (0, 20):
                    seen = {}
                    for k in range(1, 20000):
                        struct.pack_into("<II", at, 0, k, behind)
                        status, text = self.ask_once(server, body, path)
                        left, _ = struct.unpack_from("<II", at, 0)
                        struct.pack_into("<II", at, 0, 0, 0)
                        if status == 200:
                            self.assertEqual(plain(text), want, (path, k, behind))
                        self.assertIn(status, (200, 500, 503, "cut"), (path, k, behind, text))
                        self.assertIsNone(server.process.poll(), "the server died:\n" + server.log())
                        seen[status] = seen.get(status, 0) + 1
                        if left:
                            break
                    self.assertTrue(left)
                    counts.append((k, seen))
                print(path, counts)
                self.assertEqual(plain(self.ask_once(server, body, path)[1]), want)
        self.all_free(server)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
