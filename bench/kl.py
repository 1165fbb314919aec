#!/usr/bin/env python3
"""kl.py - how far each type of weights is from exact arithmetic over the same file, beside another program.

    bench/kl.py MODEL TOKENS.i32 [--types Q4_0,Q4_K,...] [--case NAME='OPTIONS OF rz']... [--peer NAME='COMMAND']...
                [--window 512] [--keep FOLDER]

MODEL is quantised to each type (--pure: the head too; rows of 32 or 256 where the type needs it), and the file
decoded to F32 once more: its logits, computed in float with an f32 KV cache, are the truth. Each case is `rz eval` of
the quantised file with some options, each peer a command that gets MODEL TOKENS.i32 OUT.f32 and writes what `rz eval`
does. TOKENS are read in windows. Prints the mean of KL(truth || case) over all positions and the whole vocabulary, and
of several peers' means the smallest as what the cases are divided by, with the interval that 95 of 100 resamplings of
the positions stay in. --keep: one .npy a type and case, KL per position. Needs numpy.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
RZ = os.environ.get("RZ") or os.path.join(HERE, "..", "build", "release", "rz")
TYPES = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K IQ4_NL IQ4_XS MXFP4".split()
CASES = ["int8=-o plugin.avx512.activations=int8 -o engine.kv_type=f16"]
TRUTH = ["-o", "engine.kv_type=f32"]


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s: %s" % (" ".join(command), done.stderr.strip()))


def rows_of(path, rows):
    """One row at a time in double: a window of logits is 100 MB as it is."""
    for row in np.fromfile(path, "<f4").reshape(rows, -1):
        row = row.astype("f8")
        yield row - row.max()


class Truth:
    def __init__(self, path, rows):
        self.rows, self.n = list(rows_of(path, rows)), rows
        self.log_sums = [np.log(np.exp(x).sum()) for x in self.rows]
        self.p = [np.exp(x - z) for x, z in zip(self.rows, self.log_sums)]

    def divergence(self, path):
        """KL(truth || what is in the file), a position at a time."""
        return np.array([np.dot(p, x - y) - z + np.log(np.exp(y).sum())
                         for x, y, z, p in zip(self.rows, rows_of(path, self.n), self.log_sums, self.p)])


def ratio(mine, peer, rng):
    """The ratio of two means over the same positions, and its interval."""
    draws = rng.integers(0, len(mine), (2000, len(mine)))
    low, high = np.quantile(mine[draws].mean(1) / peer[draws].mean(1), (0.025, 0.975))
    return "%.2f (%.2f to %.2f)" % (mine.mean() / peer.mean(), low, high)


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        ids = np.fromfile(args.tokens, "<i4")
        self.windows = []
        for at in range(0, len(ids), args.window):
            self.windows.append((self.path("tokens%d.i32" % at), len(ids[at:at + args.window])))
            ids[at:at + args.window].tofile(self.windows[-1][0])

    def path(self, name):
        return os.path.join(self.folder, name)

    def evaluate(self, model, tokens, out, options):
        call(RZ, "-q", "eval", "-m", model, "--tokens", tokens, "--logits", out, *options)

    def measure(self, kind):
        """KL per position of every case and peer, by name."""
        model, exact, found = self.path("model.gguf"), self.path("exact.gguf"), {}
        call(RZ, "-q", "quantize", self.args.model, model, kind, "--pure", "-y")
        call(RZ, "-q", "quantize", model, exact, "F32", "-y")
        mine = self.path("mine.f32")
        for tokens, rows in self.windows:
            self.evaluate(exact, tokens, mine, TRUTH)
            truth = Truth(mine, rows)
            for name, options in self.args.case:
                self.evaluate(model, tokens, mine, shlex.split(options))
                found.setdefault(name, []).append(truth.divergence(mine))
            for name, command in self.args.peer:
                call(*shlex.split(command), model, tokens, mine)
                found.setdefault(name, []).append(truth.divergence(mine))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def line(self, kind):
        found, rng = self.measure(kind), np.random.default_rng(1)
        peers = [found[name] for name, _ in self.args.peer]
        best = min(peers, key=np.mean) if peers else None
        cells = ["%.3g" % found[name].mean() for name, _ in self.args.peer]
        for name, _ in self.args.case:
            cells.append("%.3g" % found[name].mean() + (", " + ratio(found[name], best, rng) if peers else ""))
        for name, values in found.items():
            if self.args.keep:
                np.save(os.path.join(self.args.keep, "%s.%s.npy" % (kind, name)), values)
        print("| %s | %s |" % (kind, " | ".join(cells)), flush=True)


def named(text):
    name, _, rest = text.partition("=")
    return name, rest


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("tokens")
    p.add_argument("--types", default=",".join(TYPES))
    p.add_argument("--case", action="append", type=named)
    p.add_argument("--peer", action="append", type=named, default=[])
    p.add_argument("--window", type=int, default=512)
    p.add_argument("--keep")
    args = p.parse_args()
    args.case = args.case or [named(c) for c in CASES]
    names = [name for name, _ in args.peer + args.case]
    print("| type | %s |\n|%s" % (" | ".join(names), "---|" * (len(names) + 1)))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        for kind in args.types.split(","):
            bench.line(kind)


if __name__ == "__main__":
    main()
