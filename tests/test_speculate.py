#!/usr/bin/env python3
"""test_speculate.py - guesses ahead on real kernels: the same tokens and log probabilities with and without.

The engine's side of it, over fake devices, is test_spec.c and test_draft.c.
"""

import json
import os
import tempfile
import threading
import unittest

import rzlib
import test_http

# Models of a window, of latent attention, of experts, of alibi, of two ropes: what a rolled back row could disturb.
ARCHES = ["llama", "mistral", "gemma3", "cohere2", "deepseek_v2", "mixtral", "mpt", "gpt_oss", "phi3-longrope", "llama4"]
RECURRENT = ["mamba", "falcon_h1"]
LOOKUP = ("-o", "engine.speculate=lookup")
PROMPT = "the king and the queen saw the king and the"
WAYS = [("--temp", "0"),
        ("--temp", "1", "--seed", "5", "--top-k", "0", "--min-p", "0"),
        ("--temp", "0.7", "--seed", "6", "--repeat-penalty", "1.1", "--logit-bias", "7=2"),
        ("--temp", "0", "--logprobs", "3", "--frequency-penalty", "0.2")]
CODE = '''```python
import json
import sys


class Account:
    """An account of one customer."""

    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        self.history.append(("deposit", amount))

    def withdraw(self, amount):
        if amount > self.balance:
            raise ValueError("not enough money")
        self.balance -= amount
        self.history.append(("withdraw", amount))

    def report(self):
        for kind, amount in self.history:
            print(kind, amount)
        print("balance:", self.balance)
```

The same code, with the class renamed to Wallet:

```python
import json
import sys


class Wallet:'''


def draft(model):
    return ("-o", "engine.speculate=draft", "-o", "engine.draft_model=" + model)


def run(model, *args, prompt=PROMPT, n=40):
    """(the line of each token, the closing object) of `rz run`."""
    lines = rzlib.rz("run", "--json", "--raw", "-m", model, "-p", prompt, "-n", str(n), *args).out.splitlines()
    return lines[:-1], json.loads(lines[-1])


class Tiny(unittest.TestCase):
    def same(self, model, *speculate, ways=WAYS):
        right, guessed = 0, 0
        for way in ways:
            plain, end = run(model, *way, "--ignore-eos")
            ahead, spec = run(model, *way, "--ignore-eos", *speculate)
            self.assertEqual(plain, ahead, (model, way))
            self.assertEqual(end["tokens"], spec["tokens"])
            self.assertEqual(end["drafted_tokens"], 0)
            guessed += spec["drafted_tokens"]
            right += spec["accepted_tokens"]
        return guessed, right

    def test_lookup_gives_the_same_tokens(self):
        runs = [self.same(rzlib.fixture("tiny-%s.gguf" % kind), *LOOKUP) for kind in ("q4_k", "q8_0", "f16")]
        self.assertGreater(sum(guessed for guessed, _ in runs), 0)

    def test_other_families_give_the_same_tokens(self):
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch (RZ_SHARED)")
        for name in ARCHES:
            model = rzlib.shared("arch", name, "model.gguf") or rzlib.shared("arch", name, "hf")
            guessed, right = self.same(model, *draft(model), ways=WAYS[:2])
            self.assertEqual((guessed > 0, guessed), (True, right), name)
            self.same(model, *LOOKUP, ways=WAYS[2:])

    def test_a_model_guesses_for_itself(self):
        model = rzlib.fixture("tiny-llama.gguf")
        guessed, right = self.same(model, *draft(model))
        self.assertEqual((guessed > 0, guessed), (True, right))

    def test_a_smaller_model_guesses_for_a_larger_one(self):
        model = rzlib.fixture("tiny-f16.gguf")
        with tempfile.TemporaryDirectory() as folder:
            small = os.path.join(folder, "small.gguf")
            rzlib.rz("quantize", model, small, "Q4_0")
            guessed, right = self.same(model, *draft(small))
        self.assertTrue(guessed > right > 0, (guessed, right))
        self.same(model, *draft(rzlib.fixture("tiny-q4_k.gguf")))  # other weights: wrong all the time

    def test_a_trained_model_is_guessed_by_one_that_is_not(self):
        model = rzlib.shared("models", "stories260K.gguf")
        if not model:
            self.skipTest("no reference data models (RZ_SHARED)")
        self.same(model, *LOOKUP, ways=WAYS[:3])
        guessed, right = self.same(model, *draft(model), ways=WAYS[:3])
        self.assertEqual(guessed, right)

    def test_recurrent_models_say_that_they_cannot(self):
        for name in RECURRENT:
            model = rzlib.shared("arch", name, "model.gguf")
            if not model:
                self.skipTest("no reference data arch (RZ_SHARED)")
            self.assertEqual(self.same(model, *LOOKUP, ways=WAYS[:1]), (0, 0))
            said = rzlib.rz("run", "--raw", "-m", model, "-p", "a", "-n", "1", *LOOKUP).err
            self.assertIn("recurrent state, from which wrong guesses cannot be taken back; it is off", said)
            other = rzlib.shared("arch", "llama-mqa", "model.gguf")
            said = rzlib.rz("run", "-m", other, "-p", "a", *draft(model), status=1).err
            self.assertIn("speculate: the draft model has layers with a recurrent state", said)

    def test_other_vocabularies_are_refused(self):
        llama, qwen2 = rzlib.fixture("tiny-llama.gguf"), rzlib.fixture("tiny-qwen2.gguf")
        said = rzlib.rz("run", "-m", llama, "-p", "a", *draft(qwen2), status=2).err
        self.assertIn("draft_model: ", said)
        self.assertIn("has another vocabulary", said)
        said = rzlib.rz("run", "-m", llama, "-p", "a", "-o", "engine.speculate=draft", status=2).err
        self.assertIn("draft needs a draft_model", said)
        said = rzlib.rz("run", "-m", llama, "-p", "a", *draft("/nowhere.gguf"), status=1).err
        self.assertIn("draft_model", said)


