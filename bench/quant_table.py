#!/usr/bin/env python3
"""quant_table.py - what each mix of `rz quantize` costs: its size and the perplexity of a text.

    bench/quant_table.py MODEL TEXT CALIBRATION [--mixes Q8_0,Q4_K_M,...] [--chunks 8] [--ctx 512]
                         [--beside LLAMA_QUANTIZE] [--folder DIR]

MODEL should be in F32, F16 or BF16. CALIBRATION is the text of the importance matrix, which the mixes below
2.5 bits need; they are marked with `i`. With --beside, another program makes the same mix of the same file
(called as: PROGRAM [--imatrix FILE] IN OUT MIX); its file is measured by rz too, unless all of its tensors
have the same bytes. Prints a table in Markdown, a line as soon as it is known.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RZ = os.environ.get("RZ") or os.path.join(HERE, "..", "build", "release", "rz")
MIXES = ("F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M Q3_K_S "
         "IQ3_M IQ3_S Q2_K IQ3_XS IQ3_XXS IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S").split()
WITH_IMPORTANCE = {"IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S"}


def rz(*args):
    done = subprocess.run([RZ, "-q", *args, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s: %s" % (" ".join(args), done.stderr.strip()))
    return json.loads(done.stdout.splitlines()[-1])


def perplexity(path, args):
    return rz("perplexity", "-m", path, "-f", args.text, "--ctx", str(args.ctx), "--chunks", str(args.chunks))


def tensors(path):
    with open(path, "rb") as f:
        for t in rz("info", path, "--tensors")["tensors"]:
            f.seek(t["offset"])
            yield t["name"], t["type"], f.read(t["bytes"])


def same_tensors(a, b):
    """How many tensors have the same type and bytes in both files, and how many there are."""
    mine = {name: (kind, hash(data)) for name, kind, data in tensors(a)}
    theirs = {name: (kind, hash(data)) for name, kind, data in tensors(b)}
    return sum(mine.get(name) == value for name, value in theirs.items()), len(theirs)


def beside(args, mix, path, folder, mine, options):
    other = os.path.join(folder, "other.gguf")
    done = subprocess.run([args.beside, *options, args.model, other, mix], capture_output=True, text=True)
    if done.returncode:
        return " refused | | |"
    same, n = same_tensors(path, other)
    value = mine if same == n else perplexity(other, args)["perplexity"]
    return " %.4f | %+.2f %% | %d of %d |" % (value, 100 * (mine / value - 1), same, n)


def main():
    p = argparse.ArgumentParser(description="Size and perplexity of each mix.")
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("calibration")
    p.add_argument("--mixes", default=",".join(MIXES))
    p.add_argument("--chunks", type=int, default=8)
    p.add_argument("--ctx", type=int, default=512)
    p.add_argument("--beside", metavar="PROGRAM")
    p.add_argument("--folder", help="for the files, which are removed (default: a temporary folder)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        importance = os.path.join(folder, "imatrix.gguf")
        path = os.path.join(folder, "mine.gguf")
        rz("imatrix", "-m", args.model, "-f", args.calibration, "-o", importance, "--chunks", str(args.chunks))
        base = perplexity(args.model, args)
        print("the model itself: perplexity %.4f +/- %.4f, %d tokens scored in %d windows of %d"
              % (base["perplexity"], base["standard_error"], base["tokens"], base["windows"], base["ctx"]))
        print("\n| mix | MiB | bits a weight | perplexity |" + (" theirs | difference | same tensors |" if args.beside
                                                                 else ""))
        print("|---|---|---|---|" + ("---|---|---|" if args.beside else ""), flush=True)
        for mix in args.mixes.split(","):
            options = ["--imatrix", importance] if mix in WITH_IMPORTANCE else []
            made = rz("quantize", args.model, path, mix, "-y", *options)
            mine = perplexity(path, args)["perplexity"]
            line = "| %s%s | %.1f | %.2f | %.4f |" % (mix, " i" if options else "", made["bytes"] / 2**20,
                                                      made["bits_per_weight"], mine)
            print(line + (beside(args, mix, path, folder, mine, options) if args.beside else ""), flush=True)


if __name__ == "__main__":
    main()
