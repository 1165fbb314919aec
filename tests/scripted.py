"""scripted.py - models that say what a test wants: a GGUF file whose one path through the vocabulary is fixed.

Embeddings are unit vectors, all layers add nothing, and row j of the output layer looks at the token before j: so
each token has one successor, whatever was said before. A prompt that ends with GO is answered with the script.
"""

import struct

GO = "<|go|>"
NORMAL, CONTROL, USER, BYTE = 1, 3, 4, 6
U32, F32, BOOL, STR, ARRAY, I32 = 4, 6, 7, 8, 9, 5

# Says every message between brackets of control tokens, then the tools, and asks for an answer.
TEMPLATE = ("{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>"
            "{{ c.function | tojson }}</tool_call>{% endfor %}<|end|>{% endfor %}"
            "{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}" + GO + "{% endif %}")


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def array(kind, items, code=None):
    body = b"".join(string(i) if kind == STR else struct.pack("<" + code, i) for i in items)
    return struct.pack("<IQ", kind, len(items)) + body


def write(path, script, template=TEMPLATE, controls=(), context=2048, go=None):
    """script: texts that are said one after the other, each of them once; controls: more control tokens; go: the byte
    that a prompt ends with, in place of GO."""
    tokens = [("<unk>", 2), ("<s>", CONTROL), ("</s>", CONTROL)] + [("<0x%02X>" % b, BYTE) for b in range(256)]
    known = {}
    for text in [GO, "<|begin|>", "<|end|>"] + list(controls):
        known[text] = len(tokens)
        tokens.append((text, CONTROL))
    chain = [known[GO] if go is None else 3 + go]
    for text in script:
        if text not in known:
            known[text] = len(tokens)
            tokens.append((text.replace(" ", "\u2581"), USER if text.startswith("<") else NORMAL))
        assert known[text] not in chain, "each text once: %r" % text
        chain.append(known[text])
    chain.append(2)  # </s>
    width = (len(tokens) + 63) // 64 * 64
    follower = dict(zip(chain, chain[1:]))

    meta = [("general.architecture", STR, string("llama")), ("llama.block_count", U32, struct.pack("<I", 1)),
            ("llama.context_length", U32, struct.pack("<I", context)),
            ("llama.embedding_length", U32, struct.pack("<I", width)),
            ("llama.feed_forward_length", U32, struct.pack("<I", 32)),
            ("llama.attention.head_count", U32, struct.pack("<I", width // 32)),
            ("llama.attention.head_count_kv", U32, struct.pack("<I", 1)),
            ("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
            ("llama.rope.dimension_count", U32, struct.pack("<I", 32)),
            ("tokenizer.ggml.model", STR, string("llama")),
            ("tokenizer.ggml.tokens", ARRAY, array(STR, [t for t, _ in tokens])),
            ("tokenizer.ggml.scores", ARRAY, array(F32, [0.0] * len(tokens), "f")),
            ("tokenizer.ggml.token_type", ARRAY, array(I32, [k for _, k in tokens], "i")),
            ("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 1)),
            ("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 2)),
            ("tokenizer.ggml.unknown_token_id", U32, struct.pack("<I", 0)),
            ("tokenizer.ggml.add_bos_token", BOOL, b"\1"), ("tokenizer.ggml.add_space_prefix", BOOL, b"\0")]
    if template is not None:
        meta.append(("tokenizer.chat_template", STR, string(template)))

    def unit(column, size=1.0):
        row = bytearray(4 * width)
        if column is not None:
            row[4 * column:4 * column + 4] = struct.pack("<f", size)
        return bytes(row)

    before = {b: a for a, b in follower.items()}
    ones, kv = struct.pack("<%df" % width, *[1.0] * width), 32
    tensors = [("token_embd.weight", (width, len(tokens)), b"".join(unit(i) for i in range(len(tokens)))),
               ("output_norm.weight", (width,), ones),
               ("output.weight", (width, len(tokens)), b"".join(unit(before.get(i), 20.0) for i in range(len(tokens)))),
               ("blk.0.attn_norm.weight", (width,), ones), ("blk.0.ffn_norm.weight", (width,), ones)]
    for name, shape in (("attn_q", (width, width)), ("attn_k", (width, kv)), ("attn_v", (width, kv)),
                        ("attn_output", (width, width)), ("ffn_gate", (width, 32)), ("ffn_up", (width, 32)),
                        ("ffn_down", (32, width))):
        tensors.append(("blk.0.%s.weight" % name, shape, bytes(4 * shape[0] * shape[1])))

    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta))
    for key, kind, value in meta:
        head += string(key) + struct.pack("<I", kind) + value
    offset, data = 0, b""
    for name, shape, body in tensors:
        head += string(name) + struct.pack("<I", len(shape)) + struct.pack("<%dQ" % len(shape), *shape)
        head += struct.pack("<IQ", 0, offset)
        body += bytes(-len(body) % 32)
        offset += len(body)
        data += body
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)
    return path
