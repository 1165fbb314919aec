#!/usr/bin/env python3
"""test_mutations.py - wrong details on purpose: each must be seen by the comparison with reference logits.

    tests/test_mutations.py              (or make mutations; needs RZ_SHARED)

First in the model: one number, one tensor, or the order of heads in a copy of a reference model's file. Then
(with RZ_SLOW, in the release configuration) in the source: one line of a copy of the tree, which is built and
run. A detail whose change moves no logit by ten times what the tests of the families allow is one that they do
not hold, and fails here. Prints how far each moves the logits, in standard deviations of them.
"""

import array
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

import mkfolder
import rzlib

WIDE = 10 * 2e-4
F32_KV = ("--plugin", "scalar", "-o", "engine.kv_type=f32")


class Model(mkfolder.Gguf):
    """A file whose numbers and tensors (all F32) are changed where they stand."""

    def __init__(self, path):
        super().__init__(path)
        self.data = bytearray(self.data)

    def place(self, key):
        """The format and offset of a number, found by walking to the key again."""
        name = key.encode()
        at = self.data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
        kind = struct.unpack_from("<I", self.data, at)[0]
        if kind == 9:
            return mkfolder.SIMPLE[struct.unpack_from("<I", self.data, at + 4)[0]], at + 16
        return mkfolder.SIMPLE[kind], at + 4

    def put(self, key, change, index=0):
        code, at = self.place(self.meta["general.architecture"] + "." + key)
        at += index * struct.calcsize("<" + code)
        old = struct.unpack_from("<" + code, self.data, at)[0]
        struct.pack_into("<" + code, self.data, at, type(old)(change(old)))

    def floats(self, name):
        return array.array("f", bytes(self.tensors[name][2]))

    def put_floats(self, name, values):
        at = self.offsets[name]
        self.data[at:at + 4 * len(values)] = values.tobytes()

    def swap(self, a, b):
        one, two = self.floats(a), self.floats(b)
        self.put_floats(a, two)
        self.put_floats(b, one)

    def rows(self, name, a, b, n):
        """Exchanges n rows from row a on with those from row b on."""
        width, values = self.tensors[name][1][0], self.floats(name)
        if len(self.tensors[name][1]) == 1:
            width = 1
        first, second = values[a * width:(a + n) * width], values[b * width:(b + n) * width]
        values[a * width:(a + n) * width], values[b * width:(b + n) * width] = second, first
        self.put_floats(name, values)


def times(key, factor):
    return lambda m: m.put(key, lambda x: x * factor)


def plus(key, step):
    return lambda m: m.put(key, lambda x: x + step)


def other(key, index=0):
    return lambda m: m.put(key, lambda x: not x, index)


def zero(name):
    return lambda m: m.put_floats(name, array.array("f", bytes(len(m.tensors[name][2]))))


def swap(a, b):
    return lambda m: m.swap(a, b)


def rows(name, a, b, n):
    return lambda m: m.rows(name, a, b, n)


