#!/usr/bin/env python3
"""test_tokenizers_ref.py - random texts against the Python package `tokenizers`, set up from the same files.

Needs the packages tokenizers and gguf and the reference data (RZ_SHARED, or ../shared beside the checkout);
says so and passes where one is absent. RZ: the program; TEXTS: how many texts a vocabulary (300).
"""
import json
import os
import random
import shutil
import subprocess
import tempfile
import unicodedata
import unittest

import mkfolder

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
RZ = os.environ.get("RZ", os.path.join(ROOT, os.environ.get("B", "build/release"), "rz"))
SHARED = os.environ.get("RZ_SHARED") or os.path.join(ROOT, "..", "shared")
TEXTS = int(os.environ.get("TEXTS", "300"))

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
RULES = {"gpt-2": [GPT2], "smollm2": [r"\p{N}", GPT2], "starcoder": [r"\p{N}", GPT2], "qwen2": [QWEN2]}


try:
    import gguf
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    MISSING = None
except ImportError as e:
    MISSING = "%s (pip install tokenizers gguf)" % e


def reference(path, rules):
    fields = gguf.GGUFReader(path).fields

    def strings(key):
        field = fields["tokenizer.ggml." + key]
        return [bytes(field.parts[i]).decode("utf-8") for i in field.data]
    vocab = {text: i for i, text in enumerate(strings("tokens"))}
    merges = [tuple(m.split(" ")) for m in strings("merges")]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    steps = [pre_tokenizers.Split(Regex(r), "isolated") for r in rules]
    t.pre_tokenizer = pre_tokenizers.Sequence(
        steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return t


def wordpiece(path, lowercase=True, strip_accents=None):
    """BERT's, of a vocabulary whose file spells the beginning of a word with U+2581 and the rest without ##."""
    field = gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"]
    vocab = {}
    for i, data in enumerate(field.data):
        text = bytes(field.parts[data]).decode("utf-8")
        special = text in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") or text.startswith("[unused")
        vocab[text if special else text[1:] if text[0] == "\u2581" else "##" + text] = i
    t = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=lowercase,
                                              strip_accents=strip_accents)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return t


OLD = unicodedata.ucd_3_2_0


def as_gguf_programs_read(text):
    """What differs between `tokenizers` and the programs that read GGUF files of this kind, whose ids the reference
    data has (llama.cpp, llama-vocab.cpp: llm_tokenizer_wpm_session::preprocess): of a decomposed character they keep
    the first part only, which for Hangul is a consonant (unicode_cpts_normalize_nfd has one code point for each); they
    drop all marks (is_accent_mark), not only those of the category Mn; and control characters that are white space
    separate words."""
    out = ""
    for c in text:
        first = unicodedata.normalize("NFD", c)[0]
        out += " " if c in "\v\f\u0085" else "" if unicodedata.category(first)[0] == "M" else first
    return out


def wordpiece_text(text):
    """The text without characters that cannot be compared: punctuation and format characters younger than the tables of
    `tokenizers` (crate unicode_categories, Unicode 8), one that was punctuation then, and U+2581, which is how the
    file spells the beginning of a word."""
    return "".join(c for c in text if c not in "\u166d\u2581" and not (
        unicodedata.category(c)[0] in "PC" and OLD.category(c) == "Cn"))


def random_text(rng):
    """A text of some stretches: a block of Unicode 14 or older, white space, digits, code, words."""
    blocks = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x52f), (0x5d0, 0x6ff), (0x900, 0xdff),
              (0xe01, 0xe5b), (0x10a0, 0x11ff), (0x1e00, 0x20cf), (0x2100, 0x2bff), (0x3000, 0x30ff),
              (0x3400, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfe00, 0xffef), (0x10000, 0x104ff),
              (0x1d400, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x2a6df)]
    code = ["for (int i = 0; i < n; i++) {\n", "\treturn x->y != NULL;\n", "def f(a, *b):\r\n    pass\r\n",
            "it's we'LL don't I'M", "  \n\n \t x", "https://example.org/?q=1&r=%20", "3.14159e-10",
            "\u8fd9\u662f\u4e00\u4e2a\u6d4b\u8bd5\u6587\u672c\uff0c\u7528\u4e8e\u6bd4\u8f83\u5206\u8bcd\u7684\u7ed3\u679c\u3002",
            "\u6211\u4eec\u5728\u4e2d\u56fd\u7684\u5927\u5b66\u5b66\u4e60\u8ba1\u7b97\u673a\u79d1\u5b66\u3002",
            "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3092\u30c6\u30b9\u30c8\u3059\u308b",
            "\u042d\u0442\u043e \u043f\u0440\u0438\u043c\u0435\u0440 \u0442\u0435\u043a\u0441\u0442\u0430",
            "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4"]
    out = ""
    for _ in range(rng.randint(1, 8)):
        kind = rng.randrange(4)
        if kind == 0:
            out += rng.choice(code)
        elif kind == 1:
            out += "".join(rng.choice(" \t\n\r\u00a0\u3000\u2028 ") for _ in range(rng.randint(1, 6)))
        elif kind == 2:
            out += "".join(rng.choice("0123456789\u0663\u00b2") for _ in range(rng.randint(1, 7)))
        else:
            lo, hi = rng.choice(blocks)
            chars = (chr(rng.randint(lo, hi)) for _ in range(rng.randint(1, 12)))
            out += "".join(c for c in chars if unicodedata.category(c) != "Cn")  # of an older Unicode
    return out


