#!/usr/bin/env python3
"""test_hf.py - models as Hugging Face folders: the same results as their GGUF form, and what is refused.

Folders of our own come from tests/mkfolder.py; those of other people, with logits and greedy tokens computed
elsewhere, need reference data (RZ_SHARED) and are skipped with a word where it is missing.
"""

import json
import math
import os
import re
import shutil
import struct
import tempfile
import unittest

import mkfolder
import rzlib

F32_KV = ("-o", "engine.kv_type=f32")
ARCHES = """
apertus arcee bloom bloom-6h cohere cohere-qknorm cohere2 dbrx deepseek_v2 deepseek_v2-groups deepseek_v2-lite
deepseek_v3 deepseek_v3-nogroup deepseek_v3-yarn ernie4_5 ernie4_5_moe exaone4 exaone4-swa falcon falcon-new
falcon_h1 falcon_mamba gemma gemma2 gemma3 gemma4 glm4 glm4_moe gpt2 gpt_bigcode gpt_neox gpt_neox-seq gpt_oss
gpt_oss-yarn-exact gptj granite granitemoe granitemoehybrid hunyuan_v1_dense jamba lfm2 lfm2_moe llama
llama-mha-tied llama-mqa llama-rope-linear llama-rope-llama3 llama-rope-yarn llama4 mamba mamba2 minimax_m2 mistral
mistral-full mixtral mpt mpt-6h nemotron nemotron_h olmo olmo2 olmo3 olmoe phi phi3 phi3-longrope
phi3-longrope-short phi3-swa phimoe qwen2 qwen2-tied qwen2_moe qwen3 qwen3_5 qwen3_moe qwen3_next seed_oss smollm3
stablelm stablelm-parallel starcoder2
""".split()
# The GGUF form lacks something that the folder has (a window, a chunk, the exact range of yarn, a magnitude), or its
# weights were multiplied and rounded in another order (falcon_h1), or exp is another library's (the recurrent ones).
NOT_THE_SAME = ("gpt_oss-yarn-exact", "llama4", "mistral", "phimoe", "starcoder2", "falcon_h1", "falcon_mamba",
                "granitemoehybrid", "jamba", "mamba", "mamba2", "nemotron_h", "qwen3_5", "qwen3_next")
TEXTS = ["", " ", "Hello world", " the and in", "it's 12345 o'clock\n\n  x", "the\tthe\u00e9 \u4f60\u597d \U0001f600",
         "<s>in</s><|im_end|> on", "  two  spaces ", "a\r\nb", "<|endoftext|>", "<0x41>\u2581"]
# The folders of these vocabularies and the names of their pre-tokenizers, which the description must give.
VOCABULARIES = ["smollm2", "qwen2", "gpt-2", "llama-spm"]


