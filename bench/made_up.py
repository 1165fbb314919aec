#!/usr/bin/env python3
"""made_up.py - writes a model of real shapes and made-up weights, for measuring speed. Its text is noise.

    bench/made_up.py SHAPE OUT.gguf       SHAPE: 135m-q4_1, 1b-bf16, 7b-q4_k_m, 8b-bf16, cut-TYPE (six layers of 1b
                                          with q4_0, q8_0, q4_k_m or q6_k), wide (small, with a vocabulary of
                                          262,144), moe-TYPE (eight of 64 experts; q4_0, q8_0 or q4_k_m), tiny and
                                          tiny-moe (for its own test)

Weights are random within a row, and rows repeat: no value is zero or special, and the file is written at the speed of
the disk. With experts no two rows of embeddings and of routers are alike, so that tokens choose differently.
"""

import os
import struct
import sys

# layers, width, feed-forward width, heads, KV heads, head width, vocabulary, tied, types, experts and how many of them
# a token has
SHAPES = {
    "135m-q4_1": (30, 576, 1536, 9, 3, 64, 49152, True, "q4_1", 0, 0),
    "1b-bf16": (16, 2048, 8192, 32, 8, 64, 128256, True, "bf16", 0, 0),
    "7b-q4_k_m": (32, 4096, 14336, 32, 8, 128, 32000, False, "q4_k_m", 0, 0),
    "8b-bf16": (32, 4096, 14336, 32, 8, 128, 128256, False, "bf16", 0, 0),
    "cut-q4_0": (6, 2048, 8192, 32, 8, 64, 32000, False, "q4_0", 0, 0),
    "cut-q8_0": (6, 2048, 8192, 32, 8, 64, 32000, False, "q8_0", 0, 0),
    "cut-q4_k_m": (6, 2048, 8192, 32, 8, 64, 32000, False, "q4_k_m", 0, 0),
    "cut-q6_k": (6, 2048, 8192, 32, 8, 64, 32000, False, "q6_k", 0, 0),
    "wide": (6, 640, 2048, 4, 1, 160, 262144, True, "q8_0", 0, 0),
    "moe-q4_0": (4, 1024, 512, 16, 4, 64, 32000, False, "q4_0", 64, 8),
    "moe-q8_0": (4, 1024, 512, 16, 4, 64, 32000, False, "q8_0", 64, 8),
    "moe-q4_k_m": (4, 1024, 512, 16, 4, 64, 32000, False, "q4_k_m", 64, 8),
    "tiny-moe": (2, 256, 256, 4, 2, 64, 300, False, "q4_0", 8, 2),
    "tiny": (2, 256, 512, 4, 2, 64, 300, False, "q4_k_m", 0, 0),
}
F32, Q4_0, Q4_1, Q8_0, Q4_K, Q6_K, BF16 = 0, 2, 3, 8, 12, 14, 30
SMALL = struct.pack("<e", 0.0002)  # d of a block: about 0.02 of a weight


def block(kind):
    """One random block as bytes, and how many elements it has."""
    if kind == Q4_1:
        return struct.pack("<ee", 0.004, -0.03) + os.urandom(16), 32
    if kind == Q4_0:
        return struct.pack("<e", 0.004) + os.urandom(16), 32
    if kind == Q8_0:
        return SMALL + os.urandom(32), 32
    if kind == Q4_K:
        return SMALL + SMALL + os.urandom(140), 256
    if kind == Q6_K:
        return os.urandom(208) + struct.pack("<e", 0.00001), 256
    raise ValueError(kind)


