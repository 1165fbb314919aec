#!/usr/bin/env python3
"""encode.py - encoding speed beside the Python packages `tokenizers` and `tiktoken`, one thread each.

    make build/release/bench/encode
    bench/encode.py VOCABULARY.gguf FILE... [--rounds 3] [--encode build/release/bench/encode]

Rounds go in turns; each figure is CPU time, the best round. All three must give the same ids. The vocabulary is
one whose pre-tokenizer is that of qwen2.
"""
import argparse
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))

import gguf  # noqa: E402
import tiktoken  # noqa: E402
import test_tokenizers_ref as ref  # noqa: E402
from test_tokenizers_added import byte_chars  # noqa: E402


def tiktoken_of(path):
    fields = gguf.GGUFReader(path).fields
    kinds = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
    byte_of = {c: b for b, c in byte_chars().items()}
    ranks = {}
    tokens = fields["tokenizer.ggml.tokens"]
    for i, data in enumerate(tokens.data):
        if kinds[i] == 1:
            ranks[bytes(byte_of[c] for c in bytes(tokens.parts[data]).decode("utf-8"))] = i
    return tiktoken.Encoding("vocabulary", pat_str=ref.QWEN2, mergeable_ranks=ranks, special_tokens={})


def hash_of(ids):
    value = 14695981039346656037
    for i in ids:
        value = (value ^ i) * 1099511628211 & (1 << 64) - 1
    return "%016x" % value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vocabulary")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encode", default="build/release/bench/encode")
    args = parser.parse_args()
    rust, tik = ref.reference(args.vocabulary, ref.RULES["qwen2"]), tiktoken_of(args.vocabulary)
    others = {"tokenizers": lambda text: rust.encode(text, add_special_tokens=False).ids,
              "tiktoken": tik.encode_ordinary}
    for path in args.files:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        size, best, hashes = len(text.encode()), {}, {}
        for _ in range(args.rounds):
            line = subprocess.run([args.encode, "-r", "1", args.vocabulary, path], check=True, capture_output=True,
                                  text=True).stdout.splitlines()[-1].rsplit(" ", 4)
            best["rz"] = min(best.get("rz", 1e9), float(line[3]))
            hashes["rz"] = line[4]
            for name, encode in others.items():
                begin = time.process_time()
                ids = encode(text)
                best[name] = min(best.get(name, 1e9), time.process_time() - begin)
                if name not in hashes:
                    hashes[name] = hash_of(ids)
        fastest = min(best[name] for name in others)
        print("%s: %s; %.2f times the faster; ids %s" % (
            path, ", ".join("%s %.1f MB/s" % (name, size / s / 1e6) for name, s in best.items()),
            fastest / best["rz"], "equal" if len(set(hashes.values())) == 1 else "DIFFER: %s" % hashes), flush=True)


if __name__ == "__main__":
    main()
