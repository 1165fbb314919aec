#!/usr/bin/env python3
"""test_tokenizers_added.py - added tokens with random flags (lstrip, rstrip, single_word, normalized, special)
in folders: the ids of random texts against the Python package `tokenizers`, made from the same tokenizer.json.

Needs the package tokenizers; says so and passes where it is absent. TEXTS: how many texts a kind (400).
"""
import json
import os
import random
import shutil
import tempfile
import unittest

import mkfolder
import rzlib

TEXTS = int(os.environ.get("TEXTS", "400"))
SPACE = "\u2581"
CONTENTS = ["<a>", "<a>b", "<b>", "<|x|>", "ab", "b", "a b", " a", "b ", "  ", " ", "\n", "\u00e9", "a\u00e9",
            "\u2581", "1", "<", ">", "_b", "\u3000", "[I]", "\u4e2d"]
PARTS = CONTENTS + [" ", " ", "  ", "\n", "\t", "a", "b", "<", "|", ">", "x", "1", "_", "\u00a0", "\u00e9", "\u4e2d",
                    "\U0001f600", "\u24b6", "\u200d", "\u0301", "\u2160", "\u00b2"]

try:
    from tokenizers import Tokenizer
    MISSING = None
except ImportError as e:
    MISSING = "%s (pip install tokenizers)" % e


def byte_chars():
    """GPT-2's characters of the 256 bytes."""
    plain = [b for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or b > 173]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def bytes_kind():
    chars = byte_chars()
    vocab = {chars[b]: b for b in range(256)}
    merges = [("a", "b"), (chars[32], "a"), (chars[32], chars[32]), ("b", "b"), ("ab", "b")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    return {"normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}


def spaces_kind(normalizer, pre):
    vocab = {"<unk>": 0}
    for b in range(256):
        vocab["<0x%02X>" % b] = len(vocab)
    for c in SPACE + "abx1<>|_[I]\u4e2d\n":
        vocab.setdefault(c, len(vocab))
    words = [SPACE + "a", "ab", SPACE + "ab", SPACE + SPACE, "bb", "<a"]
    merges = []
    for word in words:
        vocab[word] = len(vocab)
        merges += [(word[:i], word[i:]) for i in range(1, len(word)) if word[:i] in vocab and word[i:] in vocab]
    return {"normalizer": normalizer, "pre_tokenizer": pre,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": False}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, REPLACE]}
KINDS = {
    "bytes": bytes_kind,
    "prepend": lambda: spaces_kind(PREPEND, None),
    "replace": lambda: spaces_kind(REPLACE, None),
    "first": lambda: spaces_kind(None, metaspace("first")),
    "always": lambda: spaces_kind(None, metaspace("always")),
    "never": lambda: spaces_kind(None, metaspace("never")),
}


@unittest.skipIf(MISSING, MISSING)
class Added(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def vocabulary(self, rng, kind):
        t = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None,
             "decoder": None, **KINDS[kind]()}
        vocab = t["model"]["vocab"]
        contents = [c for c in CONTENTS if c not in vocab]
        for content in rng.sample(contents, rng.randint(1, 8)):
            t["added_tokens"].append({
                "id": len(vocab) + len(t["added_tokens"]), "content": content, "special": rng.random() < 0.5,
                "single_word": rng.random() < 0.3, "lstrip": rng.random() < 0.3, "rstrip": rng.random() < 0.3,
                "normalized": rng.random() < 0.5})
            if content.isspace() and t["added_tokens"][-1]["lstrip"]:
                # else one in white space that the token before took ends before it begins: `tokenizers` panics
                t["added_tokens"][-1]["rstrip"] = True
        return t

    def check(self, kind):
        rng = random.Random(kind)
        for _ in range(max(1, TEXTS // 100)):
            t = self.vocabulary(rng, kind)
            mkfolder.around(self.folder, 640)
            mkfolder.dump(self.folder, "tokenizer.json", t)
            mkfolder.dump(self.folder, "tokenizer_config.json", {"add_bos_token": False, "add_eos_token": False})
            theirs = Tokenizer.from_str(json.dumps(t))
            texts = ["".join(rng.choice(PARTS) for _ in range(rng.randint(1, 14))) for _ in range(100)]
            lines = "".join(json.dumps(text) + "\n" for text in texts)
            got = rzlib.rz("tokenize", "-m", self.folder, "--lines", stdin=lines.encode()).out.split("\n")
            for text, line in zip(texts, got):
                want = theirs.encode(text, add_special_tokens=False).ids
                self.assertEqual([int(i) for i in line.split()], want,
                                 "%s of %s" % (ascii(text), ascii(t["added_tokens"])))

    def test_bytes(self):
        self.check("bytes")

    def test_prepend(self):
        self.check("prepend")

    def test_replace(self):
        self.check("replace")

    def test_first(self):
        self.check("first")

    def test_always(self):
        self.check("always")

    def test_never(self):
        self.check("never")


if __name__ == "__main__":
    unittest.main()
