#!/usr/bin/env python3
"""test_model.py - tiny models against an independent double-precision program, and the same bits always.

The models and the expected logits come from the build itself (tests/mkmodel.c, tests/ref_model.c).
"""

import os
import platform
import tempfile
import unittest

import rzlib

EXACT = ["tiny-llama", "tiny-qwen2", "tiny-mqa"]
QUANTISED = ["tiny-f16", "tiny-bf16", "tiny-q4_0", "tiny-q4_1", "tiny-q5_0", "tiny-q5_1", "tiny-q8_0", "tiny-q4_k",
             "tiny-q5_k", "tiny-q6_k"]
BITS = ["tiny-llama", "tiny-qwen2", "tiny-mqa", "tiny-q4_1", "tiny-q8_0", "tiny-q4_k", "tiny-q6_k", "tiny-f16"]
if not rzlib.SLOW:  # the sanitizers make all of this ten times as long; each way through the code is still there
    BITS = ["tiny-llama", "tiny-q4_k"]
F32_KV = ("-o", "engine.kv_type=f32")
PROMPT = "the king was in the house and the rain was on it"


class Models(unittest.TestCase):
    backend = None  # a kernel table; the classes below fill it in

    @classmethod
    def setUpClass(cls):
        if cls.backend is None:
            raise unittest.SkipTest("base class")
        if cls.backend != "scalar" and not rzlib.has_plugin(cls.backend):
            raise unittest.SkipTest("no kernel table %s on this machine" % cls.backend)
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def logits(self, name, *args):
        return rzlib.evaluate(rzlib.fixture(name + ".gguf"), rzlib.fixture(name + ".tokens.i32"), self.path("out.f32"),
                              "--plugin", self.backend, *args)

    def against_reference(self, name, *args):
        """(largest difference in units of the logits' deviation, mean KL, top-1 agreement)"""
        truth = rzlib.floats(rzlib.fixture(name + ".logits.f64"), "d")
        mine = rzlib.as_floats(self.logits(name, *args))
        self.assertEqual(len(mine), len(truth))
        worst = max(abs(a - b) for a, b in zip(truth, mine)) / rzlib.deviation(truth)
        n_vocab = len(truth) // len(rzlib.ints(rzlib.fixture(name + ".tokens.i32")))
        kl, top1 = rzlib.mean_kl(truth, mine, n_vocab)
        print("    %s %s %s: worst %.2g deviations, mean KL %.2g, top-1 %.1f %%"
              % (self.backend, name, " ".join(args), worst, kl, 100 * top1))
        return worst, kl, top1

    def test_short_kv_is_close(self):
        for kv, bar in (("f16", 1e-5), ("bf16", 1e-4), ("q8_0", 5e-4)):
            for name in EXACT:
                with self.subTest(model=name, kv=kv):
                    _, kl, top1 = self.against_reference(name, "-o", "engine.kv_type=" + kv)
                    self.assertLessEqual(kl, bar)
                    self.assertGreaterEqual(top1, 0.99 if kv == "f16" else 0.9)

    def test_short_kv_has_the_same_bits(self):
        for kv in ("bf16", "q8_0"):
            base = self.logits("tiny-mqa", "-o", "engine.kv_type=" + kv, "-t", "1")
            for way in (("-t", "2"), ("--chunk", "1"), ("--chunk", "7"), ("-t", "2", "--beside", "3")):
                with self.subTest(kv=kv, way=" ".join(way)):
                    self.assertTrue(self.logits("tiny-mqa", "-o", "engine.kv_type=" + kv, *way) == base, "other logits")

    def test_same_bits_however_it_is_run(self):
        for name in BITS:
            base = self.logits(name, "-t", "1")
            ways = [("-t", "2"), ("--chunk", "1"), ("--chunk", "7"), ("--chunk", "64"), ("--chunk", "512"),
                    ("--beside", "3"), ("-t", "2", "--chunk", "7", "--beside", "3")]
            for way in ways:
                with self.subTest(model=name, way=" ".join(way)):
                    self.assertTrue(self.logits(name, *way) == base, "other logits")

    def test_last_row_is_the_last_row(self):
        for name in EXACT:
            whole = self.logits(name)
            last = self.logits(name, "--rows", "last")
            self.assertTrue(len(last) > 0 and whole.endswith(last))

    def greedy(self, name, *args):
        return rzlib.run_json("-m", rzlib.fixture(name + ".gguf"), "--plugin", self.backend, "-p", PROMPT, "-n", "40",
                              "--temp", "0", "--ignore-eos", *args)

    def test_greedy_tokens_are_the_reference_s(self):
        for name in EXACT:
            with self.subTest(model=name):
                done = self.greedy(name)
                self.assertGreater(len(done["prompt"]), 5)
                want, gaps = rzlib.reference_greedy(rzlib.fixture(name + ".gguf"), done["prompt"], 40, self.folder.name)
                self.assertIsNone(rzlib.same_where_sure(done["tokens"], want, gaps, 0.02))

    def test_greedy_is_the_same_however_it_is_run(self):
        for name in ["tiny-llama", "tiny-q4_1"]:
            base = self.greedy(name, "-t", "1")["tokens"]
            self.assertEqual(len(base), 40)
            self.assertEqual(self.greedy(name, "-t", "2")["tokens"], base)
            self.assertEqual(self.greedy(name, "-o", "engine.max_batch_tokens=5")["tokens"], base)

    def test_a_seed_gives_its_text_again(self):
        def text(seed):
            return rzlib.run_json("-m", rzlib.fixture("tiny-llama.gguf"), "--plugin", self.backend, "-p", PROMPT, "-n",
                                  "40", "--temp", "1.5", "--top-k", "0", "--min-p", "0", "--top-p", "1", "--ignore-eos",
                                  "--seed", seed)["tokens"]
        self.assertEqual(text("7"), text("7"))
        self.assertNotEqual(text("7"), text("8"))


class Scalar(Models):
    backend = "scalar"

    def test_f32_kv_equals_the_reference(self):
        for name in EXACT + QUANTISED:
            with self.subTest(model=name):
                worst, kl, top1 = self.against_reference(name, *F32_KV)
                self.assertLessEqual(worst, 2e-5)
                self.assertLessEqual(kl, 1e-9)
                self.assertEqual(top1, 1)


class Avx2(Models):
    backend = "avx2"

    def test_exact_models_stay_exact(self):
        for name in EXACT:
            with self.subTest(model=name):
                worst, kl, _ = self.against_reference(name, *F32_KV)
                self.assertLessEqual(worst, 2e-5)
                self.assertLessEqual(kl, 1e-9)

    def test_quantised_models_are_close(self):
        for name in QUANTISED:
            with self.subTest(model=name):
                _, kl, top1 = self.against_reference(name)
                self.assertLessEqual(kl, 2e-3)
                self.assertGreaterEqual(top1, 0.9)


class Avx512(Avx2):
    backend = "avx512"


class Neon(Avx2):
    backend = "neon"


def load_tests(loader, standard, pattern):
    suite = unittest.TestSuite()
    for case in (Scalar, Neon) if platform.machine() == "aarch64" else (Scalar, Avx2, Avx512):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    unittest.main()
