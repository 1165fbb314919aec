#!/usr/bin/env python3
"""ov_peer.py - OpenVINO GenAI as a peer of bench/compare.py.

    bench/ov_peer.py -m M.gguf [-t 2]       (pip install openvino-genai, in the interpreter that runs this)

Loads the model once, then reads tests as JSON lines from standard input, {"prompt": P, "new": N, "depth": D,
"batch": B}, and answers each with {"avg_ts": tokens a second}: of the prompt where N = 0, of the new tokens where
P = 0, and of the new tokens over the whole time where both are given. Prompts are token ids drawn anew for
each test, so that its prefix cache has nothing to give.
"""

import argparse
import json
import random
import sys
import time

import numpy
import openvino
import openvino_genai as genai

N_VOCAB = 40000  # ids below this are in every vocabulary that is measured


def ids(rng, n):
    tokens = numpy.array([[rng.randrange(1000, N_VOCAB) for _ in range(n)]], dtype=numpy.int64)
    return genai.TokenizedInputs(openvino.Tensor(tokens), openvino.Tensor(numpy.ones_like(tokens)))


def text(rng, n):
    return " ".join(rng.choice(("the", "of", "and", "house", "river", "light", "seven", "stone", "under", "began"))
                    for _ in range(n))


def config(n):
    c = genai.GenerationConfig()
    c.max_new_tokens = c.min_new_tokens = n
    c.ignore_eos = True
    c.do_sample = False
    return c


def measure(pipe, rng, test):
    prompt, new, depth, batch = (test[k] for k in ("prompt", "new", "depth", "batch"))
    if batch > 1:
        start = time.perf_counter()
        pipe.generate([text(rng, prompt or depth) for _ in range(batch)], config(new))
        return new * batch / (time.perf_counter() - start)
    if not new:
        whole = pipe.generate(ids(rng, prompt + depth), config(1)).perf_metrics.get_ttft().mean
        before = pipe.generate(ids(rng, depth), config(1)).perf_metrics.get_ttft().mean if depth else 0
        return 1000 * prompt / (whole - before)
    m = pipe.generate(ids(rng, prompt + depth or 1), config(new + (0 if prompt else 1))).perf_metrics
    if prompt:
        return 1000 * new / m.get_generate_duration().mean
    return 1000 / m.get_tpot().mean


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-m", required=True)
    p.add_argument("-t", type=int, default=2)
    a = p.parse_args()
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    pipe = genai.LLMPipeline(a.m, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=a.t)
    rng = random.Random(time.time_ns())
    pipe.generate(ids(rng, 32), config(4))
    for line in sys.stdin:
        print(json.dumps({"avg_ts": measure(pipe, rng, json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
