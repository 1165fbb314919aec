#!/usr/bin/env python3
"""style.py - the style of the C code, as far as a program can judge it, and the include walls.

    tests/style.py [--root DIR]

Looks at every .c, .h, .cl, .cu and .cc below core/, plugins/ and tests/ of the root. Prints FILE:LINE: [rule] what, one
line a finding, and a summary; exit status 1 if there are findings. `.inc` files (tables of a format's
constants) are not looked at. CONTRIBUTING.md gives the rules in words; tests/test_style.py plants one
violation of each and sees that it is found.
"""

import argparse
import os
import re
import sys

FILE_LINES = 800
FUNCTION_LINES = 70
LONG_FUNCTION_LINES = 160  # with a comment `/* long: why */` above it
LINE_COLUMNS = 110

BANNED = {
    "strcpy": "snprintf or rz_buf", "strncpy": "memcpy with a checked length", "strcat": "rz_buf",
    "strncat": "rz_buf", "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "fgets",
    "atoi": "core/base/numeric.h", "atol": "core/base/numeric.h", "atof": "core/base/numeric.h",
    "strtok": "strcspn", "system": "nothing", "popen": "nothing", "alloca": "the arena",
    "rand": "a seeded generator", "srand": "a seeded generator", "tmpnam": "mkstemp",
}
# What a library must not do, and the files that are the program rather than a library.
PROGRAM_ONLY = {
    "assert": "bytes from outside are refused with rz_fail, not asserted",
    "printf": "library code does not print", "vprintf": "library code does not print",
    "puts": "library code does not print", "putchar": "library code does not print",
    "perror": "library code does not print", "exit": "library code never exits",
    "_exit": "library code never exits", "quick_exit": "library code never exits",
    "abort": "library code never aborts", "signal": "library code leaves signals alone",
    "sigaction": "library code leaves signals alone", "setlocale": "library code leaves the locale alone",
    "chdir": "library code leaves the working directory alone",
}
PROGRAM_FILES = re.compile(
    r"^(core/(main|serve|verbs\w*|help|json|host|source)\.c|plugins/frontends/(cli|common|tools)/.*|tests/.*)$")

# Includes point left only: to a lower rank, or into the same folder.
RANKS = {"core/api/rz": 0, "core/base": 1, "core/exec": 2, "core/model": 2, "core/grammar": 2, "core/engine": 3, "core": 4}
CORE_PATH = ["core/base", "core", "core/exec", "core/model", "core/grammar", "core/engine"]

KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "do", "else", "case", "defined"}


