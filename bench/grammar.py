#!/usr/bin/env python3
"""grammar.py - what structured output costs a token: the mask and the step behind it, and compiling.

  bench/grammar.py [--generated N] [--samples N] [--each] [VOCABULARY.gguf...]

Drives tests/tool_grammar (make tests) over schemas of the generator of tests/test_grammar.py and over the
collection here, each with texts of random logits, every grammar beginning cold. A line for each vocabulary and
group: grammars, tokens, median and 99th percentile of a token's cost in microseconds, how many grammars have a
median above 50, the worst median, and median and worst compile time in milliseconds. --each: a line a grammar.
"""

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
import rzlib  # noqa: E402
import test_grammar  # noqa: E402

WORDS = ("amber anchor apple arrow autumn basin beacon birch bridge candle canyon cedar circle cloud copper coral "
         "crystal delta desert ember falcon fern field flint forest frost garden glacier granite harbor hazel heron "
         "island ivory jasper juniper lagoon lantern lark lilac linen maple marble meadow mist moss north oak ocean "
         "olive orchid otter pebble pine plaza prairie quartz quiet raven reed ridge river robin rowan saffron sage "
         "sierra silver slate spruce stone storm summit thistle timber trail valley velvet walnut willow winter").split()

LANGUAGE = r'''
root ::= (statement)+
statement ::= ws (assign | ifelse | loop | def | "return " expr | call) ";" nl
assign ::= ("let " | "") name " = " expr
ifelse ::= "if (" expr ") " block (" else " block)?
loop ::= "while (" expr ") " block | "for " name " in " expr " " block
def ::= "fn " name "(" (name ": " type (", " name ": " type)*)? ") -> " type " " block
block ::= "{" nl statement* ws "}"
type ::= "int" | "float" | "str" | "[" type "]" | "map<" type ", " type ">" | name
expr ::= and (" || " and)*
and ::= equal (" && " equal)*
equal ::= sum ((" == " | " != " | " < " | " > " | " <= " | " >= ") sum)?
sum ::= product ((" + " | " - ") product)*
product ::= unary ((" * " | " / " | " % ") unary)*
unary ::= ("-" | "!")? atom
atom ::= number | text | call | name ("[" expr "]")? | "(" expr ")" | "[" (expr (", " expr)*)? "]"
call ::= name "(" (expr (", " expr)*)? ")"
name ::= [a-zA-Z_] [a-zA-Z0-9_]*
number ::= [0-9]+ ("." [0-9]+)?
text ::= "\"" ([^"\\\n] | "\\" [nrt"\\])* "\""
ws ::= [ \t]*
nl ::= "\n"
'''

LIST = r'''
root ::= item{3,12}
item ::= "- " [A-Z] [^\n]{5,120} "\n" ("  - " [^\n]{1,60} "\n"){0,4}
'''


def obj(properties, **more):
    return dict({"type": "object", "properties": properties, "required": list(properties),
                 "additionalProperties": False}, **more)


def deep(n):
    schema = {"type": "string", "maxLength": 20}
    for i in range(n):
        schema = obj({"level%d" % i: schema, "n": {"type": "integer"}} if i % 2 else {"items": {
            "type": "array", "items": schema, "maxItems": 2}})
    return schema


