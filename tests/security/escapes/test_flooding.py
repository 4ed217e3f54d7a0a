"""Time is looked at whatever comes, and not only when nothing does."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path

import pytest

from llmspell.errors import ToolTimeout
from llmspell.security.sandbox.exchange import Exchange

SIZE = 2 << 30  # of holes, that take a while to be read


class Flooding:
    """A worker that has always printed something more."""

    output_bytes = 1 << 16

    def __init__(self, talk: socket.socket, stream: int) -> None:
        self.talk = talk
        self.streams = (stream, stream)

    def cpu_seconds(self) -> float:
        return 0.0

    def ran_out_of_memory(self) -> bool:
        return False

    def kill(self) -> None:
        pass


def test_timeouts_hold_amid_output(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.touch()
    os.truncate(path, SIZE)
    stream = os.open(path, os.O_RDONLY)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        exchange = Exchange(Flooding(ours, stream), "f", 0.05, math.inf, 1 << 16)
        with pytest.raises(ToolTimeout):
            exchange.run(b"", None)
        assert os.lseek(stream, 0, os.SEEK_CUR) < SIZE
    finally:
        os.close(stream)
        ours.close()
        theirs.close()
