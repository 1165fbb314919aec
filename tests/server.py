"""server.py - an `rz serve` for tests of what clients see: JSON and events of its answers."""

import json

import rzlib
import serving


class Server(serving.Server):
    """rz serve of a model on a free port; `base` is its URL."""

    def __init__(self, model, *args):
        super().__init__(*args, model=model)
        self.base = "http://127.0.0.1:%d" % self.port

    def ask(self, path, body=None, headers=()):
        """(status, text, headers) of a GET, or of a POST of this body."""
        status, got, text = self.request("GET" if body is None else "POST", path, body, headers)
        return status, text.decode(), dict(got.items())

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
        status = super().stop()
        if status:
            raise rzlib.Failed("the server ended with status %d" % status)
