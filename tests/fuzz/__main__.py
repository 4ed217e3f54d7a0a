"""``python -m tests.fuzz TARGET [libFuzzer's options]`` looks for inputs that show a fault.

What is found goes to build/fuzz/TARGET, an input that shows a fault to build/fuzz. Needs atheris.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import atheris

CORPUS = Path(__file__).parent / "corpus"


class _Sources:
    """Finds what others find, with the loader that atheris can instrument."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path[sys.meta_path.index(cls) + 1 :]:  # type: ignore[arg-type]
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            if spec.origin is None or not spec.origin.endswith(".py"):
                return spec
            places = spec.submodule_search_locations
            return spec_from_file_location(
                name, spec.origin, submodule_search_locations=None if places is None else [*places]
            )
        return None


def main(arguments: list[str]) -> None:
    """Fuzz a target."""
    name, *options = arguments or [""]
    sys.meta_path.insert(0, _Sources)  # type: ignore[arg-type]
    with atheris.instrument_imports(include=["llmspell"]):
        from tests.fuzz.targets import TARGETS, target

        if name not in TARGETS:
            raise SystemExit(f"name a target: {', '.join(TARGETS)}")
        run = target(name)
    found = Path("build/fuzz") / name
    found.mkdir(parents=True, exist_ok=True)
    limits = [
        *("-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"),
        f"-artifact_prefix=build/fuzz/{name}-",
    ]
    folders = [str(found), str(CORPUS / name)]
    atheris.Setup([sys.argv[0], *limits, *options, *folders], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
