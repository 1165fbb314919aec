#!/usr/bin/env python3
"""test_sentencepiece_ref.py - random texts against the Python package `sentencepiece`.

The BPE kind with the vocabulary of llama-spm from the reference data (RZ_SHARED, or ../shared beside the
checkout), and unigram models that are trained here, on the words of this tree's documents. Needs the packages
sentencepiece and gguf; says so and passes where something is absent. TEXTS: how many texts a model (300).
"""
import glob
import io
import os
import random
import shutil
import tempfile
import unittest

import rzlib
from test_tokenizers_ref import TEXTS, ours, random_text

try:
    import gguf
    import sentencepiece
    MISSING = None
except ImportError as e:
    MISSING = "%s (pip install sentencepiece gguf)" % e


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def data_field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number, value):
    return varint(number << 3) + varint(value)


def bpe_model(path):
    """A SentencePiece model with the pieces of a GGUF file and Llama's settings."""
    import struct
    fields = gguf.GGUFReader(path).fields

    def values(key):
        field = fields["tokenizer.ggml." + key]
        return [field.parts[i] for i in field.data]
    out = b""
    for text, score, kind in zip(values("tokens"), values("scores"), values("token_type")):
        out += data_field(1, data_field(1, bytes(text)) + varint(2 << 3 | 5) + struct.pack("<f", score[0]) +
                          number_field(3, int(kind[0])))
    trainer = number_field(3, 2) + number_field(35, 1)                        # BPE, byte_fallback
    normalizer = data_field(1, b"identity") + number_field(3, 1) + number_field(4, 0) + number_field(5, 1)
    return out + data_field(2, trainer) + data_field(3, normalizer)


def sentences():
    for path in sorted(glob.glob(os.path.join(rzlib.SOURCE, "**", "*.md"), recursive=True)):
        with open(path, encoding="utf-8") as f:
            yield from (line.strip() for line in f if line.strip())
    rng = random.Random(7)
    for _ in range(2000):
        yield random_text(rng).replace("\n", " ")


def train(**options):
    """A unigram model, as a protocol buffer."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(), model_writer=model, model_type="unigram", vocab_size=8000,
        character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, num_threads=1, bos_id=-1, **options)
    return model.getvalue()


def fields_of(message):
    """The fields of a protocol buffer: (number, value), a value being a number or bytes."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            n = {1: 8, 2: None, 5: 4}[tag & 7]
            n = number() if n is None else n
            yield tag >> 3, message[at:at + n]
            at += n


def write_gguf(path, proto, sp):
    """The model as a GGUF file without tensors, as the usual converter writes it."""
    normalizer = dict(fields_of(dict(fields_of(proto))[3]))
    w = gguf.GGUFWriter(path, "t5")
    kinds = []
    for i in range(sp.get_piece_size()):
        kinds.append(3 if sp.is_control(i) else 2 if sp.is_unknown(i) else 6 if sp.is_byte(i)
                     else 5 if sp.is_unused(i) else 1)
    user = [i for i, (n, v) in enumerate((n, v) for n, v in fields_of(proto) if n == 1) if dict(fields_of(v)).get(3) == 4]
    for i in user:
        kinds[i] = 4
    w.add_tokenizer_model("t5")
    w.add_tokenizer_pre("default")
    w.add_token_list([sp.id_to_piece(i).encode() for i in range(sp.get_piece_size())])
    w.add_token_scores([sp.get_score(i) for i in range(sp.get_piece_size())])
    w.add_token_types(kinds)
    w.add_add_space_prefix(bool(normalizer.get(3, 1)))
    w.add_remove_extra_whitespaces(bool(normalizer.get(4, 1)))
    if normalizer.get(2):
        w.add_precompiled_charsmap(normalizer[2])
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    w.add_add_bos_token(False)
    w.add_add_eos_token(False)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def rounded(sp, ids, want):
    """sentencepiece adds the scores of a way in float (BestPathNode::best_path_score of EncodeOptimized, in
    unigram_model.cc), `tokenizers` and llama.cpp, as we, in double: of two ways whose sums are the same or nearly so
    it may take the other one. Ours must spell the same and be no worse, by less than float can tell."""
    unknown = min(sp.get_score(i) for i in range(sp.get_piece_size()) if not sp.is_control(i)) - 10

    def total(way):
        return sum(unknown if sp.is_unknown(i) else sp.get_score(i) for i in way)
    same = "".join(sp.id_to_piece(ids)) == "".join(sp.id_to_piece(want))
    better = total(ids) - total(want)
    return same and -1e-9 <= better <= 1e-6 * len(want) * abs(total(want))


@unittest.skipIf(MISSING, MISSING)
class Random(unittest.TestCase):
    def compare(self, path, sp, name, explained=lambda sp, ids, want: False):
        rng, n_explained = random.Random(name), 0
        texts = [random_text(rng) for _ in range(TEXTS)]
        for text, ids in zip(texts, ours(path, texts)):
            want = sp.encode(text)
            if ids != want and explained(sp, ids, want):
                n_explained += 1
                continue
            self.assertEqual(ids, want, ascii(text))
        if n_explained:
            print("%s: %d of %d texts differ by rounding only" % (name, n_explained, TEXTS))
        self.assertLess(n_explained, max(2, TEXTS // 20))

    def test_bpe(self):
        path = rzlib.shared("vocab", "llama-spm.gguf")
        if not path:
            self.skipTest("no reference data: vocab/llama-spm.gguf (RZ_SHARED)")
        sp = sentencepiece.SentencePieceProcessor(model_proto=bpe_model(path))
        self.compare(path, sp, "llama-spm")

    def unigram(self, name, **options):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        proto = train(**options)
        sp = sentencepiece.SentencePieceProcessor(model_proto=proto)
        path = os.path.join(folder, "unigram.gguf")
        write_gguf(path, proto, sp)
        self.compare(path, sp, name, rounded)

    def test_unigram_t5(self):
        self.unigram("t5")

    def test_unigram_bytes(self):
        self.unigram("bytes", byte_fallback=True, normalization_rule_name="nfkc_cf")

    def test_unigram_identity(self):
        self.unigram("identity", normalization_rule_name="identity", remove_extra_whitespaces=False)

    def test_unigram_no_prefix(self):
        self.unigram("no prefix", add_dummy_prefix=False)

    def test_unigram_no_prefix_all_spaces(self):
        self.unigram("all spaces", add_dummy_prefix=False, remove_extra_whitespaces=False, byte_fallback=True)


if __name__ == "__main__":
    unittest.main()
