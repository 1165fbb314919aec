#!/usr/bin/env python3
"""test_http.py - the HTTP frontend as a process and on raw sockets: malformed requests, start, drain, stop.

What a well-behaved client sees is in test_http.c.
"""

import contextlib
import http.client
import json
import os
import re
import socket
import tempfile
import threading
import time
import unittest

import rzlib
from serving import BODY, HOST, LONG, MODEL, POST, ROOMY, Server, post, read_all
from test_faults import build

LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
GET = b"GET /health HTTP/1.1\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


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
    "chunk size with a sign": POST + CHUNKED + b"+1d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size with a minus": POST + CHUNKED + b"-1d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size with a blank before": POST + CHUNKED + b" 1d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size with an underscore": POST + CHUNKED + b"1_d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk without a size": POST + CHUNKED + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk longer than its size": POST + CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunked in capitals twice": POST + b"Transfer-Encoding: Chunked, chunked\r\n\r\n" + CHUNKS,
    "encoding with a trailing comma": POST + b"Transfer-Encoding: chunked,\r\n\r\n" + CHUNKS,
    "encoding of nothing": POST + b"Transfer-Encoding:\r\n\r\n" + CHUNKS,
    "identity beside a length": POST + LENGTH + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "empty length": POST + b"Content-Length:\r\n\r\n" + BODY,
    "length of 20 digits": POST + b"Content-Length: 00000000000000000029\r\n\r\n" + BODY,
    "length with a blank inside": POST + b"Content-Length: 2 9\r\n\r\n" + BODY,
    "length with an underscore": POST + b"Content-Length: 2_9\r\n\r\n" + BODY,
    "blank before the length's colon": POST + b"Content-Length : 29\r\n\r\n" + BODY,
    "blank before the encoding's colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "folded length": POST + b"Content-Length: 2\r\n 9\r\n\r\n" + BODY,
    "two hosts": GET + HOST + HOST + b"\r\n",
    "no host": GET + b"\r\n",
    "host of two words": GET + b"Host: a b\r\n\r\n",
    "host with a user": GET + b"Host: a@b\r\n\r\n",
    "host with a path": GET + b"Host: localhost/x\r\n\r\n",
    "list of hosts": GET + b"Host: localhost, other\r\n\r\n",
    "method with (": b"GE(T /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "method with @": b"G@T /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "name with a blank": GET + HOST + b"X y: 1\r\n\r\n",
    "blank before the colon": GET + HOST + b"X : 1\r\n\r\n",
    "name with a high byte": GET + HOST + b"X\xe9: 1\r\n\r\n",
    "name with a control byte": GET + HOST + b"X\x01: 1\r\n\r\n",
    "first line folded": b"GET /health\r\n HTTP/1.1\r\n" + HOST + b"\r\n",
    "blank before the first header": GET + b" X: 1\r\n" + HOST + b"\r\n",
    "header without a colon": GET + HOST + b"nothing\r\n\r\n",
    "folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "NUL in the host": GET + b"Host: a\0b\r\n\r\n",
    "NUL in a name": GET + HOST + b"X\0: a\r\n\r\n",
    "NUL in the target": b"GET /health\0x HTTP/1.1\r\n" + HOST + b"\r\n",
    "control byte in a value": GET + HOST + b"X: a\x01b\r\n\r\n",
    "carriage return in a value": GET + HOST + b"X: a\rb\r\n\r\n",
    "control byte in the target": b"GET /hea\x7flth HTTP/1.1\r\n" + HOST + b"\r\n",
    "DEL in a value": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "high control bytes in the first line": b"GET /health\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "two blanks in the first line": b"GET  /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "tab in the first line": b"GET\t/health HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n",
    "http in small letters": b"GET /health http/1.1\r\n" + HOST + b"\r\n",
    "version with three parts": b"GET /health HTTP/1.1.1\r\n" + HOST + b"\r\n",
    "bare LF after a header": GET + b"Host: localhost\nX: a\r\n\r\n",
    "bare LF after the first line": b"GET /health HTTP/1.1\n" + HOST + b"\r\n",
    "bare LF everywhere": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "bare LF before a hidden length": POST + b"X: a\nContent-Length: 3\r\n" + LENGTH + b"\r\n" + BODY,
    "bare CR after the first line": b"GET /health HTTP/1.1\r" + HOST + b"\r\n",
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
    "bare LF as the end, which the library hides": GET + HOST + CLOSE + b"\n",
    "bare LF after a chunk size, which the library hides": POST + CLOSE + CHUNKED + b"1d\n" + BODY + b"\r\n0\r\n\r\n",
    "a header without a name, which the library drops": GET + HOST + b": 1\r\n" + CLOSE + b"\r\n",
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
                self.assertRegex(answer, rb"\AHTTP/1\.1 (4\d\d|505) ")
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

    def test_pieces(self):
        """Where the network cuts a request does not matter."""
        for data in (WELL_FORMED["blanks around values"], WELL_FORMED["a body in chunks"], MALFORMED["folded header"],
                     MALFORMED["two hosts"]):
            whole, _ = self.server.send(data)
            with self.server.connect() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    for i in range(len(data)):
                        s.sendall(data[i:i + 1])
                        time.sleep(0.0005)
                    answer = read_all(s)
                except ConnectionError:
                    continue  # refused before it was whole
            self.assertEqual(answer.split()[1], whole.split()[1])

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
        self.addCleanup(server.kill)
        return server

    def stream(self, server, **fields):
        s = server.stream(**fields)
        self.addCleanup(s.close)
        return s

    def test_idle_stop(self):
        self.assertEqual(self.start().stop(), 0)

    def test_stop_lets_a_request_finish(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=120000")
        s = self.stream(server, max_tokens=300)
        server.term()
        answer = read_all(s)
        self.assertIn(b"data: [DONE]", answer)
        self.assertIn(b'"finish_reason":"length"', answer)
        self.assertNotIn(b'"error"', answer)
        self.assertEqual(server.wait(), 0)

    @unittest.skipIf(rzlib.CONFIG in ("asan", "tsan", "ubsan"), "sanitizers want to be the first library")
    def test_stop_while_clients_ask(self):
        """libmicrohttpd's threads, which are awake, take the listening socket out of their sets before they are to."""
        with tempfile.TemporaryDirectory() as folder:
            server = Server("-o", "plugin.http.threads=2", prefix=("env", "LD_PRELOAD=" + build("late_epoll", folder)))
            self.addCleanup(server.kill)

            def ask():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                    while True:
                        kept.request("GET", "/health")
                        kept.getresponse().read()
            threads = [threading.Thread(target=ask) for _ in range(6)]
            for t in threads:
                t.start()
            self.assertEqual(server.stop(), 0)
            for t in threads:
                t.join()

    def test_stop_ends_what_takes_too_long(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=200")
        s = self.stream(server)
        server.term()
        answer = read_all(s)
        self.assertIn(b'"error"', answer)
        self.assertNotIn(b"data: [DONE]", answer)  # clients take that for success
        self.assertEqual(server.wait(), 0)

    def test_no_new_connections_while_it_drains(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=120000")
        s = self.stream(server)
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        kept.request("GET", "/health")
        self.assertIn(b'"status":"healthy"', kept.getresponse().read())
        server.term()
        status = 200
        while status == 200:  # until the signal has arrived
            kept.request("POST", "/v1/completions", BODY, {"Content-Type": "application/json"})
            answer = kept.getresponse()
            status = answer.status
            answer.read()
        self.assertEqual((status, answer.getheader("Connection")), (503, "close"))
        s.close()
        kept.close()
        self.assertEqual(server.wait(), 0)

    def test_second_signal_ends_at_once(self):
        server = self.start(*ROOMY)
        self.stream(server)
        for _ in range(600):  # two that come close together may be one
            if server.process.poll() is None:
                server.term()
                time.sleep(0.1)
        self.assertNotEqual(server.wait(), 0)

    def test_clients_that_leave_leave_nothing(self):
        server = self.start(*ROOMY, "-o", "engine.max_queue=8")
        fds = lambda: len(os.listdir("/proc/%d/fd" % server.process.pid))
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        before = fds()
        for _ in range(4):
            streams = [self.stream(server) for _ in range(6)]
            for s in streams:
                s.close()
            end = time.monotonic() + 60
            while fds() > before and time.monotonic() < end:
                time.sleep(0.02)
        self.assertLessEqual(fds(), before)
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_a_client_that_does_not_read(self):
        """Its stream waits, beyond the time of an idle connection, and others are served."""
        server = self.start(*ROOMY, "-o", "plugin.http.timeout_s=1")
        s = server.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(post(dict(LONG, stream=True)))
        self.assertEqual(server.ask(json.loads(BODY))[0], 200)
        made = -1
        while made != server.gauge("vllm:generation_tokens_total"):  # it goes on until the buffers are full
            made = server.gauge("vllm:generation_tokens_total")
            time.sleep(1.1)
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
        s = socket.create_connection(("::1", server.port), 60)
        s.sendall(WELL_FORMED["plain"])
        self.assertIn(b" 200 OK", read_all(s))
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
            self.assertEqual(server.stop(), 0)
        self.assertIn('"GET /v1/models" 200', server.log())
        self.assertNotIn("secret", server.log())


if __name__ == "__main__":
    unittest.main()
