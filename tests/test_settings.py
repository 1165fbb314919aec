"""What a model's file does not carry comes from [model], and what sets a model apart is told by rz info.

The window of the files that lack it reaches the logits of the folder form, which has it; a setting that the
family does not apply, and a family that is not there, are refused by name.
"""

import json
import os
import tempfile
import unittest

import rzlib

F32_KV = ("-o", "engine.kv_type=f32")
WINDOW = ("-o", "model.sliding_window=8")


class Settings(unittest.TestCase):
    def setUp(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def logits(self, model, tokens, *args):
        return rzlib.evaluate(model, tokens, os.path.join(self.temp.name, "out.f32"), *F32_KV, *args)

    def particulars(self, case, *args):
        model = rzlib.shared("arch", case, "model.gguf")
        return json.loads(rzlib.rz("info", "--json", model, *args).out)["particulars"]

    def test_a_window_from_outside(self):
        for case in ("mistral", "starcoder2", "phi3-swa"):
            model, tokens = rzlib.shared("arch", case, "model.gguf"), rzlib.shared("arch", case, "tokens.i32")
            truth = rzlib.floats(rzlib.shared("arch", case, "logits.f32"))
            bar = rzlib.deviation(truth)
            for plugin, share in ((("--plugin", "scalar"), 2e-4), ((), 2e-3)):
                data = self.logits(model, tokens, *WINDOW, *plugin)
                mine = rzlib.as_floats(data)
                self.assertLessEqual(max(abs(a - b) for a, b in zip(mine, truth)), share * bar, case)
                # pages before the window come and go, one token at a time
                self.assertEqual(self.logits(model, tokens, *WINDOW, *plugin, "--chunk", "1",
                                             "-o", "engine.page_tokens=8"), data)

    def test_a_named_model_has_its_own(self):
        model, tokens = rzlib.shared("arch", "mistral", "model.gguf"), rzlib.shared("arch", "mistral", "tokens.i32")
        want = self.logits(model, tokens, *WINDOW)
        own = ("-o", "model.small.path=" + model, "-o", "model.small.sliding_window=8")
        self.assertEqual(self.logits("small", tokens, *own), want)
        self.assertEqual(self.logits("small", tokens, *own, "-o", "model.sliding_window=3"), want)
        self.assertNotEqual(self.logits(model, tokens), want)

    def test_a_window_that_is_taken_away(self):
        model, tokens = rzlib.shared("arch", "gemma2", "model.gguf"), rzlib.shared("arch", "gemma2", "tokens.i32")
        whole = self.logits(model, tokens, "-o", "model.sliding_window=0")
        self.assertEqual(whole, self.logits(model, tokens, "-o", "model.sliding_window=1000"))
        self.assertNotEqual(whole, self.logits(model, tokens))

    def test_ropes_from_outside(self):
        """What a file says, said again from outside, changes nothing; something else does."""
        model, tokens = (rzlib.shared("arch", "llama-rope-yarn", f) for f in ("model.gguf", "tokens.i32"))
        want = self.logits(model, tokens)
        same = ("-o", "model.rope_scaling=yarn", "-o", "model.rope_factor=4", "-o", "model.rope_base=1000",
                "-o", "model.rope_original_context=1024")
        self.assertEqual(self.logits(model, tokens, *same), want)
        for other in ("model.rope_scaling=linear", "model.rope_factor=3", "model.rope_base=1001"):
            self.assertNotEqual(self.logits(model, tokens, "-o", other), want, other)

    def test_dynamic_ropes(self):
        """A text that stays within the original context is not stretched; one that may not is, whatever the
        steps."""
        model, tokens = (rzlib.shared("arch", "mistral-full", f) for f in ("model.gguf", "tokens.i32"))
        scalar = ("--plugin", "scalar")  # other tables may run another kernel where ropes have variants
        dynamic = (*scalar, "-o", "model.rope_scaling=dynamic", "-o", "model.rope_factor=2", "-o")
        plain = self.logits(model, tokens, *scalar)
        self.assertEqual(self.logits(model, tokens, *dynamic, "model.rope_original_context=40"), plain)
        stretched = self.logits(model, tokens, *dynamic, "model.rope_original_context=20")
        # 2 * 40 / 20 - 1 = 3 times; 16 elements of a head
        base = "model.rope_base=%.17g" % (1e6 * 3 ** (16 / 14))
        a, b = rzlib.as_floats(stretched), rzlib.as_floats(self.logits(model, tokens, *scalar, "-o", base))
        self.assertLess(max(abs(x - y) for x, y in zip(a, b)), 1e-4 * rzlib.deviation(a))
        self.assertNotEqual(stretched, plain)
        self.assertEqual(self.logits(model, tokens, *dynamic, "model.rope_original_context=20", "--chunk", "7"),
                         stretched)

    def test_info(self):
        for case, name, text in (("gemma2", "attention", "window of 8 in layers 0,2, full in layers 1,3"),
                                 ("modernbert", "attention", "9 positions around"), ("bert", "family", "an encoder"),
                                 ("llama-rope-yarn", "rope", "yarn by 4, trained for 1024"),
                                 ("bert", "rope", "none"), ("bert", "pooling", "mean"),
                                 ("phi3-longrope", "rope", "may grow beyond")):
            self.assertIn(text, self.particulars(case)[name])
        self.assertNotIn("setting", self.particulars("mistral"))
        told = self.particulars("mistral", *WINDOW)
        self.assertIn("sliding_window = 8", told["setting"])
        self.assertEqual(told["attention"], "window of 8")
        self.assertEqual(self.particulars("bert", "-o", "model.pooling=cls")["pooling"], "cls")

    def test_refused(self):
        bert, tokens = rzlib.shared("arch", "bert", "model.gguf"), rzlib.shared("arch", "bert", "tokens.i32")
        out = os.path.join(self.temp.name, "out.f32")
        done = rzlib.rz("eval", "-m", bert, "--tokens", tokens, "--hidden", "--logits", out, *WINDOW, status=1)
        self.assertIn("attention.sliding_window", done.err)
        self.assertIn("sliding_window", self.particulars("bert", *WINDOW)["runs"])
        for wrong in ("model.sliding_window=-1", "model.rope_scaling=ntk", "model.window=8"):
            self.assertEqual(rzlib.rz("info", bert, "-o", wrong, status=None).returncode, 2, wrong)

    def test_a_family_that_is_not_there(self):
        with open(rzlib.shared("arch", "gemma3", "model.gguf"), "rb") as f:
            data = f.read().replace(b"gemma3", b"gemmaX")
        path = os.path.join(self.temp.name, "unknown.gguf")
        with open(path, "wb") as f:
            f.write(data)
        told = json.loads(rzlib.rz("info", "--json", path).out)["particulars"]["runs"]
        for text in ('"gemmaX"', "does not have", "nearest that it has is gemma"):
            self.assertIn(text, told)
        done = rzlib.rz("run", "-m", path, "-p", "a", status=1)
        self.assertIn("gemmaX", done.err)


if __name__ == "__main__":
    unittest.main()
