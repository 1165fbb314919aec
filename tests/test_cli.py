#!/usr/bin/env python3
"""test_cli.py - the command line as a user meets it: commands, options, exit statuses, errors."""

import json
import math
import os
import signal
import subprocess
import tempfile
import unittest

import rzlib

LLAMA = rzlib.fixture("tiny-llama.gguf")  # SentencePiece vocabulary, adds BOS
QWEN = rzlib.fixture("tiny-qwen2.gguf")   # byte-level BPE, adds nothing
TEXT = "the king was in the house"
VERBS = ["run", "chat", "info", "tokenize", "detokenize", "template", "eval", "perplexity", "bench", "plan"]
LATER = ["pull", "list", "ps", "rm", "compare"]


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name, content=None):
        path = os.path.join(self.folder.name, name)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content)
        return path

    def fails(self, status, *args, says=(), stdin=None):
        """One error line on stderr that holds each of `says`."""
        done = rzlib.rz(*args, status=status, stdin=stdin)
        lines = [line for line in done.err.splitlines() if line.startswith("rz: error: ")]
        self.assertEqual(len(lines), 1, done.err)
        for word in says:
            self.assertIn(word, lines[0])
        return done


class Usage(Base):
    def test_help_fits_a_screen(self):
        for verb in [[]] + [[v] for v in VERBS]:
            done = rzlib.rz(*verb, "--help")
            lines = done.out.splitlines()
            self.assertGreater(len(lines), 2)
            self.assertLessEqual(len(lines), 40, verb)
            self.assertLessEqual(max(map(len, lines)), 100, verb)

    def test_later_commands_say_so(self):
        for verb in LATER:
            self.fails(2, verb, says=["not available in this build", verb])

    def test_unknown_command(self):
        self.fails(2, "rum")

    def test_wrong_options(self):
        run = ("run", "-m", LLAMA, "-p", "x")
        self.fails(2, *run, "--temps", "1", says=["--temps", "--temp?"])
        self.fails(2, *run, "--temp", "hot", says=["--temp hot", "not a number"])
        self.fails(2, *run, "--temp", "nan", says=["--temp nan"])
        self.fails(2, *run, "--temp", "-1", says=["from 0 to"])
        self.fails(2, *run, "--top-p", "1.5", says=["--top-p 1.5"])
        self.fails(2, *run, "-n", "0", says=["-n 0"])
        self.fails(2, *run, "-n", "1e3", says=["-n 1e3"])
        self.fails(2, *run, "-n", says=["-n", "needs a value"])
        self.fails(2, *run, "--raw=1", says=["--raw", "takes no value"])
        self.fails(2, *run, "--seed", "18446744073709551616", says=["--seed"])
        self.fails(2, *run, "--stop", "", says=["--stop"])
        self.fails(2, *run, "--logprobs", "21", says=["--logprobs 21"])
        self.fails(2, *run, "--logit-bias", "5", says=["--logit-bias 5"])
        self.fails(2, *run, "--logit-bias", "99999999=1", says=["--logit-bias"])
        self.fails(2, *run, "stray", says=["stray", "unexpected"])
        self.fails(2, *run, "-f", "x", says=["-p and -f"])

    def test_what_cannot_be_honoured_is_refused(self):
        run = ("run", "-m", LLAMA, "-p", "x")
        self.fails(2, *run, "--grammar", "g", "--regex", "s", says=["only one of them"])
        self.fails(1, *run, "--json-schema", '{"not": {}}', says=["#/not", "not supported"])
        self.fails(2, *run, "--system", "s", says=["--system", "template"])

    def test_missing_model(self):
        self.fails(2, "run", "-p", "x")
        self.fails(1, "run", "-m", self.path("none.gguf"), "-p", "x", says=["none.gguf"])

    def test_error_as_json(self):
        done = self.fails(1, "info", self.path("none.gguf"), "--json")
        error = json.loads(done.out)["error"]
        self.assertEqual(sorted(error), ["code", "message", "where"])

    def test_options_stand_anywhere(self):
        a = rzlib.rz("-t", "1", "run", "-m", LLAMA, "-p", TEXT, "-n", "4", "--temp", "0").out
        b = rzlib.rz("run", "--temp=0", "-n=4", "-p=" + TEXT, "--model=" + LLAMA, "-t", "1").out
        self.assertEqual(a, b)


