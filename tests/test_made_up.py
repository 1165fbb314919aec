#!/usr/bin/env python3
"""test_made_up.py - the models that bench/made_up.py writes are ones that rz opens and runs."""

import os
import subprocess
import sys
import tempfile
import unittest

import rzlib


class MadeUp(unittest.TestCase):
    def check(self, shape):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, shape + ".gguf")
            subprocess.run([sys.executable, os.path.join(rzlib.SOURCE, "bench", "made_up.py"), shape, path], check=True)
            done = rzlib.rz("run", "-m", path, "-p", "w1 w2", "-n", "4", "--temp", "0", "--ignore-eos", "--timings")
            self.assertIn("4 tokens", done.err)
            return rzlib.rz("plan", path, "--explain").out

    def test_tiny(self):
        self.assertNotIn("glu_id", self.check("tiny"))

    def test_tiny_moe(self):
        self.assertIn("glu_id", self.check("tiny-moe"))


if __name__ == "__main__":
    unittest.main()
