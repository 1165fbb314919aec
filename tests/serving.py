"""serving.py - a `rz serve` of a tiny model for process tests, and raw requests to it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading

import rzlib

MODEL = rzlib.fixture("tiny-llama.gguf")
BODY = b'{"prompt":"x","max_tokens":1}'
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
# All the weight lies on the token "a", so that the text is known and does not end by itself.
LONG = {"prompt": "the king", "max_tokens": 60000, "ignore_eos": True, "temperature": 0, "logit_bias": {"100": 100}}
CRASHES = [-s for s in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)]
ROOMY = ("-o", "engine.context=65536")


def post(body, path="/v1/completions", headers=b""):
    """The bytes of a request with this object as its body."""
    data = json.dumps(body).encode()
    return (b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + headers
            + b"Content-Length: %d\r\n\r\n" % len(data) + data)


def read_to(s, what):
    """What comes up to where this has been seen, or to the end."""
    got = b""
    while what not in got:
        part = s.recv(65536)
        if not part:
            break
        got += part
    return got


def read_all(s):
    got = b""
    while True:
        part = s.recv(65536)
        if not part:
            return got
        got += part


class Server:
    """The log is read all the time, so that the server never waits for us; log() is what came so far."""

    def __init__(self, *args, model=MODEL, prefix=(), fds=()):
        """model None: those of the configuration; prefix: words before the program; fds: descriptors that it inherits."""
        port = () if any("plugin.http.listen=" in a for a in args) else ("--port", "0")
        named = ("-m", model) if model else ()
        self.process = subprocess.Popen([*prefix, rzlib.RZ, "serve", *named, *port, *args], pass_fds=fds,
                                        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.lines, self.news = [], threading.Condition()
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        self.address = self.wait_line(r"ready: (.*)")
        if self.address is None:
            raise rzlib.Failed("the server did not start: " + self.log())
        port = re.search(r":(\d+)(\s|$)", self.address)
        self.port = int(port.group(1)) if port else None

    def read_log(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.decode("utf-8", "replace"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def wait_line(self, pattern, seconds=120):
        """The first group (or all) of the first line with this pattern; None: the log ended without."""
        found = []

        def look():
            for line in self.lines:
                hit = line is not None and re.search(pattern, line.rstrip("\n"))
                if hit:
                    found.append(hit.group(1) if hit.groups() else hit.group(0))
                    return True
            return self.lines[-1:] == [None]
        with self.news:
            self.news.wait_for(look, seconds)
        return found[0] if found else None

    def log(self):
        with self.news:
            return "".join(line for line in self.lines if line is not None)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 60)

    def send(self, data, wait=60.0):
        """(the answer so far, True if the server closed the connection); wait: seconds without a byte."""
        answer, closed = b"", False
        with self.connect() as s:
            s.settimeout(wait)
            try:
                s.sendall(data)
                while True:
                    part = s.recv(65536)
                    if not part:
                        closed = True
                        break
                    answer += part
            except (BrokenPipeError, ConnectionResetError):
                closed = True
            except socket.timeout:
                pass
        return answer, closed

    def request(self, method, path, body=None, headers=None):
        """(status, headers, text) of one request on a connection of its own."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        c.request(method, path, json.dumps(body) if body is not None else None, headers)
        r = c.getresponse()
        answer = r.status, r.headers, r.read()
        c.close()
        return answer

    def ask(self, body, path="/v1/completions"):
        status, _, text = self.request("POST", path, body)
        return status, text

    def stream(self, **fields):
        """The socket of a long stream that has begun."""
        s = self.connect()
        s.sendall(post(dict(LONG, stream=True, **fields)))
        got = b""
        while b"data: " not in got:
            part = s.recv(4096)
            if not part:
                raise rzlib.Failed("no stream: %r" % got)
            got += part
        return s

    def metrics(self, headers=None):
        """All numbers of /metrics by name and labels, as they stand there. What an answer adds to them may come a little
        after it."""
        _, _, text = self.request("GET", "/metrics", headers=headers)
        rows = (line.rsplit(" ", 1) for line in text.decode().splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in rows}

    def gauge(self, name):
        """The number of the only model."""
        return self.metrics()['%s{model_name="%s"}' % (name, os.path.basename(MODEL)[:-5])]

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout=120):
        self.term()
        return self.wait(timeout)

    def wait(self, timeout=120):
        status = self.process.wait(timeout)
        self.reader.join(60)
        self.process.stderr.close()
        if status in CRASHES:
            raise rzlib.Failed("the server ended by signal %d: %s" % (-status, self.log()[-3000:]))
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.wait()
