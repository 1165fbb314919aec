"""One model over the width of several devices: layers = 0-:a+b.

Families of every kind over two and three GPUs of cuda-host (the cuda plugin over a shim), over the CPU and a GPU, and
over devices that differ from layer to layer: as near to the reference logits as on one device, and as near to what one
device gives; steps of other sizes, other sequences beside, a fork and other numbers of threads change no bit. Sessions,
memory, mistakes, a device that fails, and a server under load.
"""

import argparse
import os
import tempfile
import unittest

import rzlib
import soak
import test_families as families
import test_mixed as mixed

BAR = 2e-3
NEAR = 2e-4  # of one device
GPUS = dict(os.environ, RZ_SHIM_DEVICES="4")
FEW = ["deepseek_v2", "gemma4", "mixtral", "olmo2"]
THREE = ["gpt_oss", "llama-mqa"]
ALL = os.environ.get("RZ_WIDE") == "all"  # every case takes a quarter of an hour


def gpus(n):
    return "+".join("cuda-host:%d" % i for i in range(n))


class Wide(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def evaluate(self, case, *args, env=GPUS):
        done = rzlib.rz("eval", "-m", rzlib.shared("arch", case, "model.gguf"), "--tokens",
                        rzlib.shared("arch", case, "tokens.i32"), "--logits", os.path.join(self.temp.name, "out.f32"),
                        *families.F32_KV, *families.SETTINGS.get(case, ()), *args, env=env)
        self.assertEqual(done.returncode, 0, done.err)
        with open(os.path.join(self.temp.name, "out.f32"), "rb") as f:
            return f.read()

    def check(self, case, *args, one=mixed.HOST):
        own = None if case in families.CARRIED else rzlib.shared("arch", case, "gguf_logits.f32")
        truth = rzlib.floats(own or rzlib.shared("arch", case, "logits.f32"))
        whole = self.evaluate(case, *args)
        mine, alone, unit = rzlib.as_floats(whole), rzlib.as_floats(self.evaluate(case, *one)), rzlib.deviation(truth)
        self.assertEqual(len(mine), len(truth))
        error, apart = (max(abs(a - b) for a, b in zip(mine, other)) / unit for other in (truth, alone))
        print("    %-20s %-40s %.1e, from one device %.1e" % (case, args[-1], error, apart))
        self.assertLessEqual(error, BAR)
        self.assertLessEqual(apart, NEAR)
        self.assertEqual(self.evaluate(case, *args, *mixed.COMPANY), whole)
        return whole

    def families(self, cases, n):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        for case in cases:
            with self.subTest(case=case, gpus=n):
                self.check(case, *mixed.HOST, "-o", "engine.layers=0-:" + gpus(n))

    def test_two(self):
        self.families(families.CASES if ALL else FEW + families.CASES[::6] if rzlib.SLOW else FEW, 2)

    def test_late(self):
        """A GPU that works only when it is waited for sees whatever nobody awaits; so do copies through the host."""
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        args = (*mixed.HOST, "-o", "engine.layers=0-:" + gpus(3))
        want = self.evaluate("mixtral", *args)
        for name, value in (("RZ_SHIM_LATE", "1"), ("RZ_SHIM_PEERS", "0")):
            self.assertEqual(self.evaluate("mixtral", *args, env=dict(GPUS, **{name: value})), want, name)

    def test_three(self):
        self.families(families.CASES if ALL else THREE + families.CASES[3::12] if rzlib.SLOW else THREE, 3)

    def test_four_and_others(self):
        """More GPUs than heads of keys; the CPU as one of them; two pairs, experts apart; one device twice over."""
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        self.families(["llama"], 4)
        host = (*mixed.HOST, "-o")
        self.check("llama", *host, "engine.layers=0-:cpu+cuda-host")
        self.check("gemma2", *host, "engine.layers=0:cuda-host:0+cuda-host:1,1-:cuda-host:1+cuda-host:2,head:cpu")
        self.check("mixtral", *host, "engine.experts=cuda-host:1+cuda-host:2", "-o", "engine.layers=0-:cuda-host:0")

    def test_threads(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        how = (*mixed.HOST, "-o", "engine.layers=0-:cuda-host:0+cuda-host:1+cpu")
        few, many = (self.evaluate("llama", *how, "-o", "rz.threads=%d" % n) for n in (1, 3))
        self.assertEqual(few, many)

    def test_quantized(self):
        """Pieces end at blocks of the weights; of a text the same words."""
        args = ("-m", rzlib.fixture("tiny-llama.gguf"), "--raw", "--temp", "0", "--ignore-eos", "-p", "the house", "-n", "30")
        alone = rzlib.run_json(*args, "--plugin", "scalar")["tokens"]
        both = rzlib.run_json(*args, *mixed.SECOND, "-o", "engine.layers=0-:faulty-device+cpu")["tokens"]
        self.assertEqual(both, alone)

    def test_session(self):
        model, path = rzlib.fixture("tiny-llama.gguf"), os.path.join(self.temp.name, "session")
        args = ("-m", model, "--raw", "--temp", "0", "--ignore-eos", "-p", "the king of a small town", *mixed.SECOND, "-o",
                "engine.layers=0-:faulty-device+cpu")
        whole = rzlib.run_json(*args, "-n", "40")["tokens"]
        rzlib.rz("run", *args, "-n", "40", "--session", path)
        self.assertEqual(rzlib.run_json(*args, "-n", "40", "--session", path)["tokens"], whole)


class Settings(unittest.TestCase):
    MODEL = rzlib.fixture("tiny-llama.gguf")

    def plan(self, *args, env=GPUS, **more):
        return rzlib.rz("plan", self.MODEL, "--explain", *mixed.HOST, *args, env=env, **more)

    def fails(self, *args, env=GPUS):
        done = self.plan(*args, env=env, status=None)
        self.assertIn(done.returncode, (1, 2))
        self.assertEqual(len(done.err.strip().splitlines()), 1, done.err)
        return done.err

    def test_mistakes(self):
        def layers(text):
            return self.fails("-o", "engine.layers=0-:" + text)
        self.assertIn("must be a device, or several", layers("cuda-host:0+"))
        self.assertIn("must be a device, or several", layers("cuda-host:0++cpu"))
        self.assertIn("is the same device as", layers("cuda-host:0+cuda-host:0"))
        self.assertIn("is the same device as", layers("cuda-host+cuda-host:0"))
        self.assertIn("no plugin nothing", layers("cuda-host+nothing"))
        self.assertIn("GPU 7: there are 4", layers("cuda-host:0+cuda-host:7"))
        self.assertIn("nothing runs on cuda-host", layers("cpu+cpu"))

    def test_plan(self):
        plan = self.plan("-o", "engine.layers=0-:" + gpus(2)).out
        for name in ("cuda-host:0", "cuda-host:1"):
            self.assertRegex(plan, r"attention +%s " % name)
        self.assertRegex(plan, r"divided: attention: \d+\+\d+ of \d+ heads, \d+\+\d+ of keys")
        self.assertRegex(plan, r"divided: columns: \d+\+\d+")

    def test_memory(self):
        """What a GPU lacks is said before anything is taken, and which one."""
        env = dict(GPUS, RZ_SHIM_MEMORY="300000000")
        line = self.fails("-o", "engine.layers=0-:" + gpus(2), "-o", "engine.kv_pages=100000", env=env)
        self.assertRegex(line, r"cuda-host:[01]: .*MiB are needed")


class Fails(mixed.Fails):
    """A device that is lost takes its requests with it; what it had goes to those beside it."""

    def start(self, *args):
        server = mixed.serving.Server(*mixed.SECOND, "-o", "engine.layers=0-:faulty-device+cpu", *args)
        self.addCleanup(server.kill)
        return server


class Load(unittest.TestCase):
    def soak(self, requests, seconds, *words):
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")
        self.assertEqual(soak.Soak(argparse.Namespace(requests=requests, seconds=seconds, seed=5, model=None,
                                                      words=words)).main(), 0)

    def test_second(self):
        self.soak(40, 4, *mixed.SECOND, "-o", "engine.layers=0-:faulty-device+cpu", "-o", "engine.max_seqs=4")

    @unittest.skipUnless(rzlib.SLOW, "takes a minute (RZ_SLOW=0)")
    def test_thousand(self):
        self.soak(1000, 60, *mixed.SECOND, "-o", "engine.layers=0-:faulty-device+cpu", "-o", "engine.max_seqs=4")


if __name__ == "__main__":
    unittest.main()
