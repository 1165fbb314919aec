#!/usr/bin/env python3
"""soak.py - a server under a mix of good, bad and rude clients for a long time (`make soak`).

    tests/soak.py [--seconds 1200] [--requests 20000] [--model FILE] [--seed N] [--words WORDS]

Requests are short; some are cancelled at a random byte, leave before the answer, read slowly, are too large, or are not
HTTP. In the end: no crash, no error in the log, every answer that came whole is the one that was given at the start, each
request that the engine took ended, no KV page and no descriptor is held, and resident memory is flat within 2 %
(between the first and the last quarter after a warm-up; not under sanitizers, whose memory grows by design).
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import statistics
import sys
import time

import serving
from serving import HOST, POST, Server, post

CLOSE = b"Connection: close\r\n"
SANITIZED = os.environ.get("RZ_CONFIG", "release") in ("asan", "tsan", "ubsan")
CLIENTS = 24
WARM = 600  # requests before the time begins: each kind was there, and memory has the size that it needs
BODIES = 24
OPTIONS = {"plugin.http.write_timeout_s": 2, "plugin.http.header_timeout_s": 10, "plugin.http.body_timeout_s": 10,
           "plugin.http.timeout_s": 10, "plugin.http.max_body": "256K", "plugin.http.max_connections": 64,
           "engine.max_queue": 48, "engine.max_seqs": 8, "engine.page_tokens": 16, "engine.kv_pages": 40,
           "engine.context": 512}
BAD = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 40 + b"\r\n\r\n", POST + b"Content-Length: -1\r\n\r\n",
       POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET /health\0 HTTP/1.1\r\n" + HOST + b"\r\n",
       POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /" + b"a" * 60000]
BAD_JSON = [b"{", b'{"prompt":', b"[" * 1000, b'{"prompt":"a","prompt":"b"}', b'{"prompt":"\xff"}', b'{"prompt":"a","n":1e9}', b""]


def body(i, stream):
    chat = i % 4 == 3
    b = {"seed": i, "temperature": 0.8, "max_tokens": 4 + i * 5 % 40, "ignore_eos": True, "stream": stream}
    text = "number %d " % i * (1 + i % 5)
    b.update({"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text})
    if i % 6 == 5:
        b["n"] = 2
    return "/v1/chat/completions" if chat else "/v1/completions", b


def texts(answer, stream):
    """What was said, by choice; None if the answer is not whole."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    said = {}
    if not stream:
        try:
            choices = json.loads(rest)["choices"]
        except ValueError:
            return None
        return {c["index"]: c["text"] if "text" in c else c["message"]["content"] for c in choices}
    if b"data: [DONE]\n\n" not in rest or b'"error"' in rest:
        return None
    for line in unchunk(rest).split(b"\n"):
        if line.startswith(b"data: {"):
            for c in json.loads(line[6:])["choices"]:
                said[c["index"]] = said.get(c["index"], "") + (c["text"] if "text" in c else c["delta"].get("content") or "")
    return said


