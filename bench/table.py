#!/usr/bin/env python3
"""table.py - the figures of one model on this machine: what `make bench` prints.

    bench/table.py MODEL [--threads N] [--reps 3] [--depths 0,1024,4096,16384] [--batches 1,2,4,8,16,32]
                   [--rz-args "..."] [--results FILE]

Prompt and decode speed at depths, decode of several sequences together, the time from the start of the process to
its first token, and memory: resident after some hundred tokens, and at the worst moment. Beside each speed stands
the read bandwidth of the same moment. Rows are appended to bench/results/table.jsonl.
"""

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

from compare import HERE, commit, cpu, output

TEXT = "Once upon a time"
SOME_BYTES = 500  # about a hundred tokens


def first_token(command):
    start = time.perf_counter()
    with subprocess.Popen(command + ["-n", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        p.stdout.read(1)
        seconds = time.perf_counter() - start
        p.stdout.read()
    return seconds


def status(pid, file, key):
    with open("/proc/%d/%s" % (pid, file), encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key)) / 1024


def memory(command):
    """MB resident after some text, and the most so far."""
    with subprocess.Popen(command + ["-n", "2000"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        got = 0
        while got < SOME_BYTES:
            piece = os.read(p.stdout.fileno(), 4096)
            if not piece:
                sys.exit("table: rz run ended after %d bytes" % got)
            got += len(piece)
        resident, most = status(p.pid, "smaps_rollup", "Rss:"), status(p.pid, "status", "VmHWM:")
        p.kill()
        p.stdout.read()
    return resident, most


def show(row):
    used = "%7.1f" % row["gb_per_s"] if row["gb_per_s"] else "      -"
    print("%-28s %9.1f %9.1f %9.1f  %s %9.1f" % (
        "%s %d, depth %d, batch %d" % (row["test"], row["tokens"], row["depth"], row["batch"]), row["median"],
        row["min"], row["max"], used, row["read_gb_per_s"]), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--rz", default=os.path.join(HERE, "..", "build", "release", "rz"))
    p.add_argument("--rz-args", default="")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--depths", default="0,1024,4096,16384")
    p.add_argument("--batches", default="1,2,4,8,16,32")
    p.add_argument("--results", default=os.path.join(HERE, "results", "table.jsonl"))
    a = p.parse_args()
    rz = [a.rz, *(["-t", str(a.threads)] if a.threads else []), *shlex.split(a.rz_args)]
    run = [*rz, "run", "-m", a.model, "--raw", "-p", TEXT, "--temp", "0", "--ignore-eos"]
    about = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "cpu": cpu(), "commit": commit(),
             "model": os.path.basename(a.model), "rz_args": a.rz_args}
    print("%s, %s" % (about["model"], about["cpu"]))
    print("%-28s %9s %9s %9s  %7s %9s" % ("tokens/s", "median", "min", "max", "GB/s", "RAM GB/s"))
    os.makedirs(os.path.dirname(a.results), exist_ok=True)
    bench = [*rz, "bench", "-m", a.model, "-r", str(a.reps), "--json"]
    tests = [["-p", "512", "-n", "128", "-d", d] for d in a.depths.split(",")]
    tests += [["-p", "0", "-n", "64", "-d", "256", "-b", b] for b in a.batches.split(",")]
    with open(a.results, "a", encoding="utf-8") as out:
        for test in tests:
            for row in map(json.loads, output(bench + test).splitlines()):
                show(row)
                print(json.dumps({**about, **row}), file=out, flush=True)
        first = statistics.median(first_token(run) for _ in range(max(3, a.reps)))
        resident, most = memory(run)
        print("start to first token %.3f s; resident %.0f MB, at most %.0f MB" % (first, resident, most))
        print(json.dumps({**about, "first_token_s": first, "resident_mb": resident, "peak_mb": most}), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
