#!/usr/bin/env python3
"""opening.py - what opening a model costs: time with the file in memory, and how much of the file is read.

    bench/opening.py [--tensors 1000] [--tokens 150000] [--megabytes 256] [--runs 20] [--limit-ms 50]

Makes a GGUF file with so many tensors, so large a vocabulary and that much of weights (a hole in the file), takes
it out of the page cache, opens it with `rz info` and asks mincore which pages are in memory now: those of the
metadata and what the system reads ahead. Then opens it again and again; the time of a start of rz alone is taken
off. Exit status 1: the time is over the limit, or weights were read.
"""

import argparse
import ctypes
import itertools
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RZ = os.environ.get("RZ") or os.path.join(HERE, "..", "build", "release", "rz")
PAGE = mmap.PAGESIZE
AHEAD = 8 << 20  # what a system may read beyond a page that is touched


def text(s):
    data = s.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def array(key, kind, n, data):
    return entry(key, 9, struct.pack("<IQ", kind, n) + data)


def words(n):
    """n different texts and the pairs that make them: the 256 of single bytes, then pairs, then three of them."""
    singles = [chr(b if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174 else 256 + b) for b in range(256)]
    out, merges = singles[:], []
    for left in itertools.chain(singles, (a + b for a in singles for b in singles)):
        for right in singles:
            if len(out) == n:
                return out, merges
            out.append(left + right)
            merges.append(left + " " + right)
    sys.exit("--tokens: at most %d" % len(out))


def make(path, args):
    layers, width = args.tensors // 12, 64
    vocabulary, merges = words(args.tokens)
    n = len(vocabulary)
    numbers = {"block_count": layers, "context_length": 4096, "embedding_length": width, "feed_forward_length": width,
               "attention.head_count": 1, "attention.head_count_kv": 1}
    meta = [entry("general.architecture", 8, text("qwen2"))]
    meta += [entry("qwen2." + k, 4, struct.pack("<I", v)) for k, v in numbers.items()]
    meta += [entry("tokenizer.ggml.model", 8, text("gpt2")), entry("tokenizer.ggml.pre", 8, text("qwen2")),
             array("tokenizer.ggml.tokens", 8, n, b"".join(map(text, vocabulary))),
             array("tokenizer.ggml.token_type", 5, n, struct.pack("<%di" % n, *[1] * n)),
             array("tokenizer.ggml.merges", 8, len(merges), b"".join(map(text, merges)))]
    names = ["blk.%d.%s" % (i, x) for i in range(layers + 1) for x in (
        "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_q.bias attn_k.bias attn_v.bias "
        "attn_output.weight ffn_norm.weight ffn_gate.weight ffn_up.weight ffn_down.weight").split()][:args.tensors]
    each = (args.megabytes << 20) // len(names) // (4 * width) * (4 * width)
    infos = [text(name) + struct.pack("<IQQIQ", 2, width, each // (4 * width), 0, i * each) for i, name in enumerate(names)]
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(names), len(meta)) + b"".join(meta) + b"".join(infos))
        f.write(bytes(-f.tell() % 32))
        head = f.tell()
        f.truncate(head + each * len(names))
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return head, len(names), n


def resident(path):
    """One byte a page of the file: whether it is in memory."""
    size = os.path.getsize(path)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    with open(path, "rb") as f:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, f.fileno(), 0)
        pages = (ctypes.c_ubyte * ((size + PAGE - 1) // PAGE))()
        if libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), pages):
            sys.exit("mincore: %s" % os.strerror(ctypes.get_errno()))
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    return [p & 1 for p in pages]


def milliseconds(runs, *args):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([RZ, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


def main():
    p = argparse.ArgumentParser(description="Time and pages of opening a model.")
    p.add_argument("--tensors", type=int, default=1000)
    p.add_argument("--tokens", type=int, default=150000)
    p.add_argument("--megabytes", type=int, default=256)
    p.add_argument("--runs", type=int, default=20)
    p.add_argument("--limit-ms", type=float, default=50)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        head, tensors, tokens = make(path, args)
        before = sum(resident(path))
        subprocess.run([RZ, "info", path], stdout=subprocess.DEVNULL, check=True)
        pages = resident(path)
        first = (head + PAGE - 1) // PAGE
        beyond = sum(pages[first:])
        ahead = (pages[first:] + [0]).index(0)  # those right behind the metadata
        print("%d tensors, %d tokens, %.1f MiB of metadata, %d MiB of weights" % (tensors, tokens, head / 2**20, args.megabytes))
        print("pages in memory: %d before; after opening %d of the metadata's %d, %d read ahead behind them, and %d of "
              "the other %d" % (before, sum(pages[:first]), first, ahead, beyond - ahead, len(pages) - first - ahead))
        alone, opened = milliseconds(args.runs, "--version"), milliseconds(args.runs, "info", path)
        print("a start of rz alone: %.1f ms; rz info: %.1f ms; so opening takes %.1f ms (best of %d)" % (
            alone, opened, opened - alone, args.runs))
        told = milliseconds(args.runs, "tokenize", "-m", path, "-p", "x")
        print("with its tokenizer: %.1f ms" % (told - alone))
    if opened - alone > args.limit_ms or beyond > ahead or ahead * PAGE > AHEAD:
        sys.exit(1)


if __name__ == "__main__":
    main()
