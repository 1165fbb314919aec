#!/usr/bin/env python3
"""Writes plugins/tokenizers/common/unicode.inc: the general category of every code point, as ranges.

Needs the PyPI package unicodedata2 of the version below (its version is that of the Unicode Character
Database that it holds): pip install unicodedata2==16.0.0 && tools/unicode.py
"""
import itertools
import os
import sys

try:
    import unicodedata2 as ucd
except ImportError:
    sys.exit("unicode.py: pip install unicodedata2==16.0.0")

UCD = "16.0.0"
# The order is that of the RZ_UC_* numbers in unicode.h.
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So "
              "Zs Zl Zp Cc Cf Cs Co Cn").split()
PER_LINE = 8


def main():
    if ucd.unidata_version != UCD:
        sys.exit(f"unicode.py: the tables are of Unicode {UCD}, this is {ucd.unidata_version}")
    numbers = [CATEGORIES.index(ucd.category(chr(cp))) for cp in range(0x80, 0x110000)]
    entries, at = [], 0x80
    for number, run in itertools.groupby(numbers):
        entries.append(f"0x{at << 8 | number:08x},")
        at += sum(1 for _ in run)
    folder = os.path.join(os.path.dirname(__file__), "..", "plugins", "tokenizers", "common")
    with open(os.path.join(folder, "unicode.inc"), "w", encoding="ascii") as out:
        out.write(f"/* Unicode Character Database {UCD}, DerivedGeneralCategory. Written by tools/unicode.py.\n"
                  " * first code point << 8 | category; a range ends where the next begins. */\n")
        for i in range(0, len(entries), PER_LINE):
            out.write(" ".join(entries[i:i + PER_LINE]) + "\n")


if __name__ == "__main__":
    main()
