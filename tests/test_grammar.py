#!/usr/bin/env python3
"""test_grammar.py - grammars by themselves, through tests/tool_grammar.c, judged by the package jsonschema.

200 schemas of a generator, five texts each with random logits over a real vocabulary at temperature 1.5: each
validates, none stops without an end. Examples for each keyword: what jsonschema finds valid the automaton
accepts (in the declared order), and what it finds invalid is refused. RZ_JSON_SUITE may name a checkout of the
JSON-Schema-Test-Suite (its tests/draft2020-12): the groups whose keywords are supported are tried too.
"""

import glob
import itertools
import json
import os
import random
import subprocess
import sys

import rzlib

try:
    import jsonschema
except ImportError:
    jsonschema = None

TOOL = os.path.join(rzlib.BUILD, "tests", "tool_grammar")
CHECKER = jsonschema and jsonschema.FormatChecker(["date", "ipv4", "ipv6", "uuid", "email", "regex"])


def ask(cases, vocab=None, limit=300):
    done = subprocess.run([TOOL] + ([vocab] if vocab else []), timeout=limit, capture_output=True, text=True,
                          input="".join(json.dumps(c) + "\n" for c in cases))
    if done.returncode:
        raise rzlib.Failed("tool_grammar: exit status %d\n%s" % (done.returncode, done.stderr[-3000:]))
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def valid(schema, text):
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return jsonschema.Draft202012Validator(schema, format_checker=CHECKER).is_valid(value)


# --- schemas of our own ---

