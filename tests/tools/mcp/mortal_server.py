"""A server of MCP by standard input and output that ends in the middle of calls.

Its folder has ``tools.json``, which it lists, and where it notes what it does: ``starts``, one
process a line, and ``calls``, one a line. It ends at once where there is a file ``broken``, and
answers nothing where there is one ``silent``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def note(name: str, line: object) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{line}\n")


def called(name: str) -> Any:
    note("calls", name)
    if name == "die" or (name == "die_once" and (FOLDER / "starts").read_text().count("\n") == 1):
        os._exit(1)
    return {"content": [{"type": "text", "text": str(os.getpid())}]}


def result_of(message: dict[str, Any]) -> Any:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "mortal", "version": "1"},
            }
        case "tools/list":
            return {"tools": json.loads((FOLDER / "tools.json").read_text())}
        case "tools/call":
            return called(message["params"]["name"])


def main() -> None:
    note("starts", os.getpid())
    if (FOLDER / "broken").exists():
        return
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or (FOLDER / "silent").exists():
            continue
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        result = result_of(message)
        if result is None:
            told["error"] = {"code": -32601, "message": "there is no such method"}
        else:
            told["result"] = result
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
