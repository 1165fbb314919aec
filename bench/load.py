#!/usr/bin/env python3
"""load.py - streams of many clients at once against any server that speaks OpenAI's /v1/completions.

    bench/load.py rz=http://127.0.0.1:8080 [lc=http://127.0.0.1:8081] [--streams 1,4,16,64] [--requests 1]
                  [--prompt 256] [--new 128] [--shared 0] [--vocab 1000:40000] [--seed N] [--rounds 1]
                  [--model NAME] [--results FILE]

Each client sends its requests one after the other, greedy, as token ids drawn from the vocabulary (--vocab): every
prompt is another one, so that nothing of it can be in a cache, but for the first --shared ids, which all have in common.
Round r of N clients has the same prompts for every server, and the servers take turns within a round.

Printed for each: new tokens in the second of all clients together (what the server's usage says, over the time from the
first request to the last token); seconds to the first token, and milliseconds between tokens: mean, median, 99th of
100; and how many requests failed. An answer that is not whole, or has fewer than --new tokens, is one that failed.
Exit status 1: one did.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import urllib.parse


def dechunk(held):
    """Takes the whole chunks out of a body that is coming in: (bytes, True at its end)."""
    out = b""
    while True:
        line = held.find(b"\r\n")
        if line < 0:
            return out, False
        size = int(held[:line].split(b";")[0], 16)
        if not size:
            return out, True
        if len(held) < line + 4 + size:
            return out, False
        out += held[line + 2:line + 2 + size]
        del held[:line + 4 + size]


class Answer:
    """When the tokens of one stream came, and how many the server says there were."""

    def __init__(self):
        self.begun = time.monotonic()
        self.times, self.tokens, self.error, self.done = [], 0, None, False

    def line(self, text, now):
        if not text.startswith(b"data: ") or self.done:
            return
        if text == b"data: [DONE]":
            self.done = True
            return
        event = json.loads(text[6:])
        if event.get("error"):
            self.error = str(event["error"])
        if event.get("usage"):
            self.tokens = event["usage"]["completion_tokens"]
        if event.get("choices") and event["choices"][0].get("text"):
            self.times.append(now)

    async def read(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1] != b"200":
            self.error = (head + await reader.read(2000)).decode("utf-8", "replace")
            return
        chunked = b"chunked" in head.lower()
        held, text, over = bytearray(), b"", False
        while not over:
            data = await reader.read(65536)
            now = time.monotonic()
            if not data:
                break
            held += data
            if chunked:
                data, over = dechunk(held)
            lines = (text + data).split(b"\n")
            text = lines.pop()
            for line in lines:
                self.line(line.rstrip(b"\r"), now)

    async def ask(self, url, body):
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
        writer.write(("POST %s/v1/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
                      "Content-Length: %d\r\n\r\n" % (url.path.rstrip("/"), url.netloc, len(data))).encode() + data)
        await self.read(reader)
        writer.close()


class Round:
    """What N clients of one server saw."""

    def __init__(self, args, url, streams, seed):
        self.args, self.url, self.streams = args, urllib.parse.urlsplit(url), streams
        self.random = random.Random("%d/%d" % (seed, streams))
        low, high = map(int, args.vocab.split(":"))
        draw = random.Random(seed)
        self.common = [draw.randrange(low, high) for _ in range(args.shared)]
        self.prompts = [self.common + [self.random.randrange(low, high) for _ in range(args.prompt - args.shared)]
                        for _ in range(streams * args.requests)]
        self.answers = []

    async def client(self, i):
        for prompt in self.prompts[i::self.streams]:
            body = {"prompt": prompt, "max_tokens": self.args.new, "temperature": 0, "ignore_eos": True, "stream": True,
                    "stream_options": {"include_usage": True}}
            if self.args.model:
                body["model"] = self.args.model
            answer = Answer()
            self.answers.append(answer)
            try:
                await answer.ask(self.url, body)
                if not answer.error and (not answer.done or answer.tokens != self.args.new):
                    answer.error = "not whole: %d tokens" % answer.tokens
            except (OSError, ValueError, asyncio.IncompleteReadError) as e:
                answer.error = "%s: %s" % (type(e).__name__, e)

    async def clients(self):
        await asyncio.gather(*(self.client(i) for i in range(self.streams)))

    def run(self):
        asyncio.run(self.clients())
        good = [a for a in self.answers if not a.error and a.times]
        ends = max((a.times[-1] for a in good), default=0)
        begun = min(a.begun for a in self.answers)
        first = sorted(a.times[0] - a.begun for a in good)
        between = sorted(b - a for answer in good for a, b in zip(answer.times, answer.times[1:]))
        return {"streams": self.streams, "requests": len(self.answers), "errors": len(self.answers) - len(good),
                "error": next((a.error for a in self.answers if a.error), None),
                "tokens_s": round(sum(a.tokens for a in good) / (ends - begun), 1) if good else 0,
                "first_s": spread(first, 1, 3), "between_ms": spread(between, 1e3, 2)}


def spread(values, unit, digits):
    """Mean, median and 99th of 100 of sorted values."""
    if not values:
        return [0, 0, 0]
    at = [sum(values) / len(values), values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]]
    return [round(v * unit, digits) for v in at]


def show(name, r):
    print("%-8s %4d streams: %8.1f tokens/s   first token %s s   between tokens %s ms   %d of %d failed"
          % (name, r["streams"], r["tokens_s"], " / ".join("%.2f" % v for v in r["first_s"]),
             " / ".join("%.1f" % v for v in r["between_ms"]), r["errors"], r["requests"]), flush=True)
    if r["error"]:
        print("         " + r["error"][:300].replace("\r\n", " "))


def main():
    p = argparse.ArgumentParser(description="streams of many clients at once", usage=__doc__)
    p.add_argument("servers", nargs="+")
    p.add_argument("--streams", default="1,4,16,64")
    p.add_argument("--requests", type=int, default=1, help="of each client")
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--new", type=int, default=128)
    p.add_argument("--shared", type=int, default=0)
    p.add_argument("--vocab", default="1000:40000")
    p.add_argument("--seed", type=int, help="of the prompts; one of the clock if not given")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--model")
    p.add_argument("--results")
    args = p.parse_args()
    servers = [s.split("=", 1) for s in args.servers]
    if args.shared > args.prompt or any(len(s) != 2 for s in servers):
        p.error("servers are NAME=URL, and --shared is at most --prompt")
    args.seed = int(time.time()) if args.seed is None else args.seed
    failed = 0
    for i in range(args.rounds):
        for streams in map(int, args.streams.split(",")):
            turn = i % len(servers)
            for name, url in servers[turn:] + servers[:turn]:
                r = Round(args, url, streams, args.seed + i).run()
                failed += r["errors"]
                show(name, r)
                if args.results:
                    with open(args.results, "a") as f:
                        f.write(json.dumps(dict(r, server=name, round=i, prompt=args.prompt, new=args.new, shared=args.shared,
                                                seed=args.seed + i)) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