class Maker:
    def __init__(self, seed):
        self.rnd = random.Random(seed)

    def some(self, chance):
        return self.rnd.random() < chance

    def string(self):
        s = {"type": "string"}
        kind = self.rnd.randrange(5)
        if kind == 0:
            s["minLength"] = self.rnd.randrange(0, 6)
            s["maxLength"] = s["minLength"] + self.rnd.randrange(0, 40)
        elif kind == 1:
            s["pattern"] = self.rnd.choice(["^[a-z]{2,5}$", "^\\d{3}-[A-F]+$", "^(red|green|blue)( [a-z]+)?$", "ab+c",
                                            "^[^\"\\\\]{1,9}$", "^\\S+@\\S+$", "[xyz]$", "^a|b$"])
        elif kind == 2:
            s["format"] = self.rnd.choice(["date", "date-time", "time", "uuid", "ipv4", "ipv6", "email"])
        return s

    def number(self):
        s = {"type": self.rnd.choice(["integer", "number"])}
        low = self.rnd.choice([-1000, -7.5, -1, 0, 0.25, 3, 99, 12345])
        kind = self.rnd.randrange(6)
        if kind in (0, 2):
            s[self.rnd.choice(["minimum", "exclusiveMinimum"])] = low
        if kind in (1, 2):
            s[self.rnd.choice(["maximum", "exclusiveMaximum"])] = low + self.rnd.choice([2, 10, 99.5, 100000])
        if kind == 3:
            s["multipleOf"] = self.rnd.choice([2, 5, 7, 10, 64])
        return s

    def array(self, depth):
        s = {"type": "array"}
        if self.some(0.3):
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(self.rnd.randrange(1, 4))]
            s["items"] = self.rnd.choice([False, {"type": "boolean"}])
        else:
            s["items"] = self.schema(depth + 1)
        if self.some(0.5) and s["items"] is not False:
            s["minItems"] = self.rnd.randrange(0, 3)
            s["maxItems"] = s["minItems"] + self.rnd.randrange(0, 4)
        return s

    def object(self, depth):
        names = self.rnd.sample(["id", "name", "a b", "é", "quote\"d", "tags", "value", "nested", "x" * 20, "na"],
                                self.rnd.randrange(0, 5))
        s = {"type": "object", "properties": {n: self.schema(depth + 1) for n in names},
             "required": [n for n in names if self.some(0.6)]}
        s["additionalProperties"] = self.rnd.choice([False, False, False, self.schema(depth + 2)])
        if self.some(0.2) and names:
            s["minProperties"] = self.rnd.randrange(0, len(names) + 1)
        if self.some(0.2):
            s["maxProperties"] = max(len(s["required"]), s.get("minProperties", 0)) + self.rnd.randrange(0, 3)
        return s

    def schema(self, depth=0):
        kind = self.rnd.randrange(12 if depth < 4 else 6)
        if kind == 0:
            return {"type": self.rnd.choice(["boolean", "null"])}
        if kind == 1:
            return {"enum": self.rnd.sample(["a", "ab", "b\n", 1, 2.5, None, True, ["x", 1], {"k": "v"}, ""], 3)}
        if kind in (2, 3):
            return self.string()
        if kind in (4, 5):
            return self.number()
        if kind in (6, 7):
            return self.array(depth)
        if kind == 8:
            return {"anyOf": [self.schema(depth + 1) for _ in range(self.rnd.randrange(1, 4))]}
        if kind == 9:
            return {"const": self.rnd.choice(["c", 3, False, [1, 2]])}
        if depth and self.some(0.2):
            return {"type": ["string", "integer", "null"]}
        return self.object(depth)

    def root(self):
        s = self.schema()
        if self.some(0.2):
            node = {"type": "object", "properties": {"v": self.schema(3), "next": {"anyOf": [
                {"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["v", "next"],
                "additionalProperties": False}
            s = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
        return s


def check_samples(vocab, n_schemas, n_samples):
    schemas = [Maker(i).root() for i in range(n_schemas)]
    answers = ask([{"kind": "json_schema", "text": json.dumps(s), "samples": n_samples, "seed": i, "max": 1200}
                   for i, s in enumerate(schemas)], vocab)
    whole = cut = 0
    costs, compiles = [], []
    for schema, answer in zip(schemas, answers):
        if answer.get("error") or answer.get("dead"):
            raise rzlib.Failed("%s\n%s" % (json.dumps(schema), answer))
        costs.append(answer.get("token_us", 0))
        compiles.append(answer["compile_ms"])
        for text in answer["samples"]:
            if text is None:
                cut += 1
                continue
            whole += 1
            if not valid(schema, text):
                raise rzlib.Failed("a text that does not fit %s: %s" % (json.dumps(schema), text))
    costs.sort()
    compiles.sort()
    print("%d schemas, %d texts valid, %d cut at 1200 tokens; median of the medians of a token's cost %.1f us, worst "
          "%.1f us; compile median %.2f ms, worst %.2f ms" % (len(schemas), whole, cut, costs[len(costs) // 2],
                                                           costs[-1], compiles[len(compiles) // 2], compiles[-1]))
    if whole < 0.9 * n_schemas * n_samples:
        raise rzlib.Failed("too many texts did not come to an end: %d" % cut)


# --- keywords, one by one ---

KEYWORDS = [
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["", "a", "ab", "abc", "abcd", "éé", "😀😀😀", "😀" * 4, 3]),
    ({"type": "string", "pattern": "b+"}, ["b", "abc", "ac", ""]),
    ({"type": "string", "pattern": "^a|c$"}, ["ax", "xc", "xax", ""]),
    ({"type": "string", "pattern": "^[a-c]+$", "maxLength": 3}, ["a", "abc", "abca", "", "d"]),
    ({"type": "string", "pattern": "^[A-Z\u00c0-\u00d6][^\\d]*$"}, ["Ab", "É", "ab", "A1"]),
    ({"minimum": 2}, [1, 2, 3, "x", None, 1.99, 2.0001, []]),
    ({"type": "integer", "minimum": -12, "maximum": 105}, [-13, -12, -9, -1, 0, 7, 99, 100, 105, 106, 1000]),
    ({"type": "number", "exclusiveMinimum": -0.5, "exclusiveMaximum": 0.5}, [-0.5, -0.49, 0, 0.49, 0.5, 0.05, 1]),
    ({"type": "number", "minimum": 0.001, "maximum": 1234.5}, [0, 0.0009, 0.001, 0.01, 1, 999, 1234.5, 1234.51, 2000]),
    ({"type": "integer", "multipleOf": 3}, [0, 3, -9, 10, 12, 301]),
    ({"type": "integer", "multipleOf": 4, "minimum": 3, "maximum": 17}, [0, 4, 6, 16, 17, 20]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}, [[], [1], [1, 2], [1, 2, 3], ["a"]]),
    ({"prefixItems": [{"type": "string"}, {"type": "null"}], "items": False, "type": "array"},
     [[], ["a"], ["a", None], ["a", None, 1], [1], [None]]),
    ({"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "boolean"}, "minItems": 2},
     [[1], [1, True], [1, True, False], [2, True], [1, 1]]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["b"]},
     [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 2}, {"a": "x", "b": 1}, {"b": 1, "c": 2}]),
    ({"type": "object", "additionalProperties": {"type": "null"}, "properties": {"ab": {"const": 1}}},
     [{}, {"ab": 1}, {"ab": None}, {"a": None}, {"abc": None}, {"abc": 1}, {"": None}]),
    ({"type": "object", "required": ["z"]}, [{}, {"z": 1}, {"y": 1}]),
    ({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2, "maxProperties": 2,
      "additionalProperties": False}, [{}, {"a": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}]),
    ({"type": "object", "maxProperties": 1}, [{}, {"a": 1}, {"a": 1, "b": 2}]),
    ({"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
     [{}, {"x-a": 1}, {"x-a": "s"}, {"y": 1}]),
    ({"type": "object", "propertyNames": {"maxLength": 2}}, [{}, {"ab": 1}, {"abc": 1}]),
    ({"enum": [1, "a", None, [1, {"x": 2}]]}, [1, "a", None, [1, {"x": 2}], 2, "b"]),
    ({"const": {"a": [1, 2]}}, [{"a": [1, 2]}, {"a": [1]}]),
    ({"enum": [1, 2, 3, "x"], "type": "integer", "minimum": 2}, [1, 2, 3, "x"]),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}], "minimum": 5}, ["a", 5, 4, None]),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 5, None]),
    ({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "x": {"type": "integer"}}, "required": ["k", "x"]},
                {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}]},
     [{"k": "a", "x": 1}, {"k": "a"}, {"k": "b"}, {"k": "c"}]),
    ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
     [{"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}, {"a": 1, "b": 2}]),
    ({"allOf": [{"minimum": 3}, {"maximum": 5}], "type": "integer"}, [2, 3, 5, 6]),
    ({"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"}, [[], [[], [[]]], [1]]),
    ({"$defs": {"p": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
      "$ref": "#/$defs/p", "properties": {"b": {"type": "null"}}}, [{"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": 1}, {}]),
    ({"type": "string", "format": "date"}, ["2024-02-29", "2023-02-29", "2024-13-01", "2024-1-1", "2000-02-29", "1900-02-29"]),
    ({"type": "string", "format": "ipv4"}, ["1.2.3.4", "256.1.1.1", "1.2.3", "0.0.0.0"]),
    ({"type": "string", "format": "ipv6"}, ["::1", "1::2::3", "1:2:3:4:5:6:7:8", "fe80::1", "12345::"]),
    ({"type": "string", "format": "uuid"}, ["2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08aa9811eab4aa73b441d16380"]),
    ({"type": ["string", "null"]}, ["a", None, 1]),
    (True, [1, "x", None, {"a": [1]}]),
]

REFUSED = [
    ({"uniqueItems": True}, "#/uniqueItems"), ({"not": {}}, "#/not"), ({"if": {}}, "#/if"),
    ({"properties": {"a/b": {"contains": {}}}}, "#/properties/a~1b/contains"),
    ({"items": {"format": "iri"}}, "#/items/format"), ({"nonsense": 1}, "#/nonsense"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf"), ({"$ref": "http://x/y"}, "#/$ref"),
    ({"$ref": "#/$defs/no"}, "#/$ref"), ({"type": "strin"}, "#/type"), ({"minLength": -1}, "#/minLength"),
    ({"pattern": "(?=a)"}, "#/pattern"), ({"pattern": "(a"}, "#/pattern"), ({"pattern": "\\bword"}, "#/pattern"),
    ({"type": "string", "pattern": "a", "minLength": 5}, "#/minLength"), ({"type": "number", "multipleOf": 0.3}, "#/multipleOf"),
    ({"minProperties": 3}, "#/minProperties"), ({"type": []}, "no text fits"), ({"$ref": "#"}, "left recursion"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "no text fits"),
    ({"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
      "$ref": "#/$defs/a"}, "no text fits"),
]


def check_keywords():
    cases = [{"kind": "json_schema", "text": json.dumps(s), "match": [json.dumps(v, ensure_ascii=False) for v in values]}
             for s, values in KEYWORDS]
    n = 0
    for (schema, values), answer in zip(KEYWORDS, ask(cases)):
        if answer.get("error"):
            raise rzlib.Failed("%s: %s" % (schema, answer["error"]))
        for value, got in zip(values, answer["accepts"]):
            n += 1
            if got != valid(schema, json.dumps(value)):
                raise rzlib.Failed("%s: %s is %s" % (json.dumps(schema), json.dumps(value), "accepted" if got else "refused"))
    for (schema, words), answer in zip(REFUSED, ask([{"kind": "json_schema", "text": json.dumps(s)} for s, _ in REFUSED])):
        if words not in answer.get("error", ""):
            raise rzlib.Failed("%s: %s, not %s" % (json.dumps(schema), answer.get("error"), words))
    print("%d values for %d schemas as jsonschema finds them, %d schemas refused by name" % (n, len(KEYWORDS), len(REFUSED)))


# --- hostile texts: refused or settled, soon ---

def check_hostile():
    deep = {"type": "string"}
    for _ in range(3000):
        deep = {"type": "array", "items": deep}
    ring = {"$defs": {"a%d" % i: {"allOf": [{"$ref": "#/$defs/a%d" % ((i + 1) % 9)}, {"minimum": i}]} for i in range(9)},
            "$ref": "#/$defs/a0"}
    sys.setrecursionlimit(100000)
    cases = [
        ("json_schema", json.dumps(deep)), ("json_schema", "[" * 100000), ("json_schema", json.dumps(ring)),
        ("json_schema", json.dumps({"anyOf": [{"anyOf": [{"type": "integer"}] * 50}] * 50})),
        ("json_schema", json.dumps({"allOf": [{"anyOf": [{"minimum": i} for i in range(20)]}] * 6})),
        ("json_schema", json.dumps({"enum": ["v%d" % i for i in range(20000)]})),
        ("json_schema", json.dumps({"type": "string", "minLength": 10 ** 12})),
        ("json_schema", json.dumps({"type": "string", "pattern": "((a{0,1000}){0,1000}){0,1000}"})),
        ("gbnf", "root ::= " + "(" * 60000 + '"a"' + ")" * 60000), ("gbnf", 'root ::= ("a"*){0,1000000000}'),
        ("gbnf", "root ::= " + '"a"' * 70000), ("gbnf", "\n".join("r%d ::= r%d" % (i, i + 1) for i in range(5000)) + "\nroot ::= r0"),
        ("gbnf", 'root ::= "\\xF'), ("gbnf", "root ::= [a-"), ("gbnf", "root ::= x"), ("gbnf", 'root ::= "a"{3,1}'),
        ("gbnf", 'root ::= "a" root "b" | root2\nroot2 ::= root2 "x"'), ("gbnf", ""), ("gbnf", 'root ::= (("a"*)*)*'),
        ("regex", "(a+)+$"), ("regex", "(" * 500 + ")" * 500), ("regex", "a{1000000000}{1000000000}"), ("regex", "[z-a]"),
        ("regex", "\\"), ("regex", "a**"), ("regex", "(((a{0,99}){0,99}){0,99}){0,99}"),
    ]
    answers = ask([{"kind": k, "text": t, "match": ["a" * 300]} for k, t in cases], limit=120)
    slow = max(a["compile_ms"] for a in answers)
    print("%d hostile texts: %d refused, slowest %.0f ms" % (len(cases), sum("error" in a for a in answers), slow))
    for want in (0, 1, 8, 10, 11, 12, 13, 14, 15, 16, 17, 20, 22, 23, 24):
        if "error" not in answers[want]:
            raise rzlib.Failed("%s was taken" % cases[want][1][:60])
    if slow > 5000:
        raise rzlib.Failed("one took %.0f ms" % slow)


# --- the public suite ---

# Valid instances that are refused on purpose: file, the beginning of the group or of the test, why.
REFUSES_VALID = [
    ("format.json", "", "format is always held to, not an annotation"),
    ("vocabulary.json", "", "a meta-schema without the validation vocabulary is not looked at"),
    ("optional/bignum.json", "", "numbers have up to 18 digits before the point"),
    ("optional/float-overflow.json", "", "exponents have two digits"),
    ("optional/format/", "", "formats are written in their common forms: no leap seconds, capital T and Z, plain local parts of "
     "e-mail addresses, labels up to 30 letters, IPv6 without IPv4 in it, URIs with a host and unescaped"),
]


def orders(value, most=720):
    """The value with its objects in each order of their properties (some, where there are very many)."""
    if isinstance(value, float) and value == int(value) and abs(value) <= 2 ** 53:
        return [int(value)]
    if isinstance(value, list):
        return [list(v) for v in itertools.islice(itertools.product(*(orders(v, 24) for v in value)), most)]
    if isinstance(value, dict):
        out = []
        for names in itertools.permutations(value):
            for parts in itertools.product(*(orders(value[n], 24) for n in names)):
                out.append(dict(zip(names, parts)))
                if len(out) == most:
                    return out
        return out
    return [value]


def texts_of(value):
    """A value as programs write it: compact, with blanks, with new lines; each a list over orders."""
    return [[json.dumps(v, ensure_ascii=False, **how) for v in orders(value)]
            for how in ({"separators": (",", ":")}, {}, {"indent": 2})]


def suite_files(folder):
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.json"), recursive=True)):
        with open(path, encoding="utf-8") as f:
            yield os.path.relpath(path, folder), json.load(f)


def excused(name, group, test):
    return any(name.startswith(file) and (group.startswith(words) or test.startswith(words))
               for file, words, _ in REFUSES_VALID)


def check_group(name, group, ask_one, count):
    """Wrong answers of one group: what differs from the suite and is not excused."""
    schema = group["schema"]
    about_format = name.startswith("optional/format/")
    if about_format and isinstance(schema, dict):
        schema = dict(schema, type="string")
    texts = [texts_of(t["data"]) for t in group["tests"]]
    flat = [x for forms in texts for form in forms for x in form]
    answer = ask_one({"kind": "json_schema", "text": json.dumps(schema), "match": flat})
    if answer.get("error"):
        count["refused"] += 1
        return [] if "#" in answer["error"] or "no text fits" in answer["error"] or "left recursion" in answer["error"] else [
            "%s: %s: refused without a place: %s" % (name, group["description"], answer["error"])]
    count["taken"] += 1
    accepts, wrong = iter(answer["accepts"]), []
    for test, forms in zip(group["tests"], texts):
        want = test["valid"] and not (about_format and not isinstance(test["data"], str))
        for form in forms:
            got = any([next(accepts) for _ in form])
            count["texts"] += 1
            if got == want:
                continue
            if want and excused(name, group["description"], test["description"]):
                count["excused"] += 1
                continue
            wrong.append("%s: %s: %s: %s is %s" % (name, group["description"], test["description"], form[0][:80],
                                                   "refused" if want else "accepted"))
    return wrong


def check_suite(folder):
    count = dict.fromkeys(("taken", "refused", "texts", "excused"), 0)
    cases, wrong = [], []
    files = list(suite_files(folder))
    for name, groups in files:  # once to collect the questions, once to judge the answers
        for group in groups:
            check_group(name, group, lambda c: cases.append(c) or {"error": "#"}, dict(count))
    answers = iter(ask(cases))
    for name, groups in files:
        for group in groups:
            wrong += check_group(name, group, lambda c: next(answers), count)
    print("suite: %(taken)d groups taken, %(refused)d refused by name, %(texts)d texts, %(excused)d of them excused" % count)
    if wrong:
        raise rzlib.Failed("%d answers differ from the suite:\n  %s" % (len(wrong), "\n  ".join(wrong)))


def main():
    passed, skipped = 1, 0

    def skip(why):
        nonlocal skipped
        skipped += 1
        print("skipped: " + why)
    check_hostile()
    vocab, second = rzlib.shared("vocab", "smollm2.gguf"), rzlib.shared("vocab", "qwen2.gguf")
    many, suite = rzlib.SLOW, os.environ.get("RZ_JSON_SUITE")
    if not jsonschema:
        skip("the package jsonschema is not there: no values are judged")
    else:
        check_keywords()
        passed += 1
        if vocab:
            check_samples(vocab, 200 if many else 40, 5 if many else 2)
            passed += 1
        else:
            skip("no vocabulary (RZ_SHARED)")
        if many and second:
            check_samples(second, 40, 2)
            passed += 1
        if suite:
            check_suite(suite)
            passed += 1
        else:
            skip("the JSON-Schema-Test-Suite (RZ_JSON_SUITE names its tests/draft2020-12)")
    print("%d passed, 0 failed, %d skipped" % (passed, skipped))


if __name__ == "__main__":
    main()
