#!/usr/bin/env python3
"""test_tokenizers_ref.py - random texts against the Python package `tokenizers`, set up from the same files.

Needs the packages tokenizers and gguf and the reference data (RZ_SHARED, or ../shared beside the checkout);
says so and passes where one is absent. RZ: the program; TEXTS: how many texts a vocabulary (300).
"""
import json
import os
import random
import subprocess
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
RZ = os.environ.get("RZ", os.path.join(ROOT, os.environ.get("B", "build/release"), "rz"))
SHARED = os.environ.get("RZ_SHARED") or os.path.join(ROOT, "..", "shared")
TEXTS = int(os.environ.get("TEXTS", "300"))

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
RULES = {"gpt-2": [GPT2], "smollm2": [r"\p{N}", GPT2], "starcoder": [r"\p{N}", GPT2], "qwen2": [QWEN2]}


def skip(why):
    print("SKIPPED test_tokenizers_ref.py: " + why)
    sys.exit(0)


try:
    import gguf
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
except ImportError as e:
    skip("%s (pip install tokenizers gguf)" % e)


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


def random_text(rng):
    """A text of some stretches: a block of Unicode 14 or older, white space, digits, code, words."""
    blocks = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x52f), (0x5d0, 0x6ff), (0x900, 0xdff),
              (0xe01, 0xe5b), (0x10a0, 0x11ff), (0x1e00, 0x20cf), (0x2100, 0x2bff), (0x3000, 0x30ff),
              (0x3400, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfe00, 0xffef), (0x10000, 0x104ff),
              (0x1d400, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x2a6df)]
    code = ["for (int i = 0; i < n; i++) {\n", "\treturn x->y != NULL;\n", "def f(a, *b):\r\n    pass\r\n",
            "it's we'LL don't I'M", "  \n\n \t x", "https://example.org/?q=1&r=%20", "3.14159e-10"]
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
        sys.exit("rz tokenize: " + got.stderr.decode(errors="replace"))
    return [[int(i) for i in line.split()] for line in got.stdout.decode().split("\n")[:-1]]


def check(name, rules):
    path = os.path.join(SHARED, "data", "vocab", name + ".gguf")
    if not os.path.exists(path):
        skip("no reference data: %s" % path)
    rng = random.Random(name)
    texts = [random_text(rng) for _ in range(TEXTS)]
    theirs = reference(path, rules)
    bad = 0
    for text, ids in zip(texts, ours(path, texts)):
        want = theirs.encode(text, add_special_tokens=False).ids
        if ids != want:
            bad += 1
            if bad <= 3:
                print("%s: %s\n  here  %s\n  there %s" % (name, ascii(text), ids, want))
    print("%s: %d texts, %d differ" % (name, len(texts), bad))
    return bad


def main():
    if sum(check(name, rules) for name, rules in RULES.items()):
        sys.exit(1)


if __name__ == "__main__":
    main()
