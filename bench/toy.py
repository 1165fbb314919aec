#!/usr/bin/env python3
"""toy.py - what a step costs beside its arithmetic: a model so small that there is hardly any.

    bench/toy.py [--reps 20000]

Makes a model of 2 layers (vocabulary 100, width 32, one head, feed-forward 64, random F32 weights) and times, in
one process with one thread: the forward pass of one token, 5 and 10 tokens one by one over the KV cache as plain
forward passes, and the same as requests through the engine. Printed are medians in microseconds.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from opening import RZ, array, entry, text

VOCAB, WIDTH, LAYERS, FF = 100, 32, 2, 64


def make(path):
    rng = random.Random(1)
    words = [chr(0x21 + i) if i < 94 else "w%d" % i for i in range(VOCAB)]
    numbers = {"block_count": LAYERS, "context_length": 64, "embedding_length": WIDTH, "feed_forward_length": FF,
               "attention.head_count": 1, "attention.head_count_kv": 1}
    meta = [entry("general.architecture", 8, text("llama")),
            entry("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))]
    meta += [entry("llama." + k, 4, struct.pack("<I", v)) for k, v in numbers.items()]
    meta += [entry("tokenizer.ggml.model", 8, text("gpt2")), entry("tokenizer.ggml.pre", 8, text("gpt-2")),
             array("tokenizer.ggml.tokens", 8, VOCAB, b"".join(map(text, words))),
             array("tokenizer.ggml.token_type", 5, VOCAB, struct.pack("<%di" % VOCAB, *[1] * VOCAB)),
             array("tokenizer.ggml.merges", 8, 0, b"")]
    tensors = [("token_embd.weight", (WIDTH, VOCAB)), ("output.weight", (WIDTH, VOCAB)), ("output_norm.weight", (WIDTH,))]
    for i in range(LAYERS):
        b = "blk.%d." % i
        tensors += [(b + "attn_norm.weight", (WIDTH,)), (b + "ffn_norm.weight", (WIDTH,)),
                    (b + "ffn_gate.weight", (WIDTH, FF)), (b + "ffn_up.weight", (WIDTH, FF)),
                    (b + "ffn_down.weight", (FF, WIDTH))]
        tensors += [(b + "attn_%s.weight" % x, (WIDTH, WIDTH)) for x in ("q", "k", "v", "output")]
    infos, data = b"", b""
    for name, dims in tensors:
        infos += text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, 0, len(data))
        n = dims[0] * (dims[1] if len(dims) > 1 else 1)
        data += struct.pack("<%df" % n, *[1 if len(dims) == 1 else rng.gauss(0, 0.2) for _ in range(n)])
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(meta) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--reps", type=int, default=20000)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "toy.gguf")
        make(model)
        base = [RZ, "-t", "1", "bench", "-m", model, "-r", str(a.reps), "--json"]

        def micro(*how):
            rows = subprocess.run(base + list(how), capture_output=True, text=True, check=True).stdout.splitlines()
            return [1e6 * row["tokens"] / row["median"] for row in map(json.loads, rows)]

        forward, = micro("-p", "1", "-n", "0")
        plain = micro("-p", "0", "-n", "5,10")
        whole = micro("--requests", "-p", "1", "-n", "5,10")
    print("forward of one token %.2f us" % forward)
    print("5 tokens %.1f us, 10 tokens %.1f us as plain forward passes" % tuple(plain))
    print("5 tokens %.1f us, 10 tokens %.1f us through the engine" % tuple(whole))
    return 0


if __name__ == "__main__":
    sys.exit(main())
