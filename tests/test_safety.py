#!/usr/bin/env python3
"""test_safety.py - what protects the server: limits, deadlines, pages, sockets, TLS, overload, drain; and what it tells
of itself: /ready, /metrics, request ids, the log.
"""

import asyncio
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import warnings

import rzlib
from serving import BODY, HOST, LONG, MODEL, POST, ROOMY, Server, post, read_all, read_to

GET = b"GET /health HTTP/1.1\r\n"
CLOSE = b"Connection: close\r\n"


def option(name, value):
    return ("-o", "plugin.http.%s=%s" % (name, value))


class Case(unittest.TestCase):
    def start(self, *args, **kw):
        server = Server(*args, **kw)
        self.addCleanup(server.kill)
        return server

    def folder(self):
        path = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, path)
        return path

    def until(self, what, seconds=60):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it never came true")
            time.sleep(0.05)

    def patiently(self, what):
        """What it gives, where the server drops connections so early that a good client may be too late as well."""
        for _ in range(100):
            try:
                return what()
            except (OSError, http.client.HTTPException) as e:
                late = e
        raise late


class Limits(Case):
    def test_headers(self):
        server = self.start(*option("max_header", "4K"))
        answer, closed = server.send(GET + HOST + b"X: %s\r\n\r\n" % (b"a" * 8192))
        self.assertTrue(closed and answer.split()[1:2] in ([b"431"], []))
        self.assertEqual(server.stop(), 0)
        server = self.start()
        answer, closed = server.send(GET + HOST + b"X: a\r\n" * 101 + b"\r\n")
        self.assertTrue(closed)
        self.assertIn(b"more than 100 headers", answer)
        self.assertEqual(server.stop(), 0)

    def test_prompt_tokens(self):
        server = self.start(*option("max_prompt_tokens", 8))
        self.assertEqual(server.ask({"prompt": [1] * 8, "max_tokens": 1})[0], 200)
        status, text = server.ask({"prompt": [1] * 9, "max_tokens": 1})
        self.assertEqual(status, 400)
        self.assertIn(b"9 tokens: at most 8 (max_prompt_tokens)", text)
        self.assertEqual(server.stop(), 0)

    def test_only_bodies_with_a_length(self):
        server = self.start(*option("chunked", 0))
        answer, closed = server.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1d\n" + BODY + b"\r\n0\r\n\r\n")
        self.assertEqual((answer.split()[1], closed), (b"411", True))
        self.assertEqual(server.ask({"prompt": "x", "max_tokens": 1})[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_bodies_in_all(self):
        server = self.start(*option("max_bodies", 1024))
        half = server.connect()
        half.sendall(POST + b"Content-Length: 100000\r\n\r\n" + b" " * 4096)
        self.until(lambda: server.metrics()["rz_http_body_bytes"] >= 4096)
        status, headers, text = server.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1})
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        half.close()
        self.until(lambda: server.metrics()["rz_http_body_bytes"] == 0)
        self.assertEqual(server.ask({"prompt": "x", "max_tokens": 1})[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_late_headers_and_bodies(self):
        """A client that sends a byte now and then is no better than one that sends none."""
        for phase, begin in (("header", GET + b"X: "), ("body", POST + b"Content-Length: 100000\r\n\r\n")):
            server = self.start(*option(phase + "_timeout_s", 1), "-v")
            s, closed = server.connect(), False
            end = time.monotonic() + 60
            while not closed and time.monotonic() < end:
                try:
                    s.sendall(begin)
                    s.settimeout(0.1)
                    closed = s.recv(1000) == b""
                except socket.timeout:
                    pass
                except OSError:
                    closed = True
                s.settimeout(60)
                begin = b" "
            self.assertTrue(closed)
            s.close()
            if phase == "body":
                self.assertIsNotNone(server.wait_line("the body did not come in time: dropped"))
            dropped = lambda p: self.patiently(server.metrics)['rz_http_dropped_total{phase="%s"}' % p]
            self.until(lambda: dropped(phase) >= 1)
            self.assertEqual(dropped("body" if phase == "header" else "header"), 0)
            self.assertEqual(server.stop(), 0)

    def test_a_slow_reader_is_dropped(self):
        server = self.start(*ROOMY, *option("write_timeout_s", 1))
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", server.port))
        s.sendall(post(dict(LONG, stream=True, logprobs=5)))
        self.assertIsNotNone(server.wait_line("reads too slowly: dropped", 300))
        self.until(lambda: server.gauge("vllm:num_requests_running") == 0)
        self.assertEqual(server.gauge("rz_kv_pages_free"), server.gauge("rz_kv_pages"))
        self.assertEqual(server.ask({"prompt": "x", "max_tokens": 1})[0], 200)
        s.close()
        self.assertEqual(server.stop(), 0)

    def test_connections_of_one_address(self):
        server = self.start(*option("max_connections_ip", 4), *option("threads", 1))
        held = [server.connect() for _ in range(4)]
        for s in held:
            s.sendall(GET)
        answer, closed = server.send(GET + HOST + b"\r\n")
        self.assertEqual((answer, closed), (b"", True))
        for s in held:
            s.close()
        self.assertEqual(server.stop(), 0)


class Pages(Case):
    def head(self, server, extra, method=b"GET"):
        answer, _ = server.send(method + b" /health HTTP/1.1\r\n" + extra + CLOSE + b"\r\n")
        return int(answer.split()[1]), answer

    def test_nobody_by_default(self):
        server = self.start()
        own = b"127.0.0.1:%d" % server.port
        for extra, status in ((b"Host: " + own + b"\r\n", 200), (b"Host: a.localhost\r\n", 200), (b"Host: [::1]:80\r\n", 200),
                              (b"Host: rebound.example\r\n", 403), (b"Host: 127.evil.example\r\n", 403),
                              (b"Host: " + own + b"\r\nOrigin: http://" + own + b"\r\n", 200),
                              (b"Host: " + own + b"\r\nOrigin: http://evil.example\r\n", 403),
                              (b"Host: " + own + b"\r\nOrigin: null\r\n", 403)):
            with self.subTest(extra):
                got, answer = self.head(server, extra)
                self.assertEqual(got, status)
                self.assertNotIn(b"Access-Control", answer)
        ask = b"Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
        self.assertEqual(self.head(server, HOST + ask, b"OPTIONS")[0], 403)
        self.assertEqual(server.stop(), 0)

    def test_some(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"key\n")
            f.flush()
            server = self.start(*option("cors_origins", "https://a.example,http://b.example:81"), "--api-key-file", f.name,
                                *option("allowed_hosts", "rz.example"))
        good = b"Host: rz.example:1\r\nOrigin: https://a.example\r\n"
        ask = b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
        status, answer = self.head(server, good)
        self.assertEqual(status, 200)
        self.assertIn(b"Access-Control-Allow-Origin: https://a.example\r\n", answer)
        self.assertIn(b"Vary: Origin\r\n", answer)
        status, answer = self.head(server, good + ask, b"OPTIONS")  # browsers send no key with this
        self.assertEqual(status, 204)
        self.assertIn(b"Access-Control-Allow-Headers: *, Authorization\r\n", answer)
        for origin in (b"https://a.example.evil", b"http://a.example", b"https://a.example:1", b"http://b.example"):
            self.assertEqual(self.head(server, b"Host: localhost\r\nOrigin: " + origin + b"\r\n")[0], 403)
        answer, _ = server.send(b"GET /v1/models HTTP/1.1\r\n" + good + CLOSE + b"\r\n")
        self.assertEqual(answer.split()[1], b"401")
        self.assertIn(b"Access-Control-Allow-Origin: https://a.example\r\n", answer)
        self.assertEqual(server.stop(), 0)


class Keys(Case):
    def test_all_but_health_needs_one(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"very-secret\n")
            f.flush()
            server = self.start("--api-key-file", f.name, "-v", "-v", *option("log_prompts", 1))
        for path in ("/v1/models", "/metrics", "/nothing"):
            self.assertEqual(server.request("GET", path)[0], 401)
            for headers in ({"X-Api-Key": "very-secre"}, {"X-Api-Key": "very-secret "[:-2]}, {"X-Api-Key": ""},
                            {"Authorization": "Bearer wrong", "X-Api-Key": "very-secret"}):
                self.assertEqual(server.request("GET", path, headers=headers)[0], 401)
        for headers in ({"X-Api-Key": "very-secret"}, {"Authorization": "Bearer very-secret"}):
            self.assertEqual(server.request("GET", "/metrics", headers=headers)[0], 200)
        for path in ("/health", "/ready"):
            self.assertEqual(server.request("GET", path)[0], 200)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("secret", server.log())

    def test_other_machines_need_one(self):
        done = rzlib.rz("serve", "-m", MODEL, "--host", "0.0.0.0", "--port", "0", status=2)
        self.assertIn("insecure = 1", done.err)
        server = self.start("--host", "0.0.0.0", *option("insecure", 1))
        self.assertIn("can be reached by others", server.log())
        self.assertEqual(server.send(GET + b"Host: any.example\r\n" + CLOSE + b"\r\n")[0].split()[1], b"200")
        self.assertEqual(server.stop(), 0)


class Sockets(Case):
    def get(self, s, host=HOST):
        s.sendall(GET + host + CLOSE + b"\r\n")
        answer = read_all(s)
        s.close()
        return answer

    def unix(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        return s

    def test_unix_and_tcp(self):
        path = os.path.join(self.folder(), "rz.sock")
        server = self.start(*option("listen", "unix:%s,127.0.0.1:0" % path))
        self.assertIn("unix:" + path, server.address)
        self.assertIn(b" 200 OK", self.get(self.unix(path)))
        self.assertIn(b" 200 OK", self.get(server.connect()))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
        s = self.unix(path)
        s.sendall(post(dict(LONG, stream=True, max_tokens=50), headers=CLOSE))
        self.assertIn(b"data: [DONE]", read_all(s))
        done = rzlib.rz("serve", "-m", MODEL, *option("listen", "unix:" + path), status=1)
        self.assertIn("cannot listen", done.err)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_unix_socket_that_was_left(self):
        path = os.path.join(self.folder(), "rz.sock")
        left = socket.socket(socket.AF_UNIX)
        left.bind(path)
        left.close()
        server = self.start(*option("listen", "unix:" + path))
        self.assertIn(b" 200 OK", self.get(self.unix(path)))
        self.assertEqual(server.stop(), 0)
        open(path, "w").close()  # what is no socket stays
        rzlib.rz("serve", "-m", MODEL, *option("listen", "unix:" + path), status=1)
        self.assertTrue(os.path.exists(path))

    def test_socket_of_systemd(self):
        listening = socket.create_server(("127.0.0.1", 0))
        words = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&%d' % listening.fileno(), "sh"]
        server = self.start(*option("listen", "systemd"), prefix=words, fds=(listening.fileno(),))
        self.assertEqual(server.port, listening.getsockname()[1])
        self.assertIn(b" 200 OK", self.get(server.connect()))
        self.assertEqual(server.stop(), 0)
        waiting = server.connect()  # the socket is not ours: whoever opened it starts the next server
        waiting.close()
        listening.close()
        done = rzlib.rz("serve", "-m", MODEL, *option("listen", "systemd"), status=2)
        self.assertIn("no sockets were passed", done.err)

    def test_a_service_manager_is_told(self):
        for name in (os.path.join(self.folder(), "notify"), "@rz-%d" % os.getpid()):
            told, said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), []
            self.addCleanup(told.close)
            told.bind(name.replace("@", "\0"))

            def listen():
                while "STOPPING=1" not in said:
                    said.extend(told.recv(4096).decode().splitlines())
            listener = threading.Thread(target=listen, daemon=True)
            listener.start()
            server = self.start(prefix=["env", "NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=200000"])
            self.until(lambda: said.count("WATCHDOG=1") >= 3)
            self.assertLess(said.index("STATUS=loading"), said.index("READY=1"))
            self.assertLess(said.index("READY=1"), said.index("WATCHDOG=1"))
            self.assertEqual(server.stop(), 0)
            listener.join(60)
            self.assertIn("STOPPING=1", said)

    def test_a_service_manager_that_does_not_read(self):
        """Its socket is full after a few datagrams: the server ends all the same."""
        name = os.path.join(self.folder(), "notify")
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(told.close)
        told.bind(name)
        filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(filler.close)
        server = self.start(prefix=["env", "NOTIFY_SOCKET=" + name])
        filler.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                filler.sendto(b"X=1", name)
        self.assertEqual(server.stop(), 0)

    def certificate(self, folder, name):
        key, cert = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        return cert, key

    def test_tls(self):
        folder = self.folder()
        cert, key = self.certificate(folder, "a")
        words = (*option("tls_cert", cert), *option("tls_key", key))
        server = self.start(*words)
        self.assertTrue(server.address.startswith("https://"))
        trust = ssl.create_default_context(cafile=cert)
        connect = lambda: trust.wrap_socket(server.connect(), server_hostname="localhost")
        s = connect()
        self.assertIn(s.version(), ("TLSv1.2", "TLSv1.3"))
        self.assertIn(b" 200 OK", self.get(s))
        body = dict(LONG, stream=True, max_tokens=200)
        streams = [connect() for _ in range(4)]
        for s in streams:
            s.sendall(post(body, headers=CLOSE))
        for s in streams:
            self.assertIn(b"data: [DONE]", read_all(s))
            s.close()
        big = connect()  # larger than a record and than libmicrohttpd's buffers
        big.sendall(post({"prompt": "x" * 200000}, headers=CLOSE))
        self.assertIn(b"context_length_exceeded", read_all(big))
        big.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises(OSError), server.connect() as raw:
            old.wrap_socket(raw)
        answer, _ = server.send(GET + HOST + b"\r\n")
        self.assertNotIn(b"200 OK", answer)
        self.assertEqual(server.stop(), 0)
        hasty = self.start(*words, *option("header_timeout_s", 1))
        with hasty.connect() as silent:  # a handshake that does not come
            self.assertEqual(silent.recv(100), b"")
        self.assertEqual(hasty.stop(), 0)

    def test_wrong_certificates(self):
        folder = self.folder()
        (cert, key), (_, other) = self.certificate(folder, "a"), self.certificate(folder, "b")
        empty = os.path.join(folder, "empty")
        open(empty, "w").close()
        for args in ((cert, None), (None, key), (cert, other), (key, cert), (empty, key), (cert, folder)):
            words = [*(option("tls_cert", args[0]) if args[0] else ()), *(option("tls_key", args[1]) if args[1] else ())]
            rzlib.rz("serve", "-m", MODEL, "--port", "0", *words, status=2)
        rzlib.rz("serve", "-m", MODEL, "--port", "0", *option("tls_cert", cert), *option("tls_key", folder + "/none"), status=1)


class Overload(Case):
    N = 500

    async def one(self, server, body, results):
        """(status, whole, seconds until the status line)"""
        began = time.monotonic()
        status, whole, first, text = 0, False, 0.0, b""
        try:
            r, w = await asyncio.open_connection("127.0.0.1", server.port)
            w.write(post(body, headers=CLOSE))
            line = await asyncio.wait_for(r.readline(), 300)
            first = time.monotonic() - began
            status = int(line.split()[1])
            text = await asyncio.wait_for(r.read(-1), 300)
            whole = text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") and text.count(b'"finish_reason":"length"') == 1 \
                if status == 200 else b"Retry-After: " in text and text.endswith(b"}")
            w.close()
        except (OSError, IndexError, ValueError, asyncio.TimeoutError) as e:
            text = repr(e).encode()
        results.append((status, whole, first, text[-200:]))

    def storm(self, server):
        results = []
        body = dict(LONG, stream=True, max_tokens=24)

        async def all_at_once():
            await asyncio.gather(*(self.one(server, body, results) for _ in range(self.N)))
        asyncio.run(all_at_once())
        broken = [r for r in results if r[0] not in (200, 503) or not r[1]]
        self.assertEqual(broken[:3], [])
        served = sum(r[0] == 200 for r in results)
        slowest = max((r[2] for r in results if r[0] == 503), default=0.0)
        print("%d served whole, %d refused, the slowest refusal after %.2f s" % (served, self.N - served, slowest))
        self.assertLess(slowest, 60)  # 1 s on a machine that has nothing else to do
        self.assertEqual(server.ask({"prompt": "x", "max_tokens": 1})[0], 200)
        self.until(lambda: server.gauge("rz_kv_pages_free") == server.gauge("rz_kv_pages"))
        return served

    def test_full_queue(self):
        server = self.start("-o", "engine.max_queue=32")
        self.assertGreaterEqual(self.storm(server), 32)
        self.assertEqual(server.stop(), 0)

    def test_too_many_connections(self):
        server = self.start(*option("max_connections", 50))
        self.assertGreaterEqual(self.storm(server), 40)
        self.assertEqual(server.stop(), 0)

    def test_probes_get_through(self):
        server = self.start(*option("max_connections", 2))
        held = [server.connect() for _ in range(4)]
        for s in held:
            s.sendall(GET)
        self.until(lambda: server.metrics()["rz_http_connections"] == 5)
        self.assertEqual(server.request("GET", "/ready")[0], 200)
        self.assertEqual(server.request("POST", "/v1/completions", {"prompt": "x"})[0], 503)
        for s in held:
            s.close()
        self.assertEqual(server.stop(), 0)


class Drain(Case):
    def test_sixteen_streams_end_whole(self):
        server = self.start(*ROOMY, "-o", "rz.drain_ms=300000", "-o", "engine.max_seqs=16")
        # Nobody reads the first, so that it is not over, nor the server, before we let it go.
        held, *streams = [server.stream(max_tokens=60000 if i == 0 else 400 + 10 * i) for i in range(16)]
        kept = server.connect()
        kept.sendall(GET + HOST + b"\r\n")
        self.assertIn(b" 200 OK", read_to(kept, b"}"))
        server.term()
        self.until(lambda: self.refused(server))
        kept.sendall(b"GET /ready HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = read_to(kept, b"}")
        self.assertIn(b" 503 ", answer)
        self.assertIn(b"shutting_down", answer)
        held.close()
        for s in streams:
            answer = read_all(s)
            self.assertIn(b"data: [DONE]", answer)
            self.assertIn(b'"finish_reason":"length"', answer)
            self.assertNotIn(b'"error"', answer)
            s.close()
        kept.close()
        self.assertEqual(server.wait(), 0)

    def refused(self, server):
        try:
            server.connect().close()
        except ConnectionError:
            return True
        return False


class Told(Case):
    """What the server tells of itself."""

    def test_request_ids(self):
        server = self.start("-v")
        for given, same in (("trace-1.a:b_C", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ('a"b', False), ("", False)):
            _, headers, _ = server.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, {"X-Request-Id": given})
            if same:
                self.assertEqual(headers["X-Request-Id"], given)
            else:
                self.assertRegex(headers["X-Request-Id"], r"^req_[0-9a-f]{24}$")
        _, headers, _ = server.request("GET", "/nothing", headers={"X-Request-Id": "lost"})
        self.assertEqual(headers["X-Request-Id"], "lost")
        self.assertIsNotNone(server.wait_line(r'trace-1\.a:b_C 127\.0\.0\.1 "POST /v1/completions" 200'))
        self.assertEqual(server.stop(), 0)

    def test_log_in_json(self):
        server = self.start("-v", "-o", "rz.log_format=json")
        body = {"prompt": "a private text", "max_tokens": 3, "logit_bias": {"100": 100}}
        server.request("POST", "/v1/completions", body, {"X-Request-Id": "one"})
        server.send(b'GET /v1/"quoted\\\x7f HTTP/1.1\r\nX-Request-Id: two\r\n' + HOST + b"\r\n")
        self.assertIsNotNone(server.wait_line('"two"'))
        self.assertEqual(server.stop(), 0)
        log = server.log()
        self.assertNotIn("private", log)
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        one = next(line for line in lines if line.get("request_id") == "one")
        self.assertRegex(one["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual((one["level"], one["status"], one["completion_tokens"], one["finish_reason"], one["client"]),
                         ("info", 200, 3, "length", "127.0.0.1"))
        self.assertGreater(one["first_token_seconds"], 0)
        two = next(line for line in lines if line.get("request_id") == "two")
        self.assertEqual((two["status"], two["path"]), (400, '/v1/"quoted\\\\x7f'))

    def test_prompts_only_if_asked_for(self):
        server = self.start("-v", *option("log_prompts", 1))
        server.ask({"prompt": "a private text", "max_tokens": 1})
        self.assertIsNotNone(server.wait_line("body: .*a private text"))
        self.assertEqual(server.stop(), 0)
        server = self.start("-v", *option("access_log", 0))
        server.ask({"prompt": "a private text", "max_tokens": 1})
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("completions", server.log())

    def lint(self, text):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian's package prometheus)")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    def test_metrics(self):
        server = self.start(*ROOMY)
        for i in range(3):
            server.ask({"prompt": "the king", "max_tokens": 5, "ignore_eos": True})
        s = server.stream()  # nobody reads it: it does not end before it is closed
        self.assertEqual(server.gauge("vllm:num_requests_running"), 1)
        self.assertGreater(server.gauge("vllm:kv_cache_usage_perc"), 0)
        s.close()
        self.until(lambda: server.gauge("vllm:num_requests_running") == 0)
        server.ask({"prompt": 1})
        self.until(lambda: 'rz_http_requests_total{path="/v1/completions",code="400"}' in server.metrics())
        m = server.metrics()
        name = 'model_name="tiny-llama"'
        self.assertEqual(m['vllm:request_success_total{%s,finished_reason="length"}' % name], 3)
        for family, sum_of in (("request_prompt_tokens", 15), ("request_generation_tokens", 15)):
            self.assertEqual(m["vllm:%s_sum{%s}" % (family, name)], sum_of)
        for family in ("time_to_first_token", "inter_token_latency", "e2e_request_latency", "request_queue_time",
                       "request_prefill_time", "request_decode_time"):
            count = m["vllm:%s_seconds_count{%s}" % (family, name)]
            self.assertGreaterEqual(count, 3)
            buckets = [v for k, v in m.items() if k.startswith("vllm:%s_seconds_bucket{%s" % (family, name))]
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual(buckets[-1], count)
            self.assertGreater(m["vllm:%s_seconds_sum{%s}" % (family, name)], 0)
        self.assertEqual(m['rz_http_requests_total{path="/v1/completions",code="400"}'], 1)
        self.assertEqual(m["rz_ready"], 1)
        _, headers, text = server.request("GET", "/metrics")
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(server.stop(), 0)
        status, said = self.lint(text)
        # Colons are for rules, says promtool; they are vLLM's all the same, and what dashboards look for.
        self.assertEqual([line for line in said.splitlines() if "should not contain ':'" not in line], [])

    def test_what_the_prefix_cache_tells(self):
        server = self.start("-o", "engine.page_tokens=8", "-o", "engine.kv_pages=40", "-o", "engine.context=256")
        text = [100 + i % 50 for i in range(64)]
        for last in (7, 9, 7):
            server.ask({"prompt": text + [last], "max_tokens": 1})
        self.assertEqual(server.gauge("vllm:prefix_cache_queries_total"), 3 * 65)
        self.assertEqual(server.gauge("vllm:prefix_cache_hits_total"), 2 * 64)
        self.assertEqual(server.gauge("rz_prefix_cache_evictions_total"), 0)
        self.until(lambda: server.gauge("rz_kv_pages_cached") >= 8)
        for first in range(12):
            server.ask({"prompt": [first] + text, "max_tokens": 1})
        self.assertGreater(server.gauge("rz_prefix_cache_evictions_total"), 0)
        self.assertEqual(server.stop(), 0)

    def test_metrics_without_colons(self):
        server = self.start(*option("metrics_names", "rz"))
        server.ask({"prompt": "the king", "max_tokens": 5})
        text = server.request("GET", "/metrics")[2]
        self.assertEqual(server.stop(), 0)
        self.assertNotIn(b"vllm", text)
        self.assertEqual(self.lint(text), (0, ""))


if __name__ == "__main__":
    unittest.main()
