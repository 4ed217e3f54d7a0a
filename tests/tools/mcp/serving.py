"""ASGI applications on the loopback, in threads, and calls of tools there."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from llmspell.tools.mcp import McpConnection


@contextmanager
def served(app: Any, listener: socket.socket | None = None) -> Iterator[str]:
    """The URL that an application is served at."""
    listener = listener or socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def called(connection: McpConnection, name: str) -> Any:
    """What a tool of a server, by its name there, gives."""
    (found,) = [one for one in connection.tools if one.remote_name == name]
    return asyncio.run(found.run())
