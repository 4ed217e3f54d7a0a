"""Build a dataset folder from real text on any machine, with the local embedding model.

``python -m benchmarks.datasets --out FOLDER [--size N] [--source stdlib|wordnet]``
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import corpus
from llmspell.rag import LocalEmbedder

__all__ = ["build"]

_BATCH = 512


class TextEmbedder(Protocol):
    """As much of :class:`llmspell.rag.Embedder` as a dataset needs."""

    @property
    def model_id(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str], *, truncate: bool = False) -> NDArray[np.float32]: ...


def build(
    out: Path, *, embedder: TextEmbedder, source: str, size: int, queries: int, seed: int
) -> None:
    """Write ``base.f16.npy``, ``queries.f16.npy``, ``meta.json`` and ``README.md``.

    The passages are shuffled with ``seed``; the first ``queries`` are held out, the next
    ``size`` are the base. The folder appears whole: files are written before the queries'
    file, which the readers need, is put in place.

    Args:
        out: folder to make; it must not hold a dataset.
        embedder: turns passages into unit vectors.
        source: ``stdlib`` or ``wordnet``.
        size: vectors in the base.
        queries: held-out vectors.
        seed: of the shuffle.

    Raises:
        FileExistsError: ``out`` holds a dataset already.
        ValueError: the source doesn't have that many different passages.
    """
    if (out / "queries.f16.npy").exists():
        raise FileExistsError(f"{out} holds a dataset; name another folder")
    texts = list(_passages(source))
    if size + queries > len(texts):
        raise ValueError(
            f"{source} has {len(texts):,} passages, {size:,} + {queries:,} were asked for"
        )
    random.Random(seed).shuffle(texts)
    texts = texts[: size + queries]
    vectors = np.empty((len(texts), embedder.dim), dtype=np.float16)
    begin = time.monotonic()
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        vectors[start : start + len(batch)] = embedder.embed(batch, truncate=True)
        done = start + len(batch)
        rate = done / (time.monotonic() - begin)
        print(f"\r{done:,} of {len(texts):,} passages, {rate:.0f}/s", end="", file=sys.stderr)
    print(file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    meta = {
        "metric": "ip",
        "source": source,
        "python": platform.python_version() if source == "stdlib" else None,
        "model": embedder.model_id,
        "vectors": size,
        "queries": queries,
        "dim": embedder.dim,
        "seed": seed,
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_readme(out, meta), encoding="utf-8")
    np.save(out / "base.f16.npy", vectors[queries:])
    np.save(out / "queries.f16.npy", vectors[:queries])


@functools.cache
def _passages(source: str) -> tuple[str, ...]:
    """Different passages in the source's order."""
    if source == "stdlib":
        found = corpus.standard_library()
    else:
        folder = corpus.wordnet_folder()
        if folder is None:
            raise ValueError("WordNet is not installed; on Debian: apt install wordnet-base")
        found = corpus.wordnet(folder)
    return tuple(dict.fromkeys(found))


def _readme(out: Path, meta: Mapping[str, object]) -> str:
    origin = (
        f"documentation strings and function sources of Python {meta['python']}'s standard library"
        if meta["source"] == "stdlib"
        else "WordNet glosses as `words: gloss` (Debian's `wordnet-base`)"
    )
    return (
        f"# {out.resolve().name}\n\n"
        f"{meta['vectors']:,} passages and {meta['queries']:,} held-out passages as queries: "
        f"{origin}, cut at {corpus.MAX_CHARS} characters, without repeats, shuffled with seed "
        f"{meta['seed']}. Embedded by {meta['model']} into {meta['dim']} dimensions, unit length, "
        "stored as float16. Inner product. Exact neighbours are computed by the reader after "
        "conversion to float32 and renormalisation.\n\n"
        "Made by `python -m benchmarks.datasets "
        f"--source {meta['source']} --size {meta['vectors']} --queries {meta['queries']} "
        f"--seed {meta['seed']}`.\n"
    )


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--source", choices=("stdlib", "wordnet"), default="stdlib")
    parser.add_argument("--size", type=int, default=10_000, help="vectors in the base")
    parser.add_argument("--queries", type=int, default=1_000, help="held-out vectors")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    build(
        options.out,
        embedder=LocalEmbedder(),
        source=options.source,
        size=options.size,
        queries=options.queries,
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