class Case(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def logits(self, model, tokens, *args):
        return rzlib.evaluate(model, tokens, self.path("out.f32"), *args)

    def tokens_of(self, model, texts, *args):
        lines = "".join(json.dumps(t) + "\n" for t in texts).encode()
        return rzlib.rz("tokenize", "-m", model, "--lines", *args, stdin=lines).out.splitlines()

    def metadata(self, model, key):
        return rzlib.rz("info", "-m", model, "--metadata", key).out.strip()


class Elsewhere(Case):
    """Folders with logits that another program computed."""

    def setUp(self):
        super().setUp()
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")

    def check(self, arch):
        """Logits and greedy tokens on both tables; the GGUF form and what is converted have the same bits."""
        folder, gguf = rzlib.shared("arch", arch, "hf"), rzlib.shared("arch", arch, "model.gguf")
        context = ("-c", "56") if arch == "phi3-longrope-short" else ()
        truth = rzlib.floats(rzlib.shared("arch", arch, "logits.f32"))
        ids = rzlib.ints(rzlib.shared("arch", arch, "tokens.i32"))
        want = rzlib.ints(rzlib.shared("arch", arch, "greedy.i32"))
        tokens, n, worst = self.path("ids.i32"), len(truth) // len(ids), []
        rzlib.write_ints(tokens, ids + want[:-1])
        rzlib.rz("convert", folder, self.path("out.gguf"), "-y")
        for args in (("--plugin", "scalar", *F32_KV, *context), F32_KV + context):
            data = self.logits(folder, tokens, *args)
            mine = rzlib.as_floats(data)
            worst.append(max(abs(a - b) for a, b in zip(mine, truth)) / rzlib.deviation(truth))
            rows = [mine[(len(ids) - 1 + i) * n:(len(ids) + i) * n] for i in range(len(want))]
            self.assertEqual([max(range(n), key=row.__getitem__) for row in rows], want)
            self.assertEqual(data, self.logits(self.path("out.gguf"), tokens, *args), "the converted file")
            if gguf and arch not in NOT_THE_SAME:
                self.assertEqual(data, self.logits(gguf, tokens, *args), "the GGUF form")
        print("    %-20s scalar %.1e, default %.1e" % (arch, *worst))
        self.assertLessEqual(worst[0], 2e-4)
        self.assertLessEqual(worst[1], 2e-3)

    def test_logits(self):
        for arch in ARCHES if rzlib.SLOW else ARCHES[::5]:
            with self.subTest(arch=arch):
                self.check(arch)

    def test_tokens(self):
        for arch in ARCHES if rzlib.SLOW else ARCHES[::5]:
            for args in ((), ("--bos",), ("--no-special",)):
                if not rzlib.shared("arch", arch, "model.gguf"):
                    continue
                with self.subTest(arch=arch, args=args):
                    self.assertEqual(self.tokens_of(rzlib.shared("arch", arch, "hf"), TEXTS, *args),
                                     self.tokens_of(rzlib.shared("arch", arch, "model.gguf"), TEXTS, *args))


    def test_refused(self):
        """What changes the arithmetic and is not there is named, in every family that has such a key."""
        cases = [
            ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: is true"),
            ("gpt2", {"activation_function": "relu"}, "activation_function: is relu: this rz has gelu_pytorch_tanh"),
            ("gpt_neox", {"hidden_act": "gelu_new"}, "hidden_act: is gelu_new: this rz has gelu in"),
            ("falcon", {"alibi": True}, "alibi: is true"),
            ("falcon", {"parallel_attn": False}, "parallel_attn: is false"),
            ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm: is true"),
            ("phi", {"qk_layernorm": True}, "qk_layernorm: is true"),
            ("smollm3", {"no_rope_layers": [1, 1, 0, 1]}, "no_rope_layers: is [1,1,0,1]"),
            ("olmo2", {"attention_bias": True}, "attention_bias: is true"),
            ("gemma3", {"layer_types": ["sliding_attention"]}, "layer_types: must be a list of 7 kinds"),
            ("olmo3", {"layer_types": ["linear_attention"] * 4}, "another kind of layer than full_attention"),
            ("deepseek_v3", {"scoring_func": "relu"}, "scoring_func: is \"relu\""),
            ("deepseek_v2", {"topk_method": "random"}, "topk_method: is \"random\""),
            ("gpt_oss", {"swiglu_limit": 6.0}, "swiglu_limit: is 6.0"),
            ("llama4", {"attn_temperature_tuning": False}, "attn_temperature_tuning: is false"),
            ("mamba2", {"time_step_limit": [0.0, 0.1]}, "time_step_limit: is [0.0,0.1"),
            ("granitemoehybrid", {"layer_types": ["mamba", "rwkv", "mamba"]}, "layer_types: is ["),
            ("nemotron_h", {"layers_block_type": ["moe"] * 5}, "layers_block_type: is ["),
            ("qwen3_next", {"linear_num_value_heads": 3}, "linear_num_value_heads: is 3"),
            ("mixtral", {"num_local_experts": 3}, "block_sparse_moe.experts.3"),
            ("llama", {"num_hidden_layers": 100000}, "num_hidden_layers: is 100000, at most"),
        ]
        for arch, change, says in cases:
            folder = self.path("changed")
            shutil.copytree(rzlib.shared("arch", arch, "hf"), folder)
            path = os.path.join(folder, "config.json")
            with open(path, encoding="utf-8") as f:
                config = json.load(f)
            mkfolder.dump(folder, "config.json", {**config, **change})
            with self.subTest(arch=arch, change=change):
                done = rzlib.rz("info", "-m", folder, status=None)
                self.assertEqual(done.returncode, 1, done.err)
                self.assertIn(says, done.err)
            shutil.rmtree(folder)

    def test_infinity(self):
        """Python writes numbers without bounds in a way that JSON does not have."""
        folder = self.path("endless")
        shutil.copytree(rzlib.shared("arch", "mamba2", "hf"), folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        mkfolder.dump(folder, "config.json", {**config, "time_step_limit": [0.0, math.inf], "note": "Infinity \\"})
        self.assertEqual(rzlib.rz("info", "-m", folder).returncode, 0)


class Vocabularies(Case):
    """Vocabularies of public models: the folder's ids are those of the GGUF file."""

    def folder(self, g):
        n, f = len(g.meta["tokenizer.ggml.tokens"]), self.path("vocabulary")
        mkfolder.around(f, n)
        mkfolder.write_tokenizer(f, g, "json")
        return f

    def test_ids(self):
        for name in VOCABULARIES[:4 if rzlib.SLOW else 1]:
            path = rzlib.shared("vocab", name + ".gguf")
            if not path:
                self.skipTest("no reference data vocab/ (RZ_SHARED)")
            with open(rzlib.shared("vocab", name + ".cases.tsv")) as f:
                texts = [bytes.fromhex(line.split("\t")[0]).decode("utf-8", "replace") for line in f]
            g = mkfolder.Gguf(path)
            g.meta.setdefault("tokenizer.ggml.add_bos_token", False)
            g.meta.setdefault("tokenizer.ggml.pre", "default")
            folder = self.folder(g)
            with self.subTest(vocabulary=name):
                if g.meta["tokenizer.ggml.model"] == "gpt2":
                    self.assertEqual(self.metadata(folder, "tokenizer.ggml.pre"), g.meta["tokenizer.ggml.pre"])
                self.assertEqual(self.tokens_of(folder, texts), self.tokens_of(path, texts))
            shutil.rmtree(folder)


class Own(Case):
    """Folders made of the models of tests/mkmodel.c."""

    def same(self, name, gguf=None, **form):
        folder, tokens = self.path("folder"), rzlib.fixture(name + ".tokens.i32")
        gguf = gguf or rzlib.fixture(name + ".gguf")
        mkfolder.make(gguf, folder, **form)
        with self.subTest(name=name, **form):
            self.assertEqual(self.logits(folder, tokens), self.logits(gguf, tokens))
            for args in ((), ("--bos", "--eos"), ("--no-special",)):
                self.assertEqual(self.tokens_of(folder, TEXTS, *args), self.tokens_of(gguf, TEXTS, *args))
            converted = self.path("converted.gguf")
            rzlib.rz("convert", folder, converted, "-y")
            self.assertEqual(self.logits(converted, tokens), self.logits(gguf, tokens))
            self.assertEqual(self.tokens_of(converted, TEXTS), self.tokens_of(gguf, TEXTS))
        shutil.rmtree(folder)

    def test_llama(self):
        self.same("tiny-llama")
        self.same("tiny-llama", tokenizer="model")

    def test_qwen2(self):
        self.same("tiny-qwen2")
        self.same("tiny-qwen2", tokenizer="vocab")

    def test_halves(self):
        self.same("tiny-f16")
        self.same("tiny-bf16", shards=3)

    def test_data_that_is_not_aligned(self):
        self.same("tiny-llama", pad=1)
        self.same("tiny-bf16", pad=3)

    def test_short_vectors(self):
        """All of a folder in BF16: the GGUF form has the same values, vectors in F32."""
        for name, dtype, mask in (("tiny-bf16", "bf16", 0xffff0000), ("tiny-qwen2", "bf16", 0xffff0000)):
            g, path = mkfolder.Gguf(rzlib.fixture(name + ".gguf")), self.path("rounded.gguf")
            data = bytearray(g.data)
            for kind, dims, stored in g.tensors.values():
                if kind == 0:
                    at = g.data.index(stored)
                    values = struct.unpack("<%dI" % (len(stored) // 4), stored)
                    data[at:at + len(stored)] = struct.pack("<%dI" % len(values), *[v & mask for v in values])
            with open(path, "wb") as f:
                f.write(data)
            if name == "tiny-bf16":
                self.same(name, gguf=path, dtype=dtype)
            else:  # matrices are F32 in the one and BF16 in the other: the same values, perhaps other kernels
                folder = self.path("short")
                mkfolder.make(path, folder, dtype=dtype)
                tokens, args = rzlib.fixture(name + ".tokens.i32"), ("--plugin", "scalar", *F32_KV)
                self.assertEqual(self.logits(folder, tokens, *args), self.logits(path, tokens, *args))

    def test_unknown_pre_tokenizer(self):
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-qwen2.gguf"), folder)
        self.edit(folder, "tokenizer.json", lambda t: t["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="\\w+"))
        done = rzlib.rz("tokenize", "-m", folder, "-p", "x", status=1)
        self.assertIn("split \\w+; bytes", done.err.replace("\\\\", "\\"))
        self.assertIn("set [tokenizer] pre = NAME to force one", done.err)
        args = ("-o", "tokenizer.pre=qwen2")
        self.assertEqual(self.tokens_of(folder, TEXTS, *args), self.tokens_of(rzlib.fixture("tiny-qwen2.gguf"), TEXTS))

    def test_metadata(self):
        folder = self.path("folder")
        g = mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder)
        mkfolder.dump(folder, "generation_config.json", {"eos_token_id": [2, 260, 261]})
        self.edit(folder, "tokenizer_config.json", lambda t: t.update(
            chat_template=[{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]))
        self.assertEqual(self.metadata(folder, "general.name"), "folder")
        self.assertEqual(self.metadata(folder, "tokenizer.ggml.eot_token_id"), "260")
        self.assertEqual(re.findall(r"\d+", self.metadata(folder, "tokenizer.rz.end_token_ids")), ["260", "261"])
        self.assertEqual(self.metadata(folder, "tokenizer.chat_template"), "A")
        self.assertEqual(self.metadata(folder, "tokenizer.chat_template.tool_use"), "B")
        with open(os.path.join(folder, "chat_template.jinja"), "w") as f:
            f.write("{{ C }}")
        self.assertEqual(self.metadata(folder, "tokenizer.chat_template"), "{{ C }}")
        self.assertEqual(g.meta["llama.block_count"], int(self.metadata(folder, "llama.block_count")))

    def test_single_file(self):
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder)
        file = os.path.join(folder, "model.safetensors")
        self.assertIn("model.layers.0.self_attn.q_proj.weight", rzlib.rz("info", "-m", file, "--tensors").out)
        self.assertIn("name the folder", rzlib.rz("tokenize", "-m", file, "-p", "x", status=1).err)

    # --- what is refused ---

    def edit(self, folder, name, change):
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
        value = change(value) or value
        mkfolder.dump(folder, name, value)

    def refused(self, folder, *says):
        done = rzlib.rz("tokenize", "-m", folder, "-p", "x", status=None)
        self.assertEqual(done.returncode, 1, done.err)
        for text in says:
            self.assertIn(text, done.err)

    def test_yarn(self):
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder)
        yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 16}
        own = 1 + 0.1 * math.log(4)
        for extra, want in (({}, None), ({"attention_factor": 1.0}, 1 / own), ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1 / own),
                            ({"mscale": 2.0, "mscale_all_dim": 1.0}, (1 + 0.2 * math.log(4)) / own / own)):
            self.edit(folder, "config.json", lambda c: c.update(rope_scaling={**yarn, **extra}))
            listed = rzlib.rz("info", "-m", folder, "--metadata").out
            with self.subTest(extra=extra):
                self.assertIn("llama.rope.scaling.yarn_beta_fast = 16", listed)
                self.assertIn("llama.rope.scaling.original_context_length = 128", listed)
                found = re.search(r"attn_factor = (\S+)", listed)
                self.assertEqual(found is None, want is None)
                if want:
                    self.assertAlmostEqual(float(found.group(1)), want, places=6)

    def test_types_that_do_not_run(self):
        folder = self.path("folder")
        g = mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder)
        for dtype, size in (("F8_E4M3", 1), ("F8_E5M2", 1), ("I8", 1), ("I32", 4), ("BOOL", 1), ("U8", 1)):
            tensors = [t if "0.mlp.up" not in t[0] else (t[0], dtype, t[2], bytes(size * t[2][0] * t[2][1]))
                       for t in mkfolder.stored_tensors(g, "llama", None)]
            mkfolder.write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
            self.refused(folder, "tensor model.layers.0.mlp.up_proj.weight: its elements are " + dtype)
            listed = rzlib.rz("info", "-m", os.path.join(folder, "model.safetensors"), "--tensors").out
            self.assertRegex(listed, r"model.layers.0.mlp.up_proj.weight +%s " % dtype)

    def test_config(self):
        cases = [
            ({"hidden_act": "gelu"}, "hidden_act: is gelu: this rz has silu"),
            ({"hidden_size": None}, "hidden_size: is missing"),
            ({"hidden_size": "64"}, "hidden_size: must be a number"),
            ({"hidden_size": 64.5}, "hidden_size: is 64.5, must be an integer"),
            ({"num_hidden_layers": 0}, "num_hidden_layers: is 0, outside"),
            ({"num_hidden_layers": 4}, "tensor model.layers.3.self_attn.q_proj.weight: is missing"),
            ({"num_hidden_layers": 2}, "tensor model.layers.2.", "is none that a llama model"),
            ({"head_dim": 7}, "head_dim: is 7: must be even"),
            ({"rms_norm_eps": -1}, "rms_norm_eps: is -1, outside"),
            ({"rope_theta": 0}, "rope_theta: is 0, outside"),
            ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: must be true or false"),
            ({"attention_bias": True}, "self_attn.q_proj.bias: is missing", "with biases"),
            ({"mlp_bias": True}, "mlp.gate_proj.bias: is missing"),
            ({"model_type": "qwen2"}, "self_attn.q_proj.bias: is missing"),
            ({"model_type": "gpt_neo"}, 'model_type: "gpt_neo" is a family', "the nearest that it can is gpt_neox"),
            ({"model_type": None}, "model_type: is missing"),
            ({"vocab_size": 300}, "vocab_size: is 300, the embedding has"),
            ({"use_sliding_window": True, "sliding_window": 16}, "use_sliding_window: is true"),
            ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: is [", "in llama models"),
            ({"model_type": "mistral", "sliding_window": "8"}, "sliding_window: must be an integer or null"),
            ({"model_type": "mistral", "sliding_window": 8, "layer_types": ["full_attention"]}, "must be a list of"),
            ({"attention_chunk_size": 8}, "attention_chunk_size: is 8"),
            ({"quantization_config": {"quant_method": "awq"}}, 'quantization_config: is {"quant_method":"awq"}'),
            ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: is 0.5"),
            ({"num_local_experts": 8}, "num_local_experts: is 8"),
            ({"logit_scale": 0.25}, "logit_scale: is 0.25"),
            ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: is 50.0"),
            ({"rope_scaling": {"type": "ntk", "factor": 2.0}}, 'rope type "ntk"', "default, linear, dynamic, yarn, longrope, llama3"),
            ({"rope_scaling": {"type": "dynamic", "alpha": 2.0}}, "alpha is 2"),
            ({"rope_scaling": {"rope_type": "longrope"}}, "short_factor must be a list of 8 numbers"),
            ({"rope_scaling": {"rope_type": "longrope", "short_factor": [1] * 8, "long_factor": [1] * 7 + [0]}},
             "long_factor must be a list of 8 numbers"),
            ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor: is missing"),
            ({"rope_scaling": {"type": "linear", "factor": 2, "mystery": 1}}, '"mystery" is not known'),
            ({"rope_scaling": {"factor": 2.0}}, "has no rope_type"),
            ({"rope_scaling": "linear"}, "rope_scaling: must be an object or null"),
            ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}},
             "high_freq_factor 1 must be above"),
            ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "has no rope_type"),
            ({"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2}}, "has both"),
        ]
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder)
        with open(os.path.join(folder, "config.json"), "rb") as f:
            good = f.read()
        for change, *says in cases:
            self.edit(folder, "config.json", lambda c: c.update(change))
            with self.subTest(change=change):
                self.refused(folder, folder, *says)
            with open(os.path.join(folder, "config.json"), "wb") as f:
                f.write(good)
        self.edit(folder, "config.json", lambda c: c.update(sliding_window=4096, partial_rotary_factor=1.0, pretraining_tp=1,
                                                            rope_parameters={"rope_theta": 1e4, "rope_type": "default"}))
        self.assertEqual(rzlib.rz("tokenize", "-m", folder, "-p", "x").returncode, 0)

    def test_spellings_of_json(self):
        """tokenizer.json with escapes, blanks and its members in another order is the same tokenizer."""
        texts = ["hello world", "h\u00e9llo \u4e2d\U0001f600 ", "\"quoted\" \\ /path\t\n", "<|im_start|>a"]
        for name in ("tiny-qwen2", "tiny-llama"):
            folder = self.path(name)
            mkfolder.make(rzlib.fixture(name + ".gguf"), folder)
            path, want = os.path.join(folder, "tokenizer.json"), self.tokens_of(folder, texts)
            with open(path, encoding="utf-8") as f:
                value = json.load(f)
            model = value["model"]
            pairs = {"version": "1.0", "model": {"merges": [m.split(" ") if isinstance(m, str) else m for m in model["merges"]],
                                                 **{k: v for k, v in model.items() if k != "merges"}}, **value}
            forms = [json.dumps(value), json.dumps(value, indent=3), json.dumps(value, separators=(",", ":")),
                     "\n " + json.dumps(value).replace("/", "\\/") + " \n", json.dumps(pairs, ensure_ascii=False)]
            for form in forms:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(form)
                self.assertEqual(self.tokens_of(folder, texts), want)

    def test_broken_json(self):
        """Whatever does not read is named by the line of the whole file, or by its key."""
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-qwen2.gguf"), folder)
        path = os.path.join(folder, "tokenizer.json")
        with open(path, encoding="utf-8") as f:
            good = json.dumps(json.load(f), indent=0)
        line = good[:good.index('"merges"')].count("\n") + 1
        merges = good.index("[", good.index('"merges"')) + 1
        vocab = good.index("{", good.index('"vocab"')) + 1
        cases = [
            (vocab, '"new": 1.5,', "model.vocab: each value must be the id"),
            (vocab, '"new": 12345678901234567890,', "tokenizer.json: line"),
            (vocab, '"x": 1 2,', "tokenizer.json: line"),
            (vocab, '"x" 1,', "tokenizer.json: line"),
            (vocab, ",", "tokenizer.json: line"),
            (vocab, '"\\ud800": 1,', "tokenizer.json: line"),
            (vocab, '"\\u0000": 1,', "tokenizer.json: line"),
            (vocab, '"\\x": 1,', "tokenizer.json: line"),
            (vocab, '"a\x01": 1,', "tokenizer.json: line"),
            (vocab, '"x": 01,', "tokenizer.json: line"),
            (merges, '["a"],', "model.merges: entry 0 is no pair"),
            (merges, '["a", "b", "c"],', "model.merges: entry 0 is no pair"),
            (merges, '["a", "b c"],', "model.merges: entry 0 is no pair"),
            (merges, "7,", "model.merges: entry 0 is no pair"),
            (merges, "\n\n}", "tokenizer.json: line %d" % (line + 2)),
            (len(good) - 1, ",", "tokenizer.json: line %d" % (good.count("\n") + 1)),
            (len(good), "x", "tokenizer.json: line"),
        ]
        for at, put, says in cases:
            with self.subTest(put=put):
                with open(path, "w", encoding="utf-8") as f:
                    f.write(good[:at] + put + good[at:])
                self.refused(folder, says)
        for cut in range(1, len(good), len(good) // 50):
            with open(path, "w", encoding="utf-8") as f:
                f.write(good[:cut])
            self.refused(folder, "tokenizer.json: line")

    def test_tokenizer(self):
        def model(**change):
            return lambda t: t["model"].update(change)
        cases = [
            ("tiny-qwen2", model(type="WordPiece"), "is not BertNormalizer"),
            ("tiny-qwen2", model(dropout=0.1), "model.dropout: is 0.1"),
            ("tiny-qwen2", model(end_of_word_suffix="</w>"), 'end_of_word_suffix: is "</w>"'),
            ("tiny-qwen2", model(continuing_subword_prefix="##"), 'continuing_subword_prefix: is "##"'),
            ("tiny-qwen2", model(vocab={}), "model.vocab: must be an object"),
            ("tiny-qwen2", model(vocab={"a": "b"}), "model.vocab: each value must be the id"),
            ("tiny-qwen2", model(vocab={"a": 1, "b": 1}), 'token "b" has the id 1 of another token'),
            ("tiny-qwen2", model(vocab={"a": 100000}), 'token "a" has the id 100000, the model has 0 to'),
            ("tiny-qwen2", model(vocab={"a": -1}), 'token "a" has the id -1'),
            ("tiny-qwen2", model(merges="x"), "model.merges: must be an array"),
            ("tiny-qwen2", model(merges=[["a", "b", "c"]]), "model.merges: entry 0 is no pair"),
            ("tiny-qwen2", model(merges=[["a b", "c"]]), "model.merges: entry 0 is no pair"),
            ("tiny-qwen2", model(merges=["h zzzz"]), "its right side is no token"),
            ("tiny-qwen2", lambda t: t.update(added_tokens=[{"id": 3}]), "added_tokens: entry 0 has no id or no content"),
            ("tiny-qwen2", lambda t: t.update(normalizer={"type": "Lowercase"}), 'normalizer: is "Lowercase"'),
            ("tiny-qwen2", lambda t: t.update(post_processor={"type": "ByteFallback"}), 'is "ByteFallback"'),
            ("tiny-qwen2", lambda t: t.update(pre_tokenizer={"type": "Whitespace"}), "has no ByteLevel"),
            ("tiny-qwen2", lambda t: t.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
             "words bytes after a space"),
            ("tiny-llama", lambda t: t.update(normalizer={"type": "NFKC"}), 'normalizer: is "NFKC"'),
            ("tiny-llama", lambda t: t.update(normalizer=None), "does not write spaces as U+2581"),
            ("tiny-llama", lambda t: t["model"]["merges"].append("z zz"), "makes is no token"),
        ]
        for name in ("tiny-qwen2", "tiny-llama"):
            folder = self.path(name)
            mkfolder.make(rzlib.fixture(name + ".gguf"), folder)
            with open(os.path.join(folder, "tokenizer.json"), "rb") as f:
                good = f.read()
            for case, change, says in cases:
                if case == name:
                    self.edit(folder, "tokenizer.json", lambda t: (change(t), None)[1])
                    with self.subTest(says=says):
                        self.refused(folder, says)
                    with open(os.path.join(folder, "tokenizer.json"), "wb") as f:
                        f.write(good)

    def test_files(self):
        folder = self.path("folder")
        mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder, shards=2)

        def without(name, *says):
            path = os.path.join(folder, name)
            os.rename(path, path + ".away")
            with self.subTest(without=name):
                self.refused(folder, *says)
            os.rename(path + ".away", path)

        without("config.json", "a folder without config.json is no model")
        without("tokenizer.json", "tokenizer.json: is not in the folder")
        without("model.safetensors.index.json", "model.safetensors: is not in the folder", "pickle")
        without("model-00002-of-00002.safetensors", "the folder has no such .safetensors file")
        index = os.path.join(folder, "model.safetensors.index.json")
        with open(index, "rb") as f:
            good = f.read()
        for change, says in (
                (lambda t: t["weight_map"].update({"model.norm.weight": "../x.safetensors"}), "no such .safetensors file"),
                (lambda t: t["weight_map"].update({"model.norm.weight": "config.json"}), "no such .safetensors file"),
                (lambda t: t["weight_map"].update({"model.norm.weight": 3}), "must be the name of a file"),
                (lambda t: t["weight_map"].update({"absent": "model-00001-of-00002.safetensors"}), "absent: is not in"),
                (lambda t: t.update(weight_map=[]), "weight_map: must be an object")):
            self.edit(folder, "model.safetensors.index.json", lambda t: (change(t), None)[1])
            with self.subTest(says=says):
                self.refused(folder, says)
            with open(index, "wb") as f:
                f.write(good)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"):
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                good = f.read()
            for bad, says in ((good[:-1], name + ": line"), (b"[1]", name + ": must hold a JSON object"),
                              (good[:-1] + b', "x": 1, "x": 2}', "duplicate object key")):
                with open(path, "wb") as f:
                    f.write(bad)
                with self.subTest(name=name, says=says):
                    self.refused(folder, says)
            with open(path, "wb") as f:
                f.write(good)
        shutil.copy(os.path.join(folder, "model-00001-of-00002.safetensors"), os.path.join(folder, "again.safetensors"))
        self.assertEqual(rzlib.rz("tokenize", "-m", folder, "-p", "x").returncode, 0)

    def test_spm_model(self):
        folder = self.path("folder")
        g = mkfolder.make(rzlib.fixture("tiny-llama.gguf"), folder, tokenizer="model")
        good = mkfolder.spm_model(g)
        piece = mkfolder.field(1, mkfolder.field(1, b"x"))
        cases = [
            (b"\x0a\x05ab", "runs past the end"), (b"\xff" * 11, "longer than 64 bits"), (b"\x0b", "wire type"),
            (b"\x80", "ends within a number"), (b"\x15\x00", "ends within a number"), (b"\x02\x00", "has no number"),
            (piece, "has no trainer_spec"), (mkfolder.field(2, b""), "kind unigram"), (mkfolder.spm_model(g, 1), "kind unigram"),
            (mkfolder.field(2, b"\x18\x02"), "has no pieces"), (good + piece * 1000, "the model has 0 to"),
            (mkfolder.field(1, b"\x18\x09"), "kind that is not 1 to 6"), (mkfolder.field(1, b"\x0a\x09x"), "runs past the end"),
            (good + mkfolder.field(3, mkfolder.field(2, b"table")), "normaliser's table"),
        ]
        for data, says in cases:
            with open(os.path.join(folder, "tokenizer.model"), "wb") as f:
                f.write(data)
            with self.subTest(says=says):
                self.refused(folder, "tokenizer.model", says)


if __name__ == "__main__":
    unittest.main()
