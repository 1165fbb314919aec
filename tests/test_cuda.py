"""The cuda plugin without a GPU: cuda-host is the plugin over a shim that runs kernels on this CPU.

Every family case through the whole plugin within 2e-3 standard deviations of the reference logits, with both
numerics; with those of the default the same bits in steps of any size, beside others, and forked; what
the order of a block's threads changes shows as other bits when the last one runs first. Memory that is not there is
refused at load, with the numbers; calls of CUDA that fail are errors and nothing worse.
"""

import os
import tempfile
import unittest

import rzlib
import test_encoders
import test_families
import test_golden

# RZ_CUDA=cuda: the plugin itself, on a machine with a GPU (bench/cuda.sh)
NAME = os.environ.get("RZ_CUDA", "cuda-host")
SHIM = NAME == "cuda-host"
PLUGIN = ("--plugin", os.path.join(rzlib.BUILD, "tests", "cuda-host.so") if SHIM else NAME)
F32_KV = ("-o", "engine.kv_type=f32")
FAST = ("-o", "plugin.%s.numerics=fast" % NAME)
INT8 = ("-o", "plugin.%s.products=int8" % NAME)
COMPANY = ("--fork", "13", "--beside", "2", "--chunk", "7", "-o", "engine.page_tokens=8")
HOST_TOKENS = 24  # of the golden text, on fibers
REVERSED = ("llama", "gemma2", "deepseek_v2", "mixtral", "mamba2", "qwen3_next")


def environment(**more):
    return dict(os.environ, **more)


class Host(unittest.TestCase):
    def setUp(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def run_case(self, case, *args, status=0, env=None):
        done = rzlib.rz("eval", "-m", rzlib.shared("arch", case, "model.gguf"), "--tokens",
                        rzlib.shared("arch", case, "tokens.i32"), "--logits", self.path("out.f32"),
                        *test_families.SETTINGS.get(case, ()), *PLUGIN, *F32_KV, *args, status=status, env=env)
        if status:
            return done.err
        with open(self.path("out.f32"), "rb") as f:
            return f.read()

    def near(self, case, data, name):
        truth = rzlib.floats(rzlib.shared("arch", case, name))
        mine = rzlib.as_floats(data)
        self.assertEqual(len(mine), len(truth))
        error = max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)
        self.assertLessEqual(error, 2e-3)
        return error

    def test_families(self):
        part, of = map(int, os.environ.get("RZ_CUDA_PART", "1/1").split("/"))
        for case in (test_families.CASES if rzlib.SLOW else test_families.SOME)[part - 1::of]:
            with self.subTest(case=case):
                carried = case in test_families.CARRIED or not rzlib.shared("arch", case, "gguf_logits.f32")
                truth = "logits.f32" if carried else "gguf_logits.f32"
                whole = self.run_case(case)
                error = self.near(case, whole, truth), self.near(case, self.run_case(case, *FAST), truth)
                self.assertEqual(self.run_case(case, *COMPANY), whole)
                print("    %-20s %.1e, fast %.1e" % (case, *error))

    def test_encoders(self):
        for case in test_encoders.CASES:
            with self.subTest(case=case):
                data = self.run_case(case, "--hidden")
                print("    %-20s %.1e" % (case, self.near(case, data, "hidden.f32")))

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_order_of_threads(self):
        for case in REVERSED:
            for args in ((), FAST):
                with self.subTest(case=case, args=args):
                    self.assertEqual(self.run_case(case, *args, env=environment(RZ_SHIM_ORDER="reverse")),
                                     self.run_case(case, *args))

    def test_graphs(self):
        """A captured step gives what its launches gave."""
        for case in ("llama", "mamba2"):
            self.assertEqual(self.run_case(case, "--chunk", "1"),
                             self.run_case(case, "--chunk", "1", "-o", "plugin.%s.graphs=off" % NAME))

    def test_prompts_in_short_keys(self):
        """Attention on the tensor cores, which keys of float32 do not have: an error of the size of what the type costs keys."""
        for case, kind in (("gemma2", "f16"), ("deepseek_v2", "f16"), ("llama", "bf16"), ("gpt_oss", "q8_0"),
                           ("llama", "fp8")):
            truth = rzlib.floats(rzlib.shared("arch", case, "logits.f32"))
            error = {}
            for args in ((), FAST):
                mine = rzlib.as_floats(self.run_case(case, "-o", "engine.kv_type=" + kind, *args))
                error[args] = max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)
            print("    %-20s %-5s %.1e, fast %.1e" % (case, kind, error[()], error[FAST]))
            self.assertLessEqual(error[FAST], 2 * error[()])
            self.assertNotEqual(error[FAST], error[()])

    def test_integers(self):
        """Rows as int8, which products = auto takes for large matrices: near the truth, and the same bits in any company."""
        every = "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"
        for kind in every if rzlib.SLOW else ("q4_1", "q6_k"):
            with self.subTest(kind=kind):
                truth = rzlib.floats(rzlib.fixture("tiny-%s.logits.f64" % kind), "d")

                def run(*args, env=None, kind=kind):
                    rzlib.rz("eval", "-m", rzlib.fixture("tiny-%s.gguf" % kind), "--tokens",
                             rzlib.fixture("tiny-%s.tokens.i32" % kind), "--logits", self.path("out.f32"), *PLUGIN, *F32_KV,
                             *INT8, *args, env=env)
                    with open(self.path("out.f32"), "rb") as f:
                        return f.read()

                whole = run()
                error = max(abs(a - b) for a, b in zip(rzlib.as_floats(whole), truth)) / rzlib.deviation(truth)
                print("    %-20s %.1e" % (kind, error))
                self.assertLess(error, 0.15)
                self.assertEqual(run(*COMPANY), whole)
                if SHIM:
                    self.assertEqual(run(env=environment(RZ_SHIM_ORDER="reverse")), whole)

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_library(self):
        """Products by cublasLt where it is there and can; else as if it were switched off; its failures are errors."""
        model, tokens = rzlib.fixture("tiny-bf16.gguf"), rzlib.fixture("tiny-bf16.tokens.i32")

        def run(how, *args, status=0):
            done = rzlib.rz("eval", "-m", model, "--tokens", tokens, "--logits", self.path("out.f32"), *PLUGIN, *FAST, *args,
                            status=status, env=environment(RZ_SHIM_LT=how))
            if status:
                return done.err
            with open(self.path("out.f32"), "rb") as f:
                return f.read()

        off = run("", "-o", "plugin.cuda-host.cublas=off")
        for how in ("none", "never"):
            self.assertEqual(run(how), off)
        with_it, without = rzlib.as_floats(run("")), rzlib.as_floats(off)
        self.assertLess(max(abs(a - b) for a, b in zip(with_it, without)), 0.02 * rzlib.deviation(without))
        self.assertIn("cublasLt ends with status 13", run("fail", status=1))
        for how, args, said in (("", FAST, True), ("none", FAST, False), ("", (), False)):
            out = rzlib.rz("plan", model, "--explain", *PLUGIN, *args, env=environment(RZ_SHIM_LT=how)).out
            self.assertEqual("by cublasLt" in out, said)

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_two_devices(self):
        """Layers on two GPUs of one plugin give the bits of one."""
        layers = ("-o", "engine.layers=embed:cuda-host, 0:cuda-host, 1-:cuda-host:1, head:cuda-host:1")
        two = environment(RZ_SHIM_DEVICES="2")
        self.assertEqual(self.run_case("llama", *layers, env=two), self.run_case("llama"))
        self.assertIn("GPU 1: there are 1, counted from 0", self.run_case("llama", *layers, status=2))
        for name, said in (("x", "must be NAME:NUMBER"), ("7", "GPU 7: there are 2")):
            self.assertIn(said, self.run_case("llama", "-o", "engine.layers=0-:cuda-host:%s" % name, status=2,
                                              env=two))

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_no_room(self):
        err = self.run_case("llama", "-o", "engine.kv_pages=50000", status=1, env=environment(RZ_SHIM_MEMORY="300000000"))
        self.assertRegex(err, r"\d+ MiB are needed \(weights \d+, KV \d+, .*of 287 MiB 287 are free")

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_failures(self):
        """At load, in the first step, in a later one, in copies and graphs: an error each time."""
        for fault in ("count:1", "load:1", "malloc:1", "malloc:4", "host:1", "host:5", "copy:1", "copy:40", "launch:1",
                      "launch:40", "capture:1", "graph:1", "graph:20", "synchronize:2", "synchronize:30"):
            with self.subTest(fault=fault):
                err = self.run_case("llama", "--chunk", "1", status=1, env=environment(RZ_SHIM_FAIL=fault))
                self.assertIn("rz: error:", err)
                self.assertRegex(err, "no CUDA-capable|invalid|out of memory|unspecified launch failure")

    @unittest.skipUnless(SHIM, "asks the shim for it")
    def test_old_devices(self):
        """One that is too old is refused; one without bfloat16 takes the plain tiles."""
        self.assertIn("7.5 is needed", self.run_case("llama", status=1, env=environment(RZ_SHIM_CC="70")))
        for cc in ("75", "80"):
            self.near("llama", self.run_case("llama", *FAST, env=environment(RZ_SHIM_CC=cc)), "logits.f32")


