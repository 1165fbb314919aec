"""One model on several devices: layers by ranges, experts apart, and layers = auto.

Every decoder family's case with one cut in its middle, and those with experts with them apart, is as near to the
reference logits as on one device; steps of other sizes, other sequences beside and a fork give the same bits. The
second device is the one of cuda-host (the cuda plugin over a shim) everywhere, and OpenCL where there is one. The
default model on OpenCL and the CPU chooses the best tokens that either does alone. Requests by the hundred, many of
them cancelled, leave no page and no memory behind.
"""

import argparse
import json
import os
import re
import tempfile
import unittest

import rzlib
import serving
import soak
import test_families as families
import test_golden

BAR = 2e-3
HOST = ("--plugin", os.path.join(rzlib.BUILD, "tests", "cuda-host.so"))
# The scalar kernels behind a table of their own: a second CPU.
SECOND = ("--plugin", "scalar", "--plugin", os.path.join(rzlib.BUILD, "tests", "faulty-device.so"))
OPENCL = ("-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE)
SOME = ["deepseek_v2", "gemma2", "gemma4", "jamba", "llama", "qwen3_next"]
EXPERTS = ["dbrx", "deepseek_v2", "deepseek_v3", "ernie4_5_moe", "glm4_moe", "gpt_oss", "granitemoe", "jamba", "lfm2_moe",
           "llama4", "minimax_m2", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe", "qwen3_next"]
COMPANY = ("--fork", "13", "--beside", "2", "--chunk", "7", "-o", "engine.page_tokens=8")


def layers_of(model):
    """How many layers its plan shows."""
    plan = rzlib.rz("plan", model, "--explain").out
    return 1 + max(int(n) for pair in re.findall(r"^layers? (\d+)(?:-(\d+))?", plan, re.M) for n in pair if n)


def opencl_missing():
    return "not built with this sanitizer" if rzlib.CONFIG == "tsan" else rzlib.device_missing("opencl")


class Mixed(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def evaluate(self, case, *args):
        return rzlib.evaluate(rzlib.shared("arch", case, "model.gguf"), rzlib.shared("arch", case, "tokens.i32"),
                              os.path.join(self.temp.name, "out.f32"), *families.F32_KV,
                              *families.SETTINGS.get(case, ()), *args)

    def check(self, case, what, *args):
        own = None if case in families.CARRIED else rzlib.shared("arch", case, "gguf_logits.f32")
        truth = rzlib.floats(own or rzlib.shared("arch", case, "logits.f32"))
        whole = self.evaluate(case, *args)
        mine = rzlib.as_floats(whole)
        self.assertEqual(len(mine), len(truth))
        error = max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)
        print("    %-20s %-10s %.1e" % (case, what, error))
        self.assertLessEqual(error, BAR)
        self.assertEqual(self.evaluate(case, *args, *COMPANY), whole)

    def families(self, name, cases, experts, *args):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        for case in cases:
            n = layers_of(rzlib.shared("arch", case, "model.gguf"))
            pair = ("cpu", name) if cases.index(case) % 2 else (name, "cpu")
            cut = "0-%d:%s, %d-:%s" % (n // 2 - 1, pair[0], n // 2, pair[1])
            with self.subTest(case=case, layers=cut):
                self.check(case, name, *args, "-o", "engine.layers=" + cut)
        for case in experts:
            for one, other in (("cpu", name), (name, "cpu")):
                with self.subTest(case=case, experts=one):
                    self.check(case, "experts", *args, "-o", "engine.experts=" + one, "-o", "engine.layers=0-:" + other)

    def test_families_host(self):
        self.families("cuda-host", SOME, EXPERTS[1:2], *HOST)

    def test_families_opencl(self):
        why = opencl_missing()
        if why:
            self.skipTest(why)
        self.families("opencl", families.CASES if rzlib.SLOW else SOME[:2], EXPERTS if rzlib.SLOW else EXPERTS[:1], *OPENCL)

    def restored(self, *args):
        """A text goes on from its session as it goes on by itself."""
        model, path = rzlib.fixture("tiny-llama.gguf"), os.path.join(self.temp.name, "session")
        begin = ("run", "-m", model, "--raw", "--temp", "0", "--ignore-eos", *args)
        whole = rzlib.run_json(*begin[1:], "-p", "the king of a small town", "-n", "40")["tokens"]
        done = rzlib.rz(*begin, "-p", "the king of a small town", "-n", "40", "--session", path, status=None)
        if done.returncode:
            self.assertIn("session", done.err)
            self.skipTest("a device of these does not give its pages away: " + done.err.strip())
        again = rzlib.run_json(*begin[1:], "-p", "the king of a small town", "-n", "40", "--session", path)
        self.assertEqual(again["tokens"], whole)

    def test_session(self):
        self.restored(*SECOND, "-o", "engine.layers=0:faulty-device,1-:cpu")

    def test_session_opencl(self):
        why = opencl_missing()
        if why:
            self.skipTest(why)
        self.restored(*OPENCL, "-o", "engine.layers=0:opencl,1-:cpu")


class Settings(unittest.TestCase):
    """What the plan shows, and one clear line for each mistake."""

    MODEL = rzlib.fixture("tiny-llama.gguf")

    def fails(self, *args):
        done = rzlib.rz("plan", self.MODEL, "--explain", *args, status=None)
        self.assertIn(done.returncode, (1, 2))
        lines = done.err.strip().splitlines()
        self.assertEqual(len(lines), 1, done.err)
        return lines[0]

    def layers(self, text):
        return self.fails("-o", "engine.layers=" + text)

    def test_mistakes(self):
        last = layers_of(self.MODEL) - 1
        self.assertIn("no plugin nothing", self.layers("0-:nothing"))
        self.assertIn("layer 0 is on cpu and on opencl", self.layers("0-:cpu,0:opencl"))
        self.assertIn("layer 0 is on no device", self.layers("1-:cpu"))
        self.assertIn("the model has layers 0 to %d" % last, self.layers("0-%d:cpu" % (last + 1)))
        self.assertIn('must be like 0-9:cpu', self.layers("cpu"))
        self.assertIn("the model has no experts", self.fails("-o", "engine.experts=cpu"))
        self.assertIn("nothing runs on cuda-host, which --plugin names", self.fails(*HOST, "-o", "engine.layers=0-:cpu"))

    def test_a_device_that_does_not_run_it(self):
        line = self.fails(*SECOND, "-o", "engine.layers=0:faulty-device,1-:cpu", "-o", "plugin.faulty-device.fail=compile:1")
        self.assertIn("faulty-device: ", line)
        self.assertIn("an injected error in compile", line)

    def test_memory_of_a_part(self):
        env = dict(os.environ, RZ_SHIM_MEMORY="300000000")
        done = rzlib.rz("plan", self.MODEL, "--explain", *HOST, "-o", "engine.layers=0:cuda-host,1-:cpu", "-o",
                        "engine.kv_pages=100000", status=1, env=env)
        self.assertRegex(done.err, r"cuda-host: .*MiB are needed")

    def plan(self, *args, env=None):
        return rzlib.rz("plan", self.MODEL, "--explain", *args, env=env).out

    def test_plan_names_the_devices(self):
        plan = self.plan(*HOST, "-o", "engine.layers=0:cuda-host,1-:cpu,head:cuda-host")
        self.assertRegex(plan, r"layer 0 +\w+ +cuda-host ")
        self.assertRegex(plan, r"layers? 1\S* +\w+ +cpu ")
        self.assertRegex(plan, r"select_rows cpu ")
        self.assertRegex(plan.partition("select_rows")[2], r"\n +matmul +cuda-host ")

    def test_sections(self):
        """A model with a device of its own does not take the layers of [engine]."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rz.ini")
            with open(path, "w") as f:
                f.write("[engine]\nlayers = 0-99:cpu\n[model.a]\npath = %s\ndevice = cpu\n[model.b]\npath = %s\n"
                        "layers = 0:cuda-host,1-:cpu\n" % (self.MODEL, self.MODEL))
            self.assertNotIn("cuda-host", rzlib.rz("plan", "a", "--explain", "--config", path).out)
            self.assertIn(" cuda-host ", rzlib.rz("plan", "b", "--explain", "--config", path, *HOST).out)

    def test_auto(self):
        """The CPU is faster than fibers; numbers say so."""
        plan = self.plan(*HOST, "-o", "engine.layers=auto")
        self.assertRegex(plan, r"auto: cuda-host: [\d.]+ us a layer, [\d.]+ us a stage; all layers: [\d.]+ ms a token, "
                               r"[\d.]+ MiB of [\d.]+ MiB that are free")
        self.assertRegex(plan, r"auto: cpu: [\d.]+ us a layer")
        self.assertRegex(plan, r"auto: measured in layers \d-\d; [\d.]+ ms a token with 0-\d:cpu: the fastest")


@unittest.skipUnless(rzlib.SLOW, "takes minutes (RZ_SLOW=0)")
class Golden(unittest.TestCase):
    """Three splits and auto have the best tokens of either device alone."""

    def test_golden(self):
        why = opencl_missing()
        if why:
            self.skipTest(why)
        test_golden.Default.setUpClass()
        try:
            judge = test_golden.Default("compare")

            def best(*args):
                return [max(range(len(row)), key=row.__getitem__) for row in judge.rows(*args)]
            # Activations of 8 bits change some of the best tokens by themselves; those of 16 show the split alone.
            fine = test_golden.INT16 if rzlib.has_plugin("avx512") else ("--plugin", "scalar")
            opencl = best("--plugin", "opencl", *OPENCL)
            for words in (), fine:
                alone = [best(*words), opencl]
                for how in ("0-9:opencl,10-:cpu", "0-14:cpu,15-:opencl", "0-9:cpu,10-19:opencl,20-:cpu,embed:opencl", "auto"):
                    mine = best(*OPENCL, "-o", "engine.layers=" + how, *words)
                    same = [sum(a == b for a, b in zip(mine, other)) for other in alone]
                    either = sum(a in both for a, *both in zip(mine, *alone))
                    print("    %-24s %-42s top-1 as cpu %d, as opencl %d, as either %d of %d"
                          % (" ".join(words), how, *same, either, len(mine)))
                    self.assertEqual(len(mine), 64)
                    self.assertGreaterEqual(min(same), 60)
        finally:
            test_golden.Default.tearDownClass()


class Fails(unittest.TestCase):
    """A device that is lost takes its requests with it; its layers go to the CPU, or the model stops."""

    ASK = {"prompt": "the king", "max_tokens": 12, "temperature": 0, "ignore_eos": True}

    def start(self, *args):
        server = serving.Server(*SECOND, "-o", "engine.layers=0:faulty-device,1-:cpu", *args)
        self.addCleanup(server.kill)
        return server

    def test_goes_on(self):
        whole = self.start()
        want = json.loads(whole.ask(self.ASK)[1])["choices"][0]["text"]
        whole.stop()
        server = self.start("-o", "plugin.faulty-device.fail=step:5", "-o", "rz.fallback=allow")
        status, text = server.ask(self.ASK)
        self.assertEqual(status, 500)
        self.assertRegex(json.loads(text)["error"]["message"], r"step \d+ failed: faulty-device")
        status, text = server.ask(self.ASK)
        self.assertEqual((status, json.loads(text)["choices"][0]["text"]), (200, want))
        self.assertIsNotNone(server.wait_line("it is out, and the model runs on cpu from now on"), server.log())
        self.assertEqual(server.stop(), 0)

    def test_stops(self):
        server = self.start("-o", "plugin.faulty-device.fail=step:5", "-o", "rz.fallback=deny")
        self.assertEqual(server.ask(self.ASK)[0], 500)
        self.assertEqual(server.ask(self.ASK)[0], 503)
        self.assertEqual(server.stop(), 0)


class Load(unittest.TestCase):
    """Good, bad and rude clients of a server over two devices (soak.py)."""

    def soak(self, requests, seconds, *words):
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")
        self.assertEqual(soak.Soak(argparse.Namespace(requests=requests, seconds=seconds, seed=3, model=None,
                                                      words=words)).main(), 0)

    def test_second(self):
        self.soak(100, 10, *SECOND, "-o", "engine.layers=0:faulty-device,1-:cpu", "-o", "engine.max_seqs=4")

    @unittest.skipUnless(rzlib.SLOW, "takes a minute (RZ_SLOW=0)")
    def test_opencl(self):
        why = opencl_missing()
        if why:
            self.skipTest(why)
        self.soak(1000, 60, *OPENCL, "-o", "engine.layers=0:opencl,1-:cpu")


if __name__ == "__main__":
    unittest.main()
