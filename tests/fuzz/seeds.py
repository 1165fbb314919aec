#!/usr/bin/env python3
"""seeds.py - first inputs for the fuzz targets, made of the small models of the tests and of cases written here.

    tests/fuzz/seeds.py FIXTURES OUT

Fills OUT/NAME/ for each target with files seed-*; others that lie there stay. OUT/NAME.dict has the words of
the seeds, for the fuzzer to put in. Standard library only.
"""

import json
import os
import re
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import mkfolder  # noqa: E402

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


class Out:
    def __init__(self, root):
        self.root, self.words = root, {}

    def put(self, target, name, data):
        folder = os.path.join(self.root, target)
        os.makedirs(folder, exist_ok=True)
        data = data if isinstance(data, bytes) else data.encode()
        with open(os.path.join(folder, "seed-" + name), "wb") as f:
            f.write(data)
        self.words.setdefault(target, set()).update(re.findall(rb"[A-Za-z_][A-Za-z0-9_.]{2,40}", data))

    def dictionaries(self):
        for target, words in self.words.items():
            quoted = ['"%s"\n' % w.decode() for w in sorted(words)[:1000]]
            quoted += ['"\\"%s\\":"\n' % w.decode() for w in sorted(words) if b"_" in w]
            with open(os.path.join(self.root, target + ".dict"), "w", encoding="ascii") as f:
                f.writelines(quoted)


# --- GGUF ---

def text(s):
    s = s.encode()
    return struct.pack("<Q", len(s)) + s


def entry(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def gguf(entries, tensors=(), version=3, align=32):
    """tensors: (name, dims, type, bytes)"""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries)
    at, data = 0, b""
    for name, dims, kind, size in tensors:
        out += text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, at)
        at += (size + align - 1) // align * align
    data = b"\1" * at
    return out + b"\0" * (-len(out) % align) + data


def seeds_gguf(out):
    every = [entry("k%d" % t, t, struct.pack("<" + c, 1)) for t, c in SCALARS.items()] + [entry("s", 8, text("value"))]
    arrays = [entry("a%d" % t, 9, struct.pack("<IQ2" + c, t, 2, 1, 0)) for t, c in SCALARS.items()]
    arrays.append(entry("as", 9, struct.pack("<IQ", 8, 2) + text("x") + text("")))
    out.put("gguf", "empty", gguf([]))
    out.put("gguf", "v2", gguf(every, version=2))
    out.put("gguf", "types", gguf(every + arrays))
    out.put("gguf", "aligned", gguf([entry("general.alignment", 4, struct.pack("<I", 64))],
                                    [("a", [4, 2], 0, 32), ("b", [32], 8, 34)], align=64))
    numbers = {"block_count": 2, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4,
               "attention.head_count_kv": 2, "context_length": 512, "rope.dimension_count": 16, "vocab_size": 8}
    model = [entry("general.architecture", 8, text("llama"))]
    model += [entry("llama." + k, 4, struct.pack("<I", v)) for k, v in numbers.items()]
    model += [entry("llama.rope.freq_base", 6, struct.pack("<f", 1e4)),
              entry("llama.rope.scaling.type", 8, text("yarn")),
              entry("llama.rope.scaling.original_context_length", 4, struct.pack("<I", 128)),
              entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1) + text("a")),
              entry("split.no", 2, struct.pack("<H", 0)), entry("split.count", 2, struct.pack("<H", 1))]
    out.put("gguf", "model", gguf(model, [("token_embd.weight", [4, 8], 1, 64), ("x", [256], 12, 144)]))
    out.put("gguf", "big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def array(key, kind, values):
    if kind == 8:
        return entry(key, 9, struct.pack("<IQ", 8, len(values)) + b"".join(text(v) for v in values))
    return entry(key, 9, struct.pack("<IQ%d%s" % (len(values), SCALARS[kind]), kind, len(values), *values))


def seeds_words(out):
    key = "tokenizer.ggml."
    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab", "\u2581", "\u2581a", "<0x0A>", "<|x|>"]
    spm = [entry(key + "model", 8, text("llama")), array(key + "tokens", 8, tokens),
           array(key + "scores", 6, [-float(i) for i in range(10)]),
           array(key + "token_type", 5, [2, 3, 3, 1, 1, 1, 1, 1, 6, 4]),
           entry(key + "bos_token_id", 4, struct.pack("<I", 1)), entry(key + "add_eos_token", 7, b"\1")]
    out.put("words", "spm", gguf(spm) + b"\nab a<|x|> \xff ba</s>")
    for kind in ("t5", "bert", "rwkv", "char"):
        other = [entry(key + "model", 8, text(kind))] + spm[1:]
        out.put("words", kind, gguf(other) + b"\nab a b\xc3\xa9 \xff ba</s> ")
    tokens = ["a", "b", "c", "ab", "abc", "\u0120", "\u0120a", "1", "<|x|>", "<|end|>"]
    for pre in ("gpt-2", "smollm", "qwen2", "llama-3"):
        bpe = [entry(key + "model", 8, text("gpt2")), entry(key + "pre", 8, text(pre)), array(key + "tokens", 8, tokens),
               array(key + "merges", 8, ["a b", "ab c", "\u0120 a"]), array(key + "token_type", 5, [1] * 8 + [4, 3]),
               entry(key + "eos_token_id", 4, struct.pack("<I", 9))]
        out.put("words", pre, gguf(bpe) + b"\nabc a1 <|x|>b's \xc3\xa9 12345 <|end|>")


# --- safetensors ---

def safetensors(header, data=b""):
    head = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(head.encode())) + head.encode() + data


