#!/usr/bin/env python3
"""mkfolder.py - the Hugging Face form of a small GGUF model: what a folder must give equal results for.

    tests/mkfolder.py MODEL.gguf FOLDER [--shards N] [--tokenizer json|model|vocab] [--dtype bf16|f16]

Undoes what the GGUF form changes (names, the row order of rotary heads). Tensors keep their type, but for
--dtype, which rounds the vectors too. Standard library only; the models are those of tests/mkmodel.c.
"""

import argparse
import array
import json
import os
import re
import struct

SIMPLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DTYPES = {0: ("F32", 4), 1: ("F16", 2), 30: ("BF16", 2)}
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")

LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
ENDS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight"}


class Gguf:
    """The metadata and the tensors {name: (type, dims, bytes)} of a file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 4
        _, tensors, entries = self.take("I"), self.take("Q"), self.take("Q")
        self.meta = {}
        for _ in range(entries):
            key = self.text()
            self.meta[key] = self.value(self.take("I"))
        infos = []
        for _ in range(tensors):
            name = self.text()
            dims = [self.take("Q") for _ in range(self.take("I"))]
            infos.append((name, dims, self.take("I"), self.take("Q")))
        base = (self.at + 31) // 32 * 32
        self.tensors, self.offsets = {}, {}
        for name, dims, kind, offset in infos:
            n = DTYPES[kind][1]
            for d in dims:
                n *= d
            self.tensors[name] = (kind, dims, self.data[base + offset:base + offset + n])
            self.offsets[name] = base + offset

    def take(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.take(SIMPLE[kind])
        kind, n = self.take("I"), self.take("Q")
        return [self.value(kind) for _ in range(n)]


def halves(data, rows, heads):
    """Rows of pairs of neighbours as pairs of halves, head by head."""
    size, d = len(data) // rows, rows // heads
    out = []
    for h in range(heads):
        for j in range(2):
            for i in range(d // 2):
                r = h * d + 2 * i + j
                out.append(data[r * size:(r + 1) * size])
    return b"".join(out)


def rounded(data, dtype):
    """F32 values whose lower bits are zero anyway, as the shorter type; others are rounded down."""
    values = array.array("f", data)
    if dtype == "f16":
        return struct.pack("<%de" % len(values), *values)
    bits = array.array("I", data)
    return array.array("H", [b >> 16 for b in bits]).tobytes()


def stored_tensors(g, arch, dtype):
    """[(name, dtype, shape, bytes)] as a folder has them."""
    out = []
    for name, (kind, dims, data) in g.tensors.items():
        layer = re.match(r"blk\.(\d+)\.(\w+)\.(\w+)$", name)
        if name == "rope_freqs.weight":
            continue
        if layer:
            number, what, ending = layer.groups()
            if arch == "llama" and what in ("attn_q", "attn_k"):
                heads = g.meta[arch + (".attention.head_count" if what == "attn_q" else ".attention.head_count_kv")]
                data = halves(data, dims[-1], heads)
            name = "model.layers.%s.%s.%s" % (number, LAYER[what], ending)
        else:
            name = ENDS[name]
        stored = DTYPES[kind][0]
        if dtype and kind == 0:
            stored, data = dtype.upper(), rounded(data, dtype)
        out.append((name, stored, dims[::-1], data))
    return out


def write_safetensors(path, tensors, pad=0, metadata=None):
    header, at = {"__metadata__": metadata or {"format": "pt"}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            f.write(tensor[3])


def write_weights(folder, tensors, shards, pad):
    if shards == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors, pad)
        return
    where = {}
    for i in range(shards):
        name = "model-%05d-of-%05d.safetensors" % (i + 1, shards)
        part = tensors[i::shards]
        write_safetensors(os.path.join(folder, name), part, pad)
        where.update({t[0]: name for t in part})
    dump(folder, "model.safetensors.index.json",
         {"metadata": {"total_size": sum(len(t[3]) for t in tensors)}, "weight_map": where})


def dump(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)


def config(g, arch, tied):
    def of(key):
        return g.meta[arch + "." + key]
    return {
        "model_type": arch, "architectures": ["Tiny"], "hidden_act": "silu", "torch_dtype": "float32",
        "num_hidden_layers": of("block_count"), "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"), "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"), "head_dim": of("attention.key_length"),
        "max_position_embeddings": of("context_length"), "vocab_size": of("vocab_size"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"), "rope_theta": of("rope.freq_base"),
        "rope_scaling": None, "tie_word_embeddings": tied, "use_cache": True,
        "bos_token_id": g.meta["tokenizer.ggml.bos_token_id"], "eos_token_id": g.meta["tokenizer.ggml.eos_token_id"],
    }


# --- tokenizers ---

def added(g):
    tokens, kinds = g.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.token_type"]
    return [{"id": i, "content": t, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False} for i, (t, k) in enumerate(zip(tokens, kinds)) if k in (2, 3)]


def template(first):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": first, "type_id": 0}},
                                                     {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {}}


def pre_tokenizer(pre):
    regex = {"llama-bpe": "{1,3}", "qwen2": ""}.get(pre)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex is None}
    if pre == "gpt-2":
        return level
    first = ({"type": "Digits", "individual_digits": True} if pre == "smollm" else
             {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT % regex}, "behavior": "Isolated", "invert": False})
    return {"type": "Sequence", "pretokenizers": [first, level]}


def bpe_json(g):
    tokens, kinds = g.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.token_type"]
    pre = g.meta["tokenizer.ggml.pre"]
    return {
        "version": "1.0", "added_tokens": added(g), "normalizer": {"type": "NFC"},
        "pre_tokenizer": pre_tokenizer(pre), "post_processor": {"type": "ByteLevel", "trim_offsets": False},
        "model": {"type": "BPE", "dropout": None, "byte_fallback": False, "ignore_merges": pre == "llama-bpe",
                  "vocab": {t: i for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 1},
                  "merges": [m.split(" ") for m in g.meta["tokenizer.ggml.merges"]]},
    }


def spm_merges(g):
    """All pairs that make a token, in the order of what they make."""
    tokens, kinds = g.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.token_type"]
    normal = {t: i for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 1}
    score = g.meta["tokenizer.ggml.scores"]
    merges = []
    for text in sorted(normal, key=lambda t: -score[normal[t]]):
        merges += [text[:i] + " " + text[i:] for i in range(1, len(text))
                   if text[:i] in normal and text[i:] in normal]
    return merges


def spm_json(g):
    tokens, kinds = g.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.token_type"]
    steps = [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]
    return {
        "version": "1.0", "added_tokens": added(g), "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None, "post_processor": template("<s>"),
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                  "vocab": {t: i for i, (t, k) in enumerate(zip(tokens, kinds)) if k != 3},
                  "merges": spm_merges(g)},
    }


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def spm_model(g, kind=2):
    out = b""
    for text, score, token in zip(g.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.scores"],
                                  g.meta["tokenizer.ggml.token_type"]):
        out += field(1, field(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) +
                     varint(3 << 3) + varint(token))
    return out + field(2, varint(3 << 3) + varint(kind)) + field(3, field(1, b"identity"))


def tokenizer_config(g):
    tokens = g.meta["tokenizer.ggml.tokens"]
    return {"bos_token": tokens[g.meta["tokenizer.ggml.bos_token_id"]],
            "eos_token": {"content": tokens[g.meta["tokenizer.ggml.eos_token_id"]], "lstrip": False},
            "unk_token": None, "add_bos_token": g.meta["tokenizer.ggml.add_bos_token"],
            "model_max_length": 1000000000000000019884624838656, "tokenizer_class": "Qwen2Tokenizer"}


def write_tokenizer(folder, g, form):
    bpe = g.meta["tokenizer.ggml.model"] == "gpt2"
    conf = tokenizer_config(g)
    if form == "json":
        dump(folder, "tokenizer.json", bpe_json(g) if bpe else spm_json(g))
    elif form == "model":
        with open(os.path.join(folder, "tokenizer.model"), "wb") as f:
            f.write(spm_model(g))
    else:
        whole = bpe_json(g)
        dump(folder, "vocab.json", whole["model"]["vocab"])
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in whole["model"]["merges"]))
        conf["added_tokens_decoder"] = {str(a["id"]): a for a in whole["added_tokens"]}
    dump(folder, "tokenizer_config.json", conf)


def make(path, folder, shards=1, tokenizer="json", dtype=None, pad=0):
    g = Gguf(path)
    arch = g.meta["general.architecture"]
    os.makedirs(folder, exist_ok=True)
    write_weights(folder, stored_tensors(g, arch, dtype), shards, pad)
    dump(folder, "config.json", config(g, arch, "output.weight" not in g.tensors))
    write_tokenizer(folder, g, tokenizer)
    return g


def around(folder, n):
    """The weights and config.json of a model of one layer and width 2, for a vocabulary of n tokens."""
    os.makedirs(folder, exist_ok=True)
    names = [("input_layernorm", [2]), ("self_attn.q_proj", [2, 2]), ("self_attn.k_proj", [2, 2]),
             ("self_attn.v_proj", [2, 2]), ("self_attn.o_proj", [2, 2]), ("post_attention_layernorm", [2]),
             ("mlp.gate_proj", [2, 2]), ("mlp.up_proj", [2, 2]), ("mlp.down_proj", [2, 2])]
    tensors = [("model.layers.0.%s.weight" % name, "BF16", shape, bytes(4 if len(shape) == 1 else 8))
               for name, shape in names]
    tensors += [("model.norm.weight", "BF16", [2], bytes(4)), ("model.embed_tokens.weight", "BF16", [n, 2], bytes(4 * n))]
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    dump(folder, "config.json", {
        "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 2, "intermediate_size": 2,
        "num_attention_heads": 1, "max_position_embeddings": 64, "vocab_size": n, "tie_word_embeddings": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--tokenizer", choices=("json", "model", "vocab"), default="json")
    parser.add_argument("--dtype", choices=("bf16", "f16"))
    args = parser.parse_args()
    make(args.model, args.folder, args.shards, args.tokenizer, args.dtype)


if __name__ == "__main__":
    main()
