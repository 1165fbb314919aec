#!/usr/bin/env python3
"""test_host.py - the program as a host: plugins that must be refused before any of their code runs, settings
with mistakes, precedence, exit statuses, help, serving.

The plugins are built here, outside of the tree, from a copy of the interface headers alone. Their constructor
makes a file, so that a test sees whether any code of them ran.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import rzlib

CC = os.environ.get("CC", "gcc").split()
LIMIT_S = 120

SOURCE = r"""
#include <rz/plugin.h>
#include <rz/kernels.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void mark(const char *what)
{
    const char *folder = getenv("RZ_TEST_MARKS");
    if (folder && !chdir(folder))
        close(open(what, O_CREAT | O_WRONLY, 0600));
}
__attribute__((constructor)) static void constructed(void)
{
    char here[4096];
    char *back = getcwd(here, sizeof(here));
    mark("constructor-" NAME);
    if (back && chdir(back))
        _exit(9);
}
static const struct rz_option options[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_INT, .name = "speed", .def = "3", .help = "how fast", .max = 9},
    {.size = sizeof(struct rz_option), .type = RZ_OPT_STRING, .flags = RZ_OPT_SECRET, .name = "token", .help = "word"},
};
static int32_t run(const struct rz_kernel_call *call, struct rz_err *err)
{
    (void)call, (void)err;
    return RZ_OK;
}
static int32_t never(const struct rz_kernel_node *node)
{
    (void)node;
    return 0;
}
static const struct rz_kernel_row rows[] = {RZ_KERNEL_ROW(.op = RZ_OP_ADD, .weight = RZ_TYPE_NONE, .accept = never, .run = run)};
static const struct rz_kernels table = {.size = sizeof(table), .name = NAME, .rows = rows, .n_rows = 1, .row_stride = sizeof(rows[0])};
static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self, struct rz_err *err)
{
    (void)host, (void)config, (void)self, (void)err;
    INIT
    return RZ_OK;
}
static const void *query(void *self, const char *id, uint32_t minor)
{
    (void)self, (void)id, (void)minor;
    return &table;
}
EXTRA
RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS), .name = NAME, .version = "1.5", .vendor = "Acme",
               .licence = "MIT", .provides = "kernels:" NAME},
    .options = options, .n_options = 2, .option_stride = sizeof(options[0]), .init = init, .query = query};
"""

# Where the fields of struct rz_plugin_header are.
FIELDS = {"magic": 0, "major": 7, "size": 8, "minor": 12, "need": 14, "kinds": 16, "flags": 24, "arch": 32, "zero": 36,
          "isa": 40, "isa2": 48, "name": 56, "version": 88, "vendor": 112, "licence": 152, "provides": 176}


def interruptible():
    """A program started in the background of a script inherits an ignored SIGINT: undo that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Host(unittest.TestCase):
    """A folder with plugins, the copied headers, and nothing of the user's own settings."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.headers = os.path.join(cls.folder, "include")
        shutil.copytree(os.path.join(rzlib.SOURCE, "core", "api", "rz"), os.path.join(cls.headers, "rz"))
        cls.marks = os.path.join(cls.folder, "marks")
        cls.empty = os.path.join(cls.folder, "empty")
        os.mkdir(cls.marks)
        os.mkdir(cls.empty)
        cls.plugin = cls.build("thing")
        with open(cls.plugin, "rb") as f:
            cls.bytes = f.read()
        cls.at = cls.bytes.index(b"RZPLUG\0\1")
        cls.model = rzlib.fixture("tiny-llama.gguf")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        for name in os.listdir(self.marks):
            os.remove(os.path.join(self.marks, name))

    @classmethod
    def build(cls, name, *flags, init="", extra="", file=None):
        """Compiles SOURCE to NAME.so in a folder of its own; returns its path."""
        folder = os.path.join(cls.folder, "built-" + (file or name))
        os.makedirs(folder, exist_ok=True)
        source, out = os.path.join(folder, "plugin.c"), os.path.join(folder, (file or name) + ".so")
        with open(source, "w") as f:
            f.write(SOURCE.replace("INIT", init).replace("EXTRA", extra))
        subprocess.run([*CC, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-I" + cls.headers,
                        '-DNAME="%s"' % name, source, "-o", out, *flags], check=True)
        return out

    def rz(self, *args, status=0, env=None, cwd=None, dir=None, program=None):
        """Runs rz with no settings but those given; checks its exit status."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RZ__")}
        clean.update(RZ_SYSTEM_CONFIG=os.path.join(self.folder, "no-system.ini"), RZ_TEST_MARKS=self.marks,
                     XDG_CONFIG_HOME=os.path.join(self.folder, "no-xdg"), HOME=self.folder)
        clean.update(env or {})
        where = [] if dir == "default" else ["--plugin-dir", dir or self.empty]
        done = subprocess.run([program or rzlib.RZ, *where, *args], capture_output=True, timeout=LIMIT_S, env=clean,
                              cwd=cwd or self.folder, stdin=subprocess.DEVNULL)
        done.out, done.err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, status, "rz %s\n%s%s" % (" ".join(args), done.out, done.err))
        return done

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(content, bytes) else "w") as f:
            f.write(content)
        return path

    def ran(self):
        return sorted(os.listdir(self.marks))

    def refused(self, path, reason, *more, status=2, where=None):
        """Named explicitly for a command that would load it: refused with this reason, and none of it ran."""
        done = self.rz("--plugin", path, "info", self.model, *more, status=status)
        self.assertEqual(done.err.count("\n"), 1, done.err)
        self.assertIn("rz: error: %s: " % (where or "--plugin " + path), done.err)
        self.assertRegex(done.err, reason)
        self.assertEqual(done.out, "")
        self.assertEqual(self.ran(), [], done.err)