def one(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def seeds_safetensors(out):
    out.put("safetensors", "empty", safetensors({}))
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "I64": 8, "U8": 1, "BOOL": 1}
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for dtype, size in sizes.items():
        header[dtype] = one(dtype, [2, 1], at, at + 2 * size)
        at += 2 * size
    out.put("safetensors", "types", safetensors(header, bytes(at)))
    out.put("safetensors", "scalar", safetensors({"a": one("F32", [], 0, 4), "b": one("F32", [0, 3], 4, 4)}, b"\0\0\0\0"))
    out.put("safetensors", "hole", safetensors({"a": one("U8", [1], 1, 2)}, b"\0\0"))
    out.put("safetensors", "padded", safetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ', b"\0"))


# --- folders ---

def seeds_folders(out, fixtures):
    for name in ("tiny-llama", "tiny-qwen2"):
        for form in ("json", "model", "vocab"):
            if (name, form) in (("tiny-llama", "vocab"), ("tiny-qwen2", "model")):
                continue
            with tempfile.TemporaryDirectory() as folder:
                mkfolder.make(os.path.join(fixtures, name + ".gguf"), folder, tokenizer=form)
                seeds_folder(out, folder, name, form)


def seeds_folder(out, folder, name, form):
    def read(file):
        with open(os.path.join(folder, file), "rb") as f:
            return f.read()
    extra = b'\0{"bos_token":"<s>"}\0{"eos_token_id":[2,1]}\0{"bos_token_id":1,"eos_token_id":[2]}'
    if form == "json":
        out.put("tokenizer", name, read("tokenizer.json") + b"\0" + read("tokenizer_config.json") + extra)
        out.put("config", name, read("config.json"))
    elif form == "model":
        out.put("vocab", name, b"m" + read("tokenizer.model"))
    else:
        out.put("vocab", name, b"v" + read("vocab.json") + b"\0" + read("merges.txt") + b"\0" +
                read("tokenizer_config.json") + b'\0{"<extra>":300}')


def small_tokenizer(kind, **fields):
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3}, "merges": ["a b"]}
    model.update(fields)
    return {"added_tokens": [{"id": 3, "content": "<s>", "special": True}], "normalizer": kind.get("normalizer"),
            "pre_tokenizer": kind.get("pre_tokenizer"), "post_processor": kind.get("post_processor"), "model": model}


def seeds_small(out):
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    cut = {"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "Isolated", "invert": False}
    ends = mkfolder.template("<s>")
    out.put("tokenizer", "level", json.dumps(small_tokenizer({"pre_tokenizer": level})))
    out.put("tokenizer", "split", json.dumps(small_tokenizer({
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, level]}, "post_processor": ends})))
    out.put("tokenizer", "pairs", json.dumps(small_tokenizer({"pre_tokenizer": level}, merges=[["a", "b"]])))
    out.put("tokenizer", "spm", json.dumps(small_tokenizer({"normalizer": {"type": "Prepend", "prepend": "\u2581"}},
                                                          byte_fallback=True, unk_token="a")))
    out.put("tokenizer", "templates", json.dumps(small_tokenizer({"pre_tokenizer": level})) +
            '\0{"chat_template":[{"name":"default","template":"{{x}}"}],"add_bos_token":true,"bos_token":"<s>"}')
    config = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96,
              "num_attention_heads": 4, "vocab_size": 320, "max_position_embeddings": 512}
    scalings = {
        "linear": {"type": "linear", "factor": 2.0}, "none": None, "dynamic": {"rope_type": "dynamic", "factor": 2},
        "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32},
        "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 128},
        "longrope": {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}}
    for name, scaling in scalings.items():
        out.put("config", name, json.dumps(dict(config, rope_scaling=scaling)))
    out.put("config", "window", json.dumps(dict(config, model_type="qwen2", sliding_window=64, layer_types=["x"],
                                                use_sliding_window=True, num_experts=None, logit_scale=1)))


