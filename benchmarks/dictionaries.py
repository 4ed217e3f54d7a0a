"""What zstd dictionaries of a tenant's own would save of its texts, and what they take."""

from __future__ import annotations

import argparse
import importlib
import pydoc_data.topics
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks.corpus import library_files
from benchmarks.host import describe_host, write_result
from benchmarks.versions import versions_of
from llmspell import Document, QuotaLimits, TenantConfig
from llmspell.rag import Chunker, Chunking, LocalEmbedder, Pipeline
from llmspell.rag.embedding import CallableEmbedder
from llmspell.storage.packed_text import LEAST_BYTES

__all__ = ["CORPORA", "add_arguments", "main", "run"]

CORPORA: Final = ("Python's sources", "Python's language reference")
_LEVEL: Final = 3
#: Of the texts, for training; what is measured are the others.
_TRAINED_ON: Final = 0.5
#: zstd's own advice is a hundred times the dictionary's size; more isn't taken.
_TRAINING_BYTES: Final = 100
_SHORTEST: Final = 64


def run(
    *,
    sizes: Sequence[int] = (64, 128, 256, 512),
    dictionaries: Sequence[int] = (4_096, 16_384, 65_536),
    source_bytes: int = 1_500_000,
    topics: int | None = None,
    rounds: int = 3,
    seed: int = 0,
) -> dict[str, Any]:
    """Compress chunks of real text, each alone: as they are stored, and with dictionaries.

    Args:
        sizes: of a chunk, in tokens of the local model.
        dictionaries: sizes in bytes.
        source_bytes: of Python's sources, or up to one file more.
        topics: of Python's ``help()``; all where None.
        rounds: of timing.
        seed: of the order of files, of which the first half is trained on.
    """
    host = describe_host()
    found = []
    for corpus, texts in _corpora(source_bytes, topics, seed).items():
        for size in sizes:
            found.append({"corpus": corpus, "size": size, **_of(texts, size, dictionaries, rounds)})
    return {
        "benchmark": "dictionaries",
        "host": host,
        "versions": versions_of(("backports.zstd", "semantic-text-splitter", "tokenizers")),
        "settings": {"level": _LEVEL, "source_bytes": source_bytes, "rounds": rounds, "seed": seed},
        "cases": found,
    }


def _corpora(source_bytes: int, topics: int | None, seed: int) -> dict[str, list[tuple[str, str]]]:
    """Texts with their media types, shuffled."""
    library = [("text/x-python", file) for file in library_files()]
    random.Random(seed).shuffle(library)
    sources: list[tuple[str, str]] = []
    taken = 0
    for kind, file in library:
        if taken >= source_bytes:
            break
        sources.append((kind, file.read_text(encoding="utf-8", errors="replace")))
        taken += len(sources[-1][1])
    reference = [("text/plain", text) for _, text in sorted(pydoc_data.topics.topics.items())]
    random.Random(seed).shuffle(reference)
    return dict(zip(CORPORA, (sources, reference[:topics]), strict=True))


def _of(
    texts: Sequence[tuple[str, str]], size: int, dictionaries: Sequence[int], rounds: int
) -> dict[str, Any]:
    chunker = Chunker(LocalEmbedder().tokenizer, Chunking(size=size, overlap=0))
    files = [[c.text.encode() for c in chunker.split(text, kind)] for kind, text in texts]
    half = round(len(files) * _TRAINED_ON)
    known = [chunk for file in files[:half] for chunk in file]
    chunks = [chunk for file in files[half:] for chunk in file]
    # A dictionary makes shorter texts worth it too; how much of what it saves is only that?
    ways = {
        "stored": _way(chunks, None, LEAST_BYTES, rounds),
        "shortest": _way(chunks, None, _SHORTEST, rounds),
    }
    for most in dictionaries:
        began = time.perf_counter()
        samples = _first(known, most * _TRAINING_BYTES)
        trained = _zstd().train_dict(samples, most)
        seconds = time.perf_counter() - began
        way = _way(chunks, trained, _SHORTEST, rounds)
        ways[str(most)] = {**way, "bytes": len(trained.dict_content), "training_s": seconds}
    return {
        "chunks": len(chunks),
        "text_bytes": sum(map(len, chunks)),
        "tenant_bytes": _tenant_bytes(texts[half:], size),
        "median_bytes": round(statistics.median(map(len, chunks))),
        "ways": ways,
    }