class Company(unittest.TestCase):
    """Requests of all kinds at the same time, as the server gets them."""

    def requests(self, n, prompts, tokens):
        return [{"prompt": prompts[i % len(prompts)], "max_tokens": tokens + i % 7, "seed": i,
                 "temperature": 0 if i % 3 == 0 else 0.8, "top_p": 0.9 if i % 4 == 1 else 1,
                 "frequency_penalty": 0.3 if i % 5 == 2 else 0, "logprobs": 2 if i % 6 == 4 else None,
                 "logit_bias": {"11": 1.5} if i % 7 == 3 else {}} for i in range(n)]

    def ask_all(self, model, requests, *args):
        server = test_http.Server("-o", "engine.max_seqs=8", "-o", "engine.context=512", *args, model=model)
        answers = [None] * len(requests)

        def ask(share):
            for i in share:
                status, body = server.ask(requests[i])
                answers[i] = status, [{k: c[k] for k in ("text", "finish_reason", "logprobs")}
                                      for c in json.loads(body).get("choices", [])]

        try:
            threads = [threading.Thread(target=ask, args=(range(k, len(requests), 16),)) for k in range(16)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            self.assertEqual(server.stop(), 0)
            server.process.stderr.close()
        self.assertTrue(all(a[0] == 200 for a in answers), answers)
        return answers

    def compare(self, model, prompts, tokens, *ways):
        requests = self.requests(64, prompts, tokens)
        plain = self.ask_all(model, requests)
        for way in ways:
            self.assertEqual(self.ask_all(model, requests, *way), plain, way)

    def test_64_requests_of_a_tiny_model(self):
        model = rzlib.fixture("tiny-q8_0.gguf")
        prompts = [PROMPT, "a b c a b c a b", "the queen"]
        self.compare(model, prompts, 16, LOOKUP, draft(model))


class Default(Company):
    @classmethod
    def setUpClass(cls):
        cls.model = rzlib.need_default_model()
        if not rzlib.SLOW:
            raise unittest.SkipTest("takes minutes (RZ_SLOW=0)")

    def test_64_requests_of_a_tiny_model(self):
        prompts = [CODE, "Red, green, blue, red, green, blue, red,", "The capital of France is"]
        self.compare(self.model, prompts, 40, LOOKUP)

    def test_a_text_repeated_with_one_change_is_mostly_guessed(self):
        plain, end = run(self.model, "--temp", "0", "--stop", "```", prompt=CODE, n=200)
        ahead, spec = run(self.model, "--temp", "0", "--stop", "```", *LOOKUP, prompt=CODE, n=200)
        self.assertEqual(plain, ahead)
        self.assertIn("def deposit(self, amount):", spec["text"])
        print("    %d of %d tokens guessed; %.0f tokens/s, %.0f without" % (
            spec["accepted_tokens"], spec["new_tokens"], spec["timings"]["new_tokens_per_s"],
            end["timings"]["new_tokens_per_s"]))
        self.assertGreater(spec["accepted_tokens"], 0.6 * spec["new_tokens"])


if __name__ == "__main__":
    unittest.main()
