#!/usr/bin/env python3
"""test_tools.py - the model tools: quantize, convert, imatrix, and the files that they write."""

import json
import math
import os
import resource
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import rzlib

try:
    import gguf
    import numpy
except ImportError:
    gguf = None

WIDE = rzlib.fixture("tiny-f16.gguf")      # rows of 256, 512: every type fits
NARROW = rzlib.fixture("tiny-llama.gguf")  # rows of 64: 256-blocks do not fit
TEXT = "the king was in the house and the queen was in the garden " * 24
F32, F16, Q4_0, Q5_0, Q5_1, Q8_0, Q4_K, Q6_K, IQ4_NL, BF16 = 0, 1, 2, 6, 7, 8, 12, 14, 20, 30
# name of a mix: general.file_type, and how far a matrix may be from the original (relative root mean square)
MIXES = {
    "F32": (0, 0), "F16": (1, 0), "BF16": (32, .005), "Q8_0": (7, .01), "Q6_K": (18, .03), "Q5_K_M": (17, .06),
    "Q5_K_S": (16, .06), "Q5_1": (9, .06), "Q5_0": (8, .06), "Q4_K_M": (15, .12), "Q4_K_S": (14, .12),
    "Q4_1": (3, .12), "Q4_0": (2, .12), "Q3_K_L": (13, .25), "Q3_K_M": (12, .25), "Q3_K_S": (11, .25),
    "Q2_K": (10, .5), "Q2_K_S": (21, .5), "IQ4_XS": (30, .12), "IQ4_NL": (25, .12), "IQ3_M": (27, .25),
    "IQ3_S": (26, .25), "IQ3_XS": (22, .3), "IQ3_XXS": (23, .35), "IQ2_M": (29, .5), "IQ2_S": (28, .5),
    "IQ2_XS": (20, .6), "IQ2_XXS": (19, .6), "IQ1_M": (31, .8), "IQ1_S": (24, .8), "TQ2_0": (37, 1), "TQ1_0": (36, 1),
    "MXFP4": (38, .2), "MXFP4_MOE": (38, .2), "NVFP4": (39, .2), "Q2_0": (41, 1), "Q1_0": (40, 1),
}
FOLDERS = ("llama", "llama-mha-tied", "llama-mqa", "llama-rope-linear", "llama-rope-llama3", "llama-rope-yarn",
           "mistral-full", "qwen2", "qwen2-tied")
FEW = ("F32", "BF16", "Q8_0", "Q4_K_M", "Q2_K", "IQ3_XXS", "IQ2_M", "IQ1_S", "TQ1_0", "MXFP4")
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


