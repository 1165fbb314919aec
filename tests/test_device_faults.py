#!/usr/bin/env python3
"""test_device_faults.py - a server whose device fails: while it opens, compiles, in a first step and a later one, in a copy of
pages; with fallback = allow and with deny. Requests of the step get errors that say so, no text is ever wrong, and the
server goes on with another device, or refuses and says why.

tests/plugins/faulty_device.c is the device; the cuda plugin (over its shim) and the opencl plugin (under a layer of the OpenCL
loader) fail in the same way, by the calls that fail below them.
"""

import json
import os
import re
import shutil
import tempfile
import threading
import time
import unittest

import rzlib
from serving import LONG, MODEL, ROOMY, Server, post
from test_faults import ASK, build

FAULTY = os.path.join(rzlib.BUILD, "tests", "faulty-device.so")
CUDA = os.path.join(rzlib.BUILD, "tests", "cuda-host.so")
SCALAR = ("--plugin", "scalar")  # what runs the device runs the CPU: a text is the same on both
PLACE = "faulty-device"
NAME = os.path.basename(MODEL)[:-5]


def choice(text):
    return json.loads(text)["choices"][0]["text"]


def texts(stream):
    """The pieces of a stream of completions, joined."""
    found = (json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {"))
    return "".join(c["text"] for event in found for c in event.get("choices", ()))


class Device(unittest.TestCase):
    """What follows a failure, whichever device it is."""
    device = PLACE

    @classmethod
    def setUpClass(cls):
        server = Server(*SCALAR)
        cls.want = choice(server.ask(ASK)[1])
        server.stop()

    def start(self, fallback, *args, **kw):
        server = Server("-o", "rz.fallback=" + fallback, *SCALAR, *args, **kw)
        self.addCleanup(server.kill)
        return server

    def wait(self, what, says):
        end = time.monotonic() + 60
        while not what():
            self.assertLess(time.monotonic(), end, says)
            time.sleep(0.02)

    def device_metric(self, server, name, device, model=NAME):
        return server.metrics().get('rz_%s{model_name="%s",device="%s"}' % (name, model, device))

    def all_free(self, server):
        self.wait(lambda: server.gauge("rz_kv_pages_free") == server.gauge("rz_kv_pages")
                  and not server.gauge("vllm:num_requests_running"), "pages are not given back")

    def said_once(self, server, pattern):
        """The log is read by a thread, a little later than it is written."""
        self.assertTrue(server.wait_line(pattern), server.log())
        self.assertEqual(len(re.findall(pattern, server.log())), 1, server.log())

    def ask_for_copies(self, server):
        """Three choices share pages if the second comes before the first has gone on: the answer that failed for it."""
        for _ in range(200):
            answer = server.ask(dict(ASK, n=3))
            if answer[0] != 200:
                break
        return answer

    def failed_text(self, answer, says=""):
        """A request of the step that failed."""
        status, text = answer
        self.assertEqual(status, 500, text)
        error = json.loads(text)["error"]
        self.assertEqual(error["code"], "engine_failed")
        self.assertRegex(error["message"], r"^%s: step \d+ failed: .*%s" % (re.escape(self.device), says))

    def refused(self, answer):
        status, text = answer
        self.assertEqual(status, 503, text)
        error = json.loads(text)["error"]
        self.assertEqual(error["code"], "device_failed")
        self.assertRegex(error["message"], r"takes no requests any more: %s: step \d+ failed" % re.escape(self.device))

    def after(self, server, fallback, failures=1):
        """What holds from now on; then the server ends."""
        self.wait(lambda: (self.device_metric(server, "device_in_use", self.device), server.request("GET", "/ready")[0])
                  == (0, 200 if fallback != "deny" else 503), "the device is not taken out")
        self.assertEqual(self.device_metric(server, "device_failures_total", self.device), failures)
        if fallback == "deny":
            for _ in range(2):
                self.refused(server.ask(ASK))
                self.refused(server.ask(dict(ASK, stream=True)))
            error = json.loads(server.request("GET", "/ready")[2])["error"]
            self.assertEqual(error["code"], "device_failed")
            self.assertRegex(error["message"], r"^%s: step \d+ failed" % re.escape(self.device))
            status, _, text = server.request("GET", "/health")
            self.assertEqual((status, json.loads(text)["status"]), (503, "failed"))
            self.assertIn("failed", json.loads(text)["reason"])
            self.assertEqual(server.metrics()["rz_ready"], 0)
            self.assertEqual(self.device_metric(server, "device_in_use", "cpu"), None)
            self.said_once(server, "takes no requests any more")
        else:
            for _ in range(2):
                status, text = server.ask(ASK)
                self.assertEqual((status, choice(text)), (200, self.want))
            self.assertEqual(server.request("GET", "/health")[0], 200)
            self.assertEqual(server.metrics()["rz_ready"], 1)
            self.assertEqual(self.device_metric(server, "device_in_use", "cpu"), 1)
            self.assertEqual(self.device_metric(server, "device_failures_total", "cpu"), 0)
            self.said_once(server, "runs on cpu from now on")
        self.all_free(server)
        self.assertEqual(server.stop(), 0)

    def streams(self, server, fallback):
        """Four long streams for two places: errors for two, the others go on, or are refused. max_seqs is 2."""
        got = [None] * 4

        def read(i):
            with server.connect() as s:
                s.sendall(post(dict(LONG, max_tokens=1500, stream=True), headers=b"Connection: close\r\n"))
                s.settimeout(300)
                parts = iter(lambda: s.recv(65536), b"")
                got[i] = b"".join(parts)
        threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
            time.sleep(0.02)
        for t in threads:
            t.join()
        errors = [g for g in got if b"data: [DONE]" not in g]
        carried = [g for g in errors if re.search(rb"step \d+ failed", g) and b"takes no requests" not in g]
        for g in got:
            self.assertEqual(set(texts(g)), {"a"} if texts(g) else set())
        for g in errors:
            self.assertIn(b'"error"', g)
        for g in carried:
            self.assertIn(b" 200 ", g.split(b"\r\n")[0])
            self.assertIn(b'data: {"error":', g)
            self.assertIn(b'"engine_failed"', g)
        self.assertEqual(len(carried), 2, got)
        if fallback == "deny":
            self.assertEqual(len(errors), 4)
            self.assertEqual(len([g for g in errors if b'"device_failed"' in g]), 2)
        else:
            self.assertEqual(len(errors), 2)
            self.assertEqual([len(texts(g)) for g in got if g not in errors], [1500, 1500])


class Faulty(Device):
    def faulty(self, fallback, fail, *args, **kw):
        return self.start(fallback, "--plugin", FAULTY, "-o", "plugin.faulty-device.fail=" + fail, *args, **kw)

    def test_nothing_fails(self):
        server = self.faulty("deny", "never:1")
        self.assertEqual(choice(server.ask(ASK)[1]), self.want)
        self.assertEqual(self.device_metric(server, "device_in_use", PLACE), 1)
        self.assertEqual(server.stop(), 0)

    def test_while_it_loads(self):
        """A device that was asked for and is not there ends the program, whatever fallback says."""
        for place in ("open", "memory", "claim", "compile"):
            for fallback in ("allow", "deny"):
                with self.subTest(place=place, fallback=fallback):
                    done = rzlib.rz("serve", "-m", MODEL, "--port", "0", "--plugin", FAULTY, "-o", "rz.fallback=" + fallback,
                                    "-o", "plugin.faulty-device.fail=%s:1" % place, status=1)
                    self.assertIn("an injected error in " + place, done.err)

    def test_first_step(self):
        for fallback in ("allow", "warn", "deny"):
            with self.subTest(fallback):
                server = self.faulty(fallback, "step:1")
                self.failed_text(server.ask(ASK), "an injected error in step")
                self.after(server, fallback)

    def test_a_later_step(self):
        for fallback in ("allow", "deny"):
            with self.subTest(fallback):
                server = self.faulty(fallback, "pair:100", "-o", "engine.max_seqs=2", *ROOMY)
                self.streams(server, fallback)
                self.after(server, fallback)

    def test_in_a_copy(self):
        """The choices of a request share pages, which are copied before one of them writes."""
        for fallback in ("allow", "deny"):
            with self.subTest(fallback):
                server = self.faulty(fallback, "copy:1")
                self.assertEqual(choice(server.ask(ASK)[1]), self.want)
                self.failed_text(self.ask_for_copies(server), "an injected error in copy")
                self.after(server, fallback)

    def test_fewer_results(self):
        for fallback in ("allow", "deny"):
            with self.subTest(fallback):
                server = self.faulty(fallback, "few:4")
                self.failed_text(server.ask(ASK), "0 results came for 1 wanted rows")
                self.after(server, fallback)

    def test_no_number(self):
        """Logits that are none fail their request, not the device."""
        server = self.faulty("deny", "nan:3", "-o", "plugin.faulty-device.once=1")
        status, text = server.ask(ASK)
        self.assertEqual(status, 500)
        self.assertIn(b"is not a number", text)
        self.assertEqual(choice(server.ask(ASK)[1]), self.want)
        self.assertEqual(server.request("GET", "/ready")[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_no_memory(self):
        """Other errors than a lost device may pass; three in a row do not."""
        server = self.faulty("deny", "step:5", "-o", "plugin.faulty-device.once=1", "-o", "plugin.faulty-device.code=memory")
        self.failed_text(server.ask(ASK))
        self.assertEqual(choice(server.ask(ASK)[1]), self.want)
        self.assertEqual(self.device_metric(server, "device_failures_total", PLACE), 1)
        self.assertEqual(server.stop(), 0)
        for fallback in ("allow", "deny"):
            with self.subTest(fallback):
                server = self.faulty(fallback, "step:5", "-o", "plugin.faulty-device.code=memory")
                for _ in range(3):
                    self.failed_text(server.ask(ASK))
                self.after(server, fallback, failures=3)

    def test_few_pages(self):
        """With three pages everybody gives way all the time, before and after."""
        server = self.faulty("allow", "step:30", "-o", "engine.kv_pages=3", "-o", "engine.page_tokens=16")
        answers = [None] * 6
        body = lambda i: {"prompt": "number %d of the king" % i, "max_tokens": 20, "seed": i, "temperature": 0.9,
                          "ignore_eos": True}

        def ask(i):
            answers[i] = server.ask(body(i))
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        right = [choice(server.ask(body(i))[1]) for i in range(6)]
        good = [i for i in range(6) if answers[i][0] == 200]
        self.assertGreaterEqual(len(good), 3)
        self.assertLess(len(good), 6)
        for i in range(6):
            if i in good:
                self.assertEqual(choice(answers[i][1]), right[i])
            else:
                self.failed_text(answers[i])
        self.after(server, "allow")

    def test_a_device_that_hangs(self):
        if not rzlib.SLOW:
            self.skipTest("takes 16 s (RZ_SLOW=0)")
        server = self.faulty("allow", "hang:3", "-o", "rz.drain_ms=100")
        threading.Thread(target=lambda: server.send(post(ASK), 60), daemon=True).start()
        self.wait(lambda: server.gauge("vllm:num_requests_running") == 1, "no request runs")
        self.assertEqual(server.request("GET", "/health")[0], 200)
        server.term()
        self.assertEqual(server.wait(60), 1)
        self.assertIn("something hangs", server.log())

    def test_two_models(self):
        """Each goes on, or stops, by itself; one that stopped is told of."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "rz.ini")
        with open(path, "w") as f:
            f.write("[model.one]\npath = %s\ndevice = faulty-device\n[model.two]\npath = %s\n"
                    "[plugin.faulty-device]\npath = %s\nfail = step:3\n" % (MODEL, MODEL, FAULTY))
        for fallback in ("allow", "deny"):
            with self.subTest(fallback):
                server = self.start(fallback, "--config", path, model=None)
                self.failed_text(server.ask(dict(ASK, model="one")))
                self.wait(lambda: self.device_metric(server, "device_in_use", PLACE, "one") == 0, "it is not taken out")
                self.assertEqual(choice(server.ask(dict(ASK, model="two"))[1]), self.want)
                status, text = server.ask(dict(ASK, model="one"))
                ready, health = server.request("GET", "/ready")[0], server.request("GET", "/health")
                if fallback == "deny":
                    self.refused((status, text))
                    self.assertEqual((ready, health[0], json.loads(health[2])["status"]), (503, 200, "degraded"))
                else:
                    self.assertEqual(choice(text), self.want)
                    self.assertEqual((ready, health[0], json.loads(health[2])["status"]), (200, 200, "healthy"))
                self.assertEqual(server.stop(), 0)

    def test_the_next_device(self):
        """It is the next of those that were asked for; one that cannot is passed over."""
        for fail, takes in (("none:1", "cuda-host"), ("malloc:2", "cpu"), ("launch:1", "cuda-host")):
            with self.subTest(fail):
                server = self.faulty("allow", "step:3", "--plugin", CUDA, prefix=("env", "RZ_SHIM_FAIL=" + fail))
                self.failed_text(server.ask(ASK))
                self.wait(lambda: self.device_metric(server, "device_in_use", takes) == 1, server.log())
                status, text = server.ask(ASK)
                self.assertEqual(status, 500 if fail == "launch:1" else 200, text)
                if fail == "malloc:2":
                    self.said_once(server, "cuda-host cannot take its place: .*out of memory")
                if fail == "launch:1":
                    self.wait(lambda: self.device_metric(server, "device_in_use", "cpu") == 1, server.log())
                if fail != "none:1":
                    self.assertEqual(choice(server.ask(ASK)[1]), self.want)
                self.all_free(server)
                self.assertEqual(server.stop(), 0)

    def test_while_it_changes(self):
        """Not ready, but well; requests wait."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        gate = os.path.join(folder, "gate")
        server = Server("--plugin", FAULTY, "-o", "plugin.faulty-device.fail=step:1", "--plugin", build("faulty", folder),
                        "-o", "plugin.faulty.file=" + gate)
        self.addCleanup(server.kill)
        with open(gate, "w") as f:
            f.write("l")
        self.failed_text(server.ask(ASK))
        self.wait(lambda: server.request("GET", "/ready")[0] != 200, "it does not change")
        status, headers, text = server.request("GET", "/ready")
        self.assertEqual((status, json.loads(text)["error"]["code"], headers["Retry-After"]), (503, "device_changes", "5"))
        self.assertEqual(server.request("GET", "/health")[0], 200)
        self.assertEqual(server.metrics()["rz_ready"], 0)
        waiting = threading.Thread(target=lambda: answers.append(server.ask(ASK)[0]))
        answers = []
        waiting.start()
        self.wait(lambda: server.gauge("vllm:num_requests_waiting") + server.gauge("vllm:num_requests_running") == 1,
                  "nobody waits")
        self.assertEqual(answers, [])
        os.unlink(gate)
        waiting.join()
        self.assertEqual(answers, [200])
        self.assertEqual(server.request("GET", "/ready")[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_sessions(self):
        """Pages that cannot be read or written again are an error of the session, not of the answer."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        file = os.path.join(folder, "s")
        words = ("run", "-m", MODEL, "--raw", "-n", "30", "--seed", "7", "--session", file, "-p", "the king was", *SCALAR,
                 "-o", "engine.page_tokens=8")
        faulty = lambda fail: ("--plugin", FAULTY, "-o", "plugin.faulty-device.fail=" + fail)
        done = rzlib.rz(*words, *faulty("fetch:1"), status=None)
        self.assertIn("an injected error in fetch", done.err)
        self.assertFalse(os.path.exists(file))
        rzlib.rz(*words)
        self.assertTrue(os.path.exists(file))
        done = rzlib.rz(*words, *faulty("store:1"), status=None)
        self.assertIn("an injected error in store", done.err)


class Cuda(Device):
    """Calls of CUDA that fail, and all after them."""
    device = "cuda-host"

    def cuda(self, fallback, fail, *args):
        return self.start(fallback, "--plugin", CUDA, *args, prefix=("env", "RZ_SHIM_FAIL=" + fail))

    def test_while_it_loads(self):
        for fail in ("malloc:3", "host:1", "copy:1", "load:1", "count:1"):
            with self.subTest(fail):
                done = rzlib.rz("serve", "-m", MODEL, "--port", "0", "--plugin", CUDA, status=1,
                                env=dict(os.environ, RZ_SHIM_FAIL=fail))
                self.assertIn("cuda", done.err)

    def test_in_a_step(self):
        cases = [("allow", "launch:1"), ("deny", "launch:1"), ("allow", "synchronize:6"), ("allow", "graph:2")]
        if rzlib.CONFIG == "release":
            cases += [("deny", "synchronize:6"), ("deny", "graph:2"), ("allow", "capture:1"), ("allow", "copy:90")]
        for fallback, fail in cases:
            with self.subTest(fail=fail, fallback=fallback):
                server = self.cuda(fallback, fail)
                answer = server.ask(dict(ASK, max_tokens=40))
                self.failed_text(answer, "unspecified launch failure")
                self.after(server, fallback)


@unittest.skipIf(rzlib.CONFIG == "tsan", "PoCL's threads are not ThreadSanitizer's")
class OpenCL(Device):
    """Calls of OpenCL that fail, and all after them."""
    device = "opencl"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.layer = build("faulty_cl", cls.folder)
        cls.words = ("--plugin", "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE)

    def environment(self, fail):
        return {"OPENCL_LAYERS": self.layer, "RZ_CL_FAIL": fail}

    def test_while_it_loads(self):
        for fail in ("buffer:3", "finish:3"):
            with self.subTest(fail):
                done = rzlib.rz("serve", "-m", MODEL, "--port", "0", *self.words, status=1,
                                env=dict(os.environ, **self.environment(fail)))
                self.assertIn("CL_", done.err)

    def test_in_a_step(self):
        cases = [("allow", "kernel:1"), ("deny", "kernel:1"), ("allow", "read:6"), ("allow", "copy:1")]
        if rzlib.CONFIG == "release":
            cases += [("deny", "read:6"), ("deny", "copy:1"), ("allow", "kernel:333"), ("allow", "write:4")]
        for fallback, fail in cases:
            with self.subTest(fail=fail, fallback=fallback):
                words = ["%s=%s" % pair for pair in self.environment(fail).items()]
                server = self.start(fallback, *self.words, prefix=("env", *words))
                answer = self.ask_for_copies(server) if fail == "copy:1" else server.ask(ASK)
                self.failed_text(answer, "CL_OUT_OF_RESOURCES")
                self.after(server, fallback)


if __name__ == "__main__":
    unittest.main()
