#!/usr/bin/env python3
"""grids.py - writes core/base/grids.inc, the point tables of the IQ types, from the package gguf.

    tools/grids.py > core/base/grids.inc

A point of 8 elements has 2 bits an element, one of 4 elements 3 bits, element 0 in the lowest bits: each
fits into 16 bits. What the bits stand for is in core/base/grids.h. The tables belong to the GGUF format;
the package (PyPI, MIT) carries them in a packed form that this script checks and rewrites. It is run by
hand; the build needs the .inc file only.
"""

import sys

import numpy as np
from gguf import quants

GRIDS = (("iq2_xxs", quants.IQ2_XXS), ("iq2_xs", quants.IQ2_XS), ("iq2_s", quants.IQ2_S),
         ("iq1", quants.IQ1_S), ("iq3_xxs", quants.IQ3_XXS), ("iq3_s", quants.IQ3_S))


def codes(kind):
    """The points of one type as packed numbers."""
    kind.init_grid()
    points = kind.grid.reshape(kind.grid_shape)
    levels = np.array(kind.grid_map, dtype=np.float32)
    digits = np.searchsorted(levels, points)
    if not (levels[digits] == points).all():
        raise ValueError(kind.__name__ + ": a value that is not among its levels")
    bits = 16 // kind.grid_shape[1] if kind.grid_shape[1] == 8 else 3
    packed = (digits << (bits * np.arange(kind.grid_shape[1]))).sum(axis=1)
    if len(set(packed)) != len(packed):
        raise ValueError(kind.__name__ + ": a point twice")
    return packed


def main():
    print("/* grids.inc - the points of the IQ types, packed: see grids.h. Made by tools/grids.py from the\n"
          " * tables of the GGUF format in the Python package gguf %s (MIT licence). */" % version())
    for name, kind in GRIDS:
        packed = codes(kind)
        print("static const uint16_t %s_points[%d] = {" % (name, len(packed)))
        for i in range(0, len(packed), 14):
            print("    " + " ".join("0x%04x," % p for p in packed[i:i + 14]))
        print("};")


def version():
    from importlib.metadata import version as of
    return of("gguf")


if __name__ == "__main__":
    sys.exit(main())