def row(kind, cols):
    if kind == F32:
        return struct.pack("<%df" % cols, *(1.0 + 0.01 * (i % 7) for i in range(cols)))
    if kind == BF16:  # sign and mantissa at random, exponents of 2^-7 to 2^-5
        words = struct.unpack("<%dH" % cols, os.urandom(2 * cols))
        return struct.pack("<%dH" % cols, *((w & 0x807f) | (120 + w % 3) << 7 for w in words))
    n = block(kind)[1]
    return b"".join(block(kind)[0] for _ in range(cols // n))


def lone_row(kind, cols):
    """A row of a router or of embeddings. These are large, so that they outweigh what the layers add to them."""
    if kind == F32:
        return struct.pack("<%df" % cols, *((w - 32768) / 655360 for w in struct.unpack("<%dH" % cols, os.urandom(2 * cols))))
    return b"".join(struct.pack("<e", 0.02) + os.urandom(32) for _ in range(cols // 32))


def tensor_types(how, layers):
    """The types of embedding, head, and of the matrices of a layer, as llama.cpp's mixes have them."""
    more = lambda i: i < layers // 8 or i >= 7 * layers // 8 or (i - layers // 8) % 3 == 2  # noqa: E731
    if how == "bf16":
        return BF16, BF16, lambda i, name: BF16
    if how == "q4_1":
        return Q8_0, Q8_0, lambda i, name: Q4_1
    if how in ("q4_0", "q8_0", "q6_k"):
        same = {"q4_0": Q4_0, "q8_0": Q8_0, "q6_k": Q6_K}[how]
        return same, Q8_0 if how == "q8_0" else Q6_K, lambda i, name: same
    return Q4_K, Q6_K, lambda i, name: Q6_K if name in ("attn_v", "ffn_down") and more(i) else Q4_K


def tensors(shape):
    layers, width, ff, heads, kv, dim, vocab, tied, how, experts, _ = shape
    embedding, head, kind = tensor_types(how, layers)
    several = "_exps" if experts else ""
    yield "token_embd.weight", Q8_0 if experts else embedding, width, vocab
    for i in range(layers):
        for name, cols, rows in (("attn_q", width, heads * dim), ("attn_k", width, kv * dim), ("attn_v", width, kv * dim),
                                 ("attn_output", heads * dim, width)):
            yield "blk.%d.%s.weight" % (i, name), kind(i, name), cols, rows
        for name, cols, rows in (("ffn_gate", width, ff), ("ffn_up", width, ff), ("ffn_down", ff, width)):
            yield "blk.%d.%s%s.weight" % (i, name, several), kind(i, name), cols, rows * (experts or 1)
        if experts:
            yield "blk.%d.ffn_gate_inp.weight" % i, F32, width, experts
        yield "blk.%d.attn_norm.weight" % i, F32, width, 0
        yield "blk.%d.ffn_norm.weight" % i, F32, width, 0
    yield "output_norm.weight", F32, width, 0
    if not tied:
        yield "output.weight", head, width, vocab


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def meta(shape):
    layers, width, ff, heads, kv, dim, vocab, _, _, experts, used = shape
    u32 = lambda key, value: text(key) + struct.pack("<II", 4, value)  # noqa: E731
    words = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    words += ["\u2581w%d" % i for i in range(vocab - len(words))]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (vocab - 259)
    out = [text("general.architecture") + struct.pack("<I", 8) + text("llama"),
           u32("llama.block_count", layers), u32("llama.context_length", 8192), u32("llama.embedding_length", width),
           u32("llama.feed_forward_length", ff), u32("llama.attention.head_count", heads),
           u32("llama.attention.head_count_kv", kv), u32("llama.rope.dimension_count", dim),
           text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5),
           text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("llama"),
           text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, vocab) + b"".join(text(w) for w in words),
           text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, vocab) +
           struct.pack("<%df" % vocab, *(-float(i) for i in range(vocab))),
           text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, vocab) + struct.pack("<%di" % vocab, *kinds),
           u32("tokenizer.ggml.bos_token_id", 1), u32("tokenizer.ggml.eos_token_id", 2)]
    if experts:
        out += [u32("llama.expert_count", experts), u32("llama.expert_used_count", used)]
    return out


def dims_of(name, cols, n, experts):
    return (cols,) if not n else (cols, n // experts, experts) if "_exps" in name else (cols, n)


def write(shape, path):
    rows, infos, at, experts = {}, [], 0, shape[9]
    listed = list(tensors(shape))
    for name, kind, cols, n in listed:
        if (kind, cols) not in rows:
            rows[kind, cols] = [row(kind, cols) for _ in range(3)]
        dims = dims_of(name, cols, n, experts)
        infos.append(text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, at))
        at += (len(rows[kind, cols][0]) * max(n, 1) + 31) // 32 * 32
    pairs = meta(shape)
    with open(path, "wb") as f:
        f.write(struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(pairs)) + b"".join(pairs) + b"".join(infos))
        f.write(b"\0" * (-f.tell() % 32))
        for name, kind, cols, n in listed:
            if experts and ("token_embd" in name or "gate_inp" in name):
                f.writelines(lone_row(kind, cols) for _ in range(n))
            else:
                three = b"".join(rows[kind, cols])
                for i in range(0, max(n, 1), 3):
                    f.write(three[:len(rows[kind, cols][0]) * min(3, max(n, 1) - i)])
            f.write(b"\0" * (-f.tell() % 32))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    write(SHAPES[sys.argv[1]], sys.argv[2])
