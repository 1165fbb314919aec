"""What files may say of experts and of latent attention beyond the plain cases of test_families.py.

Made from the tiny models of the reference data: tensors of single experts, gate and up in one tensor, keys
and values of the latent in one; settings that only some files carry, against the reference's logits; and
settings that this rz does not have, refused by name.
"""

import array
import os
import tempfile
import unittest

import malformed
import mkfolder
import rzlib
import test_golden

U32, F32, BOOL = 4, 6, 7
SCALAR = ("-o", "engine.kv_type=f32", "--plugin", "scalar")


class Rewritten(malformed.Model):
    """A reference model with its own data, to be changed and written."""

    def __init__(self, case):
        path = rzlib.shared("arch", case, "model.gguf")
        super().__init__(path)
        data = mkfolder.Gguf(path).tensors
        for tensor in self.tensors:
            tensor[3] = data[tensor[0]][2]

    def split(self, name, n):
        """The parts of tensor `name`, which is taken out: its last dimension is n."""
        tensor = self.tensor(name)
        self.tensors.remove(tensor)
        each = len(tensor[3]) // n
        return tensor[1][:-1], [tensor[3][i * each:(i + 1) * each] for i in range(n)]


def single_experts(m, experts):
    for layer in range(2):
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            dims, parts = m.split("blk.%d.%s_exps.weight" % (layer, name), experts)
            for i, part in enumerate(parts):
                m.tensors.append(["blk.%d.%s.%d.weight" % (layer, name, i), dims, 0, part])


def gate_and_up(m, experts):
    for layer in range(2):
        dims, gate = m.split("blk.%d.ffn_gate_exps.weight" % layer, experts)
        _, up = m.split("blk.%d.ffn_up_exps.weight" % layer, experts)
        both = b"".join(g + u for g, u in zip(gate, up))
        m.tensors.append(["blk.%d.ffn_gate_up_exps.weight" % layer, [dims[0], 2 * dims[1], experts], 0, both])


def fused_kv(m, heads, nope, rope, v, latent):
    """The form of files from before the keys' and values' matrices were told apart."""
    for layer in range(2):
        _, keys = m.split("blk.%d.attn_k_b.weight" % layer, heads)
        _, values = m.split("blk.%d.attn_v_b.weight" % layer, heads)
        rows = b""
        for key, value in zip(keys, values):
            k = array.array("f", key)  # [latent, nope]
            turned = array.array("f", [k[j * nope + i] for i in range(nope) for j in range(latent)])
            rows += turned.tobytes() + value
        m.tensors.append(["blk.%d.attn_kv_b.weight" % layer, [latent, heads * (nope + v)], 0, rows])
    for key in ("attention.key_length_mla", "attention.value_length_mla"):
        m.drop("deepseek2." + key)
    for key, value in (("attention.key_length", nope + rope), ("attention.value_length", v),
                       ("attention.head_count_kv", heads)):
        m.put("deepseek2." + key, U32, value)