def ours(path, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    got = subprocess.run([RZ, "tokenize", "-m", path, "--lines", "--no-special"], input=lines.encode(),
                         capture_output=True)
    if got.returncode:
        raise AssertionError("rz tokenize: " + got.stderr.decode(errors="replace"))
    return [[int(i) for i in line.split()] for line in got.stdout.decode().split("\n")[:-1]]


@unittest.skipIf(MISSING, MISSING)
class Random(unittest.TestCase):
    def check(self, name):
        path = os.path.join(SHARED, "data", "vocab", name + ".gguf")
        if not os.path.exists(path):
            self.skipTest("no reference data: %s" % path)
        rng = random.Random(name)
        texts = [random_text(rng) for _ in range(TEXTS)]
        theirs, prepare = reference(path, RULES[name]) if name in RULES else wordpiece(path), str
        if name not in RULES:
            texts, prepare = [wordpiece_text(text) for text in texts], as_gguf_programs_read
        for text, ids in zip(texts, ours(path, texts)):
            self.assertEqual(ids, theirs.encode(prepare(text), add_special_tokens=False).ids, ascii(text))

    def test_gpt2(self):
        self.check("gpt-2")

    def test_smollm2(self):
        self.check("smollm2")

    def test_starcoder(self):
        self.check("starcoder")

    def test_qwen2(self):
        self.check("qwen2")

    def test_wordpiece(self):
        self.check("bert-bge")

    def check_folder(self, **options):
        """A folder says what BERT's own code does: nothing has to be prepared."""
        path = os.path.join(SHARED, "data", "vocab", "bert-bge.gguf")
        if not os.path.exists(path):
            self.skipTest("no reference data: %s" % path)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        theirs = wordpiece(path, **options)
        mkfolder.around(folder, theirs.get_vocab_size())
        mkfolder.dump(folder, "tokenizer.json", json.loads(theirs.to_str()))
        mkfolder.dump(folder, "tokenizer_config.json", {"add_bos_token": False, "add_eos_token": False})
        rng = random.Random(str(options))
        texts = [wordpiece_text(random_text(rng)) for _ in range(TEXTS)]
        for text, ids in zip(texts, ours(folder, texts)):
            self.assertEqual(ids, theirs.encode(text, add_special_tokens=False).ids, ascii(text))

    def test_wordpiece_folder(self):
        self.check_folder()

    def test_wordpiece_folder_cased(self):
        self.check_folder(lowercase=False)

    def test_wordpiece_folder_accents(self):
        self.check_folder(lowercase=True, strip_accents=False)


if __name__ == "__main__":
    unittest.main()