class Run(Base):
    def run_json(self, *args, model=LLAMA):
        return rzlib.run_json("-m", model, *args)

    def test_stdout_is_the_text_alone(self):
        done = rzlib.rz("run", "-m", LLAMA, "-p", TEXT, "-n", "12", "--temp", "0", "--timings")
        whole = self.run_json("-p", TEXT, "-n", "12", "--temp", "0")
        self.assertEqual(done.out, whole["text"])
        for word in ("prompt", "tokens/s", "load", "first token", "seed"):
            self.assertIn(word, done.err)

    def test_lines_add_up(self):
        lines = rzlib.rz("run", "-m", LLAMA, "-p", TEXT, "-n", "12", "--temp", "0", "--json").out.splitlines()
        parts, last = [json.loads(line) for line in lines[:-1]], json.loads(lines[-1])
        self.assertEqual("".join(p["text"] for p in parts), last["text"])
        self.assertEqual([p["token"] for p in parts if "token" in p], last["tokens"])
        self.assertEqual(last["new_tokens"], len(last["tokens"]))
        self.assertEqual(last["prompt_tokens"], len(last["prompt"]))
        self.assertIn(last["finish"], ("stop", "length"))

    def test_prompt_from_everywhere(self):
        file = self.path("prompt", TEXT.encode())
        want = self.run_json("-p", TEXT, "-n", "6", "--temp", "0")["tokens"]
        self.assertEqual(self.run_json("-f", file, "-n", "6", "--temp", "0")["tokens"], want)
        done = rzlib.rz("run", "-m", LLAMA, "-n", "6", "--temp", "0", "--json", stdin=TEXT.encode())
        self.assertEqual(json.loads(done.out.splitlines()[-1])["tokens"], want)

    def test_length(self):
        last = self.run_json("-p", TEXT, "-n", "5", "--ignore-eos")
        self.assertEqual((last["finish"], last["new_tokens"]), ("length", 5))

    def test_full_context_ends_with_length(self):
        last = self.run_json("-p", TEXT, "-c", "32", "--ignore-eos")
        self.assertEqual(last["finish"], "length")
        self.assertLessEqual(last["prompt_tokens"] + last["new_tokens"], 33)
        self.assertGreaterEqual(last["prompt_tokens"] + last["new_tokens"], 32)

    def test_prompt_longer_than_the_context(self):
        n = self.run_json("-p", TEXT, "-n", "1")["prompt_tokens"]
        self.fails(1, "run", "-m", LLAMA, "-p", TEXT, "-c", "4", says=[str(n), "4"])

    def test_seed(self):
        args = ("-p", TEXT, "-n", "16", "--temp", "1.5", "--ignore-eos")
        runs = [self.run_json(*args, "--seed", s)["tokens"] for s in ("1", "1", "2")]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        drawn = [self.run_json(*args) for _ in range(2)]
        self.assertNotEqual(drawn[0]["seed"], drawn[1]["seed"])
        again = self.run_json(*args, "--seed", str(drawn[0]["seed"]))
        self.assertEqual(again["tokens"], drawn[0]["tokens"])

    def test_bias(self):
        first = self.run_json("-p", TEXT, "-n", "1", "--temp", "0")["tokens"][0]
        banned = self.run_json("-p", TEXT, "-n", "1", "--temp", "0", "--logit-bias", "%d=-inf" % first)
        self.assertNotEqual(banned["tokens"][0], first)
        wanted = self.run_json("-p", TEXT, "-n", "3", "--temp", "0", "--logit-bias", "290=1000")
        self.assertEqual(wanted["tokens"], [290] * 3)

    def test_logprobs(self):
        lines = rzlib.rz("run", "-m", LLAMA, "-p", TEXT, "-n", "4", "--temp", "0", "--logprobs", "3",
                         "--json").out.splitlines()
        for line in map(json.loads, lines[:-1]):
            if "token" not in line:
                continue
            self.assertLessEqual(line["logprob"], 0)
            top = [t["logprob"] for t in line["top"]]
            self.assertEqual(len(top), 3)
            self.assertEqual(top, sorted(top, reverse=True))
            self.assertEqual(line["top"][0]["token"], line["token"])
            self.assertAlmostEqual(top[0], line["logprob"], places=5)

    def test_stop_string(self):
        # All the weight on one printable token makes a text that is known beforehand.
        ids = [int(i) for i in rzlib.rz("tokenize", "-m", QWEN, "-p", "abc").out.split()]
        bias = ("--logit-bias", "%d=1000" % ids[0])
        piece = self.run_json("-p", "x", "-n", "1", "--temp", "0", *bias, model=QWEN)["text"]
        last = self.run_json("-p", "x", "-n", "20", "--temp", "0", *bias, "--stop", "zz", "--stop", piece * 3,
                             model=QWEN)
        self.assertEqual((last["finish"], last["text"]), ("stop", ""))
        last = self.run_json("-p", "x", "-n", "5", "--temp", "0", *bias, "--stop", "zz", model=QWEN)
        self.assertEqual((last["finish"], last["text"]), ("length", piece * 5))

    def test_special_tokens_only_with_raw(self):
        bos = self.run_json("-p", "a", "-n", "1")["prompt"][0]
        plain = self.run_json("-p", "a</s>", "-n", "1")["prompt"]
        raw = self.run_json("-p", "a</s>", "-n", "1", "--raw")["prompt"]
        self.assertEqual((plain[0], raw[0]), (bos, bos))
        self.assertNotIn(2, plain)
        self.assertEqual(raw[-1], 2)

    def test_empty_prompt(self):
        self.assertEqual(self.run_json("-p", "", "-n", "1")["prompt_tokens"], 1)
        self.fails(1, "run", "-m", QWEN, "-p", "", says=["empty"])

    def test_interrupt(self):
        p = subprocess.Popen([rzlib.RZ, "run", "-m", LLAMA, "-p", TEXT, "--ignore-eos", "-c", "100000"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(p.stdout.read(1))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        self.assertIn(p.returncode, (130, -signal.SIGINT))

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            p = subprocess.run([rzlib.RZ, "run", "-m", LLAMA, "-p", TEXT, "-n", "8"], stdout=full,
                               stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"standard output", p.stderr)

    def test_streams(self):
        # more text than a pipe holds: what is written is not over before it is read
        p = subprocess.Popen([rzlib.RZ, "run", "-m", LLAMA, "-p", TEXT, "--ignore-eos", "-c", "100000"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first = p.stdout.read(1)
        alive = p.poll() is None
        p.stdout.close()
        p.kill()
        p.wait()
        self.assertTrue(first)
        self.assertTrue(alive, "the text came only when the run was over")


class Info(Base):
    def test_summary(self):
        out = rzlib.rz("info", LLAMA).out
        for word in ("architecture   llama", "parameters", "context", "vocabulary", "chat template", "kv cache"):
            self.assertIn(word, out)
        self.assertEqual(rzlib.rz("info", "-m", LLAMA).out, out)

    def test_json_agrees_with_the_tables(self):
        info = json.loads(rzlib.rz("info", LLAMA, "--json").out)
        tensors = json.loads(rzlib.rz("info", LLAMA, "--tensors", "--json").out)["tensors"]
        self.assertEqual(info["architecture"], "llama")
        self.assertEqual(sum(t["tensors"] for t in info["types"].values()), len(tensors))
        self.assertEqual(sum(t["bytes"] for t in info["types"].values()), sum(t["bytes"] for t in tensors))
        self.assertEqual(info["file_bytes"], os.path.getsize(LLAMA))
        self.assertEqual(sum(math.prod(t["shape"]) for t in tensors), info["parameters"])
        embd = [t for t in tensors if t["name"] == "token_embd.weight"][0]
        self.assertEqual(embd["shape"], [info["embedding"], info["vocabulary"]])

    def test_metadata(self):
        self.assertEqual(rzlib.rz("info", LLAMA, "--metadata", "general.architecture").out, "llama\n")
        self.assertEqual(rzlib.rz("info", "--metadata=general.architecture", LLAMA).out, "llama\n")
        listed = rzlib.rz("info", "--metadata", LLAMA).out
        self.assertIn('general.architecture = "llama"', listed)
        whole = json.loads(rzlib.rz("info", LLAMA, "--metadata", "--json").out)
        self.assertEqual(len(whole), len(listed.splitlines()))
        self.fails(1, "info", LLAMA, "--metadata", "no.such.key", says=["no.such.key"])

    def test_vocab(self):
        lines = rzlib.rz("info", LLAMA, "--vocab").out.splitlines()
        vocab = json.loads(rzlib.rz("info", LLAMA, "--vocab", "--json").out)["vocab"]
        self.assertEqual(len(lines), len(vocab))
        self.assertEqual(lines[1].split("\t")[:2], ["1", vocab[1]["kind"]])
        self.assertEqual(vocab[1]["kind"], "control")

    def test_one_thing_at_a_time(self):
        self.fails(2, "info", LLAMA, "--tensors", "--vocab", says=["only one"])
        self.fails(2, "info", "-m", LLAMA, LLAMA, says=["already named"])


class Tokens(Base):
    def ids(self, model, *args, stdin=None):
        return rzlib.rz("tokenize", "-m", model, *args, stdin=stdin).out

    def test_shapes(self):
        ids = self.ids(LLAMA, "-p", TEXT)
        self.assertRegex(ids, r"\A\d+( \d+)*\n\Z")
        self.assertEqual(self.ids(LLAMA, stdin=TEXT.encode()), ids)
        self.assertEqual(json.loads(self.ids(LLAMA, "-p", TEXT, "--json"))["ids"], [int(i) for i in ids.split()])
        pieces = self.ids(LLAMA, "-p", TEXT, "--pieces").splitlines()
        self.assertEqual([p.split("\t")[0] for p in pieces], ids.split())
        spelled = "".join(json.loads(p.split("\t")[1]) for p in pieces)
        self.assertEqual(spelled.replace("\u2581", " ").strip(), TEXT)

    def test_ends(self):
        plain = self.ids(LLAMA, "-p", TEXT).split()
        self.assertEqual(self.ids(LLAMA, "-p", TEXT, "--bos", "--eos").split(), ["1"] + plain + ["2"])

    def test_special(self):
        self.assertIn("2", self.ids(LLAMA, "-p", "a</s>").split())
        self.assertNotIn("2", self.ids(LLAMA, "-p", "a</s>", "--no-special").split())

    def test_lines(self):
        texts = ["one two", "", "h\u00e9\n\"\u4e2d\" \U0001f600", TEXT]
        lines = "".join(json.dumps(t) + "\n" for t in texts).encode()
        for model in (LLAMA, QWEN):
            got = self.ids(model, "--lines", stdin=lines).split("\n")
            self.assertEqual(got.pop(), "")
            self.assertEqual(got, [self.ids(model, stdin=t.encode()).rstrip("\n") for t in texts])
        self.fails(1, "tokenize", "-m", LLAMA, "--lines", stdin=b'"a"\nb\n', says=["line 2"])
        self.fails(1, "tokenize", "-m", LLAMA, "--lines", stdin=b'["a"]\n', says=["line 1"])

    def test_round_trip(self):
        for model in (LLAMA, QWEN):
            for text in (b"the king", b"a  b\n\tc", "h\u00e9 \u4e2d\u6587 \U0001f600".encode(), b"\xff\xfe\x00x"):
                ids = self.ids(model, stdin=text).encode()
                back = rzlib.rz("detokenize", "-m", model, stdin=ids).stdout
                self.assertEqual(back, text, (model, ids))

    def test_detokenize_lines(self):
        lines = self.ids(QWEN, "-p", TEXT) + self.ids(QWEN, "-p", "ab")
        out = rzlib.rz("detokenize", "-m", QWEN, "--lines", stdin=lines.encode()).out
        self.assertEqual([json.loads(line) for line in out.splitlines()], [TEXT, "ab"])
        self.fails(1, "detokenize", "-m", QWEN, "-p", "1 2 x", says=["x", "not a token id"])
        self.fails(1, "detokenize", "-m", QWEN, "-p", "1 -2", says=["-2"])
        self.fails(1, "detokenize", "-m", QWEN, "-p", "99999999", says=["99999999"])


class Eval(Base):
    IDS = [1, 75, 100, 90, 80, 300, 12, 9]

    def setUp(self):
        super().setUp()
        self.tokens = self.path("tokens.i32")
        rzlib.write_ints(self.tokens, self.IDS)
        self.info = json.loads(rzlib.rz("info", LLAMA, "--json").out)

    def test_rows(self):
        n_vocab = self.info["vocabulary"]
        every = rzlib.evaluate(LLAMA, self.tokens, self.path("all"))
        last = rzlib.evaluate(LLAMA, self.tokens, self.path("last"), "--rows", "last")
        self.assertEqual(len(every), len(self.IDS) * n_vocab * 4)
        self.assertEqual(last, every[-n_vocab * 4:])
        hidden = rzlib.evaluate(LLAMA, self.tokens, self.path("hidden"), "--hidden")
        self.assertEqual(len(hidden), len(self.IDS) * self.info["embedding"] * 4)
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["all", "hidden", "last", "tokens.i32"])

    def test_bad_input_leaves_no_output(self):
        out = self.path("out")
        args = ("eval", "-m", LLAMA, "--logits", out, "--tokens")
        self.fails(1, *args, self.path("odd", b"12345"), says=["odd", "5 bytes"])
        self.fails(1, *args, self.path("empty", b""), says=["empty"])
        rzlib.write_ints(self.path("high"), [1, 2, self.info["vocabulary"]])
        self.fails(1, *args, self.path("high"), says=["index 2"])
        rzlib.write_ints(self.path("negative"), [-1])
        self.fails(1, *args, self.path("negative"), says=["id -1"])
        self.fails(1, *args, self.path("missing"), says=["missing"])
        self.assertFalse(os.path.exists(out))
        self.fails(2, "eval", "-m", LLAMA, "--tokens", self.tokens, says=["--logits"])
        self.fails(2, *args, self.tokens, "--rows", "first", says=["first"])
        self.fails(1, "eval", "-m", LLAMA, "--tokens", self.tokens, "--logits", self.path("no/such/out"),
                   says=["no/such/out"])
        self.assertFalse([f for f in os.listdir(self.folder.name) if ".part." in f])

    def test_keeps_what_was_there(self):
        out = self.path("out", b"old")
        rzlib.write_ints(self.path("high"), [self.info["vocabulary"]])
        self.fails(1, "eval", "-m", LLAMA, "--logits", out, "--tokens", self.path("high"))
        with open(out, "rb") as f:
            self.assertEqual(f.read(), b"old")


class Perplexity(Base):
    def setUp(self):
        super().setUp()
        self.text = self.path("text", (TEXT + " and the rain was on it. ").encode() * 12)
        self.args = ("perplexity", "-f", self.text, "--ctx", "32", "--json", "-m")

    def test_against_its_own_logits(self):
        base = self.path("base.f32")
        done = json.loads(rzlib.rz(*self.args, LLAMA, "--chunks", "3", "--logits", base).out)
        ids = [1] + [int(i) for i in rzlib.rz("tokenize", "-m", LLAMA, "-f", self.text, "--no-special").out.split()]
        rows, n_vocab = rzlib.floats(base), json.loads(rzlib.rz("info", LLAMA, "--json").out)["vocabulary"]
        self.assertEqual(len(rows), 3 * 32 * n_vocab)
        nll = []
        for window in range(3):
            for at in range(window * 32 + 16, window * 32 + 31):
                row = rows[at * n_vocab:(at + 1) * n_vocab]
                nll.append(rzlib.log_sum_exp(row) - row[ids[at + 1]])
        mean = math.fsum(nll) / len(nll)
        error = math.sqrt((math.fsum(v * v for v in nll) / len(nll) - mean * mean) / (len(nll) - 1))
        self.assertEqual((done["tokens"], done["windows"], done["ctx"]), (len(nll), 3, 32))
        self.assertAlmostEqual(done["perplexity"] / math.exp(mean), 1, places=6)
        self.assertAlmostEqual(done["standard_error"] / (error * math.exp(mean)), 1, places=5)
        same = json.loads(rzlib.rz(*self.args, LLAMA, "--chunks", "3", "--kl", base).out)
        self.assertEqual((same["kl"], same["top1_percent"]), (0, 100))

    def test_wrong_base(self):
        base = self.path("base.f32", b"\0" * 400)
        self.fails(1, "perplexity", "-f", self.text, "--ctx", "32", "-m", LLAMA, "--kl", base,
                   says=["base.f32", "400 bytes"])

    def test_short_text(self):
        self.fails(1, "perplexity", "-p", "short", "-m", LLAMA, says=["512"])


class Others(Base):
    def test_bench(self):
        out = rzlib.rz("bench", "-m", LLAMA, "-p", "8,16", "-n", "4", "-b", "1,2", "-d", "0,8", "-r", "2", "--json").out
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(lines), 12)
        for line in lines:
            self.assertLessEqual(line["min"], line["median"])
            self.assertLessEqual(line["median"], line["max"])
            self.assertGreater(line["min"], 0)
            self.assertGreater(line["read_gb_per_s"], 0)
            self.assertEqual(line["bytes_per_token"] > 0, line["test"] == "new")
        text = rzlib.rz("bench", "-m", LLAMA, "-p", "8", "-n", "0", "-r", "1").out.splitlines()
        self.assertEqual(len(text), 2)
        self.fails(2, "bench", "-m", LLAMA, "-p", "0", "-n", "0", says=["no test"])
        self.fails(2, "bench", "-m", LLAMA, "-p", "8,,4", says=["-p"])

    def test_plan(self):
        out = rzlib.rz("plan", LLAMA, "--explain").out
        self.assertIn("cpu", out)
        lines = json.loads(rzlib.rz("plan", LLAMA, "--explain", "--json").out)["plan"]
        self.assertEqual(lines, out.splitlines())
        self.fails(2, "plan", LLAMA, says=["--explain"])


class Vocabularies(unittest.TestCase):
    """Every text of the shared vocabularies through the real command."""

    def check(self, name):
        cases, vocab = rzlib.shared("vocab", name + ".cases.tsv"), rzlib.shared("vocab", name + ".gguf")
        if not cases or not vocab:
            self.skipTest("no reference vocabularies")
        lines, want = [], []
        with open(cases, encoding="ascii") as f:
            for line in f:
                text, _, ids = line.rstrip("\n").partition("\t")
                data = bytes.fromhex(text)
                try:
                    lines.append(json.dumps(data.decode()) + "\n")
                    want.append(ids)
                except UnicodeDecodeError:
                    with tempfile.NamedTemporaryFile() as raw:
                        raw.write(data)
                        raw.flush()
                        self.assertEqual(rzlib.rz("tokenize", "-m", vocab, "-f", raw.name).out.rstrip("\n"), ids)
        got = rzlib.rz("tokenize", "-m", vocab, "--lines", stdin="".join(lines).encode()).out.split("\n")
        self.assertEqual(got.pop(), "")
        wrong = [(line, g, w) for line, g, w in zip(lines, got, want) if g != w]
        self.assertEqual(len(got), len(want))
        self.assertEqual(wrong[:3], [], "%d of %d texts" % (len(wrong), len(want)))
        print("    %s: %d texts equal" % (name, len(want)))

    def test_smollm2(self):
        self.check("smollm2")

    def test_gpt_2(self):
        self.check("gpt-2")

    def test_qwen2(self):
        self.check("qwen2")

    def test_llama_spm(self):
        self.check("llama-spm")


class Stories(unittest.TestCase):
    def test_a_real_model_tells_a_story(self):
        model = rzlib.shared("models", "stories260K.gguf")
        if not model:
            self.skipTest("no stories260K.gguf")
        args = ("-m", model, "-p", "Once upon a time", "-n", "64", "--temp", "0")
        text = rzlib.run_json(*args)["text"]
        self.assertIn("there was a little girl named Lily", text)
        self.assertEqual(rzlib.run_json(*args, "--plugin", "scalar")["text"], text)


if __name__ == "__main__":
    unittest.main()
