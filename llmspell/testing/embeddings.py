"""A server on this machine that speaks as embedding services do, and fails when it is told to."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError
from llmspell.testing.embedding_faults import EmbeddingFault, EmbeddingRequest

__all__ = ["FakeEmbeddingServer"]

_PATHS: Final = (
    (re.compile(r"/openai/v1/embeddings"), "openai"),
    (re.compile(r"/azure/openai/deployments/[^/]+/embeddings\?api-version=[0-9a-z-]+"), "azure"),
    (re.compile(r"/cohere/v2/embed"), "cohere"),
    (re.compile(r"/voyage/v1/embeddings"), "voyage"),
    (re.compile(r"/tei/v1/embeddings"), "tei"),
    (re.compile(r"/tei/embed"), "tei-own"),
    (re.compile(r"/ollama/api/embed"), "ollama"),
)


class FakeEmbeddingServer:
    """An embedding service on loopback, over real HTTP; in the formats of several services.

    It runs in a ``with``. Vectors are counts of hashed words: the same text gives the same vector,
    and texts that share words are near each other. Tokens are words. It refuses what the services
    refuse: a wrong key, an empty text, a text or a request that is too long. Thread-safe.

    Args:
        dim: of its vectors.
        api_key: that requests must have; None takes any.
        max_tokens: the longest text.
        max_texts: the most texts in a request.
        reports_usage: whether answers say how many tokens were used.
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        api_key: str | None = None,
        max_tokens: int = 512,
        max_texts: int = 2_048,
        reports_usage: bool = True,
    ) -> None:
        if dim < 2 or max_tokens < 1 or max_texts < 1:
            raise ConfigError("dim must be at least 2, max_tokens and max_texts at least 1")
        self.dim = dim
        self.api_key = api_key
        self.max_tokens = max_tokens
        self.max_texts = max_texts
        self.reports_usage = reports_usage
        self._lock = threading.Lock()
        self._faults: list[EmbeddingFault] = []
        self._requests: list[EmbeddingRequest] = []
        self._now = self._peak = 0
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._closing.clear()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None and self._thread is not None
        self._closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Without a path; ``base_url`` for a service is ``url_of`` it."""
        assert self._server is not None, "use it in a with statement"
        return f"http://127.0.0.1:{self._server.server_port}"

    def url_of(self, service: str) -> str:
        """What the embedder of a service takes as ``base_url``, or Azure's as ``endpoint``."""
        if service == "tei-own":
            return f"{self.url}/tei"
        return f"{self.url}/{service}" + ("" if service in ("azure", "cohere", "ollama") else "/v1")

    @property
    def requests(self) -> list[EmbeddingRequest]:
        """All that came, those that failed included, in the order in which they were read."""
        with self._lock:
            return list(self._requests)

    @property
    def peak(self) -> int:
        """The most requests that were under way at once."""
        return self._peak

    def fail(self, *faults: EmbeddingFault) -> None:
        """Let the next requests fail, each by one of the faults, in their order."""
        with self._lock:
            self._faults.extend(faults)

    def vector(self, text: str) -> NDArray[np.float64]:
        """What it gives for a text, (dim,) float64; not of unit length."""
        out = np.zeros(self.dim)
        for word in re.findall(r"\w+", text.lower()) or [text]:
            digest = blake2b(word.encode(), digest_size=16).digest()
            generator = np.random.default_rng(int.from_bytes(digest, "little"))
            out += generator.standard_normal(self.dim)
        return out

    def _begin(self, request: EmbeddingRequest) -> EmbeddingFault | None:
        with self._lock:
            self._requests.append(request)
            self._now += 1
            self._peak = max(self._peak, self._now)
            return self._faults.pop(0) if self._faults else None

    def _end(self) -> None:
        with self._lock:
            self._now -= 1

    def _refusal(self, request: EmbeddingRequest) -> tuple[int, str] | None:
        """Status and message of what the service would refuse."""
        if self.api_key is not None:
            name = "api-key" if request.service == "azure" else "authorization"
            wanted = self.api_key if request.service == "azure" else f"Bearer {self.api_key}"
            given = request.headers.get(name, "")
            if given != wanted:
                return 401, f"Incorrect API key provided: {given}."
        if not request.texts or len(request.texts) > self.max_texts:
            return 422, f"batch size {len(request.texts)} > maximum allowed batch size"
        if not all(request.texts):
            return 400, "'$.input' is invalid: an empty string"
        cuts = request.body.get("truncate") in ("END", True) or bool(request.body.get("truncation"))
        longest = max(len(text.split()) for text in request.texts)
        if longest > self.max_tokens and not cuts:
            return 400, (
                f"This model's maximum context length is {self.max_tokens} tokens, however you "
                f"requested {longest} tokens"
            )
        return None

    def _answer(self, request: EmbeddingRequest, fault: EmbeddingFault | None) -> Any:
        texts = [" ".join(text.split()[: self.max_tokens]) or text for text in request.texts]
        dim = request.body.get("dimensions") or request.body.get("output_dimension") or self.dim
        rows = [self.vector(text)[:dim] for text in texts]
        kind = fault.kind if fault else None
        if kind == "wrong_count":
            rows = rows[:-1]
        elif kind == "wrong_dim":
            rows = [row[:-1] for row in rows]
        elif kind == "nan":
            rows[-1][0] = np.nan
        elif kind == "zeros":
            rows[-1][:] = 0
        tokens = sum(len(text.split()) for text in texts)
        if request.service == "cohere":
            answer: dict[str, Any] = {"embeddings": {"float": [row.tolist() for row in rows]}}
            if self.reports_usage:
                answer["meta"] = {"billed_units": {"input_tokens": tokens}}
            return answer
        if request.service == "tei-own":
            return [row.tolist() for row in rows]
        if request.service == "ollama":
            answer = {"model": request.body["model"], "embeddings": [row.tolist() for row in rows]}
            return answer | ({"prompt_eval_count": tokens} if self.reports_usage else {})
        as_base64 = request.body.get("encoding_format") == "base64" and request.service != "tei"
        data = [
            {"object": "embedding", "index": index, "embedding": _written(row, as_base64)}
            for index, row in enumerate(rows)
        ]
        # Clients go by the index; that it is in order nobody promises.
        answer = {"object": "list", "data": data[::-1], "model": request.body.get("model")}
        if self.reports_usage:
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 128

    def __init__(self, fake: FakeEmbeddingServer) -> None:
        self.fake = fake
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, which may stay open between requests."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection has ended."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections, so that no thread waits for a request on one."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""

    def do_POST(self) -> None:
        """Embed."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service = next((name for path, name in _PATHS if path.fullmatch(self.path)), None)
        try:
            body = json.loads(raw)
            texts = tuple(body[{"cohere": "texts", "tei-own": "inputs"}.get(str(service), "input")])
        except (ValueError, KeyError, TypeError):
            service = None
        if service is None:
            return self._send(404, {"error": {"message": "no such path, or no such body"}})
        request = EmbeddingRequest(
            service=service,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            texts=texts,
        )
        fault = self.server.fake._begin(request)
        try:
            self._respond(request, fault)
        finally:
            self.server.fake._end()
        return None

    def _respond(self, request: EmbeddingRequest, fault: EmbeddingFault | None) -> None:
        fake = self.server.fake
        kind = fault.kind if fault else None
        if fault and kind == "stall":
            fake._closing.wait(fault.seconds)
        if kind == "drop":
            self.close_connection = True
        elif fault and kind == "status":
            error = _error(request.service, fault.status, fault.message, fault.code)
            self._send(fault.status, error, retry_after=fault.retry_after)
        elif kind == "garbage":
            self._send(200, None, raw=b"<html>Bad gateway</html>")
        elif kind == "endless":
            self._send_without_end()
        elif kind == "compressed":
            self._send(200, None, raw=gzip.compress(b" " * 10_000_000), encoding="gzip")
        elif refusal := fake._refusal(request):
            self._send(refusal[0], _error(request.service, *refusal))
        else:
            self._send(200, fake._answer(request, fault), cut=kind == "truncate")

    def _send_without_end(self) -> None:
        """Until the client goes away."""
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        while not self.server.fake._closing.is_set():
            self.wfile.write(b'{"data": [' + b"0.125, " * 10_000)

    def _send(
        self,
        status: int,
        answer: Any,
        *,
        raw: bytes | None = None,
        retry_after: str | None = None,
        cut: bool = False,
        encoding: str | None = None,
    ) -> None:
        content = json.dumps(answer).encode() if raw is None else raw
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


def _written(row: NDArray[np.float64], as_base64: bool) -> str | Sequence[float]:
    if as_base64:
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    values: list[float] = row.tolist()
    return values


def _error(service: str, status: int, message: str, code: str = "invalid") -> Any:
    """An error as the service writes it."""
    if service == "cohere":
        return {"id": "0", "message": message}
    if service == "voyage":
        return {"detail": message}
    if service == "ollama":
        return {"error": message}
    if service in ("tei", "tei-own"):
        return {"error": message, "error_type": "Validation" if status < 500 else "Backend"}
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}
