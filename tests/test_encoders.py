"""Encoders against reference states: the cases of the reference data (data/arch), as GGUF file, as folder and
as the file that rz converts the folder to.

With a float32 cache the hidden states are within 2e-4 standard deviations of the expected ones with the
reference kernels, and within 2e-3 with the default ones; so is their mean, which rz embed gives. Alone and in
the steps of three others a text has the same bits, and what does not let it be in one step is refused.
"""

import json
import os
import tempfile
import unittest

import rzlib

F32_KV = ("-o", "engine.kv_type=f32")
CASES = ("bert", "roberta", "nomic_bert", "modernbert")
KERNELS = ((("--plugin", "scalar"), 2e-4), ((), 2e-3))
TEXTS = ["the that", "th", "", "the the the the the the at the that", "at the"]


def most(a, b):
    return max(abs(x - y) for x, y in zip(a, b))


class Encoders(unittest.TestCase):
    def setUp(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def forms(self, case):
        """The model as folder, as the file converted from it, and as somebody else's GGUF file."""
        converted = self.path(case + ".gguf")
        rzlib.rz("convert", rzlib.shared("arch", case, "hf"), converted, "-y")
        return [rzlib.shared("arch", case, "hf"), converted, rzlib.shared("arch", case, "model.gguf")]

    def hidden(self, model, case, *args):
        return rzlib.evaluate(model, rzlib.shared("arch", case, "tokens.i32"), self.path("out.f32"), "--hidden",
                              *F32_KV, *args)

    def mean(self, model, case, *args):
        done = rzlib.rz("embed", "-m", model, "--tokens", rzlib.shared("arch", case, "tokens.i32"), "--pooling",
                        "mean", "--format", "binary", *F32_KV, *args)
        return rzlib.as_floats(done.stdout)

    def check(self, case):
        truth = rzlib.floats(rzlib.shared("arch", case, "hidden.f32"))
        mean = rzlib.floats(rzlib.shared("arch", case, "mean.f32"))
        unit, forms, worst = rzlib.deviation(truth), self.forms(case), []
        for plugin, bar in KERNELS:
            states = [self.hidden(model, case, *plugin) for model in forms]
            mine = rzlib.as_floats(states[0])
            self.assertEqual(len(mine), len(truth))
            worst.append(most(mine, truth) / unit)
            self.assertLessEqual(worst[-1], bar)
            self.assertEqual(states[1], states[0], "the converted file")
            self.assertEqual(states[2], states[0], "the GGUF form")
            for model in forms:
                got = self.mean(model, case, *plugin)
                self.assertEqual(len(got), len(mean))
                self.assertLessEqual(most(got, mean) / unit, bar)
            for beside in ("1", "3"):
                self.assertEqual(self.hidden(forms[0], case, "--beside", beside, *plugin), states[0], "company")
        print("    %-20s scalar %.1e, default %.1e" % (case, *worst))

    def test_states(self):
        for case in CASES:
            with self.subTest(case=case):
                self.check(case)

    def test_a_text_is_not_cut(self):
        model, tokens = rzlib.shared("arch", "bert", "model.gguf"), rzlib.shared("arch", "bert", "tokens.i32")
        out = self.path("out.f32")
        for args in (("--chunk", "39"), ("--chunk", "1"), ("--beside", "15", "-o", "engine.max_batch_tokens=64")):
            done = rzlib.rz("eval", "-m", model, "--tokens", tokens, "--hidden", "--logits", out, *args, status=1)
            self.assertIn("as a whole", done.err)
            self.assertFalse(os.path.exists(out))
        done = rzlib.rz("embed", "-m", model, "-p", "the that " * 40, status=1)
        self.assertIn("text 1", done.err)
        self.assertIn("64", done.err)
        rzlib.rz("embed", "-m", model, "-p", "the that " * 40, "--truncate")

    def test_texts_together_and_alone(self):
        for case in CASES:
            model = rzlib.shared("arch", case, "model.gguf")
            lines = "\n".join(TEXTS).encode()
            all_of_them = rzlib.rz("embed", "-m", model, stdin=lines).out.splitlines()
            self.assertEqual(len(all_of_them), len(TEXTS))
            for text, line in zip(TEXTS, all_of_them):
                self.assertEqual(rzlib.rz("embed", "-m", model, "-p", text).out, line + "\n")

    def test_forms_of_output(self):
        model = rzlib.shared("arch", "bert", "model.gguf")
        texts = ("-p", TEXTS[0], "-p", TEXTS[1])
        plain = [json.loads(x) for x in rzlib.rz("embed", "-m", model, *texts).out.splitlines()]
        text = [[float(x) for x in line.split(" ")]
                for line in rzlib.rz("embed", "-m", model, *texts, "--format", "text").out.splitlines()]
        self.assertEqual(text, plain)
        binary = rzlib.as_floats(rzlib.rz("embed", "-m", model, *texts, "--format", "binary").stdout)
        self.assertEqual(list(binary), list(rzlib.array.array("f", plain[0] + plain[1])))
        whole = [json.loads(x) for x in rzlib.rz("embed", "-m", model, *texts, "--json").out.splitlines()]
        self.assertEqual([(x["index"], x["tokens"]) for x in whole], [(0, 4), (1, 3)])
        for x, v in zip(whole, plain):
            self.assertLess(most(x["embedding"], v), 1e-6)
        unit = json.loads(rzlib.rz("embed", "-m", model, "-p", TEXTS[0], "--normalize").out)
        self.assertAlmostEqual(sum(x * x for x in unit), 1, places=6)
        poolings = {p: rzlib.rz("embed", "-m", model, "-p", TEXTS[0], "--pooling", p).out
                    for p in ("mean", "cls", "last")}
        self.assertEqual(len(set(poolings.values())), 3)
        self.assertEqual(json.loads(poolings["mean"]), plain[0])

    def test_refused(self):
        model = rzlib.shared("arch", "bert", "model.gguf")
        for args, status, word in ((("run", "-p", "the"), 1, "encoder"),
                                   (("embed", "-p", "a", "--pooling", "max"), 2, "max"),
                                   (("embed", "-p", "a", "--format", "xml"), 2, "xml"),
                                   (("embed", "-p", "a", "-f", "b"), 2, "only one"),
                                   (("embed", "-p", "a", "--json", "--format", "text"), 2, "only one")):
            done = rzlib.rz(args[0], "-m", model, *args[1:], status=status)
            self.assertIn(word, done.err)

    def test_a_decoder(self):
        """The last state of a text, whatever the steps; the mean of all of them on request."""
        model, tokens = rzlib.shared("arch", "llama", "model.gguf"), rzlib.shared("arch", "llama", "tokens.i32")
        rows = rzlib.as_floats(rzlib.evaluate(model, tokens, self.path("out.f32"), "--hidden"))
        n, ids = len(rows) // 40, ("embed", "-m", model, "--tokens", tokens, "--format", "binary")
        for steps in ("512", "7"):
            last = rzlib.rz(*ids, "-o", "engine.max_batch_tokens=" + steps).stdout
            self.assertEqual(last, rows[-n:].tobytes())
            mean = rzlib.as_floats(rzlib.rz(*ids, "--pooling", "mean", "-o", "engine.max_batch_tokens=" + steps).stdout)
            self.assertLess(most(mean, [sum(rows[d::n]) / 40 for d in range(n)]), 1e-5)


if __name__ == "__main__":
    unittest.main()
