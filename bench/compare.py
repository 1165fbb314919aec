#!/usr/bin/env python3
"""compare.py - rz beside another program, in turn, on the same model.

    bench/compare.py --model M.gguf --peer PATH/TO/llama-bench [--pairs 12] [--threads 2]
                     [--prompt 512] [--new 128] [--peer-args "-fa 1"]

The peer must take -m -t -p -n -r and print JSON with -o json, as llama-bench does. Each pair is one run of
each, in alternating order (A B, B A, ...), so that a machine whose speed drifts hits both. What counts is
the ratio within a pair: printed are its median, its spread, and a bootstrap 95 % interval of the median.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESAMPLES = 10000


def run_rz(a, kind, n):
    command = [a.rz, "-t", str(a.threads), "bench", "-m", a.model, "-p", "0", "-n", "0", "-r", "1", "--json"]
    command[command.index("-" + kind) + 1] = str(n)
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.strip()]
    return rows[0]["median"], rows[0].get("read_gb_per_s", 0.0)


def run_peer(a, kind, n):
    command = [a.peer, "-m", a.model, "-t", str(a.threads), "-p", "0", "-n", "0", "-r", "1", "-o", "json"]
    command[command.index("-" + kind) + 1] = str(n)
    out = subprocess.run(command + shlex.split(a.peer_args), check=True, capture_output=True, text=True).stdout
    return json.loads(out)[0]["avg_ts"]


def bootstrap(ratios, rng):
    """95 % interval of the median."""
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES)]


def compare(a, kind, n, what):
    ours, theirs, ratios, reads = [], [], [], []
    for i in range(a.pairs):
        if i % 2:
            peer = run_peer(a, kind, n)
            (mine, read) = run_rz(a, kind, n)
        else:
            (mine, read) = run_rz(a, kind, n)
            peer = run_peer(a, kind, n)
        ours.append(mine)
        theirs.append(peer)
        ratios.append(mine / peer)
        reads.append(read)
        print(f"  {what} pair {i + 1}: rz {mine:.1f}, peer {peer:.1f}, ratio {mine / peer:.2f}, read {read:.1f} GB/s",
              file=sys.stderr)
    low, high = bootstrap(ratios, random.Random(1))
    print(f"{what}: rz {statistics.median(ours):.1f} tokens/s, peer {statistics.median(theirs):.1f} tokens/s; ratio "
          f"median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}), 95 % interval "
          f"{low:.2f} to {high:.2f}, {a.pairs} pairs; read bandwidth {statistics.median(reads):.1f} GB/s")
    return low > 1


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--peer", required=True)
    p.add_argument("--peer-args", default="-fa 1")
    p.add_argument("--rz", default=os.path.join(HERE, "..", "build", "release", "rz"))
    p.add_argument("--pairs", type=int, default=12)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--new", type=int, default=128)
    a = p.parse_args()
    ahead = [compare(a, "p", a.prompt, f"prefill {a.prompt}"), compare(a, "n", a.new, f"decode {a.new}")]
    return 0 if all(ahead) else 1


if __name__ == "__main__":
    sys.exit(main())