def blank(text):
    """The text with comments and literals replaced by spaces, line for line."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


class Gate:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.exempt = []
        self.files = 0

    def find(self, path, line, rule, text):
        self.findings.append("%s:%d: [%s] %s" % (path, line, rule, text))

    # --- one file ---
    def check(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        lines = text.split("\n")
        code = blank(text).split("\n")
        self.files += 1
        self.check_shape(path, text, lines)
        self.check_words(path, lines, code)
        self.check_functions(path, lines, code)
        if path.startswith("core/"):
            self.check_names(path, code)
        if not path.startswith("tests/"):
            self.check_includes(path, lines)

    def check_shape(self, path, text, lines):
        name = os.path.basename(path)
        if not text.startswith("/* %s - " % name):
            self.find(path, 1, "title", "the first line is not `/* %s - what it is`" % name)
        if len(lines) - 1 > FILE_LINES:
            self.find(path, len(lines) - 1, "file-length", "more than %d lines: split it" % FILE_LINES)
        if text and not text.endswith("\n"):
            self.find(path, len(lines), "ending", "no newline at the end")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_COLUMNS:
                self.find(path, number, "line-length", "%d columns, at most %d" % (len(line), LINE_COLUMNS))
            if line != line.rstrip() or "\t" in line:
                self.find(path, number, "blanks", "a tab, or blanks at the end")

    def check_words(self, path, lines, code):
        program = PROGRAM_FILES.match(path)
        for number, (line, bare) in enumerate(zip(lines, code), 1):
            word = re.search(r"\b(TODO|FIXME|XXX)\b", line)
            if word:
                self.find(path, number, "todo", "%s: do it or file it" % word.group(1))
            if re.search(r"\btypedef\s+(struct|union|enum)\b[^(]*$", bare):
                self.find(path, number, "typedef", "say `struct rz_x`, without a typedef")
            for call in re.finditer(r"(?<![\w.>])(\w+)\s*\(", bare):
                name = call.group(1)
                if name in BANNED:
                    self.find(path, number, "banned", "%s: use %s" % (name, BANNED[name]))
                elif name in PROGRAM_ONLY and not program:
                    self.find(path, number, "library", "%s: %s" % (name, PROGRAM_ONLY[name]))
            if not program and re.search(r"\bv?f(printf|puts)\s*\(.*\bstd(out|err)\b", bare):
                self.find(path, number, "library", "library code does not print")

    # --- functions: a brace in the first column opens one, the next one there closes it ---
    def check_functions(self, path, lines, code):
        opened = None
        for number, line in enumerate(code, 1):
            if line.rstrip() == "{":
                opened = number
            elif line.startswith("}") and opened:
                self.check_length(path, lines, code, opened, number)
                opened = None

    def check_length(self, path, lines, code, opened, closed):
        first = opened - 1
        while first > 1 and re.match(r"\s+\S", code[first - 1]):
            first -= 1
        length = closed - first + 1
        if length <= FUNCTION_LINES:
            return
        name = self.function_name(code[first - 1]) or lines[first - 1].strip()
        above = first - 1
        while above > 0 and lines[above - 1].strip() and not lines[above - 1].startswith("}"):
            above -= 1
        marked = any(re.match(r"/\* long: \S", line) for line in lines[above:first])
        if not marked:
            self.find(path, first, "function-length",
                      "%s: %d lines, at most %d (or `/* long: why */` above it)" % (name, length, FUNCTION_LINES))
        elif length > LONG_FUNCTION_LINES:
            self.find(path, first, "function-length",
                      "%s: %d lines, at most %d even with a reason" % (name, length, LONG_FUNCTION_LINES))
        else:
            self.exempt.append("%s:%d: %s, %d lines" % (path, first, name, length))

    @staticmethod
    def function_name(line):
        if re.match(r"[a-zA-Z_]", line):
            for word in re.finditer(r"(\w+)\s*\(", line):
                if word.group(1) not in KEYWORDS and word.group(1) != "__attribute__":
                    return word.group(1)
        return None

    # --- names that the linker sees; those of plugins are local to them (make check-exports) ---
    def check_names(self, path, code):
        for number, line in enumerate(code, 1):
            if not re.match(r"[a-z_]\w*[\s*]", line) or re.match(r"(static|typedef|extern|inline)\b", line):
                continue
            name = self.function_name(line)
            if not name:
                variable = re.match(r"(?:const\s+)?(?:struct\s+)?\w+[\s*]+(?:const\s+)?(\w+)(?:\[.*?\])*\s*(=|;)", line)
                name = variable and variable.group(1)
            if name and not name.startswith(("rz_", "RZ_")) and name != "main":
                self.find(path, number, "prefix", "%s is not static, so it begins with rz_" % name)

    # --- include walls ---
    def check_includes(self, path, lines):
        for number, line in enumerate(lines, 1):
            m = re.match(r'#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not m:
                continue
            quoted, name = m.group(1) == '"', m.group(2)
            if name.endswith(".c"):
                self.find(path, number, "include", "%s: a .c file is compiled, not included" % name)
            elif quoted or name.startswith("rz/"):
                self.check_wall(path, number, name)

    def check_wall(self, path, number, name):
        here = os.path.dirname(path)
        target = self.resolve(here, name)
        if target is None:
            self.find(path, number, "include", "%s: no such header in reach of %s" % (name, here))
            return
        there = os.path.dirname(target)
        if there == here:
            return
        if here.startswith("plugins/"):
            common = os.path.join(os.path.dirname(here), "common")
            if there not in ("core/api/rz", "core/base", common):
                self.find(path, number, "include", "%s: a plugin sees <rz/*.h>, core/base and itself" % target)
        elif RANKS.get(there, 99) >= RANKS.get(here, -1):
            self.find(path, number, "include", "%s: includes point to lower layers only" % target)

    def resolve(self, here, name):
        if name.endswith(".cl.inc"):  # made of the kernels by the build
            name = name[:-len(".inc")]
        if name.startswith("rz/"):
            folders = ["core/api"]
        elif here.startswith("plugins/"):
            folders = [here, os.path.join(os.path.dirname(here), "common")] + CORE_PATH
        else:
            folders = [here] + CORE_PATH
        for folder in folders:
            target = os.path.normpath(os.path.join(folder, name))
            if os.path.isfile(os.path.join(self.root, target)):
                return target
        return None


def sources(root):
    for top in ("core", "plugins", "tests"):
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".c", ".h", ".cl", ".cu", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def main():
    parser = argparse.ArgumentParser(description="The style gate.")
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    gate = Gate(os.path.normpath(parser.parse_args().root))
    for path in sources(gate.root):
        gate.check(path)
    for finding in gate.findings:
        print(finding)
    print("style: %d files, %d findings, %d functions longer than %d lines with a reason"
          % (gate.files, len(gate.findings), len(gate.exempt), FUNCTION_LINES))
    for line in gate.exempt:
        print("  long: " + line)
    return 1 if gate.findings or gate.files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
