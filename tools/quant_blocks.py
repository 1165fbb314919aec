#!/usr/bin/env python3
"""quant_blocks.py - writes tests/quant_blocks.inc: for each tensor type a few random blocks, and a hash of
what an independent decoder (the PyPI package gguf, in numpy) makes of them.

    tools/quant_blocks.py > tests/quant_blocks.inc

Q1_0 and Q2_0, which the package may not know yet, are decoded here. Run by hand; the tests need the .inc
file only.
"""

import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType as Types

# elements and bytes of a block
TYPES = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34), "Q2_K": (256, 84),
    "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210), "IQ1_S": (256, 50),
    "IQ1_M": (256, 56), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82), "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136), "TQ1_0": (256, 54), "TQ2_0": (256, 66),
    "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18), "Q2_0": (64, 18),
}


def decode(name, blocks):
    if name in ("Q1_0", "Q2_0"):
        d = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        bits = 1 if name == "Q1_0" else 2
        codes = np.stack([blocks[:, 2:] >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)], axis=-1)
        codes = codes.reshape(len(blocks), -1).astype(np.float32)
        return np.where(codes > 0, d, -d) if bits == 1 else (codes - 1) * d
    return quants.dequantize(blocks, Types[name]).astype(np.float32)


def fnv(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return value


def main():
    rng = np.random.default_rng(1)
    print("/* quant_blocks.inc - blocks of random bits and the FNV-1a hash of what they decode to.\n"
          " * Made by tools/quant_blocks.py. */")
    for name, (elements, size) in TYPES.items():
        count = max(1, 96 // size)
        floats = np.array([np.nan])
        with np.errstate(all="ignore"):
            while not (np.isfinite(floats).all() and np.abs(floats).max() > 0):
                blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
                floats = decode(name, blocks)
        data = blocks.tobytes()
        print("{RZ_TYPE_%s, %d, 0x%016xu,\n {" % (name, count * elements, fnv(floats.tobytes())))
        for i in range(0, len(data), 22):
            print("  " + " ".join("%d," % b for b in data[i:i + 22]))
        print(" }},")


if __name__ == "__main__":
    main()