class Plugins(Host):
    def patched(self, name, offset, value):
        """A copy of the plugin with bytes of its header changed."""
        data = bytearray(self.bytes)
        at = self.at + offset
        data[at:at + len(value)] = value
        return self.file(name + ".so", bytes(data))

    def test_a_good_one_runs(self):
        self.rz("--plugin", self.plugin, "info", self.model)
        self.assertEqual(self.ran(), ["constructor-thing"])

    def test_each_header_field_wrong_in_turn(self):
        u16, u32, u64 = (lambda v: struct.pack("<H", v)), (lambda v: struct.pack("<I", v)), (lambda v: struct.pack("<Q", v))
        cases = [
            ("magic", 0, b"X", "wrong magic"), ("magic", 6, b"1", "wrong magic"),
            ("major", 0, b"\2", "built for ABI 2, this rz speaks 1"), ("major", 0, b"\0", "built for ABI 0"),
            ("size", 0, u32(0), "wrong size"), ("size", 0, u32(288), "wrong size: its header says 288 bytes"),
            ("size", 0, u32(297), "its header says 297|wrong size"), ("size", 0, u32(0xffffffff), "its header says 4294967295"),
            ("need", 0, u16(1), r"needs ABI 1\.1|built with ABI 1\.0 but needs 1\.1"),
            ("minor", 0, u16(7) + u16(7), r"needs ABI 1\.7, this rz speaks 1\.0"),
            ("kinds", 0, u64(0), "unknown kinds 0x0"), ("kinds", 0, u64(1 << 63), "unknown kinds 0x8000000000000000"),
            ("kinds", 0, u64(1), "differ"), ("flags", 0, u64(1), "unknown flags 0x1"),
            ("arch", 0, u32(3), "built for another machine"), ("arch", 0, u32(0), "built for another machine"),
            ("zero", 0, u32(1), "reserved field"),
            ("isa", 0, u64(1 << 63), "CPU features that this rz does not know"),
            ("isa2", 0, u64(1), "CPU features that this rz does not know"),
            ("name", 0, b"\0" * 32, "its name is empty"), ("name", 0, b"a" * 32, "its name does not end"),
            ("name", 0, b"Thing", "other characters"), ("name", 0, b"../x\0", "other characters"),
            ("name", 31, b"x", "not zero|does not end"), ("version", 0, b"\0" * 24, "its version is empty"),
            ("version", 0, b"1" * 24, "its version does not end"), ("version", 0, b"\x1b[2J", "control character"),
            ("vendor", 0, b"v" * 40, "its vendor does not end"), ("vendor", 0, b"\xff\xfe", "not UTF-8"),
            ("licence", 0, b"l" * 24, "its licence does not end"),
            ("provides", 0, b"\0" * 80, "its provides is empty"), ("provides", 0, b"p" * 80, "its provides does not end"),
            ("provides", 0, b"kernelz", "does not know"), ("provides", 7, b" ", "malformed provides"),
        ]
        for i, (field, offset, value, reason) in enumerate(cases):
            with self.subTest(field=field, value=value):
                self.refused(self.patched("bad%d" % i, FIELDS[field] + offset, value), reason)

    def test_a_newer_plugin_that_needs_no_more_is_taken(self):
        path = self.patched("newer", FIELDS["minor"], struct.pack("<HH", 9, 0))
        self.rz("--plugin", path, "info", self.model)
        self.assertEqual(self.ran(), ["constructor-thing"])

    def test_features_that_this_cpu_lacks_are_named(self):
        with open("/proc/cpuinfo") as f:
            flags = f.read()
        names = ["avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni",
                 "avx512_bf16", "avx512_vbmi", "avx_vnni"]
        lacking = [i for i, n in enumerate(names) if not re.search(r"\b%s\b" % n.replace("_vbmi", "vbmi"), flags)]
        if not lacking:
            self.skipTest("this CPU has every feature that can be asked for")
        path = self.patched("lacks", FIELDS["isa"], struct.pack("<Q", (1 << len(names)) - 1))
        self.refused(path, "needs .*%s.*: this CPU has none" % names[lacking[0]])

    def test_cut_at_every_64_bytes(self):
        for n in range(0, len(self.bytes), 64):
            path = self.file("cut.so", self.bytes[:n])
            with self.subTest(bytes=n):
                self.refused(path, "not an ELF file: it is empty" if n == 0 else "truncated")

    def test_files_that_are_no_plugins(self):
        def elf(offset, value):
            return self.bytes[:offset] + value + self.bytes[offset + len(value):]
        cases = [("script", b"#!/bin/sh\ntouch " + self.marks.encode() + b"/x\n" * 100, "not an ELF file"),
                 ("zeros", bytes(4096), "not an ELF file"), ("c32", elf(4, b"\1"), "32-bit"),
                 ("big", elf(5, b"\2"), "big-endian"), ("machine", elf(18, b"\x08\0"), "another machine"),
                 ("exec", elf(16, b"\2\0"), "not a shared object"), ("relocatable", elf(16, b"\1\0"), "not a shared object"),
                 ("segments", elf(32, b"\xff" * 8), "segment table"), ("sections", elf(40, b"\xff" * 7 + b"\x7f"), "section table"),
                 ("v2", self.bytes.replace(b"rz_plugin_v1", b"rz_plugin_vX"), "no symbol|damaged")]
        for name, data, reason in cases:
            with self.subTest(name):
                self.refused(self.file(name + ".so", data), reason)
        self.refused(os.path.join(self.folder, "missing.so"), "No such file")
        self.refused(self.empty, "not a regular file|not an ELF")
        fifo = os.path.join(self.folder, "fifo.so")
        os.mkfifo(fifo)
        self.refused(fifo, "not a regular file")

    def test_another_abi_is_named(self):
        folder = os.path.join(self.folder, "abi")
        os.mkdir(folder)
        with open(os.path.join(folder, "a.c"), "w") as f:
            f.write("#include <stdio.h>\nconst char rz_plugin_v7[512] = {1};\nint other(void) { return puts(\"x\"); }\n")
        for style in ("gnu", "sysv", "both"):
            out = os.path.join(folder, style + ".so")
            subprocess.run([*CC, "-shared", "-fPIC", "-Wl,--hash-style=" + style, os.path.join(folder, "a.c"), "-o", out],
                           check=True)
            self.refused(out, "built for ABI 7, this rz speaks 1")
        out = os.path.join(folder, "libother.so")
        with open(os.path.join(folder, "b.c"), "w") as f:
            f.write("int other(void) { return 0; }\n")
        subprocess.run([*CC, "-shared", "-fPIC", os.path.join(folder, "b.c"), "-o", out], check=True)
        self.refused(out, "no symbol rz_plugin_v1")

    def test_both_hash_tables_and_a_stripped_file_work(self):
        for flag in ("-Wl,--hash-style=sysv", "-Wl,--hash-style=gnu", "-s"):
            path = self.build("styled", flag, file="styled" + str(abs(hash(flag))))
            self.rz("--plugin", path, "info", self.model)
            self.assertIn("constructor-styled", self.ran())

    def test_random_damage(self):
        """One changed byte anywhere in the file's head, tables and header: an answer, never a crash."""
        import random
        rng = random.Random(7)
        for i in range(60):
            data = bytearray(self.bytes)
            at = rng.choice([rng.randrange(64), rng.randrange(len(data)), self.at + rng.randrange(256),
                             64 + rng.randrange(600)])
            data[at] ^= 1 << rng.randrange(8)
            path = self.file("random.so", bytes(data))
            done = subprocess.run([rzlib.RZ, "--plugin-dir", self.empty, "--plugin", path, "plugin", "list"],
                                  capture_output=True, timeout=LIMIT_S)
            self.assertIn(done.returncode, (0, 2), "byte %d: %s" % (at, done.stderr))
        self.assertEqual(self.ran(), [])

    def test_a_library_that_cannot_be_loaded(self):
        path = self.build("needy", extra="extern int no_such_function(void);\nint call(void);\n"
                          "int call(void) { return no_such_function(); }")
        self.refused(path, "cannot be loaded: .*no_such_function")

    def test_an_init_that_fails_is_no_mistake_of_usage(self):
        path = self.build("nodevice", init='err->code = RZ_EDEVICE; __builtin_strcpy(err->message, "no device: '
                          'libgpu.so.1 not found"); return RZ_EDEVICE;')
        done = self.rz("--plugin", path, "info", self.model, status=1)
        self.assertEqual(done.err, "rz: error: --plugin %s: no device: libgpu.so.1 not found\n" % path)

    @unittest.skipUnless(os.uname().machine == "x86_64", "MXCSR")
    def test_a_changed_floating_point_mode_is_restored(self):
        path = self.build("fast", extra="__attribute__((constructor)) static void fp(void) "
                          "{ __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); }")
        done = self.rz("--plugin", path, "info", self.model)
        self.assertIn("rz: warning: plugin fast: changed the floating point mode while it was loaded", done.err)

    # --- who may have written it ---

    def copy(self, folder, name="thing.so"):
        os.makedirs(os.path.join(self.folder, folder), exist_ok=True)
        path = os.path.join(self.folder, folder, name)
        shutil.copy(self.plugin, path)
        return path

    def test_world_writable_file_or_folder(self):
        path = self.copy("w1")
        os.chmod(path, 0o666)
        self.refused(path, "can be written by everybody")
        os.chmod(path, 0o755)
        os.chmod(os.path.dirname(path), 0o777)
        self.refused(path, "its folder .*w1 can be written by everybody")
        inner = self.copy("w1/inner")
        self.refused(inner, "its folder .*w1 can be written by everybody")
        link = os.path.join(self.folder, "link.so")
        os.symlink(path, link)
        self.refused(link, "can be written by everybody")
        os.chmod(os.path.dirname(path), 0o1777)  # sticky, as /tmp is
        self.rz("--plugin", path, "info", self.model)
        self.assertEqual(self.ran(), ["constructor-thing"])

    def test_strict_paths(self):
        path = self.copy("strict")
        os.chmod(path, 0o775)
        self.rz("--plugin", path, "info", self.model)
        self.setUp()
        self.refused(path, "can be written by its group", "-o", "rz.strict_paths=1")
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            os.chown(path, 12345, 0)
            self.refused(path, "belongs to user 12345", "-o", "rz.strict_paths=1")

    def test_pins(self):
        right = hashlib.sha256(self.bytes).hexdigest()
        ini = self.file("pin.ini", "[plugin.thing]\npath = %s\nsha256 = %s\n" % (self.plugin, right.upper()))
        self.rz("--config", ini, "--plugin", "thing", "info", self.model)
        self.setUp()
        self.file("pin.ini", "[plugin.thing]\npath = %s\nsha256 = %s\n" % (self.plugin, "0" * 64))
        for plugin in ("thing", self.plugin):
            self.refused(plugin, "wrong sha256: the file has %s, .*pin.ini:3 wants 0000" % right, "--config", ini)
        self.file("pin.ini", "[plugin.thing]\nsha256 = 123\n")
        self.refused(self.plugin, "not 64 hexadecimal digits", "--config", ini, where=ini + ":2")
        self.file("pin.ini", "[plugin.gguf]\nsha256 = %s\n" % right)
        done = self.rz("--config", ini, "info", self.model, status=2)
        self.assertIn("built in and has no file", done.err)

    # --- found, named, required ---

    def test_a_refused_plugin_of_the_folder_is_a_warning(self):
        folder = os.path.join(self.folder, "mixed")
        os.mkdir(folder)
        shutil.copy(self.plugin, os.path.join(folder, "a.so"))
        with open(os.path.join(folder, "b.so"), "wb") as f:
            f.write(self.bytes[:1000])
        with open(os.path.join(folder, "c.txt"), "w") as f:
            f.write("no library")
        done = self.rz("info", self.model, dir=folder)
        self.assertRegex(done.err, r"^rz: warning: .*/b\.so: truncated")
        self.assertEqual(self.ran(), [])  # and a.so provides nothing that `info` needs
        listed = self.rz("plugin", "list", dir=folder)
        self.assertRegex(listed.out, r"(?m)^thing +kernels +1\.5 +ready +kernels:thing$")
        self.assertRegex(listed.out, r"(?m)^b +refused +truncated")
        self.assertNotIn("c.txt", listed.out)
        self.assertEqual((self.ran(), listed.err), ([], ""))
        ini = self.file("required.ini", "[plugin.b]\nrequired = 1\n")
        done = self.rz("--config", ini, "info", self.model, dir=folder, status=2)
        self.assertIn("required.ini:2: [plugin.b] required: truncated", done.err)
        done = self.rz("--plugin", "b", "info", self.model, dir=folder, status=2)
        self.assertIn("--plugin b: truncated", done.err)

    def test_names(self):
        folder = os.path.dirname(self.plugin)
        self.rz("--plugin", "thing", "info", self.model, dir=folder)
        self.assertEqual(self.ran(), ["constructor-thing"])
        done = self.rz("--plugin", "thin", "info", self.model, dir=folder, status=2)
        self.assertIn("rz: error: --plugin thin: no plugin thin in %s (did you mean thing?)" % folder, done.err)
        done = self.rz("--plugin", "thing", "info", self.model, cwd=folder, status=2)  # never from the current folder
        self.assertIn("no plugin thing", done.err)
        done = self.rz("--plugin", "thing.so", "info", self.model, cwd=folder, status=2)
        self.assertIn("no plugin thing.so", done.err)
        self.setUp()
        self.rz("--plugin", "./thing.so", "info", self.model, cwd=folder)
        self.assertEqual(self.ran(), ["constructor-thing"])
        done = self.rz("info", self.model, "-o", "rz.plugins=scalar,thin", dir=folder, status=2)
        self.assertIn("-o: [rz] plugins: no plugin thin", done.err)
        done = self.rz("info", self.model, "-o", "plugin.thin.speed=1", dir=folder, status=2)
        self.assertIn("[plugin.thin]: no plugin of that name is here (did you mean thing?)", done.err)
        ini = self.file("other.ini", "[plugin.other]\npath = %s\n" % self.plugin)
        done = self.rz("--config", ini, "info", self.model, status=2)
        self.assertIn("other.ini:2: [plugin.other] path: ", done.err)
        self.assertIn("is plugin thing", done.err)
        done = self.rz("info", self.model, dir=self.folder + "/nothing", status=2)
        self.assertIn("--plugin-dir: [rz] plugin_dir:", done.err)

    def test_two_of_one_name(self):
        path = self.build("scalar", file="impostor")
        done = self.rz("plugin", "list", dir=os.path.dirname(path))
        self.assertRegex(done.out, r"(?m)^scalar .*refused +a built-in plugin has this name already$")
        done = self.rz("--plugin", path, "plugin", "list")
        self.assertRegex(done.out, r"(?m)^scalar +kernels +1\.5 +ready")
        self.assertRegex(done.out, r"(?m)^scalar +kernels .*refused +.*impostor.so has this name already$")

    def test_info(self):
        done = self.rz("plugin", "info", self.plugin)
        for part in ("thing 1.5, kernels", "vendor    Acme", "licence   MIT", "provides  kernels:thing", "needs     any CPU",
                     "speed", "0..9", "default 3", "how fast"):
            self.assertIn(part, done.out)
        told = json.loads(self.rz("plugin", "info", self.plugin, "--json").out)
        self.assertEqual([o["name"] for o in told["options"]], ["speed", "token"])
        done = self.rz("plugin", "info", "nothing", status=2)
        self.assertIn("no plugin nothing", done.err)
        listed = json.loads(self.rz("--plugin", self.plugin, "--json", "plugin", "list").out)["plugins"]
        self.assertEqual((listed[0]["name"], listed[0]["state"]), ("thing", "ready"))
        for args in (("plugin",), ("plugin", "info"), ("plugin", "lst")):
            self.assertIn("needs list or info NAME", self.rz(*args, status=2).err)
        self.assertIn("not available in this build", self.rz("plugin", "check", "x.so", status=2).err)

    def test_own_options(self):
        ini = self.file("own.ini", "[plugin.thing]\nspeed = 5\ntoken = hunter2\n")
        args = ("--config", ini, "--plugin", self.plugin)
        self.rz(*args, "config", "check")
        dump = self.rz(*args, "config", "dump", "--origin").out
        self.assertRegex(dump, r"(?m)^speed = 5 +; .*own.ini:2$")
        self.assertRegex(dump, r"(?m)^token = \*\*\* +; .*own.ini:3$")
        self.assertNotIn("hunter2", dump)
        told = json.loads(self.rz(*args, "config", "dump", "--json").out)["settings"]
        self.assertIn({"section": "plugin.thing", "key": "token", "value": "***", "origin": ini + ":3"}, told)
        self.rz("--plugin", self.plugin, "info", self.model, env={"RZ__PLUGIN_THING__SPEED": "2"})
        for key, part in (("spede", "did you mean speed?"), ("speed = 10 ;", "out of range"), ("speed = x ;", "not a whole")):
            self.file("own.ini", "[plugin.thing]\n\n%s = 1\n" % key if "=" not in key else "[plugin.thing]\n\n%s\n" % key)
            for verb in (("config", "check"), ("info", self.model)):
                done = self.rz(*args, *verb, status=2)
                self.assertIn("rz: error: %s:3: [plugin.thing] spe" % ini, done.err)
                self.assertIn(part, done.err)


