"""rzlib.py - what the process tests share: running rz and the reference, reading arrays, comparing logits."""

import array
import contextlib
import json
import math
import os
import subprocess
import unittest

SOURCE = os.environ.get("RZ_SOURCE") or os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.environ.get("RZ_BUILD") or os.path.join(SOURCE, "build", "release")
RZ = os.environ.get("RZ") or os.path.join(BUILD, "rz")
FIXTURES = os.environ.get("RZ_FIXTURES") or os.path.join(SOURCE, "build", "fixtures")
REF_MODEL = os.path.join(SOURCE, "build", "tools", "ref_model")
SHARED = os.environ.get("RZ_SHARED", "")
SLOW = os.environ.get("RZ_SLOW", "1") != "0"
CONFIG = os.environ.get("RZ_CONFIG", "release")
# Kernels built by one test are those of the next, and of other configurations.
OPENCL_CACHE = os.path.join(SOURCE, "build", "opencl-cache")
os.environ.setdefault("POCL_CACHE_DIR", os.path.join(SOURCE, "build", "pocl-cache"))
LIMIT_S = 600

if not SHARED and "RZ_SHARED" not in os.environ and os.path.isdir(os.path.join(SOURCE, "..", "shared", "data")):
    SHARED = os.path.normpath(os.path.join(SOURCE, "..", "shared"))


def fixture(name):
    return os.path.join(FIXTURES, name)


def shared(*path):
    """The path of reference data, or None where there is none."""
    full = os.path.join(SHARED, "data", *path) if SHARED else None
    return full if full and os.path.exists(full) else None


def default_model():
    """The default model's file, or None if nobody has fetched it."""
    if os.environ.get("RZ_MODEL"):
        return os.environ["RZ_MODEL"]
    done = subprocess.run(["python3", os.path.join(SOURCE, "tools", "get-model.py"), "--path"],
                          capture_output=True, text=True, check=True)
    path = done.stdout.strip()
    return path if os.path.isfile(path) else None


def need_default_model():
    """The same; a test without it is skipped."""
    model = default_model()
    if not model:
        raise unittest.SkipTest("the default model is not in the cache (make run fetches it)")
    return model


def need_release(why):
    """Skips what is done in the release configuration only."""
    if os.environ.get("RZ_CONFIG", "release") != "release":
        raise unittest.SkipTest(why)


@contextlib.contextmanager
def changed(path, text, instead):
    """A source file with a fault in it: another text in place of the first such one, for the while."""
    with open(path, encoding="utf-8") as f:
        good = f.read()
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(good.replace(text, instead, 1))
        yield
    finally:
        with open(path, "w", encoding="utf-8") as f:
            f.write(good)


class Failed(AssertionError):
    pass


def rz(*args, status=0, stdin=None, env=None):
    """Runs rz, wants this exit status (None: any), returns the finished process with text output."""
    done = subprocess.run([RZ, *args], input=stdin, capture_output=True, timeout=LIMIT_S, env=env)
    done.out = done.stdout.decode("utf-8", "replace")
    done.err = done.stderr.decode("utf-8", "replace")
    if status is not None and done.returncode != status:
        raise Failed("rz %s: exit status %d, not %d\n%s" % (" ".join(args), done.returncode, status, done.err[-2000:]))
    return done


def run_json(*args):
    """The closing object of `rz run --json`."""
    return json.loads(rz("run", "--json", *args).out.splitlines()[-1])


def floats(path, code="f"):
    values = array.array(code)
    with open(path, "rb") as f:
        values.frombytes(f.read())
    return values


def ints(path):
    return list(floats(path, "i"))


def write_ints(path, ids):
    with open(path, "wb") as f:
        array.array("i", ids).tofile(f)


def evaluate(model, tokens, out, *args):
    """Logits of `rz eval` as bytes."""
    rz("eval", "-m", model, "--tokens", tokens, "--logits", out, *args)
    with open(out, "rb") as f:
        return f.read()


def as_floats(data):
    values = array.array("f")
    values.frombytes(data)
    return values


def reference_greedy(model, ids, n, folder):
    """The n best next tokens after ids, and the gap between the two best logits at each."""
    path = os.path.join(folder, "prompt.i32")
    write_ints(path, ids)
    done = subprocess.run([REF_MODEL, model, path, "--greedy", str(n)], capture_output=True, text=True, check=True)
    tokens, gaps = done.stdout.splitlines()
    return [int(t) for t in tokens.split()], [float(g) for g in gaps.split()]


def same_where_sure(got, want, gaps, sure):
    """None if got equals want up to the first difference, and that lies at a gap of at most `sure`."""
    for i, (g, w) in enumerate(zip(got, want)):
        if g != w:
            return None if gaps[i] <= sure else "token %d is %d, not %d, at a gap of %g" % (i, g, w, gaps[i])
    return None if len(got) == len(want) else "%d tokens, not %d" % (len(got), len(want))


def deviation(values):
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def log_sum_exp(row):
    best = max(row)
    return best + math.log(math.fsum(math.exp(x - best) for x in row))


def mean_kl(truth, mine, n_vocab):
    """Mean over the rows of KL(truth, mine), and how many rows agree about the best token."""
    total, agree, rows = 0.0, 0, len(truth) // n_vocab
    for r in range(rows):
        t, m = truth[r * n_vocab:(r + 1) * n_vocab], mine[r * n_vocab:(r + 1) * n_vocab]
        zt, zm = log_sum_exp(t), log_sum_exp(m)
        total += math.fsum(math.exp(a - zt) * ((a - zt) - (b - zm)) for a, b in zip(t, m))
        agree += max(range(n_vocab), key=t.__getitem__) == max(range(n_vocab), key=m.__getitem__)
    return total / rows, agree / rows


def has_plugin(name):
    """True if this build and this CPU have the kernel table `name`."""
    return rz("--plugin", name, "plan", fixture("tiny-llama.gguf"), "--explain", status=None).returncode == 0


def device_missing(name):
    """None, or why the device plugin `name` cannot run here. Prints it too: what is skipped is said."""
    done = rz("--plugin", name, "plan", fixture("tiny-llama.gguf"), "--explain", status=None)
    why = None if done.returncode == 0 else done.err.strip()
    if why:
        print("skipped: device %s: %s" % (name, why))
    return why
