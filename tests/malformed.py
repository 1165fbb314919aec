"""malformed.py - files that break one rule each: GGUF of a small good model, and safetensors.

gguf_kinds() and safetensors_kinds() give Kind: a name, the bytes, what the message must contain (the place or
the rule) and settings for rz. Every kind breaks a rule of its own or the same rule at another place.
"""

import collections
import copy
import json
import struct
import zlib

import mkfolder


class Kind(collections.namedtuple("Kind", "name packed expect options")):
    """The bytes are kept packed: a process that holds them all would count as the memory of what it starts."""

    def data(self):
        return zlib.decompress(self.packed)


def kind_of(name, data, expect, options=()):
    return Kind(name, zlib.compress(bytes(data), 1), expect, tuple(options))


CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
NAMES = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "string", 9: "array",
         10: "u64", 11: "i64", 12: "f64"}
U8, I32, U32, F32, BOOL, STR, ARRAY, U64, I64, F64 = 0, 5, 4, 6, 7, 8, 9, 10, 11, 12
HUGE = 2 ** 64 - 1
# type number: elements of a block, for rows that are no whole number of blocks
BLOCKS = {2: 32, 3: 32, 6: 32, 7: 32, 8: 32, 10: 256, 11: 256, 12: 256, 13: 256, 14: 256, 16: 256, 17: 256, 18: 256,
          19: 256, 20: 32, 21: 256, 22: 256, 23: 256, 29: 256, 34: 256, 35: 256, 39: 32, 40: 64}


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def scalar(kind, value):
    return text(value) if kind == STR else struct.pack("<" + CODES[kind], value)


class Model:
    """A GGUF file in parts: entries [key, type, element type or None, values], tensors [name, dims, type, bytes]."""

    def __init__(self, path):
        g = mkfolder.Gguf.__new__(mkfolder.Gguf)
        with open(path, "rb") as f:
            g.data = f.read()
        g.at = 8
        n_tensors, n_entries = g.take("Q"), g.take("Q")
        self.entries, self.tensors = [], []
        for _ in range(n_entries):
            key, kind = g.text(), g.take("I")
            self.entries.append([key, kind] + self.values(g, kind))
        infos = [(g.text(), [g.take("Q") for _ in range(g.take("I"))], g.take("I"), g.take("Q"))
                 for _ in range(n_tensors)]
        for name, dims, kind, _ in infos:
            n = 1
            for d in dims:
                n *= d
            self.tensors.append([name, dims, kind, struct.pack("<f", 0.01) * n])
        self.arch = self.get("general.architecture")[3]

    @staticmethod
    def values(g, kind):
        if kind != ARRAY:
            return [None, g.value(kind)]
        element, n = g.take("I"), g.take("Q")
        return [element, [g.value(element) for _ in range(n)]]

    def get(self, key):
        return next((e for e in self.entries if e[0] == key), None)

    def tensor(self, name):
        return next(t for t in self.tensors if t[0] == name)

    def put(self, key, kind, value, element=None):
        """The entry, in its place or at the end."""
        entry = self.get(key)
        if not entry:
            entry = [key, kind, element, value]
            self.entries.append(entry)
        entry[1:] = [kind, element, value]

    def drop(self, key):
        self.entries.remove(self.get(key))


class Bytes:
    """The file of a model with the place of each of its fields: marks {name: offset}."""

    def __init__(self, model, align=32):
        self.out, self.marks = bytearray(b"GGUF"), {"magic": 0}
        self.field("version", struct.pack("<I", 3))
        self.field("n_tensors", struct.pack("<Q", len(model.tensors)))
        self.field("n_entries", struct.pack("<Q", len(model.entries)))
        for entry in model.entries:
            self.entry(*entry)
        at = 0
        for name, dims, kind, data in model.tensors:
            p = "tensor " + name
            self.field(p + ".name", text(name))
            self.field(p + ".n_dims", struct.pack("<I", len(dims)))
            self.field(p + ".dims", struct.pack("<%dQ" % len(dims), *dims))
            self.field(p + ".type", struct.pack("<I", kind))
            self.field(p + ".offset", struct.pack("<Q", at))
            at += (len(data) + align - 1) // align * align
        self.out += bytes(-len(self.out) % align)
        for name, _, _, data in model.tensors:
            self.field("data " + name, data)
            self.out += bytes(-len(data) % align)

    def field(self, mark, data):
        self.marks[mark] = len(self.out)
        self.out += data

    def entry(self, key, kind, element, value):
        self.field(key + ".key", text(key))
        self.field(key + ".type", struct.pack("<I", kind))
        if kind == ARRAY:
            self.field(key + ".element", struct.pack("<I", element))
            self.field(key + ".n", struct.pack("<Q", len(value)))
            self.field(key + ".value", b"".join(scalar(element, v) for v in value))
        else:
            self.field(key + ".value", scalar(kind, value))

    def with_field(self, mark, code, value):
        out = bytearray(self.out)
        struct.pack_into("<" + code, out, self.marks[mark], value)
        return bytes(out)

    def cut(self, at):
        return bytes(self.out[:at])


