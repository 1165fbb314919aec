"""server.py - an `rz serve` for tests of what clients see, and requests to it."""

import http.client
import json
import re
import subprocess

import rzlib


class Server:
    """rz serve of a model on a free port; `base` is its URL."""

    def __init__(self, model, *args):
        self.process = subprocess.Popen([rzlib.RZ, "serve", "-m", model, "--port", "0", *args],
                                        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        line = b""
        while b"ready: " not in line:
            line = self.process.stderr.readline()
            if not line:
                raise rzlib.Failed("the server did not start")
        self.port = int(re.search(rb":(\d+)\s*$", line).group(1))
        self.base = "http://127.0.0.1:%d" % self.port

    def ask(self, path, body=None, headers=()):
        """(status, text, headers) of a GET, or of a POST of this body."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = None if body is None else json.dumps(body)
        c.request("GET" if body is None else "POST", path, data, dict({"Content-Type": "application/json"}, **dict(headers)))
        r = c.getresponse()
        answer = r.status, r.read().decode(), dict(r.getheaders())
        c.close()
        return answer

    def json(self, path, body=None, status=200):
        got, text, _ = self.ask(path, body)
        if got != status:
            raise rzlib.Failed("%s: status %d, not %d: %s" % (path, got, status, text[:2000]))
        return json.loads(text)

    def events(self, path, body):
        """[(name or None, data)] of a stream; data is JSON, or the text that is none."""
        status, text, headers = self.ask(path, body)
        if status != 200 or not headers["Content-Type"].startswith("text/event-stream"):
            raise rzlib.Failed("%s: no stream: %d %s" % (path, status, text[:2000]))
        found = []
        for event in text.split("\n\n")[:-1]:
            lines = [line for line in event.split("\n") if not line.startswith(":")]
            names = [line[7:] for line in lines if line.startswith("event: ")]
            data = "\n".join(line[6:] for line in lines if line.startswith("data: "))
            if lines:
                found.append((names[0] if names else None, data if data == "[DONE]" else json.loads(data)))
        return found

    def stop(self):
        self.process.terminate()
        status = self.process.wait(60)
        self.process.stderr.close()
        if status:
            raise rzlib.Failed("the server ended with status %d" % status)
