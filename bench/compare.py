#!/usr/bin/env python3
"""compare.py - rz beside other programs, in turn, on the same model.

    bench/compare.py --model M.gguf --peer lc="PATH/TO/llama-bench -fa 1" [--peer ik="... -rtr 1 -fa 1"]
                     [--peer "ov:python3 bench/ov_peer.py"] [--tests p512,n128,p512@4096,n64@4096,n128*16@256,200+128*16]
                     [--pairs 12] [--threads 2] [--rz-args "-o engine.head=full"] [--busy N] [--results FILE]

Tests: p512, a prompt; n128, new tokens one after the other; @D, behind D tokens that are there already; *B, B
sequences together; 200+128*16, whole jobs: prompts and new tokens of 16 sequences, as new tokens over the whole time.

A peer speaks llama-bench's options and JSON (NAME=COMMAND); depths come from its -d, or from -gp and the
difference of two prompts where it has none; sequences together from llama-batched-bench in the same folder.
NAME:COMMAND instead is a program that stays and answers tests on its standard input (bench/ov_peer.py).

Each round runs every program once, in rotating order, so that a machine whose speed drifts hits all. What counts
is the ratio within a round: printed are its median, its spread, and a bootstrap 95 % interval of the median. --busy N
pins an endless loop to each of the first N cores meanwhile. Results are appended to bench/results/compare.jsonl.
"""

import argparse
import datetime
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESAMPLES = 10000
BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


class Test:
    def __init__(self, text):
        m = re.fullmatch(r"(?:p(\d+)|n(\d+)|(\d+)\+(\d+))(?:\*(\d+))?(?:@(\d+))?", text)
        if not m:
            sys.exit("compare: test %r: must look like p512, n128@4096, n128*16@256 or 200+128*16" % text)
        self.text = text
        self.prompt, self.new = int(m[1] or m[3] or 0), int(m[2] or m[4] or 0)
        self.batch, self.depth = int(m[5] or 1), int(m[6] or 0)


