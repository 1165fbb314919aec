#!/usr/bin/env python3
"""screened.py - the tokens of the screened head beside those of the full one, over many steps; exit status 1 if any
differs.

    bench/screened.py MODEL [--steps 10000] [--new 100] [--ways greedy,top-k,min-p] [--files FILE...]
                      [--screened 'OPTIONS OF rz'] [--full 'OPTIONS OF rz']

Continues pieces of the text files (else of this tree's own) by --new tokens each, one sequence at a time, until each
way of sampling has done --steps; every piece has a seed of its own. Both runs have the options of their own besides
engine.head, e.g. --screened '--plugin avx2 -o plugin.avx2.head=planes' --full '--plugin avx2'.
"""

import argparse
import glob
import json
import os
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RZ = os.environ.get("RZ") or os.path.join(HERE, "..", "build", "release", "rz")
WAYS = {"greedy": ("--temp", "0"),
        "top-k": ("--temp", "1", "--top-k", "40", "--top-p", "1", "--min-p", "0"),
        "min-p": ("--temp", "1", "--top-k", "0", "--top-p", "1", "--min-p", "0.05")}


def tokens(args, head, options, piece, seed, way):
    command = [RZ, "-q", "run", "-m", args.model, "--raw", "-p", piece, "-n", str(args.new), "--ignore-eos", "--seed",
               str(seed), "--json", "-o", "engine.head=" + head, *WAYS[way], *shlex.split(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s: %s" % (" ".join(command), done.stderr.strip()))
    return json.loads(done.stdout.splitlines()[-1])["tokens"]


def pieces(files, count, size=400):
    """As many texts, from all files and places of them in turn."""
    texts = []
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as f:
            texts.append(f.read().replace("\0", " "))
    texts = [t for t in texts if len(t) > size]
    for i in range(count):
        text = texts[i % len(texts)]
        at = i * 7919 % (len(text) - size)
        yield text[at:at + size]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--steps", type=int, default=10000)
    p.add_argument("--new", type=int, default=100)
    p.add_argument("--ways", default=",".join(WAYS))
    p.add_argument("--files", nargs="+")
    p.add_argument("--screened", default="")
    p.add_argument("--full", default="")
    args = p.parse_args()
    files = args.files or sorted(glob.glob(os.path.join(HERE, "..", "docs", "*.md")) +
                                 glob.glob(os.path.join(HERE, "..", "core", "*.c")))
    count, failed = -(-args.steps // args.new), False
    for way in args.ways.split(","):
        steps = differ = 0
        seen = set()
        for seed, piece in enumerate(pieces(files, count)):
            mine = tokens(args, "screened", args.screened, piece, seed, way)
            full = tokens(args, "full", args.full, piece, seed, way)
            steps += len(full)
            seen.update(full)
            differ += mine != full
        failed |= differ > 0 or steps < args.steps
        print("%s: %d steps, %d texts, %d different tokens among them; texts that differ: %d" %
              (way, steps, count, len(seen), differ), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