class Gguf:
    """Collects the kinds; llama and qwen2 are the good models."""

    def __init__(self, llama, qwen2):
        self.llama, self.qwen2 = llama, qwen2
        self.good = Bytes(llama)
        self.kinds = []

    def add(self, name, data, expect, options=()):
        self.kinds.append(kind_of(name, data, expect, options))

    def change(self, name, expect, change, model=None, options=()):
        model = copy.deepcopy(model or self.llama)
        change(model)
        self.add(name, Bytes(model).out, expect, options)

    def field(self, name, expect, mark, code, value):
        self.add(name, self.good.with_field(mark, code, value), expect)

    def all(self):
        for group in (self.header, self.cuts, self.scalars, self.arrays, self.strings, self.keys, self.limits,
                      self.tensor_fields, self.tensor_types, self.layout, self.data_cuts, self.wrong_types,
                      self.ranges, self.missing, self.layers, self.recurrent, self.tensors_of_the_model,
                      self.vocabulary, self.ids, self.merges, self.split):
            group()
        return self.kinds

    # --- the bytes ---
    def header(self):
        good = bytes(self.good.out)
        self.add("no bytes", b"", "empty")
        self.add("magic", b"GGUX" + good[4:], "no loaded format plugin")
        for version, what in ((0, "version 0"), (1, "version 1"), (4, "version 4"), (0xffff, "version 65535"),
                              (0xffffffff, "version 4294967295"), (0x03000000, "big-endian"), (0x02000000, "big-endian")):
            self.field("version %#x" % version, what, "version", "I", version)
        for mark in ("n_tensors", "n_entries"):
            for value in (HUGE, 2 ** 63, 2 ** 32, len(good)):
                self.field("%s %d" % (mark, value), "%d is more than" % value, mark, "Q", value)
        self.field("one entry more", "byte ", "n_entries", "Q", len(self.llama.entries) + 1)
        self.field("one entry less", "byte ", "n_entries", "Q", len(self.llama.entries) - 1)
        self.field("one tensor more", "byte ", "n_tensors", "Q", len(self.llama.tensors) + 1)

    def cuts(self):
        """Before, within and after each field. A cut file is too short for its counts, so the counts are the
        message until the entry itself is reached; small counts let the cut be found where it is."""
        for at in (5, 8, 12, 16, 20):
            self.add("cut at byte %d" % at, self.good.cut(at), "byte ")
        for i, entry in enumerate(self.llama.entries):
            model = copy.deepcopy(self.llama)
            model.tensors, model.entries = [], model.entries[:i + 1]
            b = Bytes(model)
            key = entry[0]
            for part, more in (("key", 4), ("key", 9), ("type", 0), ("type", 2), ("value", 0)):
                if b.marks[key + "." + part] + more >= 24 + 14 * (i + 1):  # else the count is what is wrong
                    self.add("cut in %s of %s + %d" % (part, key, more), b.cut(b.marks[key + "." + part] + more), "byte ")
            if entry[1] in (U32, F32, STR):
                self.add("cut in the value of %s" % key, b.cut(b.marks[key + ".value"] + 2), "byte ")
        for name in (self.llama.tensors[0][0], self.llama.tensors[5][0], self.llama.tensors[-1][0]):
            model = copy.deepcopy(self.llama)
            last = [t[0] for t in model.tensors].index(name) + 1
            model.tensors = model.tensors[:last]
            b = Bytes(model)
            for part, more in (("name", 4), ("name", 12), ("n_dims", 0), ("n_dims", 2), ("dims", 0), ("dims", 4),
                               ("type", 0), ("type", 2), ("offset", 0), ("offset", 4)):
                self.add("cut in %s of tensor %s + %d" % (part, name, more),
                         b.cut(b.marks["tensor %s.%s" % (name, part)] + more), "byte ")

    def data_cuts(self):
        for name, _, _, data in self.llama.tensors:
            end = self.good.marks["data " + name] + len(data)
            self.add("cut in the data of " + name, self.good.cut(end - 1), "tensor " + name)

    # --- one metadata entry, last in a file without tensors ---
    def last_entry(self, kind, element, raw):
        """A file of one entry with these bytes of value; its key says the type."""
        name = NAMES.get(kind if element is None else element, "")
        out = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k" + name) + struct.pack("<I", kind)
        return out + (struct.pack("<I", element) if element is not None else b"") + raw

    def scalars(self):
        for kind, code in CODES.items():
            raw = struct.pack("<" + code, 1)
            if len(raw) > 1:
                self.add("a %s without its last byte" % NAMES[kind], self.last_entry(kind, None, raw[:-1]),
                         "key k%s: " % NAMES[kind])
        for kind in (13, 14, 255, 2 ** 31, 2 ** 32 - 1):
            self.add("value type %d" % kind, self.last_entry(kind, None, bytes(8)), "value: %d" % kind)
        for value in (2, 128, 255):
            self.add("truth value %d" % value, self.last_entry(BOOL, None, bytes([value])), "not %d" % value)

    def arrays(self):
        for kind, code in CODES.items():
            size = struct.calcsize(code)
            for n in (3, 2 ** 61 + 1, HUGE):
                raw = struct.pack("<Q", n) + bytes(3 * size - 1)
                self.add("array of %d %s, one byte short" % (n, NAMES[kind]), self.last_entry(ARRAY, kind, raw),
                         "length of an array %d" % n)
            self.add("array of %s cut in its length" % NAMES[kind], self.last_entry(ARRAY, kind, bytes(7)),
                     "length of an array")
        for kind in (9, 13, 2 ** 31, 2 ** 32 - 1):
            self.add("array of type %d" % kind, self.last_entry(ARRAY, kind, struct.pack("<Q", 1) + bytes(8)),
                     "array of arrays" if kind == 9 else "elements: %d" % kind)
        for i in range(3):
            raw = bytearray(3)
            raw[i] = 2
            self.add("truth value %d of an array" % i, self.last_entry(ARRAY, BOOL, struct.pack("<Q", 3) + raw), "not 2")
        self.add("array without an element type", self.last_entry(ARRAY, None, b"\1\0"), "elements")

    def strings(self):
        for n in (2, 2 ** 32, 2 ** 63, HUGE):
            self.add("string of %d bytes" % n, self.last_entry(STR, None, struct.pack("<Q", n) + b"x"), "%d bytes" % n)
        self.add("string without a length", self.last_entry(STR, None, b"\1\0\0"), "a string")
        for i in range(3):
            raw = struct.pack("<Q", 3) + text("xy") * i + struct.pack("<Q", 1000) + text("z") * (2 - i) + bytes(16)
            self.add("string %d of an array past the end" % i, self.last_entry(ARRAY, STR, raw), "1000 bytes")
        for n in (9, 2 ** 61, HUGE):
            self.add("array of %d strings" % n, self.last_entry(ARRAY, STR, struct.pack("<Q", n) + text("x") * 2),
                     "length of an array %d" % n)

    def keys(self):
        def file(key, n=None):
            return (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key) if n is None else n) + key +
                    struct.pack("<IQ", 0, 1))
        self.add("empty key", file(b""), "key is empty")
        self.add("key of 65536 bytes", file(b"k" * 65536), "limit 65535")
        for n in (100, 2 ** 32, HUGE):
            self.add("key of %d bytes" % n, file(b"k", n), "%d bytes" % n)
        for key in ("general.architecture", "llama.block_count", "tokenizer.ggml.tokens"):
            self.change("twice " + key, "there before", lambda m: m.entries.append(list(m.get(key))))

    def limits(self):
        b = bytes(self.good.out)
        self.add("more tensors than the limit", b, "limit 5", ["limits.max_tensors=5"])
        self.add("more entries than the limit", b, "limit 7", ["limits.max_metadata=7"])
        self.add("longer string than the limit", b, "limit 3", ["limits.max_string_bytes=3"])
        self.add("longer array than the limit", b, "limit 9", ["limits.max_array=9"])

    # --- tensors ---
    def tensor_fields(self):
        first, name = "tensor " + self.llama.tensors[0][0], self.llama.tensors[0][0]
        matrix = next(t[0] for t in self.llama.tensors[1:] if len(t[1]) == 2)
        for n in (HUGE, 2 ** 32, 2 ** 63):
            self.field("tensor's name of %d bytes" % n, "%d bytes" % n, first + ".name", "Q", n)
        self.change("empty name of a tensor", "name is empty", lambda m: m.tensors[3].__setitem__(0, ""))
        for n in (64, 65, 1000):
            self.change("tensor's name of %d bytes" % n, "limit 63", lambda m: m.tensors[3].__setitem__(0, "n" * n))
        for i in (1, 7):
            self.change("tensor %d twice" % i, "there before", lambda m: m.tensors[i].__setitem__(0, name))
        for tensor in (name, matrix):
            p = "tensor " + tensor
            for n in (0, 5, 255, 2 ** 32 - 1):
                self.field("%s has %d dimensions" % (tensor, n), "%d dimensions" % n, p + ".n_dims", "I", n)
            for i in range(2):
                for n in (0, 2 ** 31, 2 ** 32, 2 ** 63, HUGE):
                    out = bytearray(self.good.out)
                    struct.pack_into("<Q", out, self.good.marks[p + ".dims"] + 8 * i, n)
                    self.add("dimension %d of %s is %d" % (i, tensor, n), out, "dimension %d is %d" % (i, n))
        most = 2 ** 31 - 1
        for n in (3, 4):
            self.change("%d dimensions of 2^31 - 1" % n, "bits", lambda m: m.tensors[0].__setitem__(1, [most] * n))

    def tensor_types(self):
        p = "tensor %s.type" % self.llama.tensors[0][0]
        for n in (4, 5, 9, 15, 31, 32, 33, 36, 37, 38):
            self.field("tensor type %d" % n, "type %d (" % n, p, "I", n)
        for n in (43, 99, 255, 65535, 2 ** 31, 2 ** 32 - 1):
            self.field("tensor type %d" % n, "elements: %d" % n, p, "I", n)
        for kind, block in BLOCKS.items():
            self.change("rows of %d of type %d" % (block + 1, kind), "blocks (%d)" % block,
                        lambda m: m.tensors[0].__setitem__(slice(1, 3), [[block + 1, 2], kind]))

    def layout(self):
        for i in (0, 1, 9, len(self.llama.tensors) - 1):
            p = "tensor %s.offset" % self.llama.tensors[i][0]
            now, = struct.unpack_from("<Q", self.good.out, self.good.marks[p])
            self.field("tensor %d is not aligned" % i, "no multiple", p, "Q", now + 4)
            self.field("hole before tensor %d" % i, "hole", p, "Q", now + 32)
            self.field("tensor %d is far away" % i, "hole", p, "Q", 2 ** 64 - 32)
            if i:
                self.field("tensor %d overlaps" % i, "overlaps", p, "Q", now - 32)
        for n in (0, 3, 48, 2 ** 21, 2 ** 32 - 1):
            self.change("alignment %d" % n, "alignment of %d" % n, lambda m: m.put("general.alignment", U32, n))
        for kind, value in ((U64, 32), (I32, 32), (STR, "32"), (BOOL, 1), (F32, 32.0)):
            self.change("alignment as %s" % NAMES[kind], "must be u32", lambda m: m.put("general.alignment", kind, value))
        self.change("another alignment than the data's", "multiple of the alignment",
                    lambda m: m.put("general.alignment", U32, 65536))

    # --- what rz makes of the metadata ---
    def wrong_types(self):
        for entry in self.llama.entries:
            key, kind, element, _ = entry
            if key in ("general.name", "general.quantization_version", "tokenizer.ggml.pre"):
                continue  # llama needs none of them
            others = {U32: (F32, 1.0), F32: (U32, 1), STR: (U32, 1), BOOL: (I32, 1)}
            wrong = [(STR, "7", None), (ARRAY, [1, 2], U32), (BOOL, 1, None), (U8, 1, None), (F64, 1.0, None)]
            fine = {U32: (U8,), F32: (F64,), STR: (STR,), BOOL: (BOOL,)}.get(kind, ())
            if key.endswith("_token_id"):
                fine = ()
            if kind in others:
                wrong.append(others[kind] + (None,))
            if kind == ARRAY:
                wrong += [(ARRAY, [1], I64), (ARRAY, [1], F64), (U32, 1, None)]
                self.short(key, element)
            for new, value, of in wrong:
                if new not in fine and key != "tokenizer.ggml.model":
                    self.change("%s as %s%s" % (key, NAMES[new], " of " + NAMES[of] if of is not None else ""), key,
                                lambda m: m.put(key, new, value, of))
        self.change("model of the tokenizer as u32", "tokenizer", lambda m: m.put("tokenizer.ggml.model", U32, 1))

    def short(self, key, element):
        """Arrays that must have an element for each token."""
        def resize(m, by):
            values = m.get(key)[3]
            m.put(key, ARRAY, values[:by] if by < 0 else values + values[:by], element)
        if key == "tokenizer.ggml.tokens":
            return
        for by in (-1, 1, -300):
            self.change("%s: %+d elements" % (key, by), key, lambda m: resize(m, by))

    def ranges(self):
        nan, inf = float("nan"), float("inf")
        a = self.llama.arch + "."
        table = {
            "block_count": (0, 1025, 2 ** 32 - 1), "embedding_length": (0, 2 ** 20 + 1), "feed_forward_length": (0, 2 ** 20 + 1),
            "attention.head_count": (0, 4097), "attention.head_count_kv": (0, 5, 3), "attention.key_length": (0, 2 ** 16 + 1, 8),
            "attention.value_length": (0, 2 ** 16 + 1, 8), "rope.dimension_count": (0, 1, 15, 18, 2 ** 16 + 1),
            "context_length": (0, 2 ** 27 + 1), "vocab_size": (0, 2 ** 24 + 1),
            "rope.freq_base": (0.0, -1.0, 1e13, nan, inf), "attention.layer_norm_rms_epsilon": (-1e-6, 1.5, nan, inf),
            "rope.scaling.factor": (0.0, -1.0, 1e7, nan), "rope.scale_linear": (0.0, nan, 1e7),
            "rope.scaling.attn_factor": (0.0, nan), "rope.scaling.yarn_beta_fast": (0.0, nan),
            "rope.scaling.yarn_beta_slow": (-1.0, inf), "rope.scaling.original_context_length": (0, 2 ** 27 + 1)}
        for key, values in table.items():
            for value in values:
                self.change("%s is %r" % (key, value), key.split(".")[-1] if key != "attention.value_length" else "length",
                            lambda m: m.put(a + key, F32 if isinstance(value, float) else U32, value))
        for kind, value in ((I32, -1), (I64, -5), (U64, 2 ** 32), (U64, HUGE)):
            self.change("block_count is the %s %d" % (NAMES[kind], value), "block_count",
                        lambda m: m.put(a + "block_count", kind, value))
        self.change("unknown scaling", "rope.scaling.type", lambda m: m.put(a + "rope.scaling.type", STR, "magic"))
        self.change("yarn without its context", "original_context", lambda m: m.put(a + "rope.scaling.type", STR, "yarn"))

    def layers(self):
        """Counts that are given for each layer."""
        key, n = self.llama.arch + ".attention.head_count_kv", self.llama.get(self.llama.arch + ".block_count")[3]
        for what, values, of, expect in (
                ("one alone", [2], I32, "1 entries for %d layers" % n),
                ("a negative one", [2] * (n - 1) + [-1], I32, "of layer %d is -1" % (n - 1)),
                ("different ones", [2] * (n - 1) + [4], U32, "is 4 in layer"),
                ("none in the last", [2] * (n - 1) + [0], I32, "of 0 in some layers"),
                ("texts", ["2"] * n, STR, "head_count_kv")):
            self.change("head_count_kv of layers: " + what, expect, lambda m: m.put(key, ARRAY, values, of))
        self.change("attention.recurrent_layers is no list", "recurrent_layers",
                    lambda m: m.put(self.llama.arch + ".attention.recurrent_layers", BOOL, 1))

    def mamba2(self):
        """A good model with one recurrent layer, the vocabulary that of the other."""
        m = copy.deepcopy(self.llama)
        width, inner, heads, state, groups, taps = m.get(m.arch + ".embedding_length")[3], 48, 6, 8, 2, 4
        mixed = inner + 2 * groups * state
        self.rename(m, "mamba2")
        for key, value in (("block_count", 1), ("feed_forward_length", 0), ("attention.head_count", 0),
                           ("ssm.conv_kernel", taps), ("ssm.inner_size", inner), ("ssm.state_size", state),
                           ("ssm.time_step_rank", heads), ("ssm.group_count", groups)):
            m.put("mamba2." + key, U32, value)
        for key in ("head_count_kv", "key_length", "value_length"):
            m.drop("mamba2.attention." + key)
        m.drop("mamba2.rope.dimension_count")
        shapes = {"attn_norm.weight": [width], "ssm_in.weight": [width, inner + mixed + heads],
                  "ssm_conv1d.weight": [taps, mixed], "ssm_conv1d.bias": [mixed], "ssm_dt.bias": [heads],
                  "ssm_a": [1, heads], "ssm_d": [1, heads], "ssm_norm.weight": [inner // groups, groups],
                  "ssm_out.weight": [inner, width]}
        m.tensors = [t for t in m.tensors if not t[0].startswith("blk.")]
        for name, dims in shapes.items():
            n = dims[0] * (dims + [1])[1]
            m.tensors.append(["blk.0." + name, dims, 0, struct.pack("<f", 0.01) * n])
        return m

    def recurrent(self):
        good = self.mamba2()
        for key, values in (("ssm.inner_size", (0, 47, 2 ** 20 + 1)), ("ssm.state_size", (0, 2 ** 20 + 1)),
                            ("ssm.time_step_rank", (0, 2 ** 20 + 1)), ("ssm.group_count", (0, 4, 2 ** 20 + 1)),
                            ("ssm.conv_kernel", (0, 65))):
            for value in values:
                self.change("%s is %d" % (key, value), key, lambda m: m.put("mamba2." + key, U32, value), good)
        for key, expect in (("ssm.inner_size", "ssm.inner_size"), ("ssm.state_size", "ssm.state_size"),
                            ("ssm.time_step_rank", "ssm.time_step_rank"), ("ssm.group_count", "shape"),
                            ("ssm.conv_kernel", "is missing")):
            self.change("no " + key, expect, lambda m: m.drop("mamba2." + key), good)
        self.change("a convolution of one token", "two tokens", lambda m: m.put("mamba2.ssm.conv_kernel", U32, 1), good)
        for i, (name, dims, _, data) in enumerate(good.tensors):
            if name.startswith("blk.") and not name.endswith(("_conv1d.bias", "_norm.weight")):
                self.change("no tensor " + name + " (mamba2)", name, lambda m: m.tensors.pop(i), good)
                self.change("shape of " + name + " (mamba2)", name, lambda m: m.tensors[i].__setitem__(
                    slice(1, 4), [[dims[0] * 2] + dims[1:], 0, data * 2]), good)
                if not name.endswith(("ssm_in.weight", "ssm_out.weight")):
                    self.change("integers in " + name + " (mamba2)", name[6:], lambda m: m.tensors[i].__setitem__(2, 26), good)

    def missing(self):
        a = self.llama.arch + "."
        for key in ("general.architecture", a + "block_count", a + "embedding_length", a + "feed_forward_length",
                    a + "attention.head_count", "tokenizer.ggml.scores"):
            self.change("no " + key, key, lambda m: m.drop(key))
        self.change("no vocabulary", "tokenizer.ggml.tokens", lambda m: m.drop("tokenizer.ggml.tokens"))
        self.change("no tokenizer", "tokenizer.ggml.model", lambda m: m.drop("tokenizer.ggml.model"))
        for name in ("mystery", "", "Llama"):
            self.change("family %r" % name, "general.architecture", lambda m: self.rename(m, name))
        self.change("unknown tokenizer", "\"mystery\"", lambda m: m.put("tokenizer.ggml.model", STR, "mystery"))

    @staticmethod
    def rename(m, name):
        for e in m.entries:
            e[0] = e[0].replace(m.arch + ".", name + ".") if e[0].startswith(m.arch + ".") else e[0]
        m.put("general.architecture", STR, name)

    def tensors_of_the_model(self):
        for i, tensor in enumerate(self.llama.tensors):
            name, dims = tensor[:2]
            if name == "output.weight":
                continue  # absent: the embedding stands for it
            self.change("no tensor " + name, name, lambda m: m.tensors.pop(i))
        for i, tensor in enumerate(self.llama.tensors[:10]):
            name, dims, _, data = tensor
            wide = [dims[0] * 2] + ([dims[1] // 2] if len(dims) > 1 else [])
            self.change("shape of " + name, "shape",
                        lambda m: m.tensors[i].__setitem__(slice(1, 4), [wide, 0, (data * 2)[:4 * wide[0] * (wide + [1])[1]]]))
            if len(dims) == 1:
                self.change("integers in " + name, name, lambda m: m.tensors[i].__setitem__(2, 26))

    def vocabulary(self):
        key = "tokenizer.ggml."

        def tokens(m, i, value):
            m.get(key + "tokens")[3][i] = value
        for i in (3, 100, 323):
            self.change("token %d twice" % i, "there before", lambda m: tokens(m, i, "<s>"))
        self.change("a token of 65537 bytes", "65536", lambda m: tokens(m, 300, "x" * 65537))
        self.change("a long special token", "256", lambda m: tokens(m, 2, "x" * 257))
        self.change("no tokens", "0 tokens", lambda m: m.put(key + "tokens", ARRAY, [], STR))
        self.change("more tokens than rows", "embedding", lambda m: self.longer(m))
        for i, value, what in ((10, "<0x4>~", "short"), (11, "<0xGG>", "no digits"), (12, "byte", "no form")):
            self.change("a byte token: " + what, "token %d" % i, lambda m: tokens(m, i, value))
        for i, kind in ((0, 7), (5, -1), (323, 2 ** 31 - 1)):
            self.change("kind %d of token %d" % (kind, i), "token_type", lambda m: m.get(key + "token_type")[3].__setitem__(i, kind))
        for i in (0, 323):
            self.change("score %d is no number" % i, "token %d" % i,
                        lambda m: m.get(key + "scores")[3].__setitem__(i, float("nan")))

    @staticmethod
    def longer(m):
        for name, value in (("tokens", "more~"), ("scores", 0.0), ("token_type", 1)):
            m.get("tokenizer.ggml." + name)[3].append(value)

    def ids(self):
        for name in ("bos", "eos", "unknown", "padding", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"):
            key = "tokenizer.ggml.%s_token_id" % name
            self.change(key + " outside", "token 324 is outside", lambda m: m.put(key, U32, 324))
            self.change(key + " far outside", "token 2147483648 is outside", lambda m: m.put(key, U32, 2 ** 31))
            self.change(key + " as i64", key, lambda m: m.put(key, I64, 1))
        for i, value in enumerate((-1, 324)):
            self.change("end token %d" % value, "end_token_ids",
                        lambda m: m.put("tokenizer.rz.end_token_ids", ARRAY, [1] * i + [value], I32))
        self.change("end tokens as u32", "end_token_ids", lambda m: m.put("tokenizer.rz.end_token_ids", ARRAY, [1], U32))
        self.change("add_space_prefix as u8", "add_space_prefix",
                    lambda m: m.put("tokenizer.ggml.add_space_prefix", U8, 1))
        self.change("add_eos_token as string", "add_eos", lambda m: m.put("tokenizer.ggml.add_eos_token", STR, "no"))

    def merges(self):
        key = "tokenizer.ggml.merges"
        for what, value in (("no space", "ab"), ("left", "\u0142q a"), ("right", "a \u0142q"), ("result", "! \""),
                            ("empty", ""), ("only a space", " ")):
            for i in (0, 27):
                self.change("merge %d: %s" % (i, what), "%s[%d]" % (key, i),
                            lambda m: m.get(key)[3].__setitem__(i, value), self.qwen2)
        self.change("no merges", key, lambda m: m.drop(key), self.qwen2)
        self.change("merges as a string", key, lambda m: m.put(key, STR, "a b"), self.qwen2)
        self.change("merges as numbers", key, lambda m: m.put(key, ARRAY, [1, 2], U32), self.qwen2)
        self.change("no rule for words", "tokenizer.ggml.pre", lambda m: m.drop("tokenizer.ggml.pre"), self.qwen2)
        self.change("unknown rule for words", "mystery", lambda m: m.put("tokenizer.ggml.pre", STR, "mystery"), self.qwen2)
        self.change("rule for words as u32", "tokenizer.ggml.pre", lambda m: m.put("tokenizer.ggml.pre", U32, 1), self.qwen2)

    def split(self):
        for key, kind, value, expect in (
                ("split.count", U32, 2, "split into 2"), ("split.count", STR, "1", "split.count"),
                ("split.count", I32, -1, "split.count"), ("split.count", F32, 1.0, "split.count"),
                ("split.no", U32, 1, "split.no is 1"), ("split.no", I32, -1, "split.no"), ("split.no", BOOL, 0, "split.no"),
                ("split.tensors.count", STR, "1", "split.tensors.count")):
            self.change("%s %r as %s" % (key, value, NAMES[kind]), expect, lambda m: m.put(key, kind, value))


def gguf_kinds(llama, qwen2):
    return Gguf(Model(llama), Model(qwen2)).all()


# --- safetensors ---

def raw(header, data=b"", n=None):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if n is None else n) + head + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    fields = {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}
    fields.update(more)
    return {k: v for k, v in fields.items() if v is not None}


def safetensors_kinds():
    out = []

    def add(name, data, expect):
        out.append(kind_of(name, data, expect))

    def header(name, value, expect, data=bytes(8)):
        add(name, raw(value, data), expect)

    def one(name, expect, data=bytes(8), drop=None, **fields):
        e = entry(**fields)
        e.pop(drop, None)
        add(name, raw({"a": e}, data), expect)
    good = raw({"a": entry()}, bytes(8))
    add("no bytes", b"", "empty")
    for n in (1, 4, 7):
        add("%d bytes" % n, good[:n], "%d bytes" % n)
    add("nothing after the length", good[:8], "past the end")
    add("a cut header", good[:30], "past the end")
    add("no data", good[:-8], "cut short")
    add("a byte of the data is missing", good[:-1], "cut short")
    add("a byte too many", good + b"\0", "follow")
    for n in (0, 1, 10 ** 8 + 1, 2 ** 32, 2 ** 63, HUGE, len(good)):
        add("length %d" % n, raw({"a": entry()}, bytes(8), n), "byte ")
    for first in (b" ", b"[", b"\0", b"\xff"):
        header("begins with %r" % first, first + b'{"a":1}', "0x%02x" % first[0])
    for what, value in (("open", b'{"a":'), ("comma", b'{"a":{},}'), ("no quotes", b"{a:1}"), ("two values", b"{}{}"),
                        ("a NUL", b'{"a\0":{}}'), ("bad UTF-8", b'{"\xff":{}}'), ("a surrogate", b'{"\\ud800":{}}'),
                        ("deep", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), ("NaN", b'{"a":NaN}')):
        header("JSON: " + what, value, "JSON")
    header("the same name twice", b'{"a":{},"a":{}}', "uplicate")
    for pad in (b"\n", b"\t", b"\r"):
        header("padded with %r" % pad, json.dumps({"a": entry()}).encode() + pad, "0x%02x" % pad[0])
    header("metadata is a list", {"__metadata__": [], "a": entry()}, "__metadata__")
    header("metadata is a string", {"a": entry(), "__metadata__": "x"}, "__metadata__")
    for value in (1, None, {}, []):
        header("metadata of %r" % value, {"__metadata__": {"key%s" % type(value).__name__: value}, "a": entry()}, "__metadata__")
    header("empty name", {"": entry()}, "empty")
    for value in ("x", 1, None, [], True):
        header("entry is %r" % value, {"a%s" % type(value).__name__: value}, "must be an object")
    for field in ("dtype", "shape", "data_offsets"):
        one("no " + field, "no " + field, drop=field)
    one("unknown field", "\"more\"", more=1)
    for dtype in ("F31", "f32", "", "F8", "I4"):
        one("dtype %r" % dtype, "\"%s\"" % dtype, dtype=dtype)
    for i, dtype in enumerate((1, [], {})):
        header("dtype is %r" % dtype, {"a%d" % i: dict(entry(), dtype=dtype)}, "dtype")
    for i, shape in enumerate(("2", 2, {})):
        header("shape is %r" % shape, {"a%d" % i: dict(entry(), shape=shape)}, "shape")
    for i, dim in enumerate((-1, 1.5, "2", None, True, [2])):
        header("a dimension is %r" % dim, {"a%d" % i: entry(shape=(dim,))}, "dimension 0")
    one("second dimension is negative", "dimension 1", shape=(2, -3))
    one("five dimensions", "5 dimensions", shape=(1, 1, 1, 1, 2))
    one("2^64 elements", "64 bits", shape=(2 ** 32, 2 ** 32))
    one("2^64 bytes", "64 bits", shape=(2 ** 62,))
    header("2^64 in a shape", b'{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}}', "JSON")
    for i, offsets in enumerate(((0,), (0, 4, 8), ("0", 8), (0, 8.0), (None, 8))):
        header("offsets %r" % (offsets,), {"a%d" % i: entry(offsets=offsets)}, "two integers")
    header("offsets are a number", {"o": dict(entry(), data_offsets=8)}, "two integers")
    one("a negative begin", "-1 and 8", offsets=(-1, 8))
    one("a negative end", "0 and -8", offsets=(0, -8))
    one("begin after end", "after its end", offsets=(8, 0))
    one("end past the file", "ends at 16", offsets=(0, 16), shape=(4,))
    one("end at 2^62", "ends at 4611686018427387904", offsets=(0, 2 ** 62))
    one("size and shape differ", "take 8 bytes", offsets=(0, 4), data=bytes(4))
    one("scalar of eight bytes", "1 elements", shape=())
    for dtype, size in (("F64", 16), ("F16", 4), ("BF16", 4), ("F8_E4M3", 2), ("I64", 16), ("U8", 2), ("BOOL", 2), ("I16", 4)):
        one("size of " + dtype, "take %d bytes" % size, dtype=dtype)
    header("a hole", {"a": entry(), "b": entry(offsets=(16, 24))}, "hole", bytes(24))
    header("a hole at the begin", {"a": entry(offsets=(8, 16))}, "where the data begins", bytes(16))
    header("an overlap", {"a": entry(), "b": entry(offsets=(4, 12))}, "overlaps", bytes(12))
    header("the same bytes twice", {"a": entry(), "c": entry()}, "overlaps")
    header("data that belongs to none", {"a": entry()}, "8 bytes follow", bytes(16))
    header("data without tensors", {}, "24 bytes follow", bytes(24))
    return out
