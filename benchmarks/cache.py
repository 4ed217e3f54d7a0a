"""An embedding cache on a trace of queries and edited documents: hits, what they spare, latency."""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import standard_library
from benchmarks.host import describe_host, write_result
from benchmarks.versions import versions_of
from llmspell.rag import EmbeddingCache, EmbeddingCacheSettings, LocalEmbedder
from llmspell.tenancy.ports import CacheOwner, EmbeddingModel, Task

__all__ = ["add_arguments", "main", "run"]

_DIM: Final = 384
_MODEL: Final = EmbeddingModel("bench", "minilm", _DIM)
_PACKAGES: Final = ("blake3", "theine-core", "lmdb", "zstandard", "langchain-classic")
# Of a trace: a call with its task and texts.
_Call = tuple[Task, list[str]]
_Answer = Callable[[Task, list[str]], object]
# Passages of a document, of which an edit changes one.
_PASSAGES: Final = 12


def run(
    *,
    queries: int = 40_000,
    different: int = 5_000,
    documents: int = 150,
    edits: int = 6,
    memory_mib: int = 8,
    rounds: int = 7,
    sampled: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Play the trace through the cache, and through LangChain's; then time hits of both.

    Args:
        queries: asked, drawn by Zipf's law (exponent 1) from ``different`` ones.
        different: queries there are: what Python's own documentation strings say first.
        documents: of 12 passages each, ingested at the beginning.
        edits: times that each document has a passage changed and is ingested again.
        memory_mib: bound of the tier in memory, in which the trace doesn't fit.
        rounds: of timed hits; figures are the median over them.
        sampled: texts that the local model embeds, to say what a miss costs.
        seed: of all draws.
    """
    host = describe_host()
    trace = list(_trace(queries, different, documents, edits, seed))
    texts = sum(len(call[1]) for call in trace)
    asked = list(dict.fromkeys(text for task, call in trace if task == "query" for text in call))
    result: dict[str, Any] = {
        "benchmark": "cache",
        "host": host,
        "versions": versions_of(_PACKAGES),
        "settings": {
            "queries": queries,
            "different": different,
            "documents": documents,
            "edits": edits,
            "memory_mib": memory_mib,
            "rounds": rounds,
            "sampled": sampled,
            "seed": seed,
        },
        "texts": texts,
        "tokens": sum(_tokens([text for _, call in trace for text in call])),
        "model_ms_per_text": _model_ms(trace, sampled, seed),
    }
    with tempfile.TemporaryDirectory() as directory:
        result["llmspell"] = _ours(Path(directory), trace, asked, memory_mib, rounds)
    with tempfile.TemporaryDirectory() as directory:
        result["langchain"] = _langchain(Path(directory), trace, asked, rounds)
    return result


class _Model:
    """Gives vectors at no cost, and counts what it was asked: a cache is measured, not a model."""

    def __init__(self) -> None:
        self.texts = self.tokens = 0
        self._random = np.random.default_rng(0)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += len(texts)
        self.tokens += sum(_tokens(texts))
        rows = self._random.standard_normal((len(texts), _DIM), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self(texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _trace(queries: int, different: int, documents: int, edits: int, seed: int) -> Iterator[_Call]:
    """Documents first, then queries with edited documents between them."""
    draw = random.Random(seed)
    passages = list(dict.fromkeys(standard_library()))
    draw.shuffle(passages)
    stock = iter(passages[: documents * (_PASSAGES + edits)])
    held = [list(itertools.islice(stock, _PASSAGES)) for _ in range(documents)]
    lines = (text.partition(": ")[2].strip().split("\n")[0] for text in passages)
    known = list(dict.fromkeys(line for line in lines if 15 <= len(line) <= 100))[:different]
    if len(known) < different or not all(len(one) == _PASSAGES for one in held):
        raise SystemExit("Python's library hasn't so many texts; take fewer")
    weights = [1 / rank for rank in range(1, different + 1)]
    calls: list[_Call] = [("query", [text]) for text in draw.choices(known, weights, k=queries)]
    places = sorted(draw.randrange(queries) for _ in range(documents * edits))
    order = [number for _ in range(edits) for number in draw.sample(range(documents), documents)]
    for one in held:
        yield "passage", list(one)
    at = 0
    for place, number in zip(places, order, strict=True):
        yield from calls[at:place]
        at = place
        held[number][draw.randrange(_PASSAGES)] = next(stock)
        yield "passage", list(held[number])
    yield from calls[at:]


def _ours(
    directory: Path, trace: Sequence[_Call], asked: Sequence[str], memory_mib: int, rounds: int
) -> dict[str, Any]:
    owner, model = CacheOwner(b"bench".ljust(16), "bench", directory), _Model()
    cache = EmbeddingCache(EmbeddingCacheSettings(memory_bytes=memory_mib << 20))
    started = time.perf_counter()
    for task, texts in trace:
        cache.embed(owner, _MODEL, task, texts, model)
    seconds = time.perf_counter() - started
    cache.flush()
    stats = cache.stats()
    hot = asked[:500]
    memory = _timed(lambda task, texts: cache.embed(owner, _MODEL, task, texts, model), hot, rounds)
    cache.close()
    # Of one entry, so that each hit is one of the disk's, and is put into memory.
    cache = EmbeddingCache(EmbeddingCacheSettings(memory_entries=1))
    disk = _timed(lambda task, texts: cache.embed(owner, _MODEL, task, texts, model), hot, rounds)
    from_disk = cache.stats().disk_hits
    cache.close()
    if from_disk < (rounds + 1) * len(hot):
        raise RuntimeError(f"only {from_disk} of the timed hits came from disk")
    return {
        **_spared(trace, model),
        "seconds": round(seconds, 3),
        "memory_hits": stats.memory_hits,
        "disk_hits": stats.disk_hits,
        "shared": stats.shared,
        "misses": stats.misses,
        "dropped": stats.dropped,
        "memory_us": memory,
        "disk_us": disk,
        "disk_bytes": stats.disk_bytes,
        "file_bytes": sum(f.stat().st_blocks * 512 for f in directory.rglob("*") if f.is_file()),
    }


def _langchain(
    directory: Path, trace: Sequence[_Call], asked: Sequence[str], rounds: int
) -> dict[str, Any] | None:
    try:
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_classic.storage import LocalFileStore
    except ImportError:
        return None
    model = _Model()
    cached = CacheBackedEmbeddings.from_bytes_store(
        model,
        LocalFileStore(str(directory)),
        namespace="bench",
        query_embedding_cache=True,
        key_encoder="blake2b",
    )

    def answer(task: Task, texts: list[str]) -> object:
        return cached.embed_query(texts[0]) if task == "query" else cached.embed_documents(texts)

    started = time.perf_counter()
    for task, texts in trace:
        answer(task, texts)
    seconds = time.perf_counter() - started
    return {
        **_spared(trace, model),
        "seconds": round(seconds, 3),
        "disk_us": _timed(answer, asked[:500], rounds),
        "file_bytes": sum(f.stat().st_blocks * 512 for f in directory.rglob("*") if f.is_file()),
    }


def _spared(trace: Sequence[_Call], model: _Model) -> dict[str, Any]:
    """What wasn't asked of the model, of all that it would have been."""
    texts = [text for _, call in trace for text in call]
    return {
        "embedded": model.texts,
        "hit_share": round(1 - model.texts / len(texts), 4),
        "token_share": round(1 - model.tokens / sum(_tokens(texts)), 4),
    }


def _timed(answer: _Answer, texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Microseconds of a hit of one text: p50 and p99, each the median over the rounds."""
    for text in texts:
        answer("query", [text])
    halves, tails = [], []
    for _ in range(rounds):
        spent = []
        for text in texts:
            started = time.perf_counter_ns()
            answer("query", [text])
            spent.append((time.perf_counter_ns() - started) / 1e3)
        spent.sort()
        halves.append(spent[len(spent) // 2])
        tails.append(spent[len(spent) * 99 // 100])
    return {"p50": round(statistics.median(halves), 2), "p99": round(statistics.median(tails), 2)}


def _model_ms(trace: Sequence[_Call], sampled: int, seed: int) -> float:
    """Milliseconds of the local model for a text of the trace, on one core."""
    texts = [text for _, call in trace for text in call]
    chosen = random.Random(seed).sample(texts, sampled)
    model = LocalEmbedder(threads=1)
    model.embed(chosen[:2], truncate=True)
    started = time.perf_counter()
    model.embed(chosen, truncate=True)
    return round((time.perf_counter() - started) * 1e3 / sampled, 2)


_COUNTED: dict[str, int] = {}
_COUNTER: Final = LocalEmbedder(threads=1)


def _tokens(texts: Sequence[str]) -> list[int]:
    new = [text for text in dict.fromkeys(texts) if text not in _COUNTED]
    if new:
        _COUNTED.update(zip(new, _COUNTER.count_tokens(new), strict=True))
    return [_COUNTED[text] for text in texts]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks cache``."""
    parser.add_argument("--queries", type=int, default=40_000, help="asked, some of them often")
    parser.add_argument("--different", type=int, default=5_000, help="queries there are")
    parser.add_argument("--documents", type=int, default=150)
    parser.add_argument("--edits", type=int, default=6, help="of each document")
    parser.add_argument("--memory-mib", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(
        queries=options.queries,
        different=options.different,
        documents=options.documents,
        edits=options.edits,
        memory_mib=options.memory_mib,
        rounds=options.rounds,
        seed=options.seed,
    )
    print(f"{result['texts']:,} texts, {result['model_ms_per_text']} ms each by the local model")
    for name in ("llmspell", "langchain"):
        one = result[name]
        if one is None:
            print(f"{name}: not installed")
            continue
        print(
            f"{name}: {one['hit_share']:.1%} hits, {one['token_share']:.1%} of the tokens spared, "
            f"memory {one.get('memory_us')} µs, disk {one['disk_us']} µs, {one['seconds']} s"
        )
    write_result(result, options.out)