def output(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("compare: %s\n%s" % (shlex.join(command), done.stderr[-2000:]))
    return done.stdout


class Rz:
    name = "rz"

    def __init__(self, a):
        self.command = [a.rz, "-t", str(a.threads), *shlex.split(a.rz_args), "bench", "-m", a.model, "-r", "1", "--json"]
        self.read = []

    def run(self, t):
        how = ["-p", str(t.prompt), "-n", str(t.new), "-d", str(t.depth), "-b", str(t.batch)]
        row = json.loads(output(self.command + how + (["--whole"] if t.prompt and t.new else [])).splitlines()[0])
        self.read.append((row["read_gb_per_s"], row["gb_per_s"], row["trip_us"]))
        return row["median"]


class LlamaBench:
    def __init__(self, a, name, command):
        self.name, self.a, self.command = name, a, shlex.split(command)
        self.help = subprocess.run([self.command[0], "--help"], capture_output=True, text=True).stdout

    def bench(self, *how):
        base = [*self.command, "-m", self.a.model, "-t", str(self.a.threads), "-r", "1", "-o", "json"]
        return json.loads(output(base + [str(x) for x in how]))[0]["avg_ts"]

    def batched(self, t):
        program = os.path.join(os.path.dirname(self.command[0]), "llama-batched-bench")
        if not os.path.exists(program):
            return None
        prompt = t.prompt or t.depth
        rest = [x for x in self.command[1:] if x != "-rtr"]
        out = output([program, *rest, "-m", self.a.model, "-t", str(self.a.threads), "-tb", str(self.a.threads),
                      "-c", str(t.batch * (prompt + t.new) + 64), "-b", "2048", "-ub", "512", "-npp", str(prompt),
                      "-ntg", str(t.new), "-npl", str(t.batch)])
        # | PP | TG | B | N_KV | T_PP | S_PP | T_TG | S_TG | T | S |
        row = [line.split("|") for line in out.splitlines() if re.match(r"\|\s+\d", line)][-1]
        t_new, t_all = float(row[7]), float(row[9])
        return t.batch * t.new / (t_all if t.prompt else t_new)

    def run(self, t):
        if t.batch > 1 or (t.prompt and t.new):
            return self.batched(t)
        if not t.depth:
            return self.bench("-p", t.prompt, "-n", t.new)
        if "--n-depth" in self.help:
            return self.bench("-p", t.prompt, "-n", t.new, "-d", t.depth)
        if t.new:
            return self.bench("-p", 0, "-n", 0, "-gp", "%d,%d" % (t.depth, t.new))
        before = t.depth / self.bench("-p", t.depth, "-n", 0)
        return t.prompt / ((t.depth + t.prompt) / self.bench("-p", t.depth + t.prompt, "-n", 0) - before)


class Server:
    """A program that stays."""

    def __init__(self, a, name, command):
        self.name = name
        self.process = subprocess.Popen([*shlex.split(command), "-m", a.model, "-t", str(a.threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, t):
        print(json.dumps(vars(t)), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)["avg_ts"]
        sys.exit("compare: %s ended" % self.name)


def peer(a, text):
    m = re.match(r"(\w+)([=:])(.*)", text)
    if not m:
        sys.exit("compare: --peer %r: must be NAME=COMMAND or NAME:COMMAND" % text)
    return (LlamaBench if m[2] == "=" else Server)(a, m[1], m[3])


def bootstrap(ratios, rng):
    """95 % interval of the median."""
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES)]


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        found = re.search(r"model name\s*: (.*)", f.read())
    return found[1] if found else "unknown"


def commit():
    done = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def compare(a, test, programs, record):
    rates = {p.name: [] for p in programs}
    programs[0].read.clear()
    for i in range(a.pairs):
        turn = programs[i % len(programs):] + programs[:i % len(programs)]
        for p in turn:
            rates[p.name].append(p.run(test))
        print("  %s round %d: %s" % (test.text, i + 1, ", ".join(
            "%s %s" % (p.name, "-" if rates[p.name][-1] is None else "%.1f" % rates[p.name][-1]) for p in programs)),
              file=sys.stderr)
    read, used, trip = (statistics.median(x) for x in zip(*programs[0].read))
    share = ", %.1f of %.1f GB/s" % (used, read) if test.new and test.batch == 1 and not test.prompt else ""
    print("%s: rz %.1f tokens/s%s, %d rounds" % (test.text, statistics.median(rates["rz"]), share, a.pairs))
    record({"test": test.text, "program": "rz", "rates": rates["rz"], "read_gb_per_s": read, "trip_us": trip})
    for p in programs[1:]:
        if None in rates[p.name]:
            print("    %s has no such test" % p.name)
            continue
        ratios = [x / y for x, y in zip(rates["rz"], rates[p.name])]
        low, high = bootstrap(ratios, random.Random(1))
        print("    %s %.1f tokens/s: ratio median %.2f (min %.2f, max %.2f), 95 %% interval %.2f to %.2f" % (
            p.name, statistics.median(rates[p.name]), statistics.median(ratios), min(ratios), max(ratios), low, high))
        record({"test": test.text, "program": p.name, "rates": rates[p.name], "ratio": statistics.median(ratios),
                "low": low, "high": high})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--peer", action="append", default=[])
    p.add_argument("--rz", default=os.path.join(HERE, "..", "build", "release", "rz"))
    p.add_argument("--rz-args", default="")
    p.add_argument("--tests", default="p512,n128")
    p.add_argument("--pairs", type=int, default=12)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--busy", type=int, default=0)
    p.add_argument("--results", default=os.path.join(HERE, "results", "compare.jsonl"))
    a = p.parse_args()
    tests = [Test(t) for t in a.tests.split(",")]
    programs = [Rz(a)] + [peer(a, text) for text in a.peer]
    about = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "cpu": cpu(), "commit": commit(),
             "model": os.path.basename(a.model), "threads": a.threads, "busy": a.busy, "rz_args": a.rz_args}
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(i)]) for i in range(a.busy)]
    os.makedirs(os.path.dirname(a.results), exist_ok=True)
    try:
        with open(a.results, "a", encoding="utf-8") as out:
            for t in tests:
                compare(a, t, programs, lambda row: print(json.dumps({**about, **row}), file=out, flush=True))
    finally:
        for b in busy:
            b.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
