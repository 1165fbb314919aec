#!/usr/bin/env python3
"""test_repack.py - the repack cache as its user meets it: same text, made once, made anew when it must be."""

import os
import shutil
import tempfile
import unittest

import rzlib


@unittest.skipUnless(rzlib.has_plugin("avx2"), "no kernel table that repacks weights")
class Repack(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.cache = os.path.join(self.folder.name, "cache")
        self.model = os.path.join(self.folder.name, "model.gguf")
        shutil.copy(rzlib.fixture("tiny-q8_0.gguf"), self.model)

    def run_rz(self, *options):
        done = rzlib.rz("run", "-m", self.model, "--raw", "-p", "a b", "-n", "6", "--temp", "0", "-q", *options)
        return done.out

    def cached(self, *options):
        return self.run_rz("-o", "engine.repack_cache=" + self.cache, *options)

    def files(self):
        return sorted(os.listdir(self.cache)) if os.path.isdir(self.cache) else []

    def test_same_text_and_one_file(self):
        plain = self.run_rz()
        self.assertEqual(self.cached(), plain)
        first = self.files()
        self.assertEqual(len(first), 1)
        inode = os.stat(os.path.join(self.cache, first[0])).st_ino
        self.assertEqual(self.cached(), plain)
        self.assertEqual(self.files(), first)
        self.assertEqual(os.stat(os.path.join(self.cache, first[0])).st_ino, inode, "was written anew")

    def test_a_changed_model_is_another_content(self):
        self.cached()
        os.utime(self.model, ns=(1, 1))
        self.cached()
        self.assertEqual(len(self.files()), 2)

    def test_damage_is_noticed(self):
        plain = self.cached("-o", "engine.repack_verify=1")
        path = os.path.join(self.cache, self.files()[0])
        with open(path, "r+b") as f:
            f.seek(-5000, os.SEEK_END)
            f.write(bytes(64))
        self.assertEqual(self.cached("-o", "engine.repack_verify=1"), plain)
        self.assertEqual(self.cached(), plain, "was not mended")

    def test_a_folder_of_others_is_a_warning(self):
        os.mkdir(self.cache)
        os.chmod(self.cache, 0o755)
        done = rzlib.rz("run", "-m", self.model, "--raw", "-p", "a b", "-n", "6", "--temp", "0",
                        "-o", "engine.repack_cache=" + self.cache)
        self.assertIn("mode 700, not 755", done.err)
        self.assertEqual(self.files(), [])


if __name__ == "__main__":
    unittest.main()
