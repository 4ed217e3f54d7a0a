"""What the broker adds to a request: beside http.client, requests and httpx, on loopback."""

from __future__ import annotations

import argparse
import gc
import http.client
import multiprocessing
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
import msgpack  # type: ignore[import-untyped]
import numpy as np
import requests

from benchmarks.host import describe_host, write_result
from benchmarks.process import say
from benchmarks.versions import versions_of
from llmspell.security import Broker, BrokerLimits
from llmspell.security.egress import Client, HttpxTransport, RequestsAdapter

__all__ = ["SIDES", "add_arguments", "main", "run"]

#: Directly, by the broker in the same process, and by the broker at the far end of a socket pair,
#: as a worker asks it. All keep one connection to the same server.
SIDES: Final = (
    "http.client",
    "requests",
    "httpx",
    "broker",
    "worker",
    "worker, requests",
    "worker, httpx",
)
_HOST: Final = "bench.test"
_LENGTH: Final = struct.Struct(">I")


def run(*, calls: int = 2000, rounds: int = 5, body: int = 1000) -> dict[str, Any]:
    """Make the same GET on all sides, which take turns, call by call; JSON values.

    The server is a process of its own, and so is the broker of the workers' sides. Figures are µs
    from the call to the response's body, of all rounds together.

    Args:
        calls: of each side, a round.
        rounds: how often.
        body: bytes of each response.
    """
    host = describe_host()
    taken: dict[str, list[int]] = {side: [] for side in SIDES}
    with _asking(body) as asks:
        for ask in asks.values():
            for _ in range(50):
                ask()
        gc.collect()
        gc.disable()
        try:
            for number in range(rounds):
                say(f"broker: round {number + 1} of {rounds}")
                for _ in range(calls):
                    for side, ask in asks.items():
                        start = time.perf_counter_ns()
                        found = ask()
                        taken[side].append(time.perf_counter_ns() - start)
                        if len(found) != body:
                            raise RuntimeError(f"{side}: {len(found)} bytes, not {body}")
        finally:
            gc.enable()
    spread = {
        side: {f"p{at}": float(np.percentile(spent, at)) / 1000 for at in (50, 99)}
        for side, spent in taken.items()
    }
    return {
        "benchmark": "broker",
        "host": host,
        "settings": {
            "calls": calls,
            "rounds": rounds,
            "body_bytes": body,
            **versions_of(["h11", "httpx", "requests"]),
        },
        "us": spread,
    }


@contextmanager
def _asking(body: int) -> Iterator[dict[str, Callable[[], bytes]]]:
    """A call of each side, that makes the request and gives the body."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        told, tell = spawn.Pipe(duplex=False)
        server = spawn.Process(target=_serve, args=(tell, body), daemon=True)
        server.start()
        stack.callback(server.terminate)
        port: int = told.recv()
        near, far = socket.socketpair()
        parent = spawn.Process(target=_broke, args=(far,), daemon=True)
        parent.start()
        stack.callback(parent.terminate)
        far.close()
        stack.enter_context(near)

        url, named = f"http://127.0.0.1:{port}/", f"http://{_HOST}:{port}/"
        plain = http.client.HTTPConnection("127.0.0.1", port)
        stack.callback(plain.close)
        session = stack.enter_context(_broker().session())
        worker = Client(lambda request: _over(near, request))
        theirs = stack.enter_context(requests.Session())
        brokered = stack.enter_context(requests.Session())
        brokered.mount("http://", RequestsAdapter(worker))
        direct = stack.enter_context(httpx.Client())
        carried = stack.enter_context(httpx.Client(transport=HttpxTransport(worker)))
        request = {"method": "GET", "url": named}

        def by_http_client() -> bytes:
            plain.request("GET", "/")
            return plain.getresponse().read()

        yield {
            "http.client": by_http_client,
            "requests": lambda: theirs.get(url).content,
            "httpx": lambda: direct.get(url).content,
            "broker": lambda: bytes(session.answer(request)["body"]),
            "worker": lambda: worker.get(named).content,
            "worker, requests": lambda: brokered.get(named).content,
            "worker, httpx": lambda: carried.get(named).content,
        }


def _broker() -> Broker:
    return Broker(
        [_HOST, "127.0.0.1"],
        resolver=lambda host, port: ["127.0.0.1"],
        limits=BrokerLimits(
            requests=1 << 30, session_bytes=1 << 40, session_parts=1 << 40, session_seconds=86_400
        ),
        on_attempt=lambda attempt: None,
    )


def _broke(far: socket.socket) -> None:
    """The parent of a worker: answers what comes, until the end."""
    with _broker().session() as session:
        while (message := _receive(far)) is not None:
            _send(far, session.answer(message))


def _over(near: socket.socket, request: Any) -> Any:
    _send(near, request)
    return _receive(near)


def _send(side: socket.socket, message: Any) -> None:
    packed = msgpack.packb(message)
    side.sendall(_LENGTH.pack(len(packed)) + packed)


def _receive(side: socket.socket) -> Any:
    head = side.recv(_LENGTH.size, socket.MSG_WAITALL)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    return msgpack.unpackb(side.recv(size, socket.MSG_WAITALL))


def _serve(tell: Connection, body: int) -> None:
    """Answer each request with the same bytes, a thread for each connection."""
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body + bytes(body)

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        heard = b""
        while more := connection.recv(65536):
            heard += more
            if heard.endswith(b"\r\n\r\n"):
                heard = b""
                connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks broker``."""
    parser.add_argument("--calls", type=int, default=2000, help="of each side, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--body", type=int, default=1000, help="bytes of each response")
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(calls=options.calls, rounds=options.rounds, body=options.body)
    least = result["us"]["http.client"]
    print(f"µs a GET of {options.body:,} bytes on a kept connection; more than http.client in ():")
    for side, spread in result["us"].items():
        figures = [f"{at} {us:7.1f} ({us - least[at]:+7.1f})" for at, us in spread.items()]
        print(f"  {side:<18} {'  '.join(figures)}")
    write_result(result, options.out)
