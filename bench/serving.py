#!/usr/bin/env python3
"""serving.py - what `rz serve` promises, as figures: one command each, exit status 1 when a bar is missed.

    bench/serving.py shared     50 requests with the same 1,500 tokens before each: the first token of the later ones
                                comes in at most a tenth of the time of the first one's
    bench/serving.py repeat     "this text again, with one change": with guesses out of the text at least twice the
                                speed, and the same tokens (medians of 3 runs in turn)
    bench/serving.py overload   500 connections at once: streams that were taken end whole, all others have their 503
                                within a second
    bench/serving.py drain      SIGTERM with 16 streams open: all end whole, exit status 0

    [--model FILE] (else RZ_MODEL or the default model), [--seed N]; RZ is the program, else build/release/rz.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests"))
os.environ.setdefault("RZ", os.path.join(HERE, "..", "build", "release", "rz"))
os.environ.setdefault("RZ_BUILD", os.path.dirname(os.environ["RZ"]))
os.environ.setdefault("RZ_FIXTURES", os.path.join(HERE, "..", "build", "fixtures"))

import load  # noqa: E402
import rzlib  # noqa: E402
import serving  # noqa: E402
import test_speculate  # noqa: E402


class Streams:
    """Streams of a server, each of random tokens behind common ones."""

    def __init__(self, server, seed, common=0):
        self.url = urllib.parse.urlsplit("http://127.0.0.1:%d" % server.port)
        self.random = random.Random(seed)
        self.common = self.ids(common)
        self.answers = []

    def ids(self, n):
        return [self.random.randrange(1000, 40000) for _ in range(n)]

    async def one(self, n_prompt, new):
        body = {"prompt": self.common + self.ids(n_prompt), "max_tokens": new, "temperature": 0, "ignore_eos": True,
                "stream": True, "stream_options": {"include_usage": True}}
        answer = load.Answer()
        self.answers.append(answer)
        try:
            await answer.ask(self.url, body)
        except (OSError, ValueError, asyncio.IncompleteReadError) as e:
            answer.error = repr(e)
        answer.seconds = time.monotonic() - answer.begun
        answer.whole = answer.done and not answer.error and answer.tokens == new
        return answer

    async def several(self, n, n_prompt, new):
        return await asyncio.gather(*(self.one(n_prompt, new) for _ in range(n)))


def shared(args):
    server = serving.Server("-o", "engine.context=2048", model=args.model)
    streams = Streams(server, args.seed, 1500)
    asyncio.run(Streams(server, args.seed + 1).several(1, 64, 8))  # memory is touched, threads are there
    first = [asyncio.run(streams.one(16, 8)) for _ in range(50)]
    server.stop()
    times = [a.times[0] - a.begun for a in first if a.whole]
    later = sorted(times[1:])
    print("first token: %.0f ms, then %.0f ms (median), %.0f ms (slowest of %d): %.1f %%, %.1f %% of the first"
          % (times[0] * 1e3, later[len(later) // 2] * 1e3, later[-1] * 1e3, len(later),
             later[len(later) // 2] / times[0] * 100, later[-1] / times[0] * 100))
    return len(times) == 50 and statistics.mean(later) <= 0.1 * times[0]


def repeat(args):
    speeds, said = {"off": [], "lookup": []}, set()
    for _ in range(3):
        for mode, speed in speeds.items():
            lines = subprocess.run([rzlib.RZ, "run", "--json", "--raw", "-m", args.model, "-p", test_speculate.CODE, "-n", "200",
                                    "--temp", "0", "--stop", "```", "-o", "engine.speculate=" + mode],
                                   capture_output=True, text=True, check=True).stdout.splitlines()
            end = json.loads(lines[-1])
            speed.append(end["timings"]["new_tokens_per_s"])
            said.add("\n".join(lines[:-1]))
    ratio = statistics.median(b / a for a, b in zip(*speeds.values()))
    print("%d tokens, %d of them guessed: %s tokens/s, %s without: %.2f times (median), %s"
          % (end["new_tokens"], end["accepted_tokens"], *("%s" % [round(v) for v in speeds[m]] for m in ("lookup", "off")), ratio,
             "the same tokens" if len(said) == 1 else "OTHER TOKENS"))
    return ratio >= 2 and len(said) == 1


def overload(args):
    server = serving.Server("-o", "engine.max_queue=32", "-o", "engine.context=512", model=args.model)
    streams = Streams(server, args.seed)
    answers = asyncio.run(streams.several(500, 32, 24))
    good = [a for a in answers if a.whole]
    refused = [a.seconds for a in answers if a.error and a.error.startswith("HTTP/1.1 503") and "Retry-After: " in a.error]
    broken = [a for a in answers if not a.whole and not (a.error or "").startswith("HTTP/1.1 503")]
    status = server.stop()
    print("%d streams whole, %d refused, the slowest refusal after %.2f s, %d broken; exit status %d"
          % (len(good), len(refused), max(refused, default=0), len(broken), status))
    for a in broken[:3]:
        print("    " + repr(a.error)[:200])
    return len(good) + len(refused) == 500 and max(refused, default=0) < 1 and not status


def drain(args):
    server = serving.Server("-o", "rz.drain_ms=60000", "-o", "engine.context=1024", model=args.model)
    streams = Streams(server, args.seed)

    async def run():
        tasks = [asyncio.create_task(streams.one(64, 256)) for _ in range(16)]
        while len(streams.answers) < 16 or not all(a.times for a in streams.answers):
            await asyncio.sleep(0.02)
        began, had = time.monotonic(), sum(len(a.times) for a in streams.answers)
        server.process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*tasks), time.monotonic() - began, had
    answers, seconds, had = asyncio.run(run())
    status = server.wait()
    whole = sum(a.whole for a in answers)
    print("SIGTERM after %d of %d tokens: %d of 16 streams ended whole %.1f s later; exit status %d"
          % (had, 16 * 256, whole, seconds, status))
    return whole == 16 and not status


def main():
    parts = {f.__name__: f for f in (shared, repeat, overload, drain)}
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("parts", nargs="+", choices=parts)
    p.add_argument("--model", default=rzlib.default_model())
    p.add_argument("--seed", type=int, default=int(time.time()))
    args = p.parse_args()
    if not args.model:
        p.error("there is no default model here: --model FILE")
    missed = [name for name in args.parts if not parts[name](args)]
    if missed:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