# (what is wrong, case, change)
IN_THE_MODEL = [
    ("rope theta", "llama", times("rope.freq_base", 0.25)),
    ("rope theta of local layers", "gemma3", times("rope.freq_base_swa", 0.25)),
    ("rope scaling factor, linear", "llama-rope-linear", plus("rope.scaling.factor", -0.5)),
    ("rope scaling factor, yarn", "llama-rope-yarn", plus("rope.scaling.factor", -0.5)),
    ("rope divisors, llama3", "llama-rope-llama3", rows("rope_freqs.weight", 0, 7, 1)),
    ("part of a head that is rotated", "phi", plus("rope.dimension_count", 2)),
    ("eps of the RMS norm", "llama", times("attention.layer_norm_rms_epsilon", 10)),
    ("eps of the layer norm", "gpt2", times("attention.layer_norm_epsilon", 10)),
    ("window one too long", "phi3-swa", plus("attention.sliding_window", 1)),
    ("window one too short", "cohere2", plus("attention.sliding_window", -1)),
    ("window on another layer", "olmo3", other("attention.sliding_window_pattern", 3)),
    ("head order", "llama", rows("blk.0.attn_q.weight", 0, 8, 8)),
    ("kv head grouping", "qwen3", rows("blk.0.attn_k.weight", 0, 16, 16)),
    ("order of a head's rows (rotary pairs)", "olmo", rows("blk.1.attn_q.weight", 1, 2, 1)),
    ("bias of q dropped", "qwen2", zero("blk.0.attn_q.bias")),
    ("bias of v dropped", "qwen2", zero("blk.0.attn_v.bias")),
    ("bias of the feed-forward half dropped", "phi", zero("blk.0.ffn_up.bias")),
    ("bias of the head dropped", "phi", zero("output.bias")),
    ("bias of a norm dropped", "stablelm", zero("blk.0.attn_norm.bias")),
    ("norms of q and k exchanged", "qwen3", swap("blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight")),
    ("norms before and after exchanged", "glm4", swap("blk.0.attn_norm.weight", "blk.0.post_attention_norm.weight")),
    ("norms of the halves exchanged", "falcon-new", swap("blk.0.attn_norm.weight", "blk.0.attn_norm_2.weight")),
    ("soft-cap of the scores", "gemma2", plus("attn_logit_softcapping", 0.5)),
    ("soft-cap of the logits", "gemma2", plus("final_logit_softcapping", 0.5)),
    ("scale of the scores", "granite", times("attention.scale", 1.1)),
    ("residual multiplier", "granite", times("residual_scale", 1.1)),
    ("embedding multiplier", "granite", times("embedding_scale", 1.1)),
    ("logit scale, a divisor", "granite", times("logit_scale", 1.1)),
    ("logit scale, a factor", "cohere", times("logit_scale", 1.1)),
    ("clamp of q, k, v", "mpt", plus("attention.clamp_kqv", -1)),
    ("ALiBi's largest slope", "mpt", plus("attention.max_alibi_bias", -1)),
    ("parallel instead of sequential", "gpt_neox-seq", other("use_parallel_residual")),
    ("sequential instead of parallel", "gpt_neox", other("use_parallel_residual")),
    ("gate and up exchanged", "phi3", rows("blk.0.ffn_up.weight", 0, 64, 64)),
    ("q and k exchanged in the fused tensor", "bloom", rows("blk.0.attn_qkv.weight", 0, 32, 32)),
    ("scale of the experts' result", "deepseek_v2-lite", times("expert_weights_scale", 1.1)),
    ("one expert less", "mixtral", plus("expert_used_count", -1)),
    ("experts exchanged", "qwen3_moe", lambda m: m.rows("blk.0.ffn_gate_inp.weight", 0, 1, 1)),
    ("bias of the choice of experts dropped", "deepseek_v3", zero("blk.1.exp_probs_b.bias")),
    ("attention's sinks", "gpt_oss", zero("blk.0.attn_sinks.weight")),
    ("decay of a state", "mamba2", lambda m: m.put_floats("blk.0.ssm_a", array.array("f", [
        1.1 * x for x in m.floats("blk.0.ssm_a")]))),
    ("filter of a convolution", "lfm2", lambda m: m.put_floats("blk.0.shortconv.conv.weight", (
        lambda x: x[1:] + x[:1])(m.floats("blk.0.shortconv.conv.weight")))),
    ("positions off by one", "gpt2", lambda m: m.put_floats("position_embd.weight", (
        lambda x: x[32:] + x[:32])(m.floats("position_embd.weight")))),
]

# (what is wrong, case, file, text, text instead); the texts stand once in the file
IN_THE_SOURCE = [
    ("another layer without positions", "smollm3", "core/model/family_smollm3.c", "layer % 4 == 3", "layer % 4 == 2"),
    ("rope where there is none", "exaone4-swa", "core/model/family_exaone4.c", "h->window && !attn.window ? -1 : rope",
     "rope"),
    ("embedding scale", "gemma", "core/model/family_gemma.c", ".factor = sqrt(h->n_embd)", ".factor = h->n_embd"),
    ("silu instead of tanh-gelu", "gemma2", "core/model/family_gemma.c", ".act = RZ_ACT_GELU_TANH", ".act = RZ_ACT_SILU"),
    ("silu instead of squared relu", "arcee", "core/model/family_arcee.c", ".act = RZ_ACT_RELU2", ".act = RZ_ACT_SILU"),
    ("pairs of neighbours instead of halves", "qwen2", "core/model/family_qwen2.c", ".neox = true, ", ""),
    ("norm of q and k before rope", "hunyuan_v1_dense", "core/model/family_hunyuan.c", ".qk_norm_late = true",
     ".qk_norm_late = false"),
    ("no norm after the feed-forward half", "olmo2", "core/model/family_olmo2.c", '.post = "post_ffw_norm"',
     ".post = NULL"),
    ("one norm for both halves", "falcon-new", "core/model/family_falcon.c", '.pre = two ? "attn_norm" : NULL',
     ".pre = NULL"),
    ("window in the other half of the layers", "gemma2", "core/model/family_gemma.c", "(layer + 1) % g->every",
     "layer % g->every"),
    ("ALiBi slopes of a head count that is no power of two", "bloom-6h", "plugins/backends/scalar/scalar.c",
     "2 * (head - power) + 1", "2 * (head - power) + 2"),
    ("eps beside the root instead of under it", "llama", "plugins/backends/scalar/scalar.c",
     "1 / sqrt(sum / (double)n + c->node->attr[RZ_A_EPS].f)", "1 / (sqrt(sum / (double)n) + c->node->attr[RZ_A_EPS].f)"),
    ("window off by one", "mistral-folder", "plugins/backends/scalar/scalar.c", "pos + 1 > window ? pos + 1 - window",
     "pos > window ? pos - window"),
    ("yarn without its magnitude", "llama-rope-yarn", "core/model/rope.c", "magnitude *= 1 + 0.1 * log(h->scaling_factor)",
     "magnitude *= 1"),
    ("folder: rotary rows not permuted", "llama-folder", "plugins/formats/safetensors/names.c",
     '{L("self_attn.q_proj.weight", "attn_q.weight"), RZ_HF_ROPE_Q', '{L("self_attn.q_proj.weight", "attn_q.weight"), 0'),
    ("folder: norm weights one too small", "nemotron-folder", "plugins/formats/safetensors/tensors.c", "p->add = 1;",
     "p->add = 0;"),
    ("folder: q, k, v not taken apart", "falcon-new-folder", "plugins/formats/safetensors/tensors.c",
     "i ? d : each * d", "d"),
]


