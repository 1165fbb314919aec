#!/usr/bin/env python3
"""test_quantized.py - the families from quantised weights.

Each reference model (data/arch, needs RZ_SHARED) goes through `rz quantize` to Q8_0 and to Q4_0, and what that
file decodes to is written as F32 once more: both must give the same logits, for then a quantised model is as good
as its weights are. (No case has rows of 256, as Q4_K needs; rows that no block divides stay in a wider type.)
Prints how often the best token is that of the original weights, which says something about Q8_0 and the models:
they are small and random, and mixtures turn over by a rounding.
"""

import os
import tempfile
import unittest

import rzlib
from test_hf import ARCHES

F32_KV = ("--plugin", "scalar", "-o", "engine.kv_type=f32")


class Quantized(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not rzlib.shared("arch"):
            raise unittest.SkipTest("no reference data arch/ (RZ_SHARED)")

    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.folder = temp.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def best(self, data):
        n = len(data) // (os.path.getsize(self.path("ids.i32")) // 4)
        return [max(range(n), key=data[i:i + n].__getitem__) for i in range(0, len(data), n)]

    def logits(self, model):
        return rzlib.as_floats(rzlib.evaluate(model, self.path("ids.i32"), self.path("out.f32"), *F32_KV))

    def check(self, case, kind):
        model = rzlib.shared("arch", case, "hf")
        rzlib.write_ints(self.path("ids.i32"), rzlib.ints(rzlib.shared("arch", case, "tokens.i32")) +
                         rzlib.ints(rzlib.shared("arch", case, "greedy.i32")))
        rzlib.rz("quantize", model, self.path("quantised.gguf"), kind, "-y")
        rzlib.rz("quantize", self.path("quantised.gguf"), self.path("decoded.gguf"), "F32", "-y")
        exact, mine = self.logits(self.path("decoded.gguf")), self.logits(self.path("quantised.gguf"))
        worst = max(abs(a - b) for a, b in zip(mine, exact)) / rzlib.deviation(exact)
        self.assertLessEqual(worst, 2e-4)
        self.assertEqual(self.best(mine), self.best(exact))
        original = self.best(self.logits(model))
        return worst, sum(a == b for a, b in zip(original, self.best(mine))) / len(original)

    def test_cases(self):
        for kind in ("Q8_0", "Q4_0") if rzlib.SLOW else ("Q8_0",):
            found = []
            for case in ARCHES if rzlib.SLOW else ARCHES[::7]:
                with self.subTest(case=case, kind=kind):
                    worst, agree = self.check(case, kind)
                    found.append(agree)
                    print("    %-22s %s: off by %.1e; best token that of F32 at %5.1f %%" % (case, kind, worst, 100 * agree))
            if found:
                print("    %s, all: %.1f %%" % (kind, 100 * sum(found) / len(found)))


if __name__ == "__main__":
    unittest.main()
