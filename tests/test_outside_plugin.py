#!/usr/bin/env python3
"""test_outside_plugin.py - a stranger's plugin: one kernel, one file, built far from the tree.

Installs rz into a temporary folder, builds a plugin there from the installed headers alone, and sees
that it is listed, used, and gives the text that rz gives without it.
"""

import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import rzlib

CC = os.environ.get("CC", "gcc")


def plugin_text():
    """The smallest plugin, as docs/abi.md shows it: so that what the document says is what works."""
    with open(os.path.join(rzlib.SOURCE, "docs", "abi.md")) as f:
        return re.search(r"```c\n(/\* fastsilu\.c.*?)```", f.read(), re.S).group(1)


class Outside(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rzlib.need_release("installs and builds; done once, in the release configuration")
        cls.folder = tempfile.mkdtemp()
        cls.root = os.path.join(cls.folder, "root")
        subprocess.run(["make", "-s", "-C", rzlib.SOURCE, "install", "DESTDIR=" + cls.root, "PREFIX=/usr"], check=True,
                       capture_output=True, env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
        with open(os.path.join(cls.folder, "fastsilu.c"), "w") as f:
            f.write(plugin_text())
        subprocess.run([CC, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-I" + cls.root + "/usr/include",
                        "fastsilu.c", "-o", "fastsilu.so", "-lm"], cwd=cls.folder, check=True)
        cls.rz = os.path.join(cls.root, "usr", "bin", "rz")
        cls.plugin = os.path.join(cls.folder, "fastsilu.so")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_rz(self, *args):
        done = subprocess.run([self.rz, *args], capture_output=True, text=True, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_installed_files(self):
        for path in ("bin/rz", "include/rz/plugin.h", "include/rz/kernels.h", "lib/pkgconfig/rz.pc",
                     "share/man/man1/rz.1", "../etc/rz/rz.ini"):
            self.assertTrue(os.path.isfile(os.path.join(self.root, "usr", path)), path)
        self.assertFalse(os.path.exists(os.path.join(self.root, "usr", "include", "rz", "core.h")))

    def test_pkg_config_file_names_the_headers(self):
        with open(os.path.join(self.root, "usr", "lib", "pkgconfig", "rz.pc")) as f:
            text = f.read()
        self.assertIn("prefix=/usr\n", text)
        self.assertIn("Cflags: -I${includedir}", text)
        self.assertNotIn("@", text)

    def test_is_listed(self):
        listed = self.run_rz("--plugin", self.plugin, "plugin", "list")
        self.assertRegex(listed, r"(?m)^fastsilu\s+kernels\s+1\.0\s")

    def test_its_kernel_is_used_and_the_rest_goes_on(self):
        model = rzlib.fixture("tiny-llama.gguf")
        plan = self.run_rz("--plugin", self.plugin, "plan", model, "--explain")
        self.assertIn("fastsilu", plan)
        self.assertTrue("scalar" in plan or "avx2" in plan, plan)

    def test_same_text_with_and_without(self):
        args = ("run", "-m", rzlib.fixture("tiny-llama.gguf"), "-p", "the house", "-n", "30", "--temp", "0",
                "--ignore-eos")
        self.assertEqual(self.run_rz("--plugin", self.plugin, *args), self.run_rz(*args))

    def test_the_same_text_is_cplusplus(self):
        for cxx in ("g++", "clang++"):
            if not shutil.which(cxx):
                continue
            with self.subTest(cxx):
                source, plugin = os.path.join(self.folder, "fastsilu.cc"), os.path.join(self.folder, cxx + ".so")
                shutil.copy(os.path.join(self.folder, "fastsilu.c"), source)
                subprocess.run([cxx, "-std=c++17", "-shared", "-fPIC", "-O2", "-Wall", "-Werror",
                                "-I" + self.root + "/usr/include", source, "-o", plugin, "-lm"], check=True)
                self.assertIn("fastsilu", self.run_rz("--plugin", plugin, "plan", rzlib.fixture("tiny-llama.gguf"),
                                                      "--explain"))

    def build_outside(self, name):
        """A device's plugin from its folder alone, against the installed headers and library."""
        build, root = os.path.join(self.folder, name), os.path.join(self.root, "usr")
        shutil.copytree(os.path.join(rzlib.SOURCE, "plugins", "backends", name), build)
        images = os.path.join(rzlib.SOURCE, "build", "cuda")
        if name == "cuda" and os.path.isdir(images):  # made of the same text: minutes are not spent again
            for image in os.listdir(images):
                shutil.copy(os.path.join(images, image), build)
        subprocess.run(["make", "-s", "-C", build, "CC=" + CC, "CFLAGS=-O1 -Wall -Wextra -Werror",
                        "SDK=-I%s/include -I%s/include/rz/base" % (root, root), "SDK_LIBS=-L%s/lib -lrz_base -lm" % root],
                       check=True, env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
        plugin = os.path.join(build, name + ".so")
        self.assertRegex(self.run_rz("--plugin", plugin, "plugin", "list"), r"(?m)^%s\s+device\s" % name)
        return plugin

    def check_cases(self, plugin, inside, *args):
        """Cases of different architectures, and the bits that the plugin of the tree gives."""
        if not rzlib.shared("arch"):
            self.skipTest("no reference data arch/ (RZ_SHARED)")
        for case in ("llama", "gemma2", "mamba2", "mixtral", "deepseek_v2"):
            folder, out = rzlib.shared("arch", case), os.path.join(self.folder, "out.f32")
            truth = os.path.join(folder, "gguf_logits.f32")
            truth = rzlib.floats(truth if os.path.exists(truth) else os.path.join(folder, "logits.f32"))
            given = []
            for which in (plugin, inside):
                self.run_rz("eval", "--plugin", which, "-m", folder + "/model.gguf", "--tokens", folder + "/tokens.i32",
                            "--logits", out, "-o", "engine.kv_type=f32", *args)
                given.append(rzlib.floats(out))
            self.assertEqual(len(given[0]), len(truth))
            self.assertLessEqual(max(abs(a - b) for a, b in zip(given[0], truth)) / rzlib.deviation(truth), 2e-3, case)
            self.assertEqual(given[0], given[1], case)

    def test_opencl_built_outside(self):
        why = rzlib.device_missing("opencl")
        if why:
            self.skipTest("no device for opencl: " + why)
        self.check_cases(self.build_outside("opencl"), "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE)

    def test_cuda_built_outside(self):
        """Without a GPU it gives the reason that the one of the tree gives."""
        if not os.path.exists(os.path.join(rzlib.BUILD, "plugins", "cuda.so")):
            self.skipTest("no nvcc: cuda was not built")
        plugin = self.build_outside("cuda")
        if not rzlib.device_missing("cuda"):
            self.check_cases(plugin, "cuda")
            return
        said = []
        for which in (plugin, "cuda"):
            done = subprocess.run([self.rz, "--plugin", which, "run", "-m", rzlib.fixture("tiny-llama.gguf"), "-p", "the", "-n",
                                   "1"], capture_output=True, text=True, cwd=self.folder)
            self.assertEqual(done.returncode, 1, done.stderr)
            said.append(done.stderr.splitlines()[-1])
        self.assertIn("driver", said[0])
        self.assertEqual(said[0], said[1])

    def test_cuda_built_outside_over_the_shim(self):
        """The same sources against the installed headers, with what runs kernels on this CPU in the place of CUDA."""
        if not rzlib.SLOW:
            self.skipTest("takes minutes (RZ_SLOW=0)")
        root, shim = os.path.join(self.root, "usr"), os.path.join(rzlib.SOURCE, "tests", "cuda_shim")
        build = os.path.join(self.folder, "cuda-shim")
        shutil.copytree(os.path.join(rzlib.SOURCE, "plugins", "backends", "cuda"), build)
        common = ["-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-I.", "-I" + shim, "-I%s/include" % root,
                  "-I%s/include/rz/base" % root]
        cxx = ["clang++" if "clang" in CC else "g++", "-std=c++17", "-DRZ_CUDA_SHIM", "-Wno-unknown-pragmas",
               "-fno-math-errno", *common]
        jobs = [[CC, "-std=gnu11", '-DCU_NAME="cuda-host"', *common, "-c", f, "-o", f + ".o"]
                for f in sorted(os.listdir(build)) if f.endswith(".c")]
        jobs += [[*cxx, "-x", "c++", "-c", f, "-o", os.path.basename(f) + ".o"]
                 for f in sorted(os.listdir(build)) + sorted(glob.glob(shim + "/*.cc")) if f.endswith((".cu", ".cc"))]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in pool.map(lambda job: subprocess.run(job, cwd=build, capture_output=True, text=True), jobs):
                self.assertEqual(done.returncode, 0, done.stderr)
        plugin = os.path.join(build, "cuda-host.so")
        subprocess.run([CC, "-shared", *sorted(glob.glob(build + "/*.o")), "-L%s/lib" % root, "-lrz_base", "-lm",
                        "-Wl,--exclude-libs,ALL", "-o", plugin], check=True)
        self.check_cases(plugin, os.path.join(rzlib.BUILD, "tests", "cuda-host.so"))


if __name__ == "__main__":
    unittest.main()