class Mutations(unittest.TestCase):
    def setUp(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def error(self, case, model, program=None):
        """The largest difference to the reference in standard deviations; a refusal is seen as well."""
        truth = rzlib.floats(rzlib.shared("arch", case, "logits.f32"))
        command = [program or rzlib.RZ, "eval", "-m", model, "--tokens", rzlib.shared("arch", case, "tokens.i32"),
                   "--logits", self.path("out.f32"), *F32_KV]
        done = subprocess.run(command, capture_output=True, text=True, timeout=rzlib.LIMIT_S)
        if done.returncode:
            return float("inf")
        mine = rzlib.floats(self.path("out.f32"))
        return max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth)

    def report(self, what, case, error):
        print("    %-52s %-20s %s" % (what, case, "refused" if error == float("inf") else "%.1e" % error))
        self.assertGreaterEqual(error, WIDE)

    def test_in_the_model(self):
        for what, case, change in IN_THE_MODEL:
            with self.subTest(what=what, case=case):
                m = Model(rzlib.shared("arch", case, "model.gguf"))
                with open(self.path("model.gguf"), "wb") as f:
                    f.write(m.data)
                self.assertLessEqual(self.error(case, self.path("model.gguf")), 2e-4)
                change(m)
                with open(self.path("model.gguf"), "wb") as f:
                    f.write(m.data)
                self.report(what, case, self.error(case, self.path("model.gguf")))

    def test_source_has_the_lines(self):
        """Fast, so that a moved line is seen where the builds below are left out."""
        for what, _, file, text, _ in IN_THE_SOURCE:
            with self.subTest(what=what), open(os.path.join(rzlib.SOURCE, file), encoding="utf-8") as f:
                self.assertIn(text, f.read(), file)

    def test_in_the_source(self):
        if not rzlib.SLOW or os.environ.get("RZ_CONFIG", "release") != "release":
            self.skipTest("takes minutes: builds the program %d times (RZ_SLOW)" % len(IN_THE_SOURCE))
        tree = self.path("tree")
        # What other suites write at the same time is not copied, nor is what is not built on.
        skip = shutil.ignore_patterns("tests", "bench", "shim", "logs")
        for part in ("core", "plugins", os.path.join("build", "release"), os.path.join("build", "cuda")):
            if os.path.isdir(os.path.join(rzlib.SOURCE, part)):
                shutil.copytree(os.path.join(rzlib.SOURCE, part), os.path.join(tree, part), ignore=skip)
        shutil.copy2(os.path.join(rzlib.SOURCE, "Makefile"), tree)
        for what, name, file, text, instead in IN_THE_SOURCE:
            case = name.replace("-folder", "")
            model = rzlib.shared("arch", case, "hf" if name != case else "model.gguf")
            with self.subTest(what=what, case=name):
                with rzlib.changed(os.path.join(tree, file), text, instead):
                    done = subprocess.run(["make", "-C", tree, "-j2", "config=release", "all"], capture_output=True,
                                          text=True)
                    self.assertEqual(done.returncode, 0, done.stderr[-2000:])
                    self.report(what, name, self.error(case, model, os.path.join(tree, "build", "release", "rz")))


if __name__ == "__main__":
    unittest.main()
