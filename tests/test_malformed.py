#!/usr/bin/env python3
"""Malformed files: every kind of tests/malformed.py is refused by `rz run` (GGUF) or `rz info` (safetensors) with
exit status 1 and one line of error that names the file and what is wrong, different from that of each other
kind; within a second of CPU time and 64 MB above what rz needs to read the good file's size. Prints
"N passed, N failed".
"""

import concurrent.futures
import os
import resource
import subprocess
import sys
import tempfile

import malformed
import rzlib

LIMIT_S = 1 if os.environ.get("RZ_CONFIG", "release") in ("release", "debug") else 10  # sanitizers start slowly
WALL_S = 60
LIMIT_KB = 64 << 10
WANTED = {"gguf": 300, "safetensors": 60}


class Run:
    """One run: what came out, seconds of CPU and the most memory that it had."""

    def __init__(self, args):
        read, write = os.pipe()
        process = subprocess.Popen([rzlib.RZ] + args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (WALL_S, WALL_S)))
        os.close(write)
        with os.fdopen(read, "rb") as errors:
            self.errors = errors.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        self.status = process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = usage.ru_utime + usage.ru_stime
        self.kilobytes = usage.ru_maxrss


def command(form, path, options):
    sets = [word for o in options for word in ("-o", o)]
    if form == "gguf":
        return ["run", "-q"] + sets + ["-m", path, "--raw", "-p", "x", "-n", "1", "--temp", "0", "-t", "1"]
    return ["info", "-q"] + sets + ["-m", path]


def judge(kind, run, name, size, base):
    """None, or what is wrong with the run of a kind."""
    if run.status != 1:
        return "exit status %d: %s" % (run.status, run.errors[-500:])
    if run.seconds > LIMIT_S:
        return "%.1f s of CPU time" % run.seconds
    if run.kilobytes - base - (size >> 10) > LIMIT_KB:
        return "%d MB above the baseline" % ((run.kilobytes - base) >> 10)
    lines = [line for line in run.errors.splitlines() if line.startswith("rz: error: ")]
    if len(lines) != 1:
        return "%d lines of error" % len(lines)
    if name not in lines[0] and "tokenizer" not in lines[0]:
        return "the file is not named: " + lines[0]
    if kind.expect not in lines[0]:
        return "no \"%s\" in: %s" % (kind.expect, lines[0])
    return None


def one(folder, form, index, kind, base):
    """What is wrong, or None; and the message without the name of the file."""
    name = "%s-%d.%s" % (form, index, form)
    path = os.path.join(folder, name)
    data = kind.data()
    with open(path, "wb") as f:
        f.write(data)
    run = Run(command(form, path, kind.options))
    os.unlink(path)
    return judge(kind, run, name, len(data), base), run.errors.replace(path, "FILE").strip()


def check(form, kinds, folder, base):
    """Prints the failures of a form; returns how many kinds are good and how many bad."""
    bad, messages = 0, {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        work = [pool.submit(one, folder, form, i, kind, base) for i, kind in enumerate(kinds)]
        for kind, done in zip(kinds, work):
            wrong, message = done.result()
            if not wrong and message in messages:
                wrong = "the same message as \"%s\": %s" % (messages[message], message)
            messages.setdefault(message, kind.name)
            if wrong:
                bad += 1
                print("%s: %s: %s" % (form, kind.name, wrong))
    print("%s: %d kinds, %d were refused with %d messages" % (form, len(kinds), len(kinds) - bad, len(messages)))
    if len({kind.name for kind in kinds}) < max(WANTED[form], len(kinds)):
        print("%s: %d kinds are too few, or two have one name" % (form, len(kinds)))
        bad += 1
    return len(kinds) - bad, bad


def main():
    llama, qwen2 = rzlib.fixture("tiny-llama.gguf"), rzlib.fixture("tiny-qwen2.gguf")
    passed = failed = 0
    forms = (("gguf", malformed.gguf_kinds(llama, qwen2)), ("safetensors", malformed.safetensors_kinds()))
    with tempfile.TemporaryDirectory() as folder:
        # the good model itself must run: else a refusal says nothing
        path = os.path.join(folder, "good.gguf")
        with open(path, "wb") as f:
            f.write(malformed.Bytes(malformed.Model(llama)).out)
        good = Run(command("gguf", path, ()))
        if good.status:
            print("the good model is refused: " + good.errors)
            failed += 1
        with open(path, "wb") as f:
            f.write(b"GGUF")
        base = Run(command("gguf", path, ())).kilobytes
        for form, kinds in forms:
            good, bad = check(form, kinds, folder, base)
            passed, failed = passed + good, failed + bad
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