# --- settings, plugins, requests ---

INI = {
    "engine": "[rz]\nthreads = 2\nplugin_dir = plugins\n\n[engine]\ncontext = 4096 ; a comment\nkv_type = f16\n",
    "models": "[model.a]\npath = /m/a.gguf\n[model.b]\npath = ${HOME:-/x}/b\nalias = c\n[limits]\nmax_tensors = 4K\n",
    "lines": "\xef\xbb\xbf# text\n[sampling]\ntemp = 0.5\n  more\ntop_k=40\n[plugin.http]\nlisten = 127.0.0.1:80\n",
    "wrong": "[rz]\nthread = 1\n[nothing]\nx\n= y\n[engine\ncontext = -1\n",
    "expand": "[rz]\nlog_level = ${A:-${B}}\nplugin_dir = ~/x\n[sampling]\nseed = 99999999999999999999\n",
}
BODIES = [
    '{"prompt":"a","max_tokens":4,"temperature":0.5,"stop":["x","y"],"stream":true,"stream_options":{"include_usage":true}}',
    '{"prompt":[1,2,3],"logit_bias":{"5":-100,"6":1.5},"logprobs":3,"seed":-1,"n":1,"echo":false,"other":1}',
    '{"prompt":["a"],"model":"m","stop":"\\u0000","top_p":2,"user":null,"grammar":"x"}', '[[[[{"a":[]}]]]]', "{",
    '{"messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]},{"role":"assistant",'
    '"content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool",'
    '"tool_call_id":"1","content":"c"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto",'
    '"logprobs":true,"top_logprobs":2,"max_completion_tokens":5,"response_format":{"type":"text"},"chat_template_kwargs":{}}',
]


def seeds_rest(out):
    for name, data in INI.items():
        out.put("ini", name, data.encode("latin-1"))
    for i, body in enumerate(BODIES):
        out.put("http", str(i), body)
    for gnu in (False, True):
        out.put("elf", "gnu" if gnu else "sysv", elf(gnu))


# --- conversations ---

ANSWERS = [  # how the target's table numbers them
    (0, "<think>hm</think>Ok.<tool_call>{\"name\": \"get\", \"arguments\": {\"city\": \"P\"}}</tool_call>"),
    (1, "<tool_call>\n<function=get>\n<parameter=city>\nP\n</parameter>\n</function>\n</tool_call>"),
    (1, "<tool_call>get\n<arg_key>city</arg_key>\n<arg_value>P</arg_value>\n</tool_call>"),
    (2, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.get <|constrain|>json"
        "<|message|>{\"city\": \"P\"}<|call|>"),
    (3, "<|channel>thought\nhm\n<channel|><|tool_call>call:get{city:<|\"|>P<|\"|>,n:[1,true],o:{a:null}}<tool_call|>"),
    (4, "hm</think><\uff5cDSML\uff5cfunction_calls>\n<\uff5cDSML\uff5cinvoke name=\"get\">\n<\uff5cDSML\uff5cparameter "
        "name=\"n\" string=\"false\">5</\uff5cDSML\uff5cparameter>\n</\uff5cDSML\uff5cinvoke>\n</\uff5cDSML\uff5cfunction_calls>"),
    (6, "hm</think><\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>get\n"
        "```json\n{}\n```<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>"),
    (7, "<|tool_calls_section_begin|><|tool_call_begin|>functions.get:0<|tool_call_argument_begin|>{}<|tool_call_end|>"
        "<|tool_calls_section_end|>"),
    (8, "[THINK]hm[/THINK][TOOL_CALLS]get[CALL_ID]a1[ARGS]{\"n\": 1}[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]"),
    (9, "<|START_THINKING|>hm<|END_THINKING|><|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"get\", "
        "\"parameters\": {}}]<|END_ACTION|><|START_RESPONSE|>x<|END_RESPONSE|>"),
    (10, "<|tools_prefix|>[{\"get\": {\"city\": \"P\"}}]<|tools_suffix|>"),
    (11, "one[BEGIN FINAL RESPONSE]<tool_calls>[{\"name\": \"f\", \"arguments\": {}}]</tool_calls>"),
    (12, "<|tool_call|>[{\"name\": \"f\"}]<response>a</response>"), (13, "all\nHi\n>>>get\n{\"city\": \"P\"}>>>f\n{}"),
    (14, "<seed:think>a</seed:think><seed:tool_call><function=f></function></seed:tool_call>"),
    (15, "<|tool_call_start|>[get(city=\"a\\\"b\", n=3, x=[1, 'y', {\"k\": None}], t=True), f()]<|tool_call_end|>"),
    (16, "Ok<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"f\", \"arguments\": {}}"),
    (17, "<function=get>{\"city\": \"</function>\"}</function>"),
    (18, "{\"name\": \"get\", \"parameters\": {}}; <|python_tag|>get.call(city=\"P\")"), (19, "plain <tool_call>"),
]


