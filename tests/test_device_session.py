#!/usr/bin/env python3
"""test_device_session.py - a session saved on a device goes on in another process with the same bits.

Every device that can run here: the CPU, opencl on whatever platform there is, and the cuda plugin over its shim.
With keys and values alone, and with recurrent states beside them.
"""

import os
import tempfile
import unittest

import rzlib

# RZ_CUDA=cuda: the plugin itself, on a machine with a GPU
CUDA = os.environ.get("RZ_CUDA", "cuda-host")
ARGS = ("--raw", "--temp", "1", "--seed", "7", "-o", "engine.page_tokens=8", "-c", "256")


class Sessions(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.addCleanup(self.temp.cleanup)

    def run_model(self, device, model, prompt, n, *more):
        return rzlib.run_json("-m", model, "-p", prompt, "-n", str(n), *ARGS, *device, *more)

    def goes_on(self, device, model, *more):
        """The text of a session and what follows it, in one process and in two."""
        path = os.path.join(self.temp.name, "session")
        first = "the king of a small town had many books and no time to read them " * 2
        longer = first + "so he asked his daughter"
        saved = self.run_model(device, model, first, 4, "--session", path, *more)
        self.assertEqual(saved["cached_tokens"], 0)
        want = self.run_model(device, model, longer, 12, *more)
        again = self.run_model(device, model, longer, 12, "--session", path, *more)
        self.assertGreater(again["cached_tokens"], 8)
        self.assertEqual(want["tokens"], again["tokens"])
        self.assertEqual(want.get("logprobs"), again.get("logprobs"))
        os.unlink(path)

    def every_model(self, device):
        models = [rzlib.fixture("tiny-llama.gguf")]
        for name in ("lfm2", "qwen3_next", "mamba2"):
            models += [m for m in (rzlib.shared("arch", name, "model.gguf"),) if m]
        for model in models:
            with self.subTest(model=model):
                self.goes_on(device, model)

    def test_cpu(self):
        self.every_model(())

    @unittest.skipIf(rzlib.CONFIG != "release", "the platform's own threads are not built with sanitizers")
    def test_opencl(self):
        why = rzlib.device_missing("opencl")
        if why:
            self.skipTest("no OpenCL device: " + why)
        self.every_model(("--plugin", "opencl", "-o", "plugin.opencl.cache=" + rzlib.OPENCL_CACHE))

    def test_cuda(self):
        device = ("--plugin", os.path.join(rzlib.BUILD, "tests", "cuda-host.so") if CUDA == "cuda-host" else CUDA)
        self.every_model(device)
        self.goes_on(device, rzlib.fixture("tiny-llama.gguf"), "-o", "engine.kv_type=fp8")

    def test_fp8_is_refused_elsewhere(self):
        """Who has no keys and values of fp8 says so, and what there is."""
        model = rzlib.fixture("tiny-llama.gguf")
        for device in ((),) if rzlib.CONFIG != "release" or rzlib.device_missing("opencl") else ((), ("--plugin", "opencl")):
            done = rzlib.rz(*device, "run", "-m", model, "--raw", "-p", "a", "-n", "1", "-o", "engine.kv_type=fp8", status=1)
            self.assertRegex(done.err, "engine.kv_type: .*f32")


if __name__ == "__main__":
    unittest.main(verbosity=2)
