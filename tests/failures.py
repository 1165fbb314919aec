#!/usr/bin/env python3
"""failures.py - the failed tests of a program of tests/run.sh, one a line, each with where and what its error is.

    tests/failures.py LOG [REPORT...]

Reads what unittest or a unit program (Criterion, runner.c) said, and reports of sanitizers. Where none of these
names a test the last line of the log stands for them.
"""

import re
import sys

COLUMNS = 300


def of_unittest(text):
    """Blocks that begin with ===== and FAIL: or ERROR:, each with one or more tracebacks; the last is the one that counts."""
    for block in re.split(r"(?m)^={40,}\n", text)[1:]:
        head = re.match(r"(?:FAIL|ERROR): (.*)", block)
        trace = block.rpartition("Traceback (most recent call last):\n")[2].splitlines()
        error = next((line for line in trace if line and line[0] not in " -"), "")
        places = re.findall(r'(?m)^  File ".*?([^/"]+)", line (\d+)', "\n".join(trace).split(error)[0] if error else "")
        place = next((p for p in reversed(places) if p[0].startswith("test_")), places[-1] if places else None)
        if head:
            yield "%s: %s%s" % (head.group(1), "%s:%s: " % place if place else "", error)


def of_units(text):
    """What was said since the one before, up to [FAIL] SUITE::NAME."""
    said = []
    for line in text.splitlines():
        failed = re.match(r"\[FAIL\] (\S+?): (.*)", line)
        if failed:
            yield "%s: %s" % (failed.group(1), " ".join(said[:2]) or failed.group(2))
            said = []
        else:
            said += [s for s in (re.sub(r"^\[----\]", "", line).strip(),) if s]


def of_report(text):
    line = re.search(r"(?m)^SUMMARY: .*|ERROR: .*|WARNING: .*|.*runtime error: .*", text)
    return line.group(0) if line else text[:COLUMNS]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def main():
    text = read(sys.argv[1])
    found = list(of_unittest(text)) + list(of_units(text)) + [of_report(read(path)) for path in sys.argv[2:]]
    for line in found or text.splitlines()[-1:]:
        print(" ".join(line.split())[:COLUMNS])


if __name__ == "__main__":
    main()
