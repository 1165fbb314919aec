#!/usr/bin/env python3
"""What the fuzzers found stays fixed, and what they begin with runs: each target of tests/fuzz over its seeds
and over tests/fuzz/found/NAME, in this configuration."""

import glob
import os
import subprocess
import sys
import tempfile
import unittest

import rzlib

FUZZ = os.path.join(rzlib.SOURCE, "tests", "fuzz")
TARGETS = sorted(os.path.basename(p)[7:] for p in glob.glob(os.path.join(rzlib.BUILD, "tests", "replay_*"))
                 if not p.endswith((".o", ".d")))


def files(folder):
    return sorted(p for p in glob.glob(os.path.join(folder, "*")) if os.path.isfile(p))


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        subprocess.run([sys.executable, os.path.join(FUZZ, "seeds.py"), rzlib.FIXTURES, cls.folder.name], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def replay(self, target, inputs):
        for path in inputs:  # one by one, so that a failure names its file
            done = subprocess.run([os.path.join(rzlib.BUILD, "tests", "replay_" + target), path],
                                  capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, "%s: %s" % (path, done.stderr.decode("utf-8", "replace")[-3000:]))
            self.assertEqual(done.stdout, b"1 inputs\n")

    def test_every_target_is_there(self):
        sources = {os.path.basename(p)[:-2] for p in glob.glob(os.path.join(FUZZ, "*.c"))}
        self.assertEqual(sources - {"common", "folder", "replay"}, set(TARGETS))


def add(target):
    def seeds(self):
        inputs = files(os.path.join(self.folder.name, target))
        self.assertGreater(len(inputs), 1)
        self.replay(target, inputs)

    def found(self):
        self.replay(target, files(os.path.join(FUZZ, "found", target)))
    setattr(Replay, "test_seeds_of_" + target, seeds)
    if files(os.path.join(FUZZ, "found", target)):
        setattr(Replay, "test_found_by_" + target, found)


for _target in TARGETS:
    add(_target)

if __name__ == "__main__":
    unittest.main()
