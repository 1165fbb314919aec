"""Model families against reference logits: the cases of the reference data (data/arch) in GGUF form.

For each family that rz has: the reference kernels with a float32 cache are within 2e-4 standard deviations
of the expected logits and choose the same 16 tokens; the default kernels are within 2e-3; and steps of 1, 7
or all rows, other sequences in the same steps, and a sequence that was forked (from a shared page's middle and
from its border) and continued beside the original give the same bits. Prints the errors found.
"""

import os
import tempfile
import unittest

import rzlib

F32_KV = ("-o", "engine.kv_type=f32")
CASES = """
apertus arcee bloom bloom-6h cohere cohere-qknorm cohere2 ernie4_5 exaone4 exaone4-swa falcon falcon-new gemma
gemma2 gemma3 gemma4 glm4 gpt2 gpt_bigcode gpt_neox gpt_neox-seq granite hunyuan_v1_dense llama llama-mha-tied
llama-mqa llama-rope-linear llama-rope-llama3 llama-rope-yarn mistral mistral-full mpt mpt-6h nemotron
olmo olmo2 olmo3 phi phi3 phi3-longrope phi3-longrope-short phi3-swa qwen2 qwen2-tied qwen3 seed_oss smollm3 stablelm stablelm-parallel
starcoder2
dbrx deepseek_v2 deepseek_v2-groups deepseek_v2-lite deepseek_v3 deepseek_v3-nogroup deepseek_v3-yarn
ernie4_5_moe glm4_moe gpt_oss gpt_oss-yarn-exact granitemoe llama4 minimax_m2 mixtral olmoe phimoe qwen2_moe qwen3_moe
falcon_h1 falcon_mamba granitemoehybrid jamba lfm2 lfm2_moe mamba mamba2 nemotron_h qwen3_5 qwen3_next
""".split()


ENCODERS = ["bert", "modernbert", "nomic_bert", "roberta"]

# gguf_logits.f32 is without the window that this file carries, so that the reference's logits hold.
CARRIED = ("phi3-swa",)
# Settings that a case is computed with.
SETTINGS = {"phi3-longrope-short": ("-c", "56"),
            "phimoe": ("-c", "56", "-o", "model.rope_magnitude=1")}  # the file has another one for both lengths


# What changes no bit of a result. The sanitizers make each run ten times as long: one way has a bit of all.
WAYS = (("--chunk", "1"), ("--chunk", "7"), ("--beside", "2", "--chunk", "5"), ("--fork", "13", "--chunk", "7"),
        ("--fork", "16", "--beside", "2", "-o", "engine.page_tokens=8"))
if not rzlib.SLOW:
    WAYS = (("--fork", "13", "--beside", "2", "--chunk", "7", "-o", "engine.page_tokens=8"),)
# One case of each kind of attention, mixture and recurrence, for devices that are slow to test.
SOME = ["bloom", "deepseek_v2", "gemma2", "gpt_oss", "jamba", "llama", "phi3-swa", "qwen3_next"]


class Families(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not rzlib.shared("arch"):
            raise unittest.SkipTest("no reference data arch/ (RZ_SHARED)")
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def evaluate(self, case, ids, *args):
        tokens = os.path.join(self.folder.name, "ids.i32")
        rzlib.write_ints(tokens, ids)
        return rzlib.evaluate(rzlib.shared("arch", case, "model.gguf"), tokens,
                              os.path.join(self.folder.name, "out.f32"), *F32_KV, *SETTINGS.get(case, ()), *args)

    def check(self, case):
        truth_path = None if case in CARRIED else rzlib.shared("arch", case, "gguf_logits.f32")
        own = truth_path is not None  # then greedy.i32 belongs to the other form
        truth = rzlib.floats(truth_path or rzlib.shared("arch", case, "logits.f32"))
        ids = rzlib.ints(rzlib.shared("arch", case, "tokens.i32"))
        greedy = rzlib.ints(rzlib.shared("arch", case, "greedy.i32"))
        width, unit = len(truth) // len(ids), rzlib.deviation(truth)
        worst = []
        for plugin in (("--plugin", "scalar"), ()):
            logits = rzlib.as_floats(self.evaluate(case, ids + greedy[:-1], *plugin))
            self.assertEqual(len(logits), (len(ids) + len(greedy) - 1) * width)
            worst.append(max(abs(a - b) for a, b in zip(logits, truth)) / unit)
            rows = [logits[(len(ids) - 1 + i) * width:(len(ids) + i) * width] for i in range(len(greedy))]
            chosen = [max(range(width), key=row.__getitem__) for row in rows]
            if not own and plugin:
                self.assertEqual(chosen, greedy)
        print("    %-20s scalar %.1e, default %.1e" % (case, worst[0], worst[1]))
        self.assertLessEqual(worst[0], 2e-4)
        self.assertLessEqual(worst[1], 2e-3)
        for plugin in (("--plugin", "scalar"), ()):
            whole = self.evaluate(case, ids, *plugin)
            for how in WAYS:
                self.assertEqual(self.evaluate(case, ids, *how, *plugin), whole, " ".join(how))

    def test_cases(self):
        for case in CASES:
            with self.subTest(case=case):
                self.check(case)

    def test_plans(self):
        """Where the CPU has a SIMD table, no node of any case is left to the reference kernels."""
        table = next((t for t in ("avx2", "neon") if rzlib.has_plugin(t)), None)
        if not table:
            self.skipTest("no fast kernel table on this machine")
        for case in CASES + ENCODERS:
            for plugin in ((), ("--plugin", table)):
                with self.subTest(case=case, plugin=plugin):
                    plan = rzlib.rz("plan", rzlib.shared("arch", case, "model.gguf"), "--explain", *plugin).out
                    self.assertIn("nothing falls back to scalar", plan)
                    self.assertEqual([line for line in plan.splitlines() if " scalar " in line], [])

    def test_unknown_family(self):
        """A family that rz does not have is refused by its name."""
        path = os.path.join(self.folder.name, "unknown.gguf")
        with open(rzlib.shared("arch", "llama-mqa", "model.gguf"), "rb") as f:
            data = f.read()
        with open(path, "wb") as f:
            f.write(data.replace(b"llama", b"lluma"))
        done = rzlib.rz("eval", "-m", path, "--tokens", rzlib.shared("arch", "llama", "tokens.i32"), "--logits",
                        os.path.join(self.folder.name, "out.f32"), status=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('"lluma" is a family that this rz does not have', done.err)


if __name__ == "__main__":
    unittest.main()
