#!/usr/bin/env python3
"""cuda_table.py - the speed of the cuda plugin on models of made-up weights, each beside what the GPU gave at best in
the same minute. bench/cuda.sh runs it; it prints a table in the end and ends with 1 where a bar is missed.

    bench/cuda_table.py --rz build/release/rz --peak build/bench/cuda_peak --models FOLDER [--only SHAPE,..]
    bench/cuda_table.py --rz build/release/rz --plugin FILE --models FOLDER --only tiny --reps 1   where there is no GPU
"""

import argparse
import json
import os
import re
import subprocess
import sys

import made_up

LIMIT = 400  # seconds of one figure
PROMPT = ("-p", "2048", "-n", "0", "-o", "engine.max_batch_tokens=2048", "-o", "engine.context=4096")
DECODE = ("-p", "0", "-n", "128")
FAST = ("-o", "plugin.NAME.numerics=fast")
FLOAT = ("-o", "plugin.NAME.products=float")
FP8 = ("-o", "engine.kv_type=fp8")
DEEP = ("-p", "0", "-n", "64", "-d", "4000", "-o", "engine.context=8192")


def batch(n, tokens=64):
    return "-p", "0", "-n", str(tokens), "-b", str(n), "-o", "engine.max_seqs=%d" % n, "-o", "engine.context=512"


# shape, what, arguments of rz bench, bar: (of what, at least). Bars of single rows hold for both numerics, which are
# the same there; that of prompts is of numerics = fast.
FIGURES = [
    ("135m-q4_1", "decode", ("-p", "0", "-n", "256"), ("tokens", 2500)),
    ("135m-q4_1", "prompt", PROMPT, None),
    ("135m-q4_1", "prompt fast", (*PROMPT, *FAST), None),
    ("1b-bf16", "decode", ("-p", "0", "-n", "256"), ("tokens", 1250)),
    ("1b-bf16", "prompt", PROMPT, None),
    ("1b-bf16", "prompt fast", (*PROMPT, *FAST), None),
    ("7b-q4_k_m", "decode", DECODE, ("read", 0.85)),
    ("7b-q4_k_m", "decode float", (*DECODE, *FLOAT), None),
    ("7b-q4_k_m", "prompt", PROMPT, None),
    ("7b-q4_k_m", "prompt fast", (*PROMPT, *FAST), None),
    ("7b-q4_k_m", "prompt f16", (*PROMPT, *FAST, *FLOAT), None),
    ("7b-q4_k_m", "batch 8", batch(8), None),
    ("7b-q4_k_m", "batch 32", batch(32), None),
    ("7b-q4_k_m", "batch 32 fast", (*batch(32), *FAST), None),
    ("8b-bf16", "decode", DECODE, ("read", 0.85)),
    ("8b-bf16", "decode at 4000", DEEP, None),
    ("8b-bf16", "fp8 at 4000", (*DEEP, *FP8), None),
    ("8b-bf16", "prompt fast", (*PROMPT, *FAST), ("product", 0.45)),
    ("8b-bf16", "prompt", PROMPT, None),
    ("8b-bf16", "batch 8", batch(8), None),
    ("8b-bf16", "batch 32 fast", (*batch(32), *FAST), None),
    ("8b-bf16", "batch 128 fast", (*batch(128), *FAST), None),
    ("8b-bf16", "batch 128", batch(128, 16), None),
    ("tiny", "decode", ("-p", "0", "-n", "4"), None),
    ("tiny", "prompt", ("-p", "40", "-n", "0"), None),
    ("tiny", "prompt fast", ("-p", "40", "-n", "0", *FAST, *FP8), None),
    ("tiny", "batch 3", batch(3, 2), None),
]


def peaks(path):
    """GB/s of reading and TFLOP/s of a product, now; 0 where nobody can say."""
    if not path:
        return 0, 0
    try:
        done = subprocess.run([path], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as e:
        print("    not measured: %s" % e, flush=True)
        return 0, 0
    print("   ", "; ".join((done.stdout + done.stderr).splitlines()), flush=True)
    found = (re.search(p, done.stdout) for p in (r"read: ([\d.]+)", r"product.*: ([\d.]+) T"))
    return tuple(float(f.group(1)) if f else 0 for f in found)


def operations(shape):
    """Of a token of a prompt: two for each weight of the layers."""
    return 2 * sum(cols * rows for name, _, cols, rows in made_up.tensors(made_up.SHAPES[shape]) if name.startswith("blk"))


def measure(args, shape, more):
    command = [args.rz, "--plugin", args.plugin, "bench", "--json", "-m", os.path.join(args.models, shape + ".gguf"), "-r",
               str(args.reps)]
    name = os.path.splitext(os.path.basename(args.plugin))[0]
    command += [word.replace("plugin.NAME.", "plugin.%s." % name) for word in more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        why = done.stderr.strip()[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = "took longer than %d s" % LIMIT
    if why:
        print("    FAILED: %s\n    %s" % (" ".join(command), why), flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def judge(shape, what, result, read, product, bar):
    """The line of the table, and whether the bar is met."""
    speed = result["median"]
    shares = {"tokens": speed,
              "read": result["gb_per_s"] / read if read and "batch" not in what and "prompt" not in what else None,
              "product": speed * operations(shape) / 1e12 / product if product and what.startswith("prompt") else None}
    met = not bar or shares[bar[0]] is None or shares[bar[0]] >= bar[1]
    line = "%-10s %-15s %10.1f tokens/s" % (shape, what, speed)
    for name in ("read", "product"):
        line += "  %-7s %6s" % (name, "-" if shares[name] is None else "%.0f %%" % (100 * shares[name]))
    if bar:
        line += "  bar %s: %s" % ("%g" % bar[1] if bar[0] == "tokens" else "%.0f %%" % (100 * bar[1]),
                                  "met" if met else "MISSED")
    return line, met


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rz", required=True)
    parser.add_argument("--plugin", default="cuda")
    parser.add_argument("--peak")
    parser.add_argument("--models", required=True)
    parser.add_argument("--only", default="135m-q4_1,1b-bf16,7b-q4_k_m,8b-bf16")
    parser.add_argument("--reps", type=int, default=5)
    args = parser.parse_args()
    lines, good = [], True
    for shape in args.only.split(","):
        path = os.path.join(args.models, shape + ".gguf")
        if not os.path.exists(path):
            made_up.write(made_up.SHAPES[shape], path + ".part")
            os.rename(path + ".part", path)
        for _, what, more, bar in (f for f in FIGURES if f[0] == shape):
            read, product = peaks(args.peak)
            result = measure(args, shape, more)
            line, met = judge(shape, what, result, read, product, bar) if result else ("%-10s %s: FAILED" % (shape, what),
                                                                                     False)
            print(line, flush=True)
            lines.append(line)
            good &= met
    print("\n".join(["", "-- all of them --"] + lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