class Moe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not rzlib.shared("arch"):
            raise unittest.SkipTest("no reference data arch/ (RZ_SHARED)")
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def write(self, model):
        path = os.path.join(self.folder.name, "model.gguf")
        with open(path, "wb") as f:
            f.write(malformed.Bytes(model).out)
        return path

    def logits(self, case, model=None, *args):
        path = self.write(model) if model else rzlib.shared("arch", case, "model.gguf")
        return rzlib.evaluate(path, rzlib.shared("arch", case, "tokens.i32"),
                              os.path.join(self.folder.name, "out.f32"), *SCALAR, *args)

    def test_forms(self):
        for case, change, args in (("mixtral", single_experts, (4,)), ("qwen2_moe", gate_and_up, (4,)),
                                   ("deepseek_v3", fused_kv, (2, 16, 8, 12, 16)),
                                   ("deepseek_v2-groups", fused_kv, (4, 8, 8, 8, 16))):
            with self.subTest(case=case, form=change.__name__):
                model = Rewritten(case)
                change(model, *args)
                self.assertEqual(self.logits(case, model), self.logits(case))

    def test_settings(self):
        """Keys for what the reference's own form says, and the GGUF form of the case does not."""
        for case, keys in (("llama4", (("attention.chunk_size", U32, 8), ("attention.temperature_length", U32, 8),
                                       ("attention.temperature_scale", F32, 0.1))),
                           ("gpt_oss-yarn-exact", (("rope.scaling.yarn_truncate", BOOL, False),))):
            with self.subTest(case=case):
                model = Rewritten(case)
                for key, kind, value in keys:
                    model.put(model.arch + "." + key, kind, value)
                truth = rzlib.floats(rzlib.shared("arch", case, "logits.f32"))
                whole = self.logits(case, model)
                worst = max(abs(a - b) for a, b in zip(rzlib.as_floats(whole), truth))
                self.assertLessEqual(worst, 2e-4 * rzlib.deviation(truth))
                for how in (("--chunk", "1"), ("--chunk", "7", "--beside", "2"), ("-o", "engine.page_tokens=8")):
                    self.assertEqual(self.logits(case, model, *how), whole)
                wide = rzlib.evaluate(self.write(model), rzlib.shared("arch", case, "tokens.i32"),
                                      os.path.join(self.folder.name, "out.f32"), "-o", "engine.kv_type=f32")
                worst = max(abs(a - b) for a, b in zip(rzlib.as_floats(wide), truth))
                self.assertLessEqual(worst, 2e-3 * rzlib.deviation(truth))

    def quantised(self, case, args):
        """From Q8_0, with another table's numerics: as near to the scalar table as they are, the same bits in company."""
        path, ids = os.path.join(self.folder.name, "q8.gguf"), rzlib.shared("arch", case, "tokens.i32")
        rzlib.rz("quantize", rzlib.shared("arch", case, "hf"), path, "Q8_0", "-y")

        def logits(*more):
            return rzlib.evaluate(path, ids, os.path.join(self.folder.name, "out.f32"), "-o", "engine.kv_type=f32", *more)

        truth, whole = rzlib.as_floats(logits("--plugin", "scalar")), logits(*args)
        for how in (("--chunk", "1"), ("--chunk", "7", "--beside", "2"), ("-t", "1"), ("-t", "3", "--chunk", "5")):
            self.assertEqual(logits(*args, *how), whole, how)
        apart = sorted(abs(a - b) for a, b in zip(rzlib.as_floats(whole), truth))
        return apart[len(apart) // 2] / rzlib.deviation(truth)

    def test_numerics(self):
        """Medians: where a row nearly chose another expert, a rounding turns its choice over."""
        fine = rzlib.has_plugin("avx512")
        for case in ("mixtral", "qwen2_moe", "deepseek_v2", "gpt_oss", "llama4"):
            with self.subTest(case=case):
                coarse = self.quantised(case, ())
                exact = self.quantised(case, test_golden.INT16) if fine else 0
                print("    %-14s off by %.1e, int16 %.1e" % (case, coarse, exact))
                self.assertLessEqual(coarse, 5e-2)
                self.assertLessEqual(exact, 1e-3)

    def test_predicted_layers(self):
        """Layers at the end that only foretell further tokens are left out."""
        model = Rewritten("glm4_moe")
        model.put("glm4moe.block_count", U32, 3)
        model.put("glm4moe.nextn_predict_layers", U32, 1)
        self.assertEqual(self.logits("glm4_moe", model), self.logits("glm4_moe"))

    def refused(self, case, change, says):
        model = Rewritten(case)
        change(model)
        done = rzlib.rz("eval", "-m", self.write(model), "--tokens", rzlib.shared("arch", case, "tokens.i32"),
                        "--logits", os.path.join(self.folder.name, "out.f32"), *SCALAR, status=None)
        self.assertEqual(done.returncode, 1)
        self.assertIn(says, done.err)

    def test_refused(self):
        def put(key, value, kind=U32):
            return lambda m: m.put(m.arch + "." + key, kind, value)

        def shape(m):
            m.tensor("blk.0.ffn_up_exps.weight")[1][2] = 3
            m.tensor("blk.0.ffn_up_exps.weight")[3] = m.tensor("blk.0.ffn_up_exps.weight")[3][:32 * 32 * 3 * 4]

        def away(name):
            return lambda m: m.tensors.remove(m.tensor(name))

        for case, change, says in (
                ("mixtral", put("expert_gating_func", 4), "expert_gating_func: is 4"),
                ("mixtral", put("expert_used_count", 0), "expert_used_count: is 0"),
                ("mixtral", put("expert_used_count", 5), "expert_used_count: is 5"),
                ("mixtral", put("expert_group_count", 3), "expert_group_count: 3 groups"),
                ("mixtral", put("expert_count", 100000), "llama.expert_count: is 100000"),
                ("mixtral", put("attention.chunk_size", 8), "attention.chunk_size"),
                ("mixtral", put("attention.kv_lora_rank", 8), "attention.kv_lora_rank"),
                ("qwen3_moe", put("attention.temperature_scale", 0.5, F32), "attention.temperature_scale"),
                ("qwen3_moe", shape, "blk.0.ffn_up_exps.weight: has shape 32 x 32 x 3"),
                ("qwen3_moe", away("blk.1.ffn_down_exps.weight"), "blk.1.ffn_down_exps.weight: the model has no"),
                ("deepseek_v3", put("attention.kv_lora_rank", 12), "blk.0.attn_k_b.weight: has shape"),
                ("deepseek_v3", put("attention.key_length_mla", 8), "attention.kv_lora_rank"),
                ("gpt_oss", away("blk.0.attn_sinks.weight"), "blk.0.attn_sinks.weight")):
            with self.subTest(case=case, says=says):
                self.refused(case, change, says)


if __name__ == "__main__":
    unittest.main()