class Golden(unittest.TestCase):
    """SmolLM2-135M-Instruct Q4_1 against float64 arithmetic: the whole text on a GPU, its beginning on fibers."""

    def test_golden(self):
        if SHIM and os.environ.get("RZ_CONFIG", "release") != "release":
            self.skipTest("takes minutes on fibers")

        class Judge(test_golden.Default):
            def rows(self, *args):
                if not SHIM:
                    return super().rows(*args)
                ids = rzlib.ints(os.path.join(self.golden, "tokens.i32"))[:HOST_TOKENS]
                tokens, out = os.path.join(self.folder.name, "ids.i32"), os.path.join(self.folder.name, "out.f32")
                rzlib.write_ints(tokens, ids)
                logits = rzlib.as_floats(rzlib.evaluate(self.model, tokens, out, *args))
                n = len(logits) // len(ids)
                places = rzlib.ints(os.path.join(self.golden, "positions.i32"))
                return [logits[p * n:(p + 1) * n] for p in places if p < len(ids)]

        Judge.setUpClass()
        try:
            for args in ((),) if SHIM else ((), FAST):
                self.assertLessEqual(Judge("compare").compare(*PLUGIN, *args)[0], 4e-3)
        finally:
            Judge.tearDownClass()


class Real(unittest.TestCase):
    def test_without_a_gpu(self):
        """The plugin itself: on a machine without driver or GPU it says so, and nobody else minds."""
        if not os.path.exists(os.path.join(rzlib.BUILD, "plugins", "cuda.so")):
            self.skipTest("cuda was not built: no nvcc")
        model = rzlib.fixture("tiny-llama.gguf")
        self.assertRegex(rzlib.rz("plugin", "list").out, r"cuda +device")
        rzlib.rz("run", "-m", model, "--raw", "-p", "a", "-n", "1")
        done = rzlib.rz("--plugin", "cuda", "run", "-m", model, "--raw", "-p", "a", "-n", "1", status=None)
        if done.returncode:
            self.assertEqual(done.returncode, 1)
            self.assertIn("no GPU can be used: ", done.err)


if __name__ == "__main__":
    unittest.main()