class Settings(Host):
    def mistake(self, text, line, part):
        path = self.file("mistake.ini", text)
        with self.subTest(part):
            done = self.rz("--config", path, "config", "check", status=2)
            self.assertTrue(done.err.startswith("rz: error: %s:%d: " % (path, line)), done.err)
            self.assertIn(part, done.err)
            self.assertEqual(done.err.count("\n"), 1)
            done = self.rz("--config", path, "--json", "info", self.model, status=2)
            told = json.loads(done.out)["error"]
            self.assertEqual((told["code"], told["where"]), ("config", "%s:%d" % (path, line)))
            self.assertIn(part, told["message"])

    def test_mistakes(self):
        for text, line, part in (
                ("[engine]\nkv_typ = f16\n", 2, "[engine] kv_typ: no such option (did you mean kv_type?)"),
                ("[enigne]\n kv_type = f16\n", 2, "[enigne]: no such section (did you mean engine?)"),
                ("[plugins.http]\nlisten = x\n", 2, "did you mean plugin.?"),
                ("; only\ncontext = 5\n", 2, "a key before the first [section]"),
                ("[engine]\ncontext 5\n", 2, "neither a [section] nor a key = value"),
                ("[engine]\ncontext : 5\n", 2, "write = between key and value"),
                ("[engine]\n = 5\n", 2, "a value without a key"),
                ("[engine]\nKV_TYPE = f16\n", 2, "a key has only a-z, 0-9 and _"),
                ("[engine\n", 1, 'a section without its "]"'),
                ("[engine]]\n", 1, 'something after "]"'),
                ("[ ]\n\nx = 1\n", 3, "no such section"),
                ("[]\n", 1, "a section without a name"),
                ("[engine]\ncontext = 5\n\ncontext = 5\n", 4, "given twice"),
                ("[engine]\ncontext = 5 MB\n", 2, "not a whole number"),
                ("[engine]\ncontext = 99999999999\n", 2, "out of range (0..16777216)"),
                ("[engine]\nkv_type = q5\n", 2, "is none of auto|f16|bf16|f32|q8_0"),
                ("[sampling]\ntop_p = 1.5\n", 2, "out of range (0..1)"),
                ("[sampling]\ntemp = hot\n", 2, "is not a number"),
                ("[sampling]\ntemp = nan\n", 2, "is not a number"),
                ("[rz]\nstrict_paths = perhaps\n", 2, "neither yes nor no"),
                ("[limits]\nmax_string_bytes = 5Q\n", 2, "is not a size"),
                ("[engine]\ncontext = 5\n kv_type = f16\n", 3, "an indented line belongs to the value of context"),
                ("[tokenizer]\npre = ${RZ_TEST_UNSET}\n", 2, "this variable is not set"),
                ("[tokenizer]\npre = ${RZ_TEST_UNSET:-x\n", 2, 'without its "}"'),
                ("[tokenizer]\npre = @file:/no/such/file\n", 2, "No such file or directory"),
                ("[rz]\ninclude = nothing.ini\n", 2, "nothing.ini: No such file"),
                ("[rz]\ninclude = mistake.ini\n", 2, "includes itself"),
                ("[rz]\nplugins = scalar,,bpe\n", 2, "empty item"),
                ("[engine]\ncontext = " + " " * 300 + "5\n", 2, "a line of 311 bytes"),
                ("[model.%s]\n" % ("x" * 60), 1, "a section name of 66 bytes"),
                ("[engine]\n%s = 1\n" % ("k" * 60), 2, "a key of 60 bytes"),
                ("[engine]\ncontext = 5\x00\n", 2, "a control character (0x00)"),
                ("[engine]\ncontext = \x1b[2J5\n", 2, "a control character (0x1b)"),
                ("[model.a/b]\npath = x\n", 2, "a section's name has only")):
            self.mistake(text, line, part)
        self.mistake(b"[tokenizer]\npre = \xff\xfe\n", 2, "not UTF-8")

    def test_names_of_what_is_not_there(self):
        """config check looks for the plugins and files that settings name; running says the same of a device."""
        ini = self.file("names.ini", "[model.small]\npath = gone.gguf\n[model.other]\npath = %s\n" % self.model)
        done = self.rz("--config", ini, "config", "check")
        self.assertEqual(done.err, "rz: warning: %s:2: [model.small] path: %s/gone.gguf: No such file or directory\n"
                         % (ini, self.folder))
        for text, line, part in (("[rz]\nfrontends = cli,htp\n", 2, "[rz] frontends: no plugin provides frontend:htp"),
                                 ("[engine]\ndevice = cdua\n", 2, "[engine] device: no plugin provides device:cdua"),
                                 ("[model.a]\npath = a.gguf\ndevice = x:1\n", 3, "device: no plugin provides device:x"),
                                 ("[engine]\n[model.a]\ncontext = 5\n", 3, "[model.a] has no path"),
                                 ("[rz]\nplugins = scalar bpe\n", 2, "no plugin scalar bpe in %s (a list has commas)" % self.empty),
                                 ("[engine]\nkv_type = f16 # good\n", 2, 'a comment begins with " ;"')):
            path = self.file("name.ini", text)
            done = self.rz("--config", path, "config", "check", status=2)
            self.assertIn("rz: error: %s:%d: " % (path, line), done.err)
            self.assertIn(part, done.err)
        path = self.file("name.ini", "[engine]\ndevice = %s\n[model.small]\npath = %s\n" % ("thin", self.model))
        done = self.rz("--config", path, "run", "-m", "small", "-p", "a", status=2)
        self.assertIn("rz: error: %s:2: device: no plugin thin in %s" % (path, self.empty), done.err)
        done = self.rz("--config", path, "run", "-m", "smal", "-p", "a", status=1)
        self.assertEqual(done.err, "rz: error: smal: no such file, and no [model.smal] in the settings (did you mean small?)\n")
        path = self.file("name.ini", "[plugin.far]\npath = ./far.so\n")
        done = self.rz("--config", path, "config", "check")
        self.assertEqual(done.err, "rz: warning: %s:2: [plugin.far] path: %s/far.so: No such file or directory\n"
                         % (path, self.folder))

    def test_a_mistake_in_an_included_file(self):
        self.file("conf.d/10-good.ini", "[engine]\ncontext = 5\n")
        bad = self.file("conf.d/20-bad.ini", "[engine]\n\ncontex = 5\n")
        path = self.file("outer.ini", "[rz]\ninclude = conf.d/*.ini\n")
        done = self.rz("--config", path, "config", "check", status=2)
        self.assertIn("rz: error: %s:3: [engine] contex: no such option" % bad, done.err)
        self.file("conf.d/20-bad.ini", "[rz]\ninclude = ../outer.ini\n")
        done = self.rz("--config", path, "config", "check", status=2)
        self.assertIn("includes itself", done.err)

    def origin(self, key, *args, env=None):
        dump = self.rz(*args, "config", "dump", "--origin", env=env).out
        return re.search(r"(?m)^%s = (\S*) +; (.*)$" % key, dump).groups()

    def test_precedence_of_all_layers(self):
        system = self.file("system.ini", "[engine]\nmax_queue = 2\n")
        user = self.file("xdg/rz/rz.ini", "[engine]\nmax_queue = 3\n")
        named = self.file("named.ini", "[engine]\nmax_queue = 4\n")
        env = {}
        steps = [(("64", "default"), None, ()), (("2", system + ":2"), {"RZ_SYSTEM_CONFIG": system}, ()),
                 (("3", user + ":2"), {"XDG_CONFIG_HOME": os.path.join(self.folder, "xdg")}, ()),
                 (("4", named + ":2"), None, ("--config", named)),
                 (("5", "RZ__ENGINE__MAX_QUEUE"), {"RZ__ENGINE__MAX_QUEUE": "5"}, ()),
                 (("6", "-o"), None, ("-o", "engine.max_queue=6"))]
        args = ()
        for (value, origin), more, words in steps:
            env.update(more or {})
            args += words
            if origin == "default":
                value = "256"
            self.assertEqual(self.origin("max_queue", *args, env=env), (value, origin))
        self.assertEqual(self.origin("threads", "-o", "rz.threads=3", "-t", "2"), ("2", "--threads"))
        self.assertEqual(self.origin("log_level", "-o", "rz.log_level=info", "-q"), ("error", "-v/-q"))
        self.assertEqual(self.origin("max_queue", "-o", "engine.max_queue=6", "-o", "engine.max_queue=7"), ("7", "-o"))

    def test_the_file_of_an_installation(self):
        """PREFIX/bin/rz reads PREFIX/etc/rz/rz.ini in place of the machine's, unless another is named."""
        program = os.path.join(self.folder, "prefix", "bin", "rz")
        os.makedirs(os.path.dirname(program))
        shutil.copy(rzlib.RZ, program)
        own = self.file("prefix/etc/rz/rz.ini", "[engine]\nmax_queue = 7\n")
        args = ("config", "dump", "--origin")
        self.assertRegex(self.rz(*args, program=program, env={"RZ_SYSTEM_CONFIG": ""}).out,
                         r"(?m)^max_queue = 7 +; %s:2$" % re.escape(own))
        self.assertRegex(self.rz(*args, program=program).out, r"(?m)^max_queue = 256 +; default$")

    def test_environment_and_options_with_mistakes(self):
        for env, part in (({"RZ__ENGINE__KV_TYP": "f16"}, "RZ__ENGINE__KV_TYP: [engine] kv_typ: no such option (did you mean kv_type?)"),
                          ({"RZ__ENGIN__KV_TYPE": "f16"}, "RZ__ENGIN__KV_TYPE: there is no section [engin] (did you mean engine?)"),
                          ({"RZ__X": "1"}, "RZ__X: not of the form RZ__SECTION__KEY"),
                          ({"RZ__PLUGIN_NOTHERE__A": "1"}, "no plugin of that name is here"),
                          ({"RZ__ENGINE__CONTEXT": "x"}, '"x" is not a whole number')):
            done = self.rz("config", "check", env=env, status=2)
            self.assertIn(part, done.err)
        for option, part in (("engine.kv_typ=f16", "did you mean kv_type?"), ("engin.kv_type=f16", "did you mean engine?"),
                             ("kv_type=f16", "not of the form section.key=value"), ("engine.kv_type", "not of the form")):
            done = self.rz("-o", option, "config", "check", status=2)
            self.assertIn(part, done.err)
        done = self.rz("--config", self.folder + "/nothing.ini", "config", "check", status=2)
        self.assertIn("nothing.ini: No such file", done.err)

    def test_values(self):
        self.file("key.txt", "one ; two\n")
        path = self.file("values.ini", "[tokenizer]\npre = @file:key.txt\n[model.a.b]\npath = ${RZ_T_A:-~/m.gguf}\n")
        dump = self.rz("--config", path, "config", "dump").out
        self.assertIn("pre = one ; two\n", dump)
        self.assertIn("[model.a.b]\npath = %s/m.gguf\n" % self.folder, dump)
        dump = self.rz("--config", path, "config", "dump", env={"RZ_T_A": "sub/m.gguf"}).out
        self.assertIn("path = %s/sub/m.gguf\n" % self.folder, dump)  # relative to the file, not to where we are

    def test_sample_file_shows_the_options_of_our_plugins(self):
        with open(os.path.join(rzlib.SOURCE, "etc", "rz.ini")) as f:
            sample = f.read()
        self.assertEqual(self.rz("--config", os.path.join(rzlib.SOURCE, "etc", "rz.ini"), "config", "check").err, "")
        for plugin in json.loads(self.rz("plugin", "list", "--json", dir="default").out)["plugins"]:
            if plugin["state"] == "refused":
                continue
            told = json.loads(self.rz("plugin", "info", plugin["name"], "--json", dir="default").out)
            section = re.search(r"(?ms)^;\[plugin\.%s\]$.*?(^$|\Z)" % plugin["name"], sample)
            for option in told["options"]:
                line = "; %s (%s)\n;%s =%s\n" % (option["help"], option["form"], option["name"],
                                                 " " + option["default"] if option["default"] is not None else "")
                self.assertTrue(section and line in section.group(0), "[plugin.%s]\n%s" % (plugin["name"], line))