def collection():
    """name, kind, text, of grammars as people write them."""
    string, integer, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    shapes = [obj({"kind": {"const": "shape%d" % i}, "x": number, "y": number, "label": string,
                   "p%d" % i: {"type": "array", "items": integer}}) for i in range(12)]
    schemas = {
        "person": obj({"name": string, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                       "email": {"type": "string", "format": "email"}, "tags": {"type": "array", "items": string}}),
        "order": obj({"id": {"type": "string", "format": "uuid"}, "date": {"type": "string", "format": "date-time"},
                      "lines": {"type": "array", "minItems": 1, "maxItems": 50, "items": obj({
                          "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4,8}$"},
                          "count": {"type": "integer", "minimum": 1, "maximum": 999},
                          "price": {"type": "number", "minimum": 0, "maximum": 99999.99}})},
                      "note": {"type": ["string", "null"], "maxLength": 200}}),
        "deep20": deep(20),
        "enum1000": obj({"word": {"enum": ["%s %s" % (WORDS[i % len(WORDS)], WORDS[(i * 7 + i // 80) % len(WORDS)])
                                           + str(i) for i in range(1000)]}, "why": string}),
        "enum1000_list": {"type": "array", "minItems": 3, "maxItems": 20,
                          "items": {"enum": ["item-%04d-%s" % (i, WORDS[i % len(WORDS)]) for i in range(1000)]}},
        "patterns": obj({"a": {"type": "string", "pattern": "^[a-z][a-z0-9_]{2,30}$"},
                         "b": {"type": "string", "pattern": "^(\\+[1-9]\\d{0,2} )?\\(?\\d{3}\\)?[ -]\\d{3}-\\d{4}$"},
                         "c": {"type": "string", "pattern": "^#([0-9a-f]{3}|[0-9a-f]{6})$"},
                         "d": {"type": "string", "pattern": "^[A-Za-z ]+(, [A-Za-z ]+)*$"},
                         "e": {"type": "string", "pattern": "^v?\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?$"},
                         "f": {"type": "string", "pattern": "(foo|bar)+baz"},
                         "g": {"type": "string", "pattern": "^\\w+([.-]?\\w+)*@\\w+([.-]?\\w+)*(\\.\\w{2,3})+$"}}),
        "formats": obj({k: {"type": "string", "format": k} for k in (
            "date", "time", "date-time", "duration", "uuid", "ipv4", "ipv6", "hostname", "email", "uri",
            "json-pointer")}),
        "tree": {"$defs": {"node": obj({"value": string, "children": {"type": "array",
                                                                      "items": {"$ref": "#/$defs/node"}}})},
                 "$ref": "#/$defs/node"},
        "expression": {"$defs": {"e": {"anyOf": [
            number, {"type": "string", "pattern": "^[a-z]+$"},
            obj({"op": {"enum": ["+", "-", "*", "/"]}, "left": {"$ref": "#/$defs/e"},
                 "right": {"$ref": "#/$defs/e"}})]}}, "$ref": "#/$defs/e"},
        "bounds": obj({"a": {"type": "integer", "minimum": -1234, "maximum": 98765},
                       "b": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                       "c": {"type": "integer", "multipleOf": 25, "minimum": 0, "maximum": 10000},
                       "d": {"type": "number", "minimum": -273.15, "multipleOf": 0.01},
                       "e": {"type": "integer", "multipleOf": 17},
                       "f": {"type": "array", "items": {"type": "number", "minimum": -1, "maximum": 1},
                             "minItems": 8, "maxItems": 8}}),
        "long_array": {"type": "array", "items": obj({"x": integer, "y": integer}), "minItems": 20, "maxItems": 200},
        "number_array": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255},
                         "minItems": 100, "maxItems": 256},
        "shapes": {"type": "array", "items": {"anyOf": shapes}, "minItems": 2, "maxItems": 10},
        "any_objects": {"anyOf": [obj({"%s%d" % (WORDS[i], k): string for k in range(5)}) for i in range(30)]},
        "optional40": {"type": "object", "properties": {"%s_%d" % (w, i): (string, integer, {"type": "boolean"})[i % 3]
                                                        for i, w in enumerate(WORDS[:40])},
                       "additionalProperties": False},
        "open_map": {"type": "object", "additionalProperties": number, "minProperties": 1},
        "open_object": {"type": "object", "properties": {w: string for w in WORDS[:20]}, "required": WORDS[:5]},
        "lengths": obj({"short": {"type": "string", "minLength": 3, "maxLength": 12},
                        "long": {"type": "string", "minLength": 20, "maxLength": 280},
                        "more": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 64},
                                 "minItems": 3, "maxItems": 10}}),
        "tool_call": {"anyOf": [obj({"name": {"const": "tool_%s" % w}, "arguments": obj({
            "query": string, "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            "mode": {"enum": ["fast", "slow", "best"]}})}) for w in WORDS[:16]]},
        "extraction": obj({"entities": {"type": "array", "maxItems": 30, "items": obj({
            "text": string, "type": {"enum": ["person", "place", "date", "money", "organisation"]},
            "start": {"type": "integer", "minimum": 0}, "score": {"type": "number", "minimum": 0, "maximum": 1}})},
            "language": {"type": "string", "pattern": "^[a-z]{2}$"}, "summary": {"type": "string",
                                                                                   "maxLength": 500}}),
    }
    out = [(name, "json_schema", json.dumps(s)) for name, s in schemas.items()]
    return out + [("json_object", "json", ""), ("gbnf_language", "gbnf", LANGUAGE), ("gbnf_list", "gbnf", LIST),
                  ("regex_words", "regex", "([A-Z][a-z]{1,15}( [a-z]{1,15}){2,20}\\. ){2,8}"),
                  ("regex_log", "regex", "(\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d (INFO|WARN|ERROR) [^\\n]{1,200}\\n){3,9}")]


def at(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


def measure(vocab, group, cases, args):
    asked = [{"kind": kind, "text": text, "samples": args.samples, "seed": i, "max": 500, "times": True}
             for i, (_, kind, text) in enumerate(cases)]
    all_times, medians, compiles = [], [], []
    for (name, _, _), a in zip(cases, test_grammar.ask(asked, vocab, 3600)):
        if a.get("error") or a.get("dead"):
            raise rzlib.Failed("%s: %s" % (name, a))
        times = a.get("times", [])
        all_times += times
        medians.append(at(times, 0.5))
        compiles.append(a["compile_ms"])
        if args.each:
            print("  %-14s %6d tokens  median %7.1f  p99 %8.1f us  compile %6.2f ms  %6d states, masks %d made, %d found" % (
                name, len(times), at(times, 0.5), at(times, 0.99), a["compile_ms"], a["states"], a["masks_made"],
                a["masks_found"]))
    print("%-12s %-10s %4d grammars %7d tokens  median %6.1f  p99 %7.1f us  medians above 50: %d, worst %.1f  "
          "compile median %.2f, worst %.2f ms" % (
              os.path.basename(vocab)[:-5], group, len(cases), len(all_times), at(all_times, 0.5), at(all_times, 0.99),
              sum(m > 50 for m in medians), max(medians), at(compiles, 0.5), max(compiles)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--generated", type=int, default=200)
    p.add_argument("--samples", type=int, default=5)
    p.add_argument("--each", action="store_true")
    p.add_argument("vocabularies", nargs="*")
    args = p.parse_args()
    vocabularies = args.vocabularies or [v for v in (rzlib.shared("vocab", n + ".gguf") for n in ("smollm2", "qwen2")) if v]
    if not vocabularies:
        raise rzlib.Failed("no vocabulary: name some, or set RZ_SHARED")
    generated = [(str(i), "json_schema", json.dumps(test_grammar.Maker(i).root())) for i in range(args.generated)]
    for vocab in vocabularies:
        if generated:
            measure(vocab, "generated", generated, args)
        measure(vocab, "collection", collection(), args)


if __name__ == "__main__":
    main()