def _tenant_bytes(texts: Sequence[tuple[str, str]], size: int) -> int:
    """What a tenant takes on disk that holds the chunks, with vectors as long as the model's."""
    model = LocalEmbedder()

    def lengths(texts: Sequence[str], task: str) -> NDArray[np.float32]:
        counted = [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]
        return np.array([np.bincount(one, minlength=model.dim) for one in counted], np.float32)

    embedder = CallableEmbedder(lengths, model_id="m", dim=model.dim, tokenizer=model.tokenizer)
    services = Pipeline(embedder, chunking=Chunking(size=size, overlap=0))
    documents = [Document(str(n), text, {}, kind) for n, (kind, text) in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        with llmspell.open(folder, texts=services) as db:
            quotas = QuotaLimits.unlimited()
            db.create_tenant(TenantConfig(id="bench", quotas=quotas)).ingest(documents)
        return sum(f.stat().st_size for f in Path(folder, "tenants").rglob("*") if f.is_file())


def _first(chunks: Sequence[bytes], most: int) -> list[bytes]:
    samples, taken = [], 0
    for chunk in chunks:
        if taken >= most:
            break
        samples.append(chunk)
        taken += len(chunk)
    return samples


def _way(chunks: Sequence[bytes], trained: Any, least: int, rounds: int) -> dict[str, Any]:
    """Bytes on disk of all chunks, and µs of each that is compressed."""
    zstd = _zstd()
    long = [chunk for chunk in chunks if len(chunk) >= least]
    # Digested once, as a store that kept it would.
    by = None if trained is None else trained.as_digested_dict
    options = {zstd.CompressionParameter.compression_level: _LEVEL}

    def compress(chunk: bytes) -> bytes:
        made: bytes = zstd.compress(chunk, options=options, zstd_dict=by)
        return made

    def unpack(frame: bytes) -> bytes:
        made: bytes = zstd.ZstdDecompressor(zstd_dict=by).decompress(frame)
        return made

    frames = [compress(chunk) for chunk in long]
    assert [unpack(frame) for frame in frames] == long
    stored = sum(len(chunk) for chunk in chunks if len(chunk) < least)
    # Four bytes say how long it was, and of a dictionary four more which it is, in the frame.
    stored += sum(min(4 + len(f), len(c)) for f, c in zip(frames, long, strict=True))
    return {
        "stored_bytes": stored,
        "compressed": len(long),
        "compress_us": _us(compress, long, rounds),
        "decompress_us": _us(unpack, frames, rounds),
    }


def _us(call: Callable[[bytes], bytes], each: Sequence[bytes], rounds: int) -> float | None:
    """The median over the rounds of the mean."""
    if not each:
        return None
    took = []
    for _ in range(rounds):
        began = time.process_time_ns()
        for one in each:
            call(one)
        took.append((time.process_time_ns() - began) / 1e3 / len(each))
    return round(statistics.median(took), 2)


def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")  # from Python 3.14 on
    except ImportError:
        return importlib.import_module("backports.zstd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks dictionaries``."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(rounds=options.rounds, seed=options.seed)
    for case in result["cases"]:
        print(
            f"{case['corpus']}, {case['size']} tokens: {case['chunks']:,} chunks,"
            f" median {case['median_bytes']:,} bytes; the tenant {case['tenant_bytes']:,} bytes"
        )
        for name, way in case["ways"].items():
            print(
                f"  {name:>16}: {case['text_bytes'] / way['stored_bytes']:.2f} of"
                f" {way['compressed']:,}, {way['compress_us']} and {way['decompress_us']} µs"
                f" {way.get('training_s', 0):.2f} s"
            )
    write_result(result, options.out)
