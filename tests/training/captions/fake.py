"""A captioner that answers by rule, and an endpoint that answers by script."""

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harken.training.captions import NoReply, Request


class Rule:
    """Answers each request by a function, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Request], str | NoReply], *, hears: bool = True, name: str = "rule") -> None:
        self.answer, self.hears, self.name, self.sample_rate_hz = answer, hears, name, 16000
        self.asked: list[Request] = []

    def replies(self, requests: Sequence[Request]) -> list[str | NoReply]:
        self.asked += requests
        return [self.answer(request) for request in requests]


class Endpoint:
    """A chat-completions endpoint on this machine. `script` maps a request's body and its turn to (status, headers, body)."""

    def __init__(self, script: Callable[[dict[str, Any], int], tuple[int, dict[str, str], Any]]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with lock:
                    self.bodies.append(body)
                    self.headers.append({**handler.headers, "path": handler.path})
                    turn = len(self.bodies) - 1
                status, headers, content = script(body, turn)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    handler.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(data))}.items():
                        handler.send_header(name, value)
                    handler.end_headers()
                    handler.wfile.write(data)
                except ConnectionError:
                    return

            def log_message(handler, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def completion(text: str | None) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
