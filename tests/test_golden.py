#!/usr/bin/env python3
"""test_golden.py - the default model and small real ones against recorded truth, where both are at hand.

Needs reference data (RZ_SHARED) and, for the first class, the default model in the user's cache (or
RZ_MODEL); what is missing is skipped with a word. What takes minutes is left out with RZ_SLOW=0.
"""

import json
import math
import os
import tempfile
import unittest

import rzlib

F32_KV = ("-o", "engine.kv_type=f32")
TOKENS = int(os.environ.get("RZ_GOLDEN_TOKENS", "512"))  # less where the processor is emulated
INT16 = ("-o", "plugin.avx512.activations=int16")
ARCHES = ["llama", "llama-mqa", "llama-rope-linear", "llama-rope-llama3", "llama-rope-yarn", "mistral-full", "qwen2",
          "qwen2-tied"]


def backends():
    return ["scalar"] + [b for b in ("avx2", "avx512", "neon") if rzlib.has_plugin(b)]


class Default(unittest.TestCase):
    """SmolLM2-135M-Instruct Q4_1 against float64 arithmetic over its decoded weights."""

    @classmethod
    def setUpClass(cls):
        cls.model = rzlib.default_model()
        cls.golden = rzlib.shared("golden", "smollm2")
        if not cls.golden:
            raise unittest.SkipTest("no reference data golden/smollm2 (RZ_SHARED)")
        if not cls.model:
            raise unittest.SkipTest("the default model is not in the cache (make run fetches it)")
        if not rzlib.SLOW:
            raise unittest.SkipTest("takes minutes (RZ_SLOW=0)")
        cls.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(cls.golden, "greedy.json")) as f:
            cls.greedy = json.load(f)

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def rows(self, *args):
        """The logits at the positions looked at, one array each."""
        out = os.path.join(self.folder.name, "out.f32")
        tokens = os.path.join(self.folder.name, "tokens.i32")
        rzlib.write_ints(tokens, rzlib.ints(os.path.join(self.golden, "tokens.i32"))[:TOKENS])
        rzlib.rz("eval", "-m", self.model, "--tokens", tokens, "--logits", out, *args)
        n_vocab = os.path.getsize(out) // 4 // TOKENS
        rows = []
        with open(out, "rb") as f:
            for position in (p for p in rzlib.ints(os.path.join(self.golden, "positions.i32")) if p < TOKENS):
                f.seek(position * n_vocab * 4)
                rows.append(rzlib.as_floats(f.read(n_vocab * 4)))
        os.remove(out)
        return rows

    def compare(self, *args):
        """Mean KL over the 256 recorded tokens plus one bucket for the rest, and the equal best tokens."""
        ids = rzlib.ints(os.path.join(self.golden, "top_ids.i32"))
        logprobs = rzlib.floats(os.path.join(self.golden, "top_logprobs.f32"))
        total, agree = 0.0, 0
        rows = self.rows(*args)
        for r, row in enumerate(rows):
            z = rzlib.log_sum_exp(row)
            top, lp = ids[r * 256:(r + 1) * 256], logprobs[r * 256:(r + 1) * 256]
            mine = [row[i] - z for i in top]
            rest = max(1 - math.fsum(math.exp(x) for x in lp), 1e-12)
            my_rest = max(1 - math.fsum(math.exp(x) for x in mine), 1e-12)
            total += math.fsum(math.exp(p) * (p - q) for p, q in zip(lp, mine)) + rest * math.log(rest / my_rest)
            agree += max(range(len(row)), key=row.__getitem__) == top[0]
        print("    %s: mean KL %.3g, top-1 %d of %d" % (" ".join(args), total / len(rows), agree, len(rows)))
        return total / len(rows), agree

    def continues(self, sure, *args):
        for case in self.greedy["cases"]:
            with self.subTest(prompt=case["prompt"]):
                done = rzlib.run_json("-m", self.model, "--raw", "-p", case["prompt"], "-n", "48", "--temp", "0",
                                      "--ignore-eos", *args)
                self.assertEqual(done["prompt"], case["prompt_ids"])
                self.assertIsNone(rzlib.same_where_sure(done["tokens"], case["greedy_ids"], case["top1_minus_top2"],
                                                        sure))

    def test_scalar_f32(self):
        kl, agree = self.compare("--plugin", "scalar", *F32_KV)
        self.assertLessEqual(kl, 1e-9)
        self.assertEqual(agree, 64)

    def test_scalar_f16(self):
        kl, agree = self.compare("--plugin", "scalar")
        self.assertLessEqual(kl, 1e-5)
        self.assertEqual(agree, 64)

    def test_scalar_continues(self):
        self.continues(1e-3, "--plugin", "scalar", *F32_KV)

    def need(self, backend):
        if backend not in backends():
            self.skipTest("no kernel table %s on this machine" % backend)
        return "--plugin", backend

    def test_avx2(self):
        kl, agree = self.compare(*self.need("avx2"))
        self.assertLessEqual(kl, 4e-3)
        self.assertGreaterEqual(agree, 60)

    def test_avx2_continues(self):
        self.continues(0.25, *self.need("avx2"))

    def test_neon(self):
        kl, agree = self.compare(*self.need("neon"))
        self.assertLessEqual(kl, 4e-3)
        self.assertGreaterEqual(agree, 60 * TOKENS // 512)

    def test_avx512(self):
        kl, agree = self.compare(*self.need("avx512"))
        self.assertLessEqual(kl, 4e-3)
        self.assertGreaterEqual(agree, 60)

    def test_avx512_continues(self):
        self.continues(0.25, *self.need("avx512"))

    def need_opencl(self):
        why = rzlib.device_missing("opencl")
        if why:
            self.skipTest("no OpenCL device: " + why)
        return "--plugin", "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE

    def test_opencl(self):
        kl, agree = self.compare(*self.need_opencl())
        self.assertLessEqual(kl, 1e-5)
        self.assertEqual(agree, 64)

    def test_opencl_continues(self):
        self.continues(1e-2, *self.need_opencl())

    def test_avx512_int16(self):
        kl, agree = self.compare(*self.need("avx512"), *INT16)
        self.assertLessEqual(kl, 1e-5)
        self.assertEqual(agree, 64)

    def test_avx512_int16_continues(self):
        self.continues(1e-2, *self.need("avx512"), *INT16)


class Families(unittest.TestCase):
    """Tiny models of other people's making, with logits and greedy tokens computed elsewhere."""

    @classmethod
    def setUpClass(cls):
        if not rzlib.shared("arch"):
            raise unittest.SkipTest("no reference data arch/ (RZ_SHARED)")
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def test_logits(self):
        for arch in ARCHES:
            model = rzlib.shared("arch", arch, "model.gguf")
            tokens = rzlib.shared("arch", arch, "tokens.i32")
            truth = rzlib.floats(rzlib.shared("arch", arch, "gguf_logits.f32")
                                 or rzlib.shared("arch", arch, "logits.f32"))
            for backend in backends():
                with self.subTest(arch=arch, backend=backend):
                    mine = rzlib.as_floats(rzlib.evaluate(model, tokens, self.path("out.f32"), "--plugin", backend,
                                                          *F32_KV))
                    self.assertEqual(len(mine), len(truth))
                    worst = max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)
                    self.assertLessEqual(worst, 2e-5)

    def test_greedy(self):
        for arch in ARCHES:
            model = rzlib.shared("arch", arch, "model.gguf")
            ids = rzlib.ints(rzlib.shared("arch", arch, "tokens.i32"))
            for want in rzlib.ints(rzlib.shared("arch", arch, "greedy.i32")):
                rzlib.write_ints(self.path("ids.i32"), ids)
                row = rzlib.as_floats(rzlib.evaluate(model, self.path("ids.i32"), self.path("out.f32"), "--rows", "last",
                                                     *F32_KV))
                best = max(range(len(row)), key=row.__getitem__)
                with self.subTest(arch=arch, position=len(ids)):
                    self.assertEqual(best, want)
                ids.append(want)


class Stories(unittest.TestCase):
    """stories260K: a trained model small enough for the reference program."""

    def test_greedy(self):
        model = rzlib.shared("models", "stories260K.gguf")
        if not model:
            self.skipTest("no reference data models/stories260K.gguf (RZ_SHARED)")
        with tempfile.TemporaryDirectory() as folder:
            for backend in backends():
                done = rzlib.run_json("-m", model, "--plugin", backend, "-p", "Once upon a time, Tim", "-n", "64",
                                      "--temp", "0", "--ignore-eos")
                want, gaps = rzlib.reference_greedy(model, done["prompt"], 64, folder)
                self.assertIsNone(rzlib.same_where_sure(done["tokens"], want, gaps, 0.01))
                print("    %s: %s" % (backend, done["text"].replace("\n", " ")))


if __name__ == "__main__":
    unittest.main()