class File:
    """A GGUF file, read by nothing but struct: meta {key: (type, elem type, value)}, tensors {name: (dims, type,
    offset in the file)}."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 0
        magic, version, n_tensors, n_meta = self.take("4sIQQ")
        assert magic == b"GGUF" and version == 3
        self.meta, self.tensors = {}, {}
        for _ in range(n_meta):
            key = self.text()
            kind, = self.take("I")
            self.meta[key] = (kind, *self.value(kind))
        entries = []
        for _ in range(n_tensors):
            name, (n_dims,) = self.text(), self.take("I")
            entries.append((name, self.take("%dQ" % n_dims), *self.take("IQ")))
        self.align = self.meta.get(b"general.alignment", (0, 0, 32))[2]
        base = self.round(self.at)
        self.padding = self.data[self.at:base]
        for name, dims, kind, offset in entries:
            self.tensors[name.decode()] = (dims, kind, base + offset)

    def round(self, n):
        return (n + self.align - 1) // self.align * self.align

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def text(self):
        n, = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == 8:
            return kind, self.text()
        if kind != 9:
            return kind, self.take(SCALARS[kind])[0]
        elem, n = self.take("IQ")
        return elem, [self.text() if elem == 8 else self.take(SCALARS[elem])[0] for _ in range(n)]

    def floats(self, name):
        """Of an F32 tensor."""
        dims, kind, offset = self.tensors[name]
        assert kind == F32
        return struct.unpack_from("<%df" % math.prod(dims), self.data, offset)

    def raw(self, name, n):
        return self.data[self.tensors[name][2]:self.tensors[name][2] + n]


def pack_text(text):
    return struct.pack("<Q", len(text)) + text


def write_gguf(path, meta, tensors, align=32):
    """meta: [(key, type, elem type, values)]; tensors: [(name, dims, type, bytes)]."""
    out = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta)))
    for key, kind, elem, values in meta:
        out += pack_text(key) + struct.pack("<I", kind)
        if kind == 9:
            out += struct.pack("<IQ", elem, len(values))
        for v in values if kind == 9 else [values]:
            out += pack_text(v) if elem == 8 else struct.pack("<" + SCALARS[elem], v)
    offset, body = 0, bytearray()
    for name, dims, kind, data in tensors:
        out += pack_text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, offset)
        body += data + b"\0" * (-len(data) % align)
        offset = len(body)
    with open(path, "wb") as f:
        f.write(out + b"\0" * (-len(out) % align) + body)


def distance(a, b):
    """Root mean square of a - b, relative to that of a."""
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a))


class Base(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = self.holder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self):
        path = self.path("text.txt")
        with open(path, "w") as f:
            f.write(TEXT)
        return path

    def imatrix(self, model, *args, name="im.gguf"):
        rzlib.rz("imatrix", "-m", model, "-f", self.text(), "-o", self.path(name), "-c", "64", *args)
        return self.path(name)

    def quantize(self, source, mix, *args, name="out.gguf"):
        rzlib.rz("-q", "quantize", source, self.path(name), mix, "-y", *args)
        return self.path(name)

    def fails(self, status, *args, says=()):
        """One error line that holds each of `says`, and no new file."""
        before = sorted(os.listdir(self.folder))
        done = rzlib.rz(*args, status=status)
        lines = [line for line in done.err.splitlines() if line.startswith("rz: error: ")]
        self.assertEqual(len(lines), 1, done.err)
        for word in says:
            self.assertIn(word, lines[0])
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        return done


class Quantize(Base):
    def test_every_mix_is_made_and_runs(self):
        importance = self.imatrix(WIDE)
        original = File(self.quantize(WIDE, "F32", name="f32.gguf"))
        names = ("blk.0.ffn_up.weight", "blk.1.ffn_down.weight", "token_embd.weight")
        truth = {name: original.floats(name)[:8192] for name in names}
        for mix in MIXES if rzlib.SLOW else FEW:
            number, bound = MIXES[mix]
            with self.subTest(mix=mix):
                path = self.quantize(WIDE, mix, "--imatrix", importance)
                made = File(path)
                self.assertEqual(made.meta[b"general.file_type"], (4, 4, number))
                self.assertEqual(made.meta[b"general.quantization_version"], (4, 4, 2))
                back = File(self.quantize(path, "F32", name="back.gguf"))
                for name in names:
                    self.assertLessEqual(distance(truth[name], back.floats(name)[:8192]), bound, name)
                done = rzlib.rz("run", "-m", path, "--raw", "-p", "the king", "-n", "4", "--temp", "0", "--ignore-eos")
                self.assertTrue(done.stdout)

    def test_sizes_and_layout(self):
        for mix, each in (("Q8_0", 34 / 32), ("Q4_0", 18 / 32), ("F16", 2)):
            made = File(self.quantize(WIDE, mix, "--pure"))
            end = 0
            self.assertEqual(made.padding.strip(b"\0"), b"")
            for name, (dims, kind, offset) in made.tensors.items():
                size = math.prod(dims) * (4 if kind == F32 else each)
                self.assertEqual(offset % made.align, 0)
                self.assertTrue(end == 0 or offset == made.round(end), name)
                end = int(offset + size)
            self.assertEqual(len(made.data), made.round(end))

    def test_rules_of_a_mix(self):
        made = File(self.quantize(WIDE, "Q4_K_M")).tensors
        kind = {name: t[1] for name, t in made.items()}
        self.assertEqual(kind["blk.0.attn_q.weight"], Q4_K)
        self.assertEqual(kind["blk.0.attn_v.weight"], Q4_K)  # of two layers, only the last gets more bits
        self.assertEqual(kind["blk.1.attn_v.weight"], Q6_K)
        self.assertEqual(kind["blk.0.ffn_down.weight"], Q4_K)
        self.assertEqual(kind["blk.1.ffn_down.weight"], Q6_K)
        self.assertEqual(kind["blk.0.attn_norm.weight"], F32)
        vocabulary = "output.weight" if "output.weight" in kind else "token_embd.weight"
        self.assertEqual(kind[vocabulary], Q6_K)
        pure = File(self.quantize(WIDE, "q4_k_m", "--pure", "--embedding-type", "Q8_0", "--output-type", "f16")).tensors
        self.assertEqual(pure["blk.1.attn_v.weight"][1], Q4_K)
        self.assertEqual(pure["token_embd.weight"][1], Q8_0)
        if "output.weight" in pure:
            self.assertEqual(pure["output.weight"][1], F16)

    def test_rows_that_do_not_fit(self):
        done = rzlib.rz("quantize", NARROW, self.path("out.gguf"), "Q4_K_S")
        self.assertIn("get a wider type", done.err)
        kind = {name: t[1] for name, t in File(self.path("out.gguf")).tensors.items()}
        self.assertEqual(kind["blk.0.attn_q.weight"], Q5_0)
        self.assertEqual(File(self.quantize(NARROW, "Q5_K_S")).tensors["blk.0.attn_q.weight"][1], Q5_1)
        self.assertEqual(File(self.quantize(NARROW, "Q6_K")).tensors["blk.0.attn_q.weight"][1], Q8_0)
        self.assertEqual(File(self.quantize(NARROW, "IQ4_XS")).tensors["blk.0.attn_q.weight"][1], IQ4_NL)
        self.assertEqual(File(self.quantize(NARROW, "Q3_K_S")).tensors["blk.0.attn_q.weight"][1], Q4_0)

    def test_metadata_is_kept(self):
        meta = [(b"general.architecture", 8, 8, b"nothing-known"), (b"general.alignment", 4, 4, 64),
                (b"split.count", 2, 2, 1), (b"x.bytes", 9, 0, [1, 2, 255]), (b"x.none", 9, 8, []),
                (b"x.strings", 9, 8, [b"", b"\xff\0\xfe", "\u00fc".encode()]), (b"x.bools", 9, 7, [1, 0, 1]),
                (b"x.f64", 12, 12, -1.5e300), (b"x.i8", 1, 1, -7), (b"x.u64", 10, 10, 2**64 - 1),
                (b"x.i64s", 9, 11, [-2**63, 5]), (b"general.file_type", 4, 4, 0), (b"x.last", 7, 7, 1)]
        values = [math.sin(i) for i in range(64 * 3)]
        vector = struct.pack("<5f", 1, 2, 3, 4, 5)
        source = self.path("in.gguf")
        write_gguf(source, meta, [(b"a.weight", (64, 3), F32, struct.pack("<192f", *values)),
                                  (b"\xc3\xbc.bias", (5,), F32, vector), (b"i", (2,), 26, b"\1\0\0\0\2\0\0\0")], 64)
        made = File(self.quantize(source, "Q8_0", "--pure"))
        want = {key: (kind, elem, value) for key, kind, elem, value in meta if key != b"split.count"}
        want[b"general.file_type"] = (4, 4, 7)
        want[b"general.quantization_version"] = (4, 4, 2)
        self.assertEqual(made.meta, want)
        self.assertEqual(list(made.meta), [m[0] for m in meta if m[0] != b"split.count"] +
                         [b"general.quantization_version"])
        self.assertEqual([t[1] for t in made.tensors.values()], [Q8_0, F32, 26])
        self.assertEqual(made.raw("\u00fc.bias", 20), vector)
        self.assertTrue(all(t[2] % 64 == 0 for t in made.tensors.values()))

    def test_a_split_model_becomes_one_file(self):
        whole = File(NARROW)
        names = list(whole.tensors)
        for shard, part in enumerate((names[:9], names[9:])):
            meta = [(key, *value) for key, value in whole.meta.items()] if shard == 0 else []
            meta += [(b"split.no", 2, 2, shard), (b"split.count", 2, 2, 2),
                     (b"split.tensors.count", 5, 5, len(names))]
            write_gguf(self.path("in-%05d-of-00002.gguf" % (shard + 1)), meta,
                       [(n.encode(), *whole.tensors[n][:2], whole.raw(n, 4 * math.prod(whole.tensors[n][0])))
                        for n in part])
        made = File(self.quantize(self.path("in-00001-of-00002.gguf"), "F32"))
        self.assertFalse([key for key in made.meta if key.startswith(b"split.")])
        self.assertEqual(list(made.tensors), names)
        for name, (dims, _, _) in whole.tensors.items():
            self.assertEqual(made.raw(name, 4 * math.prod(dims)), whole.raw(name, 4 * math.prod(dims)))

    def test_a_bar_where_people_look(self):
        import pty
        control, terminal = pty.openpty()
        rows, cols = 4096, 1024
        data = struct.pack("<%df" % cols, *[math.sin(i) for i in range(cols)]) * rows
        write_gguf(self.path("in.gguf"), [], [(b"%d.weight" % i, (cols, rows), F32, data) for i in range(3)])
        done = subprocess.run([rzlib.RZ, "quantize", self.path("in.gguf"), self.path("out.gguf"), "Q5_K_S", "--pure"],
                              stderr=terminal, stdout=subprocess.DEVNULL)
        os.close(terminal)
        told = os.read(control, 65536).decode()
        os.close(control)
        self.assertEqual(done.returncode, 0, told)
        self.assertRegex(told, r"\r\[#*\.*\] +\d+ % [\d.]+ MiB of 48.0 MiB ")
        self.assertTrue(told.endswith("\r\x1b[K"), told[-40:])

    def test_threads_change_nothing(self):
        with open(self.quantize(WIDE, "Q4_K_M", "-t", "1"), "rb") as a:
            one = a.read()
        with open(self.quantize(WIDE, "Q4_K_M", "-t", "3"), "rb") as b:
            self.assertEqual(one, b.read())

    def test_again_warns(self):
        first = self.quantize(WIDE, "Q8_0", name="first.gguf")
        done = rzlib.rz("quantize", first, self.path("out.gguf"), "Q4_0")
        self.assertIn("quantised already", done.err)
        self.assertNotIn("quantised already", rzlib.rz("quantize", WIDE, self.path("o2.gguf"), "Q4_0").err)

    def test_what_it_tells(self):
        done = rzlib.rz("quantize", WIDE, self.path("out.gguf"), "Q8_0", "--json")
        told = json.loads(done.out)
        self.assertEqual(told["bytes"], os.path.getsize(self.path("out.gguf")))
        self.assertEqual(told["type"], "Q8_0")
        self.assertEqual(done.err, "")
        dry = rzlib.rz("quantize", WIDE, self.path("none.gguf"), "Q8_0", "--json", "--dry-run", "-v")
        self.assertEqual(json.loads(dry.out)["bytes"], told["bytes"])
        self.assertIn("blk.1.ffn_down.weight", dry.err)
        self.assertFalse(os.path.exists(self.path("none.gguf")))

    def test_wrong_use(self):
        out = self.path("out.gguf")
        self.fails(2, "quantize", says=["IN OUT TYPE"])
        self.fails(2, "quantize", WIDE, out, says=["IN OUT TYPE"])
        self.fails(2, "quantize", WIDE, out, "Q8_0", "more", says=["more", "unexpected"])
        self.fails(2, "quantize", WIDE, out, "q4_kk_m", says=["q4_kk_m", "did you mean Q4_K_M?"])
        self.fails(2, "quantize", WIDE, out, "Q4_K_M", "--output-type", "Q9", says=["--output-type Q9"])
        self.fails(2, "quantize", WIDE, out, "Q4_K_M", "--imatix", "x", says=["--imatrix?"])
        self.fails(1, "quantize", self.path("none.gguf"), out, "Q8_0", says=["none.gguf"])
        self.fails(1, "quantize", WIDE, self.path("no/out.gguf"), "Q8_0", says=["no/out.gguf", "No such file"])

    def test_importance_is_needed_below(self):
        self.fails(1, "quantize", WIDE, self.path("out.gguf"), "IQ2_XXS", says=["importance matrix", "--imatrix", "blk."])


class Safety(Base):
    def test_nothing_is_overwritten(self):
        out = self.path("out.gguf")
        with open(out, "w") as f:
            f.write("precious")
        self.fails(1, "quantize", WIDE, out, "Q8_0", says=["out.gguf", "is there already", "-y"])
        with open(out) as f:
            self.assertEqual(f.read(), "precious")
        rzlib.rz("quantize", WIDE, out, "Q8_0", "-y")
        self.assertEqual(len(File(out).tensors), len(File(WIDE).tensors))
        rzlib.rz("quantize", out, out, "Q4_0", "-y")  # even onto itself
        self.assertEqual(File(out).tensors["blk.0.attn_q.weight"][1], Q4_0)
        self.assertEqual(os.listdir(self.folder), ["out.gguf"])

    def test_only_files_give_way(self):
        os.mkdir(self.path("folder"))
        self.fails(1, "quantize", WIDE, self.path("folder"), "Q8_0", "-y", says=["a folder"])
        self.fails(1, "quantize", WIDE, "/dev/full", "Q8_0", "-y", says=["/dev/full", "not a regular file"])

    def test_a_damaged_model(self):
        with open(WIDE, "rb") as f:
            data = f.read()
        for n in (3, 100, len(data) // 2, len(data) - 1):
            with open(self.path("cut.gguf"), "wb") as f:
                f.write(data[:n])
            self.fails(1, "quantize", self.path("cut.gguf"), self.path("out.gguf"), "Q8_0", says=["cut.gguf"])

    def test_a_value_that_is_not_finite(self):
        values = [1.0] * 64
        values[33] = math.nan
        write_gguf(self.path("in.gguf"), [], [(b"a.weight", (32, 2), F32, struct.pack("<64f", *values))])
        self.fails(1, "quantize", self.path("in.gguf"), self.path("out.gguf"), "Q8_0", "--pure", says=["a.weight"])

    def test_a_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))
        done = subprocess.run([rzlib.RZ, "quantize", WIDE, self.path("out.gguf"), "Q8_0"], preexec_fn=limit,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("out.gguf: cannot write: File too large", done.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_an_interruption_leaves_nothing(self):
        rows, cols = 4096, 1024
        data = struct.pack("<%df" % cols, *[math.sin(i) for i in range(cols)]) * rows
        with tempfile.TemporaryDirectory() as other:
            source = os.path.join(other, "in.gguf")
            write_gguf(source, [], [(b"%d.weight" % i, (cols, rows), F32, data) for i in range(4)])
            job = subprocess.Popen([rzlib.RZ, "-v", "quantize", source, self.path("out.gguf"), "IQ3_S", "--pure"],
                                   stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            self.assertIn(b"0.weight", job.stderr.readline())
            time.sleep(0.3)
            job.send_signal(signal.SIGINT)
            self.assertEqual(job.wait(), 130)
            job.stderr.close()
        self.assertNotIn("out.gguf", os.listdir(self.folder))
        flags = getattr(os, "O_TMPFILE", 0)
        try:
            os.close(os.open(self.folder, flags | os.O_RDWR))
        except OSError:
            self.skipTest("this file system has no files without a name: a .part file may stay")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_source_that_changes(self):
        source = self.path("in.gguf")
        rows, cols = 2048, 1024
        data = struct.pack("<%df" % cols, *[math.sin(i) for i in range(cols)]) * rows
        write_gguf(source, [], [(b"%d.weight" % i, (cols, rows), F32, data) for i in range(2)])
        # the slowest of all: it is not over before the file is cut
        job = subprocess.Popen([rzlib.RZ, "-v", "quantize", source, self.path("out.gguf"), "IQ3_S", "--pure"],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.assertIn("0.weight", job.stderr.readline())
        os.truncate(source, 1000000)
        told = job.stderr.read()
        job.stderr.close()
        self.assertEqual(job.wait(), 1, told)
        self.assertIn("rz: error: %s" % source, told)
        self.assertEqual(os.listdir(self.folder), ["in.gguf"])


class Importance(Base):
    def test_what_is_collected(self):
        """The first layer's input is the normalised embedding: its sums can be computed by hand."""
        told = json.loads(rzlib.rz("imatrix", "-m", NARROW, "-f", self.text(), "-o", self.path("im.gguf"), "-c", "64",
                                   "--chunks", "3", "--json", "-q").out)
        made = File(self.path("im.gguf"))
        self.assertEqual(made.meta, {b"general.type": (8, 8, b"imatrix"),
                                     b"imatrix.datasets": (9, 8, [self.path("text.txt").encode()]),
                                     b"imatrix.chunk_count": (4, 4, 3), b"imatrix.chunk_size": (4, 4, 64)})
        self.assertEqual(2 * told["weights"], len(made.tensors))
        self.assertEqual(list(made.tensors), sorted(made.tensors, key=lambda n: (n.rsplit(".", 1)[0], n[-1] != "2")))
        model = File(NARROW)
        eps = model.meta[b"llama.attention.layer_norm_rms_epsilon"][2]
        table, weight = model.floats("token_embd.weight"), model.floats("blk.0.attn_norm.weight")
        ids = [int(i) for i in rzlib.rz("tokenize", "-m", NARROW, "-f", self.text(), "--no-special", "--bos").out.split()]
        n, sums = len(weight), [0.0] * len(weight)
        for at in range(3 * 64):
            token = ids[0] if at % 64 == 0 else ids[at]  # each window begins with BOS
            x = table[token * n:token * n + n]
            scale = 1 / math.sqrt(math.fsum(v * v for v in x) / n + eps)
            for i in range(n):
                sums[i] += (x[i] * scale * weight[i]) ** 2
        got = made.floats("blk.0.attn_q.weight.in_sum2")
        for a, b in zip(sums, got):
            self.assertAlmostEqual(a, b, delta=1e-3 * abs(a) + 1e-6)
        for other in ("attn_k", "attn_v"):
            self.assertEqual(got, made.floats("blk.0.%s.weight.in_sum2" % other))
        for name in made.tensors:
            if name.endswith(".counts"):
                self.assertEqual(made.floats(name), (192.0,))

    def test_threads_and_kernels(self):
        a, b = File(self.imatrix(NARROW, "-t", "1")), File(self.imatrix(NARROW, "-t", "2", name="b.gguf"))
        self.assertEqual(a.data, b.data)

    def test_it_is_used(self):
        importance = self.imatrix(WIDE)
        with open(self.quantize(WIDE, "Q4_K_S", "--imatrix", importance), "rb") as f:
            weighted = f.read()
        made = File(self.path("out.gguf"))
        self.assertEqual(made.meta[b"quantize.imatrix.file"][2], importance.encode())
        self.assertEqual(made.meta[b"quantize.imatrix.dataset"][2], self.path("text.txt").encode())
        self.assertEqual(made.meta[b"quantize.imatrix.entries_count"][2] * 2, len(File(importance).tensors))
        self.assertGreater(made.meta[b"quantize.imatrix.chunks_count"][2], 0)
        plain = File(self.quantize(WIDE, "Q4_K_S"))
        dims, _, offset = plain.tensors["blk.0.ffn_up.weight"]
        size = math.prod(dims) // 256 * 144
        self.assertNotEqual(weighted[made.tensors["blk.0.ffn_up.weight"][2]:][:size], plain.data[offset:offset + size])

    def test_a_wrong_one(self):
        out, other = self.path("out.gguf"), self.imatrix(NARROW)
        self.fails(1, "quantize", WIDE, out, "Q4_K_M", "--imatrix", other, says=["im.gguf", "sums", "needs"])
        self.fails(1, "quantize", WIDE, out, "Q4_K_M", "--imatrix", NARROW, says=["no importance matrix"])
        self.fails(1, "quantize", WIDE, out, "Q4_K_M", "--imatrix", self.text(), says=["text.txt"])
        good = File(self.imatrix(WIDE, name="good.gguf"))
        bad = bytearray(good.data)
        struct.pack_into("<f", bad, good.tensors["blk.0.attn_q.weight.in_sum2"][2], -1.0)
        with open(self.path("bad.gguf"), "wb") as f:
            f.write(bad)
        self.fails(1, "quantize", WIDE, out, "Q4_K_M", "--imatrix", self.path("bad.gguf"), says=["negative"])

    def test_wrong_use(self):
        out, text = self.path("out.gguf"), self.text()
        self.fails(2, "imatrix", "-m", NARROW, "-f", text, says=["-o OUT"])
        self.fails(1, "imatrix", "-m", NARROW, "-f", text, "-o", out, "-c", "100000", says=["tokens"])
        self.fails(1, "imatrix", "-m", NARROW, "-f", text, "-o", text, says=["is there already"])


