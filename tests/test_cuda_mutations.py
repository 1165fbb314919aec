"""One wrong detail in each of ten kernels of the cuda plugin: the tests of the kernels must see it.

Each changes a line of a copy of the tree; cuda-host is built there, and test_cuda or test_cuda_seq runs on it.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

import rzlib

FOLDER = "plugins/backends/cuda/"
# (kernel, file, text, text instead, test that sees it); the texts stand in the file
MUTATIONS = [
    ("gemv: one unit is left out", "gemv.h", "u < units; u += CU_WARP",
     "u + 1 < units; u += CU_WARP", "cuda/products_of_types_that_are_decoded_on_load"),
    ("tile: no wait between two steps of the columns", "tile.h", "__syncthreads();\n        cu_fill_short",
     "cu_fill_short", "cuda/products_with_norm_and_sum"),
    ("decoding Q6_K: the upper bits of another part", "unit.h", ">> (2 * part + 4 * k) & 3",
     ">> (2 * part + 2 * k) & 3", "cuda/lookups_of_every_type"),
    ("norms: the mean is forgotten", "rows.cu", "(x[i] - mean) * scale", "x[i] * scale", "cuda/norms"),
    ("maps: clamped on one side", "rows.cu", "fminf(p.clamp, fmaxf(-p.clamp, v))",
     "fminf(p.clamp, v)", "cuda/elements_of_one"),
    ("routes: weights of all instead of the chosen", "route.cu", "sum += chosen[k];",
     "sum += weight[k];", "cuda/mixtures"),
    ("groups: pairs out of place", "route.cu", "p.order[at++] = i;", "p.order[at++] = i ^ 1;", "cuda/mixtures"),
    ("top: equal warps only", "top.cu", "w < CU_THREADS / CU_WARP; w++)",
     "w < CU_THREADS / CU_WARP - 1; w++)", "cuda/best_of_a_row"),
    ("ropes: the second of a pair", "position.cu", "u * s + v * c", "u * s - v * c", "cuda_seq/ropes"),
    ("attention: the window is one too long", "attend.h", "pos + 1 > window ? pos + 1 - window",
     "pos > window ? pos - window", "cuda_seq/attention_with_masks"),
    ("attention: parts are joined without their shares", "attend.cu", "m->share = expf(most - high);",
     "m->share = 1;", "cuda_seq/attention_over_pages"),
    ("flash: sums so far do not shrink", "flash.cu", "expf(q[h].top - top);\n        q[h].top = top", "1;\n        q[h].top = top",
     "cuda_seq/attention_of_prompts"),
    ("flash: a row sees a key too many", "flash.cu", "key >= q.to", "key > q.to", "cuda_seq/attention_with_masks"),
    ("flash: values are turned", "flash.cu", "corner(m.v, DV + 8, true)", "corner(m.v, DV + 8, false)",
     "cuda_seq/attention_of_prompts"),
    ("flash: keys are replaced while others read them", "flash.cu",
     "__syncthreads();\n        fill_keys<K, KT>(p, t, start, 0", "fill_keys<K, KT>(p, t, start, 0",
     "cuda_seq/attention_over_pages"),
    ("fp8: halves are rounded up", "kv.h", "0x7ffff + (bits >> 20 & 1)", "0x80000", "cuda_seq/attention_of_fp8"),
    ("fp8: the scale of the row before", "kv.h", "kv.page_tokens * wide + row;", "kv.page_tokens * wide + (row ? row - 1 : 0);",
     "cuda_seq/attention_of_fp8"),
    ("integers: a chain is left out", "gemv_bytes.cu", "c < CU_CHAINS && lane", "c < CU_CHAINS - 1 && lane",
     "cuda/products_of_integers"),
    ("integers: the upper bits of Q6_K", "bytes.h", "(4 * upper + 2 * part) & 0x03030303u", "(2 * upper + 2 * part) & 0x03030303u",
     "cuda/products_of_integers"),
    ("integers: tiles join chains too early", "tile_bytes.cu", "*ends = at + 1 == n;", "*ends = true;", "cuda/products_of_integers"),
    ("integers: groups are replaced while others read them", "tile_bytes.cu", "__syncthreads();\n        fill_weights",
     "fill_weights", "cuda/products_of_integers"),
    ("integers: the rows of another part", "bytes.h", "? pair / p.pairs.used : pair", "? pair : pair",
     "cuda/mixtures"),
    ("rounds: the sum of what was not rounded", "rows.cu", "sum += q;", "sum += v[j];", "cuda/products_of_integers"),
    ("rounds: rows of another value", "products.c", "plan->bytes_of == op->in[0]", "plan->bytes_of >= 0", "cuda/mixtures"),
    ("unpack: the second run of a unit", "short.cu", "to + cu_place<T>(j)", "to + j", "cuda/products_by_the_library"),
    ("settle: the scale of another row", "short.cu", "p.scale[row];\n    if (p.bias)", "p.scale[0];\n    if (p.bias)",
     "cuda/products_by_the_library"),
    ("scans: the decay of another element", "recurrent.cu", "a[p.a_cols > 1 ? n : 0]", "a[0]", "cuda_seq/states"),
    ("deltas: beta of another head", "recurrent.cu", "cu_at(&p.b, row)[head]",
     "cu_at(&p.b, row)[0]", "cuda_seq/states"),
]


class Mutations(unittest.TestCase):
    def test_texts_are_there(self):
        for what, file, text, _, _ in MUTATIONS:
            with self.subTest(what=what), open(os.path.join(rzlib.SOURCE, FOLDER + file), encoding="utf-8") as f:
                self.assertIn(text, f.read())

    def test_each_is_seen(self):
        if not rzlib.SLOW or os.environ.get("RZ_CONFIG", "release") != "release":
            self.skipTest("takes minutes: builds cuda-host %d times (RZ_SLOW)" % len(MUTATIONS))
        with tempfile.TemporaryDirectory() as folder:
            tree = os.path.join(folder, "tree")
            keep = ("core", "plugins", "tests", "Makefile")
            os.mkdir(tree)
            for name in keep:
                copy = shutil.copytree if os.path.isdir(os.path.join(rzlib.SOURCE, name)) else shutil.copy2
                copy(os.path.join(rzlib.SOURCE, name), os.path.join(tree, name))
            self.assertEqual(self.build(tree).returncode, 0)
            for test in sorted({m[4] for m in MUTATIONS}):
                self.assertTrue(self.passes(tree, test), test)
            for what, file, text, instead, test in MUTATIONS:
                with self.subTest(what=what):
                    self.see(tree, what, file, text, instead, test)

    def see(self, tree, what, file, text, instead, test):
        with rzlib.changed(os.path.join(tree, FOLDER + file), text, instead):
            done = self.build(tree)
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            # what the order of the threads hides is looked for the other way round as well
            seen = not self.passes(tree, test) or not self.passes(tree, test, RZ_SHIM_ORDER="reverse")
        print("    %-52s %s" % (what, "seen" if seen else "NOT SEEN"))
        self.assertTrue(seen)

    @staticmethod
    def build(tree):
        return subprocess.run(["make", "-C", tree, "-j2", "NVCC=", "build/release/tests/cuda-host.so"],
                              capture_output=True, text=True)

    @staticmethod
    def passes(tree, test, **more):
        env = dict(os.environ, RZ_CUDA_PLUGIN=os.path.join(tree, "build/release/tests/cuda-host.so"), **more)
        return subprocess.run([os.path.join(rzlib.BUILD, "tests", "test_" + test.split("/")[0]), "--filter", test],
                              capture_output=True, env=env).returncode == 0


if __name__ == "__main__":
    unittest.main()