def unchunk(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        out, data = out + data[:n], data[n + 2:]
    return out


class Soak:
    def __init__(self, args):
        self.args, self.random = args, random.Random(args.seed)
        self.counts, self.wrong, self.memory, self.golden = {}, [], [], {}
        options = [w for k, v in OPTIONS.items() for w in ("-o", "%s=%s" % (k, v))]
        template = [] if args.model else ["-o", "model.chat_template={% for m in messages %}{{ m.content }}{% endfor %}"]
        self.server = Server(*options, *template, *args.words, model=args.model or serving.MODEL)
        self.pid = self.server.process.pid
        self.name = os.path.basename(args.model or serving.MODEL)[:-5]

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def gauge(self, metrics, name):
        return metrics['%s{model_name="%s"}' % (name, self.name)]

    def resident(self):
        with open("/proc/%d/statm" % self.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def open_files(self):
        folder = "/proc/%d/fd" % self.pid
        return [os.readlink(os.path.join(folder, n)) for n in os.listdir(folder)]

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    # --- clients ---
    async def open(self):
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def good(self, stream):
        i = self.random.randrange(BODIES)
        path, b = body(i, stream)
        r, w = await self.open()
        w.write(post(b, path, CLOSE))
        answer = await r.read(-1)
        w.close()
        status = int(answer.split()[1]) if answer else 0
        if status == 503 and b"Retry-After: " in answer:
            self.count("503")
            return
        said = texts(answer, stream) if status == 200 else None
        if said is None or said != self.golden[i]:
            self.wrong.append("request %d: %r instead of %r: %r" % (i, said, self.golden[i], answer[:300]))
        self.count("stream" if stream else "whole")

    async def leaves(self, reads):
        """Goes away after a random number of bytes of the answer, or of its own request."""
        path, b = body(self.random.randrange(BODIES), self.random.random() < 0.7)
        b["max_tokens"] = 300
        data = post(b, path)
        r, w = await self.open()
        if reads:
            w.write(data)
            await r.read(self.random.randrange(1, 3000))
        else:
            w.write(data[:self.random.randrange(len(data))])
            await asyncio.sleep(self.random.random() * 0.05)
        if self.random.random() < 0.5:
            w.transport.abort()
        else:
            w.close()
        self.count("left the answer" if reads else "left before")

    async def slow(self):
        path, b = body(self.random.randrange(BODIES), True)
        b["max_tokens"] = 400
        b["logprobs"], b["prompt"] = 5, b.get("prompt", "x")
        b.pop("messages", None)
        r, w = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1024)
        w.write(post(b))
        for _ in range(self.random.randrange(1, 30)):
            if not await r.read(512):
                break
            await asyncio.sleep(0.1)
        w.close()
        self.count("slow reader")

    async def refused(self, data, allowed):
        r, w = await self.open()
        w.write(data)
        answer = await asyncio.wait_for(r.read(-1), 300)
        w.close()
        status = answer.split()[1:2]
        if status and status[0] not in allowed and status[0] != b"503":
            self.wrong.append("%r was answered %r" % (data[:200], answer[:200]))
        self.count("refused")

    async def one(self):
        dice = self.random.random()
        try:
            if dice < 0.55:
                await self.good(dice < 0.3)
            elif dice < 0.7:
                await self.leaves(True)
            elif dice < 0.8:
                await self.leaves(False)
            elif dice < 0.82:
                await self.slow()
            elif dice < 0.87:
                await self.refused(POST + CLOSE + b"Content-Length: 300000\r\n\r\n" + b" " * 300000, (b"413",))
            elif dice < 0.93:
                data = self.random.choice(BAD_JSON)
                await self.refused(POST + CLOSE + b"Content-Length: %d\r\n\r\n" % len(data) + data, (b"400",))
            else:
                await self.refused(self.random.choice(BAD), (b"400", b"401", b"404", b"414", b"431"))
        except (ConnectionError, BrokenPipeError):
            self.count("connection ended")  # what was still being sent met a closed socket
        except asyncio.TimeoutError:
            self.wrong.append("nothing came within five minutes")

    async def warm(self):
        while sum(self.counts.values()) < WARM and self.server.process.poll() is None:
            await self.one()

    async def client(self, ends, pace):
        while time.monotonic() < ends and self.server.process.poll() is None:
            began = time.monotonic()
            await self.one()
            await asyncio.sleep(max(0.0, pace - (time.monotonic() - began)))

    async def watch(self, ends):
        while time.monotonic() < ends and self.server.process.poll() is None:
            self.memory.append(self.resident())
            await asyncio.sleep(1)

    async def run(self):
        await asyncio.gather(*(self.warm() for _ in range(CLIENTS)))
        ends = time.monotonic() + self.args.seconds
        pace = CLIENTS * self.args.seconds / self.args.requests
        await asyncio.gather(self.watch(ends), *(self.client(ends, pace) for _ in range(CLIENTS)))

    # --- what is to be seen ---
    def learn(self):
        for i in range(BODIES):
            path, b = body(i, False)
            _, _, text = self.server.request("POST", path, b)
            self.golden[i] = texts(b"\r\n\r\n" + text, False)

    def flat(self):
        warm = self.memory[len(self.memory) // 4:]
        quarter = max(1, len(warm) // 4)
        first, last = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
        print("resident: %.2f MiB at the start of the quiet part, %.2f MiB at its end (%+.2f %%)"
              % (first / 2**20, last / 2**20, (last / first - 1) * 100))
        return last <= first * 1.02

    def settle(self):
        """The metrics once nothing runs any more."""
        end = time.monotonic() + 120
        while True:
            m = self.server.metrics()
            if not self.gauge(m, "vllm:num_requests_running") + self.gauge(m, "vllm:num_requests_waiting") \
                    and m["rz_http_connections"] == 1 or time.monotonic() > end:
                return m
            time.sleep(0.2)

    def check(self):
        bad = list(self.wrong[:10])
        if self.server.process.poll() is not None:
            return bad + ["the server died: %d\n%s" % (self.server.process.returncode, self.server.log()[-3000:])]
        m = self.settle()
        ended = sum(v for k, v in m.items() if k.startswith("vllm:request_success_total"))
        taken = self.gauge(m, "rz_requests_total")
        print("engine: %d requests taken, %d ended, %d preemptions; %s" % (taken, ended, self.gauge(
            m, "vllm:num_preemptions_total"), {k: v for k, v in m.items() if "dropped" in k and v}))
        if taken != ended:
            bad.append("%d requests were taken, %d ended" % (taken, ended))
        if self.gauge(m, "rz_kv_pages_free") != self.gauge(m, "rz_kv_pages"):
            bad.append("KV pages are held: %g of %g are free" % (self.gauge(m, "rz_kv_pages_free"), self.gauge(m, "rz_kv_pages")))
        if m["rz_http_body_bytes"] or m["rz_http_connections"] != 1:
            bad.append("something is held: %r" % {k: v for k, v in m.items() if k.startswith("rz_http_")})
        end = time.monotonic() + 60  # the server may be late to see that the last of our connections was closed
        while self.fds() > self.fds_before and time.monotonic() < end:
            time.sleep(0.1)
        if self.fds() > self.fds_before:
            bad.append("%d descriptors, %d before: %r" % (self.fds(), self.fds_before, sorted(self.open_files())))
        if not self.flat() and not SANITIZED and self.args.requests >= 1000:  # fewer warm nothing up
            bad.append("resident memory grows")
        status = self.server.stop()
        if status:
            bad.append("exit status %d" % status)
        errors = [line for line in self.server.log().splitlines() if " error:" in line or "Sanitizer" in line]
        return bad + errors[:10]

    def main(self):
        self.learn()
        self.fds_before = self.fds()
        began = time.monotonic()
        asyncio.run(self.run())
        spent = time.monotonic() - began
        print("%d requests in %.0f s: %s" % (sum(self.counts.values()), spent, self.counts))
        bad = self.check()
        self.server.kill()
        for line in bad:
            print("WRONG: " + line)
        print("soak: " + ("failed" if bad else "passed"))
        return 1 if bad else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=int, default=1200)
    p.add_argument("--requests", type=int, help="in all; 20000 in 1200 s if not given")
    p.add_argument("--model")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--words", type=shlex.split, default=[], help="more words for the server, such as '-o engine.layers=auto'")
    args = p.parse_args()
    args.requests = args.requests or max(1, args.seconds * 20000 // 1200)
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    sys.exit(Soak(args).main())


if __name__ == "__main__":
    main()