class Program(Host):
    def test_help_fits_a_screen(self):
        screens = [(), ("plugin",), ("config",), ("serve",)]
        overview = self.rz("--help").out
        screens += [(verb,) for verb in re.findall(r"(?m)^  ([a-z]+) ", overview)]
        self.assertIn(("run",), screens)
        for verb in screens:
            with self.subTest(verb):
                text = self.rz(*verb, "--help").out
                self.assertLessEqual(text.count("\n"), 24)
                self.assertLessEqual(max(map(len, text.split("\n"))), 80)
        self.assertEqual(self.rz("help").out, overview)

    def test_the_man_page_has_every_option(self):
        with open(os.path.join(rzlib.SOURCE, "docs", "rz.1")) as f:
            page = f.read().replace("\\-", "-")
        overview = self.rz("--help", dir="default").out
        for verb in re.findall(r"(?m)^  ([a-z]+) ", overview):
            self.assertIn(".BR %s " % verb, page)
            text = overview + self.rz(verb, "--help", dir="default").out
            missing = [o for o in set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", text))
                       if not re.search(re.escape(o) + "(?![a-z-])", page)]
            self.assertEqual(missing, [], verb)

    def test_help_and_version_work_whatever_the_settings_say(self):
        bad = self.file("bad.ini", "[nonsense\n")
        for args in (("--help",), ("run", "--help"), ("config", "--help"), ("--version",)):
            self.rz("--config", bad, *args, env={"RZ__X": "1"})
        self.assertRegex(self.rz("--version").out, r"^rz \d+\.\d+\.\d+ \(plugin ABI 1\.0-draft\)\n$")
        self.assertIn("version", json.loads(self.rz("--version", "--json").out))

    def test_verbs(self):
        self.assertIn("rz: error: runn: no such command (did you mean run?)", self.rz("runn", status=2).err)
        for verb in ("pull", "ps", "rm", "compare"):
            self.assertEqual(self.rz(verb, status=2).err, "rz: error: %s: not available in this build\n" % verb)
        told = json.loads(self.rz("pull", "x", "--json", status=2).out)
        self.assertEqual(told["error"], {"code": "config", "where": "pull", "message": "not available in this build"})
        self.assertIn("needs a command", self.rz(status=2).err)
        self.assertIn("no such option before the command", self.rz("--colour", "run", status=2).err)
        for args in (("--config",), ("-o",), ("run", "--plugin")):
            self.assertIn("needs a value", self.rz(*args, status=2).err)
        for n in ("0", "x", "", "-1", "5000"):
            self.assertIn("not a number of threads", self.rz("-t", n, "info", self.model, status=2).err)

    def test_a_file_that_is_no_model_is_no_mistake_of_usage(self):
        for path, part in ((self.folder + "/none.gguf", "No such file"), (self.folder, "a folder"),
                           ("/dev/null", "a device")):
            done = self.rz("info", path, status=1)
            self.assertIn("rz: error: %s: " % path, done.err)
            self.assertIn(part, done.err)

    def test_options_stand_before_or_after_the_command(self):
        out = self.rz("info", self.model, "--json").out
        self.assertEqual(self.rz("--json", "info", self.model).out, out)
        json.loads(out)

    def test_a_full_disk_is_noticed(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([rzlib.RZ, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"stdout", done.stderr)

    def test_a_model_that_is_cut_while_it_runs(self):
        for plugin in ("scalar", None):
            path = os.path.join(self.folder, "cut.gguf")
            shutil.copy(self.model, path)
            run = subprocess.Popen([rzlib.RZ, *(["--plugin", plugin] if plugin else []), "run", "-m", path, "-p", "the",
                                    "--ignore-eos", "--raw", "-n", "100000", "-c", "100000"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
            self.assertTrue(run.stdout.read(1))
            os.truncate(path, 4096)
            _, err = run.communicate(timeout=LIMIT_S)
            self.assertEqual(run.returncode, 1, err)
            self.assertRegex(err.decode(), r"(?m)^rz: error: .*cut\.gguf: (the file had \d+ bytes and now has 4096|a part of "
                             "the mapped file could not be read); load the model again\n$")

    def test_interrupted(self):
        for sig, status in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
            run = subprocess.Popen([rzlib.RZ, "run", "-m", self.model, "-p", "the", "--ignore-eos", "--raw", "-n", "100000",
                                    "-c", "100000", "-o", "sampling.temp=0"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, preexec_fn=interruptible)
            first = run.stdout.read(1)
            if not first:
                self.skipTest("the model ended by itself: %s" % run.stderr.read())
            run.send_signal(sig)
            run.communicate(timeout=LIMIT_S)
            self.assertEqual(run.returncode, status)


class Serving(Host):
    def serve(self, *args):
        server = subprocess.Popen([rzlib.RZ, "serve", "-m", self.model, "--port", "0", *args], stderr=subprocess.PIPE,
                                  stdout=subprocess.PIPE, cwd=self.folder, preexec_fn=interruptible)
        line = server.stderr.readline().decode()
        while line.startswith("rz: warning: "):
            line = server.stderr.readline().decode()
        return server, line

    def finish(self, server, *signals):
        for sig in signals:
            server.send_signal(sig)
        out, err = server.communicate(timeout=LIMIT_S)
        self.assertEqual(out, b"")
        return server.returncode, err

    def test_ready_line_and_ends(self):
        for sig, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            server, line = self.serve()
            self.assertRegex(line, r"^rz: ready: http://127\.0\.0\.1:[1-9]\d*\n$")
            code, err = self.finish(server, sig)
            self.assertEqual((code, err), (status, b""))

    def test_a_second_signal_ends_at_once(self):
        server, line = self.serve("-o", "rz.drain_ms=60000", "-o", "engine.context=50000")
        port = int(line.strip().rsplit(":", 1)[1])
        body = json.dumps({"prompt": "the", "max_tokens": 100000, "stream": True, "ignore_eos": True}).encode()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            client.settimeout(LIMIT_S)
            self.assertIn(b"200", client.recv(100))
            end = time.monotonic() + 50
            while server.poll() is None and time.monotonic() < end:  # two that come close together may be one
                server.send_signal(signal.SIGTERM)
                time.sleep(0.1)
            self.assertEqual(self.finish(server)[0], 143)

    def test_host_flag(self):
        server, line = self.serve("--host", "localhost")
        self.finish(server, signal.SIGTERM)
        self.assertRegex(line, r"^rz: ready: http://(localhost|127\.0\.0\.1|\[::1\]):[1-9]\d*\n$")

    def test_wrong_usage(self):
        for args, part in ((("--prot", "1"), "--prot: no such option"), (("--port", "x"), "is not a port"),
                           (("--port", "70000"), "is not a port"), (("--port",), "needs a value"),
                           (("--api-key-file", "/no/such"), "No such file"),
                           (("-o", "rz.frontends=nothing"), "no plugin provides frontend:nothing"),
                           (("-o", "rz.frontends=cli"), "serves nothing"),
                           (("-o", "plugin.http.listne=x"), "did you mean listen?")):
            with self.subTest(args):
                done = self.rz("serve", "-m", self.model, *args, status=2, dir="default")
                self.assertIn(part, done.err)
        self.rz("serve", "-m", self.folder + "/none.gguf", status=1, dir="default")

    def test_a_port_that_is_taken(self):
        server, line = self.serve()
        port = line.strip().rsplit(":", 1)[1]
        self.rz("serve", "-m", self.model, "--port", port, status=1, dir="default")
        self.assertEqual(self.finish(server, signal.SIGTERM)[0], 0)


if __name__ == "__main__":
    unittest.main()
