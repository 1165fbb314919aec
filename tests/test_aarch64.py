#!/usr/bin/env python3
"""test_aarch64.py - rz for aarch64: cross-built here, run by an emulator of processors that have and lack what the
neon kernel table chooses by.

Builds with `make ARCH=aarch64` what is not there yet. Where the compiler, the emulator or a library is missing all
of it is skipped with a word; it is done once, with config=release. What is said of a model is what the other tests
say (test_model.py, test_golden.py), with an rz that runs in the emulator.
"""

import concurrent.futures
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import rzlib

ARM = os.path.join(rzlib.SOURCE, "build", "aarch64-release")
CLANG = os.path.join(rzlib.SOURCE, "build", "aarch64-clang")
LOADER = "/lib/ld-linux-aarch64.so.1"
# No product instructions of bytes, sdot, and sdot and smmla.
PLAIN, DOT, MATRIX = "cortex-a53", "neoverse-n1", "max"
CPUS = (PLAIN, DOT, MATRIX)
# The tests of each kernel, on every level where the levels differ, and without the plain C ones where these
# would be done twice.
MATRICES = ["test_kernels --filter=*/fast_*", "test_regions", "test_experts --filter=*fast*"]
OTHERS = ["test_attention --filter=*/fast", "test_recurrent --filter=*/fast", "test_elementwise", "test_rows", "test_elf",
          "test_registry"]
LIMIT_S = 600


