"""A chat model that follows a script, over real HTTP, in the formats of OpenAI and Anthropic."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from llmspell.errors import ConfigError
from llmspell.testing.chat_replies import ChatAsked, Fault, Reply
from llmspell.testing.chat_wire import ANTHROPIC_PATH, OPENAI_PATH, body_of, error_of, events_of

__all__ = ["Script", "Scripted", "ScriptedChatServer"]

Scripted: TypeAlias = Reply | Fault | str
"""An answer; a text is a reply with that text."""

Script: TypeAlias = Scripted | Iterable[Scripted] | Callable[[ChatAsked], Scripted]
"""One answer for all requests, answers in turn, or a function of the request.

A function is called by several threads at once where requests come at once.
"""

_MAX_BODY: Final = 64 << 20
_NO_MORE: Final = Fault("status", status=400)


class ScriptedChatServer:
    """Answers chats on a port of the loopback interface, as its script says. Thread-safe.

    Official clients of OpenAI (``base_url=server.openai_url``) and Anthropic
    (``base_url=server.anthropic_url``) take it for their provider. A request beyond the end of a
    script is answered with status 400, which says so.

    Args:
        script: see :data:`Script`.
    """

    def __init__(self, script: Script) -> None:
        self._answer = _as_answer(script)
        self._lock = threading.Lock()
        self._asked: list[ChatAsked] = []
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.scripted = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="scripted-chat", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """``base_url`` of OpenAI's client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """``base_url`` of Anthropic's client."""
        return self.url

    @property
    def asked(self) -> list[ChatAsked]:
        """All requests so far, in the order in which they came."""
        with self._lock:
            return list(self._asked)

    @property
    def connections(self) -> int:
        """Connections that clients have made so far."""
        return self._server.made

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return self._server.open

    def close(self) -> None:
        """End it, and all connections; does nothing the second time."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self, asked: ChatAsked) -> Reply | Fault:
        with self._lock:
            self._asked.append(asked)
        answer = self._answer(asked)
        return Reply(answer) if isinstance(answer, str) else answer


def _as_answer(script: Script) -> Callable[[ChatAsked], Scripted]:
    if callable(script):
        return script
    if isinstance(script, (Reply, Fault, str)):
        only = script
        return lambda _: only
    if not isinstance(script, Iterable):
        raise ConfigError(f"a script is a reply, several, or a function, got {script!r:.80}")
    turns: Iterator[Scripted] = itertools.chain(script, itertools.repeat(_NO_MORE))
    lock = threading.Lock()

    def in_turn(_: ChatAsked) -> Scripted:
        with lock:
            return next(turns)

    return in_turn


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    scripted: ScriptedChatServer

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.made = 0
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    @property
    def open(self) -> int:
        with self._open_lock:
            return len(self._open)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self.made += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake handlers that wait for a next request, so that their threads end."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is several writes, each of which would wait
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path = self.path.partition("?")[0]
        if length > _MAX_BODY:
            self.close_connection = True  # what isn't read would be taken for the next request
            self._send_json(413, error_of(path, 413))
            return
        given = self.rfile.read(length)
        if path not in (OPENAI_PATH, ANTHROPIC_PATH):
            self._send_json(404, error_of(path, 404))
            return
        try:
            body = json.loads(given)
        except ValueError:
            self._send_json(400, error_of(path, 400))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = ChatAsked(path, headers, body)
        answer = self.server.scripted._next(asked)
        model = str(body.get("model"))
        if isinstance(answer, Reply):
            self._reply(asked, answer, model)
        else:
            self._fail(asked, answer, model)

    def _reply(self, asked: ChatAsked, reply: Reply, model: str) -> None:
        if reply.after and self.server.scripted._stopping.wait(reply.after):
            return
        if asked.is_stream:
            self._send_events(events_of(asked.path, reply, model))
            self._end_events()
        else:
            self._send_json(200, body_of(asked.path, reply, model))

    def _fail(self, asked: ChatAsked, fault: Fault, model: str) -> None:
        if fault.kind == "status":
            more = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            said = "the script has no more replies" if fault is _NO_MORE else None
            self._send_json(fault.status, error_of(asked.path, fault.status, said), more)
            return
        # A client that has read an answer to its end takes the connection for the next request.
        is_whole = fault.kind == "garbage" or (fault.kind == "event" and asked.is_stream)
        self.close_connection = not is_whole
        if fault.kind == "garbage":
            if asked.is_stream:
                self._send_events([b"data: {not json\n\n", b"\xff\xfe\n\n"])
                self._end_events()
            else:
                self._send(200, b'{"choices": 7, "content": [{}]}', {})
            return
        if fault.kind in ("endless", "endless_event"):
            self._send_without_end(asked, fault, model)
            return
        if fault.kind in ("truncate", "event", "stall") and asked.is_stream:
            events = list(events_of(asked.path, fault.reply, model))
            self._send_events(events[: max(3, len(events) // 2)])
            if fault.kind == "event":
                error = {"type": "error", **error_of(asked.path, fault.status)}
                self._send_events([f"event: error\ndata: {json.dumps(error)}\n\n".encode()])
                self._end_events()
        elif fault.kind == "truncate":
            content = json.dumps(body_of(asked.path, fault.reply, model)).encode()
            self._send_head(200, {"Content-Length": str(len(content))})
            self.wfile.write(content[: len(content) // 2])
        if fault.kind == "stall":
            self.server.scripted._stopping.wait()

    def _send_without_end(self, asked: ChatAsked, fault: Fault, model: str) -> None:
        """Until the client goes away."""
        if not asked.is_stream:
            start, piece = b'{"choices": [{"message": {"content": "', b"more and " * 1_000
        elif fault.kind == "endless_event":
            start, piece = b'data: {"choices": [{"delta": {"content": "', b"more and " * 1_000
        else:
            events = list(events_of(asked.path, fault.reply, model))
            start, piece = b"".join(events[:4]), events[3]
        kind = "text/event-stream" if asked.is_stream else "application/json"
        self._send_head(200, {"Content-Type": kind, "Connection": "close"})
        self.wfile.write(start)
        while not self.server.scripted._stopping.is_set():
            self.wfile.write(piece)

    def _send_json(self, status: int, body: Any, more: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), more or {})

    def _send(self, status: int, content: bytes, more: dict[str, str]) -> None:
        self._send_head(status, {"Content-Length": str(len(content)), **more})
        self.wfile.write(content)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    _has_begun = False

    def _send_events(self, events: Iterable[bytes]) -> None:
        if not self._has_begun:
            self._has_begun = True
            headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
            self._send_head(200, headers)
        for event in events:
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()

    def _end_events(self) -> None:
        self._has_begun = False
        self.wfile.write(b"0\r\n\r\n")
