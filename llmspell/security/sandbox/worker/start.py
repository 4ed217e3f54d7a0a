"""Starts the fork server: run by its path, so that no more of the package is loaded than it needs.

No ``site`` either: neither its hooks nor the owner's directory of modules is on the path.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys


def _start(package: str, extension: str, control: str, owner: str, *libraries: str) -> None:
    sys.path[:0] = [package]
    sys.path += libraries
    import llmspell

    # Where it is installed to be edited, its sources lie elsewhere than what was built of it.
    beside = os.path.dirname(extension)
    if beside not in llmspell.__path__:
        llmspell.__path__.append(beside)
    loader = importlib.machinery.ExtensionFileLoader("llmspell._sandbox", extension)
    spec = importlib.util.spec_from_loader("llmspell._sandbox", loader)
    assert spec is not None
    confining = importlib.util.module_from_spec(spec)
    loader.exec_module(confining)
    from llmspell.security.sandbox.worker.server import main

    sys.path.remove(package)
    main(confining, int(control), int(owner))


if __name__ == "__main__":
    _start(*sys.argv[1:])
