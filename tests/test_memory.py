#!/usr/bin/env python3
"""test_memory.py - what the default model takes: at no moment more than its file, its KV and 40 MB.

The highest resident memory counts, as the kernel tells it at the end: while weights are repacked a model must
not be there twice. Needs the default model (RZ_MODEL, or what make run fetched).
"""

import json
import os
import subprocess
import unittest

import rzlib

CONTEXT = 2048
MORE = 40e6


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rzlib.need_release("sanitizers have a memory of their own; done in the release configuration")
        cls.model = rzlib.need_default_model()

    def highest(self, *args):
        """Bytes; the context is filled but for a few tokens."""
        prompt = " the" * (CONTEXT - 40)
        process = subprocess.Popen([rzlib.RZ, "run", "--json", "-m", self.model, "--raw", "-p", prompt, "-n", "16",
                                    "-c", str(CONTEXT), "--temp", "0", "--ignore-eos", "-t", "2", *args],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        last = process.stdout.read().splitlines()[-1]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        self.assertEqual(process.returncode, 0)
        self.assertGreater(len(json.loads(last)["prompt"]), CONTEXT - 50)
        return usage.ru_maxrss * 1024

    def check(self, bytes_of_kv, *args):
        # 30 layers, 3 heads of 64 for keys and for values
        bound = os.path.getsize(self.model) + CONTEXT * 30 * 2 * 3 * 64 * bytes_of_kv + MORE
        highest = self.highest(*args)
        print("    %s: %.1f MB of at most %.1f" % (" ".join(args), highest / 1e6, bound / 1e6))
        self.assertLessEqual(highest, bound)

    def test_default(self):
        self.check(2)

    def test_f32(self):
        self.check(4, "-o", "engine.kv_type=f32")

    @unittest.skipUnless(rzlib.has_plugin("avx2"), "no avx2")
    def test_avx2(self):
        self.check(2, "--plugin", "avx2")


if __name__ == "__main__":
    unittest.main()