class Convert(Base):
    def test_types(self):
        for kind, number in (("F32", F32), ("F16", F16), ("BF16", BF16), ("Q8_0", Q8_0)):
            rzlib.rz("-q", "convert", NARROW, self.path("out.gguf"), "-y", "--type", kind)
            made = File(self.path("out.gguf"))
            self.assertEqual(made.tensors["blk.0.ffn_down.weight"][1], number)
            self.assertEqual(made.tensors["blk.0.attn_norm.weight"][1], F32)
        self.fails(2, "convert", NARROW, self.path("o2.gguf"), "--type", "Q4_K", says=["--type Q4_K", "rz quantize"])
        self.fails(2, "convert", NARROW, says=["FOLDER OUT.gguf"])

    def same_weights(self, one, other):
        a, b = File(one), File(other)
        self.assertEqual({n: t[:2] for n, t in a.tensors.items()}, {n: t[:2] for n, t in b.tensors.items()})
        for name, (dims, kind, _) in a.tensors.items():
            n = math.prod(dims) * (4 if kind == F32 else 2)
            self.assertEqual(a.raw(name, n), b.raw(name, n), name)

    def test_as_stored(self):
        rzlib.rz("-q", "convert", WIDE, self.path("out.gguf"))
        self.same_weights(WIDE, self.path("out.gguf"))

    def test_folders(self):
        """The same logits as the folder itself, the same weights as another converter's, both to the bit."""
        done = 0
        for name in FOLDERS:
            folder = rzlib.shared("arch", name, "hf")
            if not folder:
                continue
            with self.subTest(model=name):
                rzlib.rz("-q", "convert", folder, self.path("out.gguf"), "-y")
                tokens = rzlib.shared("arch", name, "tokens.i32")
                a = rzlib.evaluate(folder, tokens, self.path("a.f32"))
                self.assertEqual(a, rzlib.evaluate(self.path("out.gguf"), tokens, self.path("b.f32")))
                self.same_weights(rzlib.shared("arch", name, "model.gguf"), self.path("out.gguf"))
            done += 1
        if not done:
            self.skipTest("no models in folders here")


@unittest.skipUnless(gguf, "the Python package gguf is not here")
class Package(Base):
    def test_same_bytes(self):
        """Types that need no search are encoded as the reference does."""
        kinds = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "TQ1_0", "TQ2_0")
        original = gguf.GGUFReader(self.quantize(WIDE, "F32", name="f32.gguf"))
        for kind in kinds:
            made = {t.name: t for t in gguf.GGUFReader(self.quantize(WIDE, kind, "--pure")).tensors}
            for t in original.tensors:
                if len(t.shape) == 2:
                    want = gguf.quants.quantize(t.data, gguf.GGMLQuantizationType[kind])
                    self.assertEqual(made[t.name].tensor_type.name, kind)
                    self.assertTrue(numpy.array_equal(made[t.name].data.view(numpy.uint8), want.view(numpy.uint8)),
                                    "%s %s" % (kind, t.name))

    def test_importance_opens(self):
        reader = gguf.GGUFReader(self.imatrix(NARROW))
        self.assertEqual(reader.fields["general.type"].contents(), "imatrix")
        self.assertTrue(any(t.name == "blk.0.attn_q.weight.in_sum2" for t in reader.tensors))


if __name__ == "__main__":
    unittest.main()
