"""The OpenCL device, on whatever platform there is (PoCL will do): families, encoders and errors.

Each family case with a float32 cache is within 2e-3 standard deviations of the expected logits, with the kernels
for CPUs and, for some, with those for GPUs; steps of other sizes, other sequences beside and a fork give the same
bits. What is missing or wrong is said and ends the program with status 1.
"""

import os
import tempfile
import unittest

import rzlib
import test_encoders
import test_families as families

BAR = 2e-3
WIDE = ["bloom", "deepseek_v2", "gemma2", "gpt_oss", "llama", "mamba2"]
WAYS = (("--fork", "13", "--beside", "2", "--chunk", "7", "-o", "engine.page_tokens=8"), ("--chunk", "1"))


@unittest.skipIf(rzlib.CONFIG == "tsan", "the platform's own threads are not built with this sanitizer")
class OpenCL(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        why = rzlib.device_missing("opencl")
        if why:
            raise unittest.SkipTest("no OpenCL device: " + why)
        cls.folder = tempfile.TemporaryDirectory()
        cls.device = ("--plugin", "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE)

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def need_data(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")

    def evaluate(self, case, *args):
        return rzlib.evaluate(rzlib.shared("arch", case, "model.gguf"), rzlib.shared("arch", case, "tokens.i32"),
                              self.path("out.f32"), *families.F32_KV, *families.SETTINGS.get(case, ()), *self.device,
                              *args)

    def error(self, case, raw):
        own = None if case in families.CARRIED else rzlib.shared("arch", case, "gguf_logits.f32")
        truth = rzlib.floats(own or rzlib.shared("arch", case, "logits.f32"))
        mine = rzlib.as_floats(raw)
        self.assertEqual(len(mine), len(truth))
        return max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)

    def check(self, case, *args):
        whole = self.evaluate(case, *args)
        error = self.error(case, whole)
        print("    %-20s %s%.1e" % (case, "wide " if args else "", error))
        self.assertLessEqual(error, BAR)
        for how in WAYS if rzlib.SLOW else WAYS[:1]:
            self.assertEqual(self.evaluate(case, *args, *how), whole, " ".join(how))

    def test_families(self):
        self.need_data()
        for case in families.CASES if rzlib.SLOW else families.SOME:
            with self.subTest(case=case):
                self.check(case)

    def test_families_wide(self):
        self.need_data()
        for case in WIDE if rzlib.SLOW else WIDE[:2]:
            with self.subTest(case=case):
                self.check(case, "-o", "plugin.opencl.kernels=wide")

    def test_encoders(self):
        self.need_data()
        for case in test_encoders.CASES:
            with self.subTest(case=case):
                truth = rzlib.floats(rzlib.shared("arch", case, "hidden.f32"))
                mine = rzlib.as_floats(self.evaluate(case, "--hidden"))
                self.assertLessEqual(test_encoders.most(mine, truth) / rzlib.deviation(truth), BAR)

    def test_kv_types(self):
        """What is stored coarsely is what the reference kernels store, but for a rounding here and there."""
        self.need_data()
        for case in ("llama", "deepseek_v2"):
            model, tokens = (rzlib.shared("arch", case, name) for name in ("model.gguf", "tokens.i32"))
            for kv_type in ("f16", "bf16", "q8_0"):
                with self.subTest(case=case, kv_type=kv_type):
                    option = ("-o", "engine.kv_type=" + kv_type)
                    truth = rzlib.as_floats(rzlib.evaluate(model, tokens, self.path("cpu.f32"), "--plugin", "scalar",
                                                           *option))
                    whole = self.evaluate(case, *option)
                    error = test_encoders.most(rzlib.as_floats(whole), truth) / rzlib.deviation(truth)
                    print("    %s %s: %.1e" % (case, kv_type, error))
                    self.assertLessEqual(error, 1e-2)
                    self.assertEqual(self.evaluate(case, *option, "--chunk", "3"), whole)

    def test_plan_names_the_device(self):
        for how in (self.device, ("-o", "engine.device=opencl", *self.device[2:])):
            plan = rzlib.rz("plan", rzlib.fixture("tiny-llama.gguf"), "--explain", *how).out
            self.assertRegex(plan, r"matmul +opencl +opencl matmul ")
            self.assertIn("nothing falls back to scalar", plan)

    def fails(self, *args, env=None):
        done = rzlib.rz("plan", rzlib.fixture("tiny-llama.gguf"), "--explain", *self.device, *args, status=1, env=env)
        return done.err

    def test_no_platform(self):
        self.assertIn("no OpenCL platform", self.fails(env={**os.environ, "OCL_ICD_VENDORS": self.folder.name}))

    def test_no_such_device(self):
        text = self.fails("-o", "plugin.opencl.device=hal9000")
        self.assertIn('device "hal9000"', text)
        self.assertIn("no device that fits", text)

    def test_too_much_memory_is_refused_by_numbers(self):
        self.assertIn("bytes", self.fails("-o", "engine.kv_pages=16000000"))

    def test_damaged_cache_is_not_used(self):
        model, cache = rzlib.fixture("tiny-llama.gguf"), self.path("cache")
        args = ("run", "-m", model, "-p", "the house", "-n", "8", "--temp", "0", "--plugin", "opencl", "-o",
                "plugin.opencl.cache=" + cache)
        text = rzlib.rz(*args).out
        names = os.listdir(cache)
        self.assertTrue(names)
        for name in names:
            with open(os.path.join(cache, name), "r+b") as f:
                f.seek(-100, os.SEEK_END)
                f.write(b"\0" * 50)
        self.assertEqual(rzlib.rz(*args).out, text)


if __name__ == "__main__":
    unittest.main()
