"""One model on several devices: layers by ranges, experts apart, and layers = auto.

Every decoder family's case with one cut in its middle, and those with experts with them apart, is as near to the
reference logits as on one device; steps of other sizes, other sequences beside and a fork give the same bits. The
second device is the one of cuda-host (the cuda plugin over a shim) everywhere, and OpenCL where there is one.
"""

import os
import re
import tempfile
import unittest

import rzlib
import test_families as families
import test_golden

BAR = 2e-3
HOST = ("--plugin", os.path.join(rzlib.BUILD, "tests", "cuda-host.so"), "-o", "plugin.cuda-host.products=exact")
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


if __name__ == "__main__":
    unittest.main()
