#!/usr/bin/env python3
"""test_http.py - the HTTP frontend as a process and on raw sockets: malformed requests, start, drain, stop.

What a well-behaved client sees is in test_http.c.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import rzlib

MODEL = rzlib.fixture("tiny-llama.gguf")
BODY = b'{"prompt":"x","max_tokens":1}'
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
GET = b"GET /health HTTP/1.1\r\n"
CLOSE = b"Connection: close\r\n"
LONG = {"prompt": "the king", "max_tokens": 60000, "ignore_eos": True, "temperature": 0, "logit_bias": {"100": 100}}
ROOMY = ("-o", "engine.context=65536")


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([rzlib.RZ, "serve", "-m", MODEL, "--port", "0", *args],
                                        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        line = b""
        while b"ready: " not in line:
            line = self.process.stderr.readline()
            if not line:
                raise rzlib.Failed("the server did not start")
        self.port = int(re.search(rb":(\d+)\s*$", line).group(1))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def send(self, data, wait=5.0):
        """(the answer so far, True if the server closed the connection)"""
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

    def ask(self, body, path="/v1/completions"):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        answer = r.status, r.read()
        c.close()
        return answer

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout=60):
        self.term()
        return self.wait(timeout)

    def wait(self, timeout=60):
        status = self.process.wait(timeout)
        self.process.stderr.close()
        return status


# Each of these two readers could understand differently, or no reader should accept.
MALFORMED = {
    "length and encoding": POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
    "two lengths": POST + LENGTH + LENGTH + b"\r\n" + BODY,
    "two different lengths": POST + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "length with a sign": POST + b"Content-Length: +29\r\n\r\n" + BODY,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "hexadecimal length": POST + b"Content-Length: 0x1d\r\n\r\n" + BODY,
    "list of lengths": POST + b"Content-Length: 29, 29\r\n\r\n" + BODY,
    "two encodings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNKS,
    "unknown encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n" + CHUNKS,
    "encoding in a list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "encoding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunk size of no digits": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY,
    "chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x1d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size above 2^64": POST + b"Transfer-Encoding: chunked\r\n\r\n1000000000000001d\r\n" + CHUNKS[4:],
    "two hosts": GET + HOST + HOST + b"\r\n",
    "no host": GET + b"\r\n",
    "host of two words": GET + b"Host: a b\r\n\r\n",
    "host with a user": GET + b"Host: a@b\r\n\r\n",
    "method with (": b"GE(T /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "method with @": b"G@T /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "name with a blank": GET + HOST + b"X y: 1\r\n\r\n",
    "blank before the colon": GET + HOST + b"X : 1\r\n\r\n",
    "name with a high byte": GET + HOST + b"X\xe9: 1\r\n\r\n",
    "header without a colon": GET + HOST + b"nothing\r\n\r\n",
    "folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "NUL in the host": GET + b"Host: a\0b\r\n\r\n",
    "NUL in a name": GET + HOST + b"X\0: a\r\n\r\n",
    "NUL in the target": b"GET /health\0x HTTP/1.1\r\n" + HOST + b"\r\n",
    "control byte in a value": GET + HOST + b"X: a\x01b\r\n\r\n",
    "carriage return in a value": GET + HOST + b"X: a\rb\r\n\r\n",
    "control byte in the target": b"GET /hea\x7flth HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /health\r\n\r\n",
    "version of nothing": b"GET /health HTTPX\r\n" + HOST + b"\r\n",
}

WELL_FORMED = {
    "plain": GET + HOST + CLOSE + b"\r\n",
    "blanks around values": GET + b"Host: \t localhost \t\r\nX:  a b  \r\nY:\r\nZ:c\r\n" + CLOSE + b"\r\n",
    "a query": b"GET /health?a=b&c HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "HTTP/1.0": b"GET /health HTTP/1.0\r\n\r\n",
    "HEAD": b"HEAD /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "a body with a length": POST + LENGTH + CLOSE + b"\r\n" + BODY,
    "a body in chunks": POST + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + CHUNKS,
    "chunk extension": POST + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + CHUNKS.replace(b"\r", b";a=b\r", 1),
    "one after the other": GET + HOST + b"\r\n" + GET + HOST + CLOSE + b"\r\n",
}


class RawRequests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, status

    def test_malformed(self):
        for name, data in MALFORMED.items():
            with self.subTest(name):
                answer, closed = self.server.send(data)
                self.assertRegex(answer, rb"\AHTTP/1\.1 4\d\d ")
                self.assertTrue(closed)
                # libmicrohttpd 0.9.75 writes the header of some of its own refusals twice
                self.assertEqual(len(set(re.findall(rb"HTTP/1\.1 (\d\d\d)", answer))), 1)

    def test_what_follows_is_not_a_request(self):
        """Nothing behind a refused request is answered."""
        smuggled = GET + HOST + b"\r\n"
        for name in ("length and encoding", "two different lengths", "unknown encoding"):
            answer, closed = self.server.send(MALFORMED[name] + smuggled)
            self.assertEqual(answer.count(b'"status":"healthy"'), 0, name)
            self.assertTrue(closed)

    def test_well_formed(self):
        for name, data in WELL_FORMED.items():
            with self.subTest(name):
                answer, closed = self.server.send(data)
                self.assertRegex(answer, rb"\AHTTP/1\.[01] 200 OK")
                self.assertTrue(closed)
        answer, _ = self.server.send(WELL_FORMED["one after the other"])
        self.assertEqual(answer.count(b'"status":"healthy"'), 2)
        answer, _ = self.server.send(WELL_FORMED["HEAD"])
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_too_large(self):
        for data, status in ((GET + HOST + b"X: " + b"a" * 100000 + b"\r\n\r\n", b"431"),
                             (GET + HOST + b"X: a\r\n" * 10000 + b"\r\n", b"431"),
                             (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"414"),
                             (POST + b"Content-Length: 99999999\r\n\r\n", b"413")):
            answer, closed = self.server.send(data)
            # the rest of what we send may meet a closed socket, which can take the answer with it
            self.assertTrue(closed)
            if answer:
                self.assertEqual(answer.split()[1], status)

    def test_deep_json(self):
        for body in (b"[" * 100000, b'{"a":' * 100000, b'{"prompt":"x","x":' + b"[" * 65 + b"]" * 65 + b"}"):
            answer, _ = self.server.send(POST + CLOSE + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.assertEqual(answer.split()[1], b"400")
            self.assertIn(b"nests deeper", answer)
        quoted = b'{"prompt":"' + b"[" * 100 + b'\\"[","max_tokens":1}'
        answer, _ = self.server.send(POST + CLOSE + b"Content-Length: %d\r\n\r\n" % len(quoted) + quoted)
        self.assertEqual(answer.split()[1], b"200")

    def test_garbage(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", b"\r\n" * 50, b"\0" * 1000):
            self.server.send(data, wait=0.3)
        self.assertEqual(self.server.ask(json.loads(BODY))[0], 200)

    def test_a_body_that_never_comes_blocks_nobody(self):
        waiting = [self.server.connect() for _ in range(20)]
        for s in waiting:
            s.sendall(POST + LENGTH + b"\r\n" + BODY[:5])
        self.assertEqual(self.server.ask(json.loads(BODY))[0], 200)
        for s in waiting:
            s.close()
        self.assertEqual(self.server.ask(json.loads(BODY))[0], 200)


class Process(unittest.TestCase):
    def start(self, *args):
        server = Server(*args)
        self.addCleanup(lambda: server.process.poll() is None and server.process.kill())
        return server

    def stream(self, server, **fields):
        """A long stream that has begun."""
        body = json.dumps(dict(LONG, stream=True, **fields)).encode()
        s = server.connect()
        self.addCleanup(s.close)
        s.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        got = b""
        while b"data: " not in got:
            got += s.recv(4096)
        return s

    def read_all(self, s):
        got = b""
        while True:
            part = s.recv(65536)
            if not part:
                return got
            got += part

    def test_idle_stop(self):
        self.assertEqual(self.start().stop(), 0)

    def test_stop_lets_a_request_finish(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=120000")
        s = self.stream(server, max_tokens=300)
        server.term()
        answer = self.read_all(s)
        self.assertIn(b"data: [DONE]", answer)
        self.assertIn(b'"finish_reason":"length"', answer)
        self.assertNotIn(b'"error"', answer)
        self.assertEqual(server.wait(), 0)

    def test_stop_ends_what_takes_too_long(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=200")
        s = self.stream(server)
        server.term()
        answer = self.read_all(s)
        self.assertIn(b'"error"', answer)
        self.assertNotIn(b"data: [DONE]", answer)  # clients take that for success
        self.assertEqual(server.wait(), 0)

    def test_no_new_connections_while_it_drains(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=2000")
        s = self.stream(server)
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        kept.request("GET", "/health")
        self.assertIn(b'"status":"healthy"', kept.getresponse().read())
        server.term()
        time.sleep(0.2)
        kept.request("POST", "/v1/completions", BODY, {"Content-Type": "application/json"})
        answer = kept.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (503, "close"))
        s.close()
        kept.close()
        self.assertEqual(server.wait(), 0)

    def test_second_signal_ends_at_once(self):
        server = self.start(*ROOMY)
        self.stream(server)
        server.term()
        time.sleep(0.1)
        server.term()
        self.assertNotEqual(server.wait(5), 0)

    def test_clients_that_leave_leave_nothing(self):
        server = self.start(*ROOMY, "-o", "engine.max_queue=8")
        fds = lambda: len(os.listdir("/proc/%d/fd" % server.process.pid))
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        before = fds()
        for _ in range(4):
            streams = [self.stream(server) for _ in range(6)]
            for s in streams:
                s.close()
            end = time.monotonic() + 10
            while fds() > before and time.monotonic() < end:
                time.sleep(0.02)
        self.assertLessEqual(fds(), before)
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_a_client_that_does_not_read(self):
        server = self.start(*ROOMY, "-o", "plugin.http.timeout_s=1")
        s = server.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps(dict(LONG, stream=True)).encode()
        s.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        time.sleep(0.5)
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        s.close()
        self.assertEqual(server.stop(), 0)

    def test_wrong_addresses(self):
        for listen in ("127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "::1:80", "[::1:80", "127.0.0.1:http"):
            done = rzlib.rz("serve", "-m", MODEL, "-o", "plugin.http.listen=" + listen, status=2)
            self.assertIn("listen", done.err)

    def test_address_in_use(self):
        server = self.start()
        done = rzlib.rz("serve", "-m", MODEL, "--port", str(server.port), status=1)
        self.assertIn("cannot listen", done.err)
        self.assertEqual(server.stop(), 0)

    def test_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("no IPv6 here")
        server = self.start("--host", "::1")
        s = socket.create_connection(("::1", server.port), 10)
        s.sendall(WELL_FORMED["plain"])
        self.assertIn(b" 200 OK", self.read_all(s))
        s.close()
        self.assertEqual(server.stop(), 0)

    def test_a_key_file_without_keys(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"# nothing\n\n")
            f.flush()
            done = rzlib.rz("serve", "-m", MODEL, "--port", "0", "--api-key-file", f.name, status=2)
        self.assertIn("api_keys", done.err)

    def test_keys_are_not_shown(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"very-secret\n")
            f.flush()
            server = self.start("--api-key-file", f.name, "-v")
            server.send(GET.replace(b"/health", b"/v1/models") + HOST + b"Authorization: Bearer very-secret\r\n" + CLOSE
                        + b"\r\n")
            server.term()
            log = server.process.stderr.read()
            self.assertEqual(server.wait(), 0)
        self.assertNotIn(b"secret", log)


if __name__ == "__main__":
    unittest.main()
