#!/usr/bin/env python3
"""Damaged models: a small model cut at 200 places and with 500 single bytes changed in its header, metadata
and tensor table. Each must run or be refused: exit status 0 or 1, an error of one line that names the file
and the place, never a signal, more than 10 seconds or more than 1 GB.

The model is stories260K of the reference data (RZ_SHARED); where that is absent, two small models of our
own making in RZ_FIXTURES. RZ_DAMAGE_SEED picks other bytes. Prints "N passed, N failed".
"""
import concurrent.futures
import os
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time

CUTS = 200
CHANGES = 500
LIMIT_S = 10
LIMIT_KB = 1 << 20
# What follows the name of the file in an error: the place and what is wrong there, or the key at the end.
PLACE = re.compile(r": [^:]+: .+|.*\(tokenizer\.[a-z.]+\)$")
# Sizes in bytes of the value types of the format; 8 and 9 are strings and arrays.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Reader:
    """Walks over a good GGUF file to find where its tensor table ends."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self):
        length = self.number("Q")
        self.at += length

    def value(self, kind):
        if kind == 8:
            self.string()
        elif kind == 9:
            element, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.value(element)
        else:
            self.at += SIZES[kind]

    def end_of_table(self):
        self.at = 8
        tensors, entries = self.number("Q"), self.number("Q")
        for _ in range(entries):
            self.string()
            self.value(self.number("I"))
        for _ in range(tensors):
            self.string()
            dimensions = self.number("I")
            self.at += 8 * dimensions + 4 + 8
        return self.at


def variants(data, rng):
    """Triples: where, the new byte there or None for a cut, and a name."""
    end = Reader(data).end_of_table()
    for i in range(CUTS):
        # half of the cuts in the part that is parsed, half anywhere
        at = rng.randrange(end) if i % 2 else rng.randrange(len(data))
        yield at, None, "cut at %d" % at
    for _ in range(CHANGES):
        at, value = rng.randrange(end), rng.randrange(255)
        value += value >= data[at]
        yield at, value, "byte %d is 0x%02x" % (at, value)


def judge(status, seconds, kilobytes, name, errors):
    """None, or what is wrong with a run."""
    if seconds > LIMIT_S:
        return "longer than %d s" % LIMIT_S
    if status < 0:
        return "signal %d" % -status
    if kilobytes > LIMIT_KB:
        return "%d MB of memory" % (kilobytes >> 10)
    if status == 0:
        return None
    if status != 1:
        return "exit status %d" % status
    lines = [line for line in errors.splitlines() if line.startswith("rz: error: ")]
    if len(lines) != 1:
        return "%d lines of error" % len(lines)
    if name not in lines[0] or not PLACE.match(lines[0].split(name, 1)[1]):
        return "the error names no place: " + lines[0]
    return None


def run(folder, data, index, at, value, what):
    """Runs one variant; returns its exit status and None, or None and what is wrong."""
    path = os.path.join(folder, "damaged-%d.gguf" % index)
    with open(path, "wb") as out:  # one at a time: a child's memory is counted from that of this process
        out.write(data[:at])
        if value is not None:
            out.write(bytes([value]))
            out.write(data[at + 1:])
    log = path + ".log"
    command = [os.environ["RZ"], "run", "-q", "-m", path, "--raw", "-p", "x", "-n", "4", "--temp", "0", "-t", "1"]
    begin = time.monotonic()
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S)))
    watchdog = threading.Timer(LIMIT_S + 1, process.kill)
    watchdog.start()
    _, raw, usage = os.wait4(process.pid, 0)
    watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(raw)
    with open(log, encoding="utf-8", errors="replace") as errors:
        text = errors.read()
    wrong = judge(process.returncode, time.monotonic() - begin, usage.ru_maxrss, os.path.basename(path), text)
    os.unlink(path)
    os.unlink(log)
    return (process.returncode, None) if wrong is None else (None, "%s: %s\n    %s" % (what, wrong, text[:400]))


def models():
    path = os.path.join(os.environ.get("RZ_SHARED") or "../shared", "data", "models", "stories260K.gguf")
    if os.path.exists(path):
        return [path]
    print("skipped: stories260K.gguf of the reference data; small models of our own instead")
    folder = os.environ.get("RZ_FIXTURES", "build/fixtures")
    return [os.path.join(folder, name) for name in ("tiny-mqa.gguf", "tiny-qwen2.gguf")]


def main():
    seed = int(os.environ.get("RZ_DAMAGE_SEED", "1"))
    counts = {0: 0, 1: 0}
    failures = []
    for model in models():
        with open(model, "rb") as source:
            data = source.read()
        with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
            work = [pool.submit(run, folder, data, i, *damage)
                    for i, damage in enumerate(variants(data, random.Random(seed)))]
            for done in work:
                status, failure = done.result()
                if failure:
                    failures.append(os.path.basename(model) + ": " + failure)
                else:
                    counts[status] += 1
    for failure in failures:
        print(failure)
    print("seed %d: %d ran, %d were refused" % (seed, counts[0], counts[1]))
    print("%d passed, %d failed" % (counts[0] + counts[1], len(failures)))
    return 1 if failures or not counts[1] else 0


if __name__ == "__main__":
    sys.exit(main())