def make(*args):
    """Runs make by itself, not as a part of the make that runs the tests."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "CC")}
    done = subprocess.run(["make", "-C", rzlib.SOURCE, "-j%d" % (os.cpu_count() or 1), "ARCH=aarch64", *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True, timeout=LIMIT_S)
    return done.returncode, done.stdout


def reason_to_skip():
    if platform.machine() == "aarch64":
        return "this machine is one: its tests are the others"
    if os.environ.get("RZ_CONFIG", "release") != "release":
        return "done once, with config=release"
    for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if not shutil.which(tool):
            return "no %s (packages-aarch64.txt)" % tool
    return None


class Built(unittest.TestCase):
    """Has what is tested built, once for all classes, or says why not."""

    built = False

    @classmethod
    def setUpClass(cls):
        reason = reason_to_skip()
        if reason:
            raise unittest.SkipTest(reason)
        if Built.built:
            return
        tests = ["build/aarch64-release/tests/" + t.split()[0] for t in MATRICES + OTHERS]
        status, out = make("all", *tests)
        lacking = re.search(r"ARCH=aarch64: no .*", out)
        if status and lacking:
            raise unittest.SkipTest(lacking.group(0))
        if status:
            raise AssertionError("make ARCH=aarch64: status %d\n%s" % (status, out[-4000:]))
        Built.built = True


def emulator(cpu):
    """The command that runs a program of aarch64. The cross compiler brings a loader where the system has none."""
    return ["qemu-aarch64", "-cpu", cpu] + ([] if os.path.exists(LOADER) else ["-L", "/usr/aarch64-linux-gnu"])


def run(cpu, program, *args, env=None):
    return subprocess.run([*emulator(cpu), program, *args], capture_output=True, text=True, timeout=LIMIT_S, env=env)


class Kernels(Built):
    def test_kernels(self):
        """Each against double precision, in batches, and the same bits in any company."""
        work = [(cpu, t) for t in MATRICES for cpu in CPUS] + [(DOT, t) for t in OTHERS]

        def one(job):
            cpu, line = job
            program, *args = line.split()
            return job, run(cpu, os.path.join(ARM, "tests", program), *args)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for (cpu, line), done in pool.map(one, work):
                counts = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)", done.stderr)
                with self.subTest(cpu=cpu, tests=line):
                    self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
                    self.assertGreater(int(counts.group(2)), 0)
                    print("    %s on %s: %s passed" % (line, cpu, counts.group(2)))


class Models(Built):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "folder"):
            cls.folder.cleanup()

    def wrapper(self, cpu):
        """A program that is rz for the other tests."""
        path = os.path.join(self.folder.name, "rz-" + cpu)
        with open(path, "w") as f:
            f.write("#!/bin/sh\nexec %s %s \"$@\"\n" % (" ".join(emulator(cpu)), os.path.join(ARM, "rz")))
        os.chmod(path, 0o755)
        return path

    def judged_by(self, file, names, cpu, **env):
        done = subprocess.run([sys.executable, os.path.join(rzlib.SOURCE, "tests", file), "-v", *names],
                              env=dict(os.environ, RZ=self.wrapper(cpu), **env), capture_output=True, text=True,
                              timeout=LIMIT_S)
        print(done.stdout, end="")
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
        return done.stderr

    def test_the_table_of_each_processor(self):
        for cpu, label in ((PLAIN, "x8 "), (DOT, "x8 dotprod"), (MATRIX, "x8 i8mm")):
            done = run(cpu, os.path.join(ARM, "rz"), "plan", rzlib.fixture("tiny-q4_k.gguf"), "--explain")
            self.assertIn("norm_glu " + label, done.stdout, done.stderr)

    def test_models_as_the_reference_has_them(self):
        self.judged_by("test_model.py", ["Neon"], DOT, RZ_SLOW="0")

    def test_all_processors_have_the_same_bits(self):
        for name in ("tiny-q4_1", "tiny-q4_k", "tiny-q6_k", "tiny-q8_0", "tiny-f16"):
            seen = []
            for cpu in CPUS:
                out = os.path.join(self.folder.name, cpu)
                done = run(cpu, os.path.join(ARM, "rz"), "eval", "-m", rzlib.fixture(name + ".gguf"), "--tokens",
                           rzlib.fixture(name + ".tokens.i32"), "--logits", out, "--plugin", "neon")
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(out, "rb") as f:
                    seen.append(f.read())
            self.assertGreater(len(seen[0]), 0)
            self.assertTrue(seen[0] == seen[1] == seen[2], name)

    def test_default_model(self):
        """64 tokens of the text with a recorded truth."""
        said = self.judged_by("test_golden.py", ["Default.test_neon"], MATRIX, RZ_GOLDEN_TOKENS="64", RZ_SLOW="1")
        skipped = re.search(r"skipped '(.*)'", said)
        if skipped:
            self.skipTest(skipped.group(1))

    def test_clang_builds_the_same(self):
        if not shutil.which("clang"):
            self.skipTest("no clang")
        status, out = make("CC=clang", "B=" + CLANG, os.path.join(CLANG, "plugins", "neon.so"))
        self.assertEqual(status, 0, out[-3000:])
        name, logits = rzlib.fixture("tiny-q4_k"), []
        for so in (os.path.join(ARM, "plugins", "neon.so"), os.path.join(CLANG, "plugins", "neon.so")):
            out = os.path.join(self.folder.name, "out.f32")
            done = run(MATRIX, os.path.join(ARM, "rz"), "--plugin", so, "eval", "-m", name + ".gguf", "--tokens",
                       name + ".tokens.i32", "--logits", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(out, "rb") as f:
                logits.append(f.read())
        self.assertTrue(logits[0] == logits[1])


class Foreign(Built):
    """A plugin for the other machine is refused by what its ELF header says, and nothing of it runs."""

    def test_a_plugin_for_aarch64_here(self):
        done = rzlib.rz("--plugin", os.path.join(ARM, "plugins", "neon.so"), "plugin", "list", status=2)
        self.assertIn("built for another machine (ELF number 183; this one is 62)", done.err)

    def test_a_plugin_of_this_machine_there(self):
        done = run(DOT, os.path.join(ARM, "rz"), "--plugin", os.path.join(rzlib.BUILD, "plugins", "avx2.so"), "plugin",
                   "list")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("built for another machine (ELF number 62; this one is 183)", done.stderr)

    def test_a_folder_of_foreign_plugins(self):
        done = run(DOT, os.path.join(ARM, "rz"), "-o", "rz.plugin_dir=" + os.path.join(rzlib.BUILD, "plugins"),
                   "plugin", "list")
        self.assertIn("built for another machine", done.stdout + done.stderr)


def load_tests(loader, standard, pattern):
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Kernels, Models, Foreign))


if __name__ == "__main__":
    unittest.main()