def seeds_chat(out):
    for i, (way, answer) in enumerate(ANSWERS):
        out.put("parse", "%d-%d" % (way, i), bytes([way, i]) + answer.encode())
        out.put("parse", "%d-%d-twice" % (way, i), bytes([way, 3]) + (answer + " and " + answer[:-3]).encode())
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "templates")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".jinja"):
            with open(os.path.join(folder, name), "rb") as f, open(os.path.join(folder, name[:-5] + "json"), "rb") as g:
                out.put("template", name[:-6], f.read() + b"\0" + g.read())
    with open(os.path.join(folder, "..", "expressions.txt"), "rb") as f:
        for i, line in enumerate(f.read().split(b"\n")):
            if line and not line.startswith(b"##") and i % 4 == 0:
                out.put("template", "line-%d" % i, line.replace(b"\\n", b"\n"))


def elf(gnu, base=0x1000):
    """A shared object of one segment with one symbol: the least that has a plugin header."""
    name = b"rz_plugin_v1"
    strings = b"\0" + name + b"\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, base + 512, 296)
    h = 5381
    for c in name:
        h = (h * 33 + c) & 0xffffffff
    table = struct.pack("<IIIIQII", 1, 1, 1, 6, 2**64 - 1, 1, h | 1) if gnu else struct.pack("<5I", 1, 2, 1, 0, 0)
    at = {"dynamic": 176, "symbols": 272, "strings": 320, "hash": 352}
    dynamic = [(5, base + at["strings"]), (10, len(strings)), (6, base + at["symbols"]),
               (0x6ffffef5 if gnu else 4, base + at["hash"]), (11, 24), (0, 0)]
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    parts = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, 824, 824, 4096)
    parts += struct.pack("<IIQQQQQQ", 2, 6, at["dynamic"], base + at["dynamic"], base + at["dynamic"], 96, 96, 8)
    plugin = b"RZPLUG\0\1" + struct.pack("<IHHQQIIQQ", 296, 0, 0, 2, 0, 62, 0, 0, 0)
    for field, size in ((b"thing", 32), (b"1.0", 24), (b"me", 40), (b"MIT", 24), (b"kernels:thing", 80)):
        plugin += field.ljust(size, b"\0")
    out = bytearray(824)
    for where, data in ((0, head + parts), (at["dynamic"], b"".join(struct.pack("<QQ", *d) for d in dynamic)),
                        (at["symbols"], symbols), (at["strings"], strings), (at["hash"], table), (512, plugin)):
        out[where:where + len(data)] = data
    return bytes(out)


def seeds_grammar(out):
    schema = {"$defs": {"n": {"type": "object", "properties": {"v": {"type": "number", "minimum": -1.5, "maximum": 20},
              "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, "required": ["v"]}}, "allOf": [
              {"$ref": "#/$defs/n"}, {"minProperties": 1, "additionalProperties": {"type": "string", "maxLength": 4}}]}
    out.put("grammar", "schema", b"\0" + json.dumps(schema).encode() + b"\0{\"v\": 3, \"next\": null}")
    out.put("grammar", "array", b"\0" + json.dumps({"type": "array", "prefixItems": [{"const": 1}], "items": {
        "type": "integer", "multipleOf": 7}, "minItems": 2, "maxItems": 9}).encode() + b"\0[1, 7, 14]")
    out.put("grammar", "string", b"\0" + json.dumps({"oneOf": [{"type": "string", "pattern": "^[a-z]+|x$"}, {
        "enum": [1, None]}, {"type": "array", "items": False}]}).encode() + b"\0\"ab\"")
    out.put("grammar", "gbnf", b'\1root ::= (x | "b"{2,3})* %json {"type":"null"} %until "ab"\nx ::= [^a-c\\n] root? "d"+ #c'
            b"\0bbbnull")
    out.put("grammar", "regex", b"\2^(a|b[^c-e]{2,})*?(?:\\d+\\p{Lu})?$\0abb")
    out.put("grammar", "group", b"\2(?")
    out.put("grammar", "classes", b"\2[^\\p{Lu}x]{2,}[^\\u0100-\\uffef]\\p{L}*\0abb")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    fixtures, root = sys.argv[1:]
    out = Out(root)
    seeds_gguf(out)
    seeds_words(out)
    seeds_safetensors(out)
    seeds_folders(out, fixtures)
    seeds_small(out)
    seeds_chat(out)
    seeds_rest(out)
    seeds_grammar(out)
    out.dictionaries()


if __name__ == "__main__":
    main()
