#!/usr/bin/env python3
"""test_style.py - the style gate finds each kind of violation, and nothing in a clean file."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CLEAN = """/* %s - a clean file.
 */
#include "err.h"
#include <rz/types.h>
#include <stdio.h>

/* Adds, and says "printf(" and atoi( in a comment and a string only. */
static int add(int a, int b)
{
    const char *text = "printf( exit( strcpy(";
    return a + b + (text != NULL);
}

int rz_add(int a, int b)
{
    return add(a, b);
}
"""


def long_function(lines, marker):
    body = "".join("    x += %d;\n" % i for i in range(lines - 4))
    return marker + "int rz_long(int x)\n{\n" + body + "    return x;\n}\n"


class Gate(unittest.TestCase):
    def run_gate(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w") as f:
                    f.write(text)
            done = subprocess.run([sys.executable, os.path.join(HERE, "style.py"), "--root", root],
                                  capture_output=True, text=True)
            return done.returncode, done.stdout

    def base(self):
        return {"core/base/err.h": "/* err.h - errors. */\n", "core/api/rz/types.h": "/* types.h - types. */\n"}

    def with_file(self, text, path="core/engine/kv.c", **more):
        files = self.base()
        files[path] = text
        files.update(more)
        return self.run_gate(files)

    def found(self, rule, added, path="core/engine/kv.c", files=None):
        status, out = self.with_file(CLEAN % os.path.basename(path) + added, path, **(files or {}))
        self.assertEqual(status, 1, out)
        self.assertIn("[%s]" % rule, out)
        self.assertIn("1 findings", out)

    def test_clean_file_has_no_finding(self):
        status, out = self.with_file(CLEAN % "kv.c")
        self.assertEqual(status, 0, out)
        self.assertIn("3 files, 0 findings", out)

    def test_kernels_of_cuda_are_looked_at(self):
        for name in ("x.cu", "x.cc"):
            self.found("todo", "/* TODO */\n", "plugins/backends/cuda/" + name)

    def test_empty_tree_is_no_success(self):
        self.assertEqual(self.run_gate({"README": ""})[0], 1)

    def test_title(self):
        status, out = self.with_file("/* other.c - not this file. */\n")
        self.assertEqual(status, 1)
        self.assertIn("[title]", out)

    def test_file_length(self):
        self.found("file-length", "\n" * 800)

    def test_line_length(self):
        self.found("line-length", "/* %s */\n" % ("x" * 110))

    def test_blanks(self):
        self.found("blanks", "/* a */ \n")
        self.found("blanks", "\t/* a */\n")

    def test_ending(self):
        self.found("ending", "/* no newline */")

    def test_function_length(self):
        self.found("function-length", long_function(71, ""))

    def test_function_of_the_limit_is_fine(self):
        status, out = self.with_file(CLEAN % "kv.c" + "\n" + long_function(70, ""))
        self.assertEqual(status, 0, out)

    def test_long_function_with_a_reason_is_counted(self):
        status, out = self.with_file(CLEAN % "kv.c" + "\n" + long_function(100, "/* long: straight line */\n"))
        self.assertEqual(status, 0, out)
        self.assertIn("1 functions longer", out)
        self.assertIn("rz_long, 100 lines", out)

    def test_no_reason_is_good_enough_for_more_than_160(self):
        self.found("function-length", "\n" + long_function(161, "/* long: very */\n"))

    def test_banned_functions(self):
        for name in ("strcpy", "strcat", "sprintf", "gets", "atoi", "strtok", "system", "alloca"):
            self.found("banned", "static void f(char *a)\n{\n    %s(a);\n}\n" % name)

    def test_library_does_not_print_or_exit(self):
        for name in ("printf", "exit", "abort", "assert", "signal", "setlocale", "chdir"):
            self.found("library", "static void f(char *a)\n{\n    %s(a);\n}\n" % name)
        self.found("library", 'static void f(void)\n{\n    fprintf(stderr, "x");\n}\n')

    def test_the_program_may(self):
        for path in ("core/main.c", "plugins/frontends/cli/run.c", "tests/test_a.c"):
            text = CLEAN % os.path.basename(path) + 'static void f(void)\n{\n    printf("x");\n    exit(1);\n}\n'
            status, out = self.with_file(text, path)
            self.assertEqual(status, 0, out)

    def test_todo(self):
        for word in ("TODO", "FIXME", "XXX"):
            self.found("todo", "/* %s: later */\n" % word)

    def test_typedef(self):
        self.found("typedef", "typedef struct rz_a rz_a_t;\n")

    def test_prefix(self):
        self.found("prefix", "int helper(int a)\n{\n    return a;\n}\n")
        self.found("prefix", "const int table[2] = {1, 2};\n")
        self.found("prefix", "struct rz_a *make(void)\n{\n    return NULL;\n}\n")

    def test_include_walls(self):
        core = {"core/core.h": "/* core.h - the host. */\n", "core/engine/engine.h": "/* engine.h - it. */\n",
                "core/model/model.h": "/* model.h - it. */\n", "plugins/formats/gguf/reader.h": "/* reader.h - it. */\n"}
        self.found("include", '#include "core.h"\n', "core/engine/kv.c", core)
        self.found("include", '#include "engine.h"\n', "core/model/llama.c", core)
        self.found("include", '#include "engine/engine.h"\n', "core/exec/walk.c", core)
        self.found("include", '#include "model.h"\n', "core/exec/walk.c", core)
        self.found("include", '#include "core.h"\n', "core/base/buf.c", core)
        self.found("include", '#include "core.h"\n', "plugins/formats/gguf/gguf.c", core)
        self.found("include", '#include "../gguf/reader.h"\n', "plugins/formats/other/other.c", core)
        self.found("include", '#include "other.c"\n', "core/engine/kv.c", core)
        self.found("include", '#include "missing.h"\n', "core/engine/kv.c", core)

    def test_includes_to_the_left_are_fine(self):
        core = {"core/core.h": "/* core.h - the host. */\n", "core/engine/engine.h": "/* engine.h - it. */\n",
                "plugins/tokenizers/common/vocab.h": "/* vocab.h - it. */\n"}
        for path, line in (("core/models.c", '#include "engine/engine.h"\n'),
                           ("core/main.c", '#include "core.h"\n'),
                           ("plugins/tokenizers/bpe/bpe.c", '#include "../common/vocab.h"\n')):
            status, out = self.with_file(CLEAN % os.path.basename(path) + line, path, **core)
            self.assertEqual(status, 0, out)


if __name__ == "__main__":
    unittest.main()
