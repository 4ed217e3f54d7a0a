"""An embedding cache on a trace of queries and edited documents: hits, what they spare, latency."""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.cache_peers import PACKAGES, PEERS, Answer
from benchmarks.corpus import standard_library
from benchmarks.host import describe_host, write_result
from benchmarks.versions import versions_of
from llmspell.rag import EmbeddingCache, EmbeddingCacheSettings, LocalEmbedder
from llmspell.tenancy.ports import CacheOwner, EmbeddingModel, Task

__all__ = ["add_arguments", "main", "run"]

_DIM: Final = 384
_MODEL: Final = EmbeddingModel("bench", "minilm", _DIM)
_PACKAGES: Final = ("blake3", "theine-core", "lmdb", "zstandard", *PACKAGES)
# Of a trace: a call with its task and texts.
_Call = tuple[Task, list[str]]
# Passages of a document, of which an edit changes one.
_PASSAGES: Final = 12


def run(
    *,
    queries: int = 40_000,
    different: int = 5_000,
    documents: int = 150,
    edits: int = 6,
    memory_mib: int = 8,
    plays: int = 3,
    rounds: int = 7,
    sampled: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Play the trace through the cache and its peers; then time hits of all, turn by turn.

    Args:
        queries: asked, drawn by Zipf's law (exponent 1) from ``different`` ones.
        different: queries there are: what Python's own documentation strings say first.
        documents: of 12 passages each, ingested at the beginning.
        edits: times that each document has a passage changed and is ingested again.
        memory_mib: bound of our tier in memory, in which the trace doesn't fit; peers have none.
        plays: of the trace, each of all caches, from nothing; seconds are the median over them.
        rounds: of timed hits, each of all caches; figures are the median over them.
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
            "plays": plays,
            "rounds": rounds,
            "sampled": sampled,
            "seed": seed,
        },
        "texts": texts,
        "tokens": sum(_tokens([text for _, call in trace for text in call])),
        "model_ms_per_text": _model_ms(trace, sampled, seed),
    }
    different_texts = list(dict.fromkeys(text for _, call in trace for text in call))
    rows = _LOCAL.embed(different_texts, truncate=True)
    vectors = dict(zip(different_texts, rows, strict=True))
    with ExitStack() as opened:
        caches, answers = _played(opened, trace, vectors, memory_mib, plays)
        for (name, tier), spent in _timed(answers, asked[:500], rounds).items():
            caches[name][f"{tier}_us"] = spent
    return result | {"caches": caches}


class _Model:
    """Gives the real vectors at no cost, and counts what it was asked: no model is measured."""

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self.texts = self.tokens = 0
        self._vectors = vectors

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += len(texts)
        self.tokens += sum(_tokens(texts))
        return np.stack([self._vectors[text] for text in texts])

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


def _played(
    opened: ExitStack,
    trace: Sequence[_Call],
    vectors: Mapping[str, NDArray[np.float32]],
    memory_mib: int,
    plays: int,
) -> tuple[dict[str, Any], dict[tuple[str, str], Answer]]:
    """What came of the trace by each cache, and the filled caches, by name and tier."""
    caches: dict[str, Any] = {}
    answers: dict[tuple[str, str], Answer] = {}
    seconds: dict[str, list[float]] = {}
    for _ in range(plays):
        model = _Model(vectors)
        caches["llmspell"], spent = _play_ours(opened, trace, model, memory_mib, answers)
        seconds.setdefault("llmspell", []).append(spent)
        for name, peer in PEERS.items():
            model, directory = _Model(vectors), Path(opened.enter_context(TemporaryDirectory()))
            try:
                answer = answers[name, peer.tier] = peer.open(directory, model)
            except ImportError:
                caches[name] = None
                continue
            seconds.setdefault(name, []).append(_seconds(answer, trace))
            caches[name] = _spared(trace, model) | {"file_bytes": _file_bytes(directory)}
    for name, all_spent in seconds.items():
        caches[name]["seconds"] = round(statistics.median(all_spent), 3)
    return caches, answers


def _play_ours(
    opened: ExitStack,
    trace: Sequence[_Call],
    model: _Model,
    memory_mib: int,
    answers: dict[tuple[str, str], Answer],
) -> tuple[dict[str, Any], float]:
    """Play the trace, and leave the cache open twice: as it is, and with next to no memory.

    It is played once for its seconds, and once for its figures. A model that takes no time is
    ahead of what writes to disk, which leaves out what it can't keep up with; a real one takes
    longer than that, so for the figures each of its answers is written before the next call.
    """
    settings = EmbeddingCacheSettings(memory_bytes=memory_mib << 20)

    def open_in(folder: Path, settings: EmbeddingCacheSettings) -> tuple[EmbeddingCache, Answer]:
        cache = EmbeddingCache(settings)
        opened.callback(cache.close)
        owner = CacheOwner(b"bench".ljust(16), "bench", folder)
        return cache, lambda task, texts: cache.embed(owner, _MODEL, task, texts, model)

    timed, answer = open_in(Path(opened.enter_context(TemporaryDirectory())), settings)
    spent = _seconds(answer, trace)
    left_out = timed.stats().dropped
    timed.close()
    directory = Path(opened.enter_context(TemporaryDirectory()))
    cache, answer = open_in(directory, settings)
    model.texts = model.tokens = 0
    for task, texts in trace:
        before = model.texts
        answer(task, texts)
        if model.texts != before:
            cache.flush()
    stats = cache.stats()
    cache.close()
    figures = {
        **_spared(trace, model),
        "memory_hits": stats.memory_hits,
        "disk_hits": stats.disk_hits,
        "shared": stats.shared,
        "misses": stats.misses,
        "dropped": stats.dropped,
        "dropped_without_a_model": left_out,
        "disk_bytes": stats.disk_bytes,
        "file_bytes": _file_bytes(directory),
    }
    copy = Path(opened.enter_context(TemporaryDirectory())) / "copy"
    shutil.copytree(directory, copy)
    answers["llmspell", "memory"] = open_in(directory, settings)[1]
    # Of one entry, so that each hit is one of the disk's, and is put into memory.
    answers["llmspell", "disk"] = open_in(copy, EmbeddingCacheSettings(memory_entries=1))[1]
    return figures, spent


def _seconds(answer: Answer, trace: Sequence[_Call]) -> float:
    started = time.perf_counter()
    for task, texts in trace:
        answer(task, texts)
    return time.perf_counter() - started


def _file_bytes(directory: Path) -> int:
    return sum(f.stat().st_blocks * 512 for f in directory.rglob("*") if f.is_file())


def _spared(trace: Sequence[_Call], model: _Model) -> dict[str, Any]:
    """What wasn't asked of the model, of all that it would have been."""
    texts = [text for _, call in trace for text in call]
    return {
        "embedded": model.texts,
        "hit_share": round(1 - model.texts / len(texts), 4),
        "token_share": round(1 - model.tokens / sum(_tokens(texts)), 4),
    }


def _timed(
    answers: Mapping[tuple[str, str], Answer], texts: Sequence[str], rounds: int
) -> dict[tuple[str, str], dict[str, float]]:
    """Microseconds of a hit of one text: p50 and p99, each the median over the rounds."""
    halves: dict[tuple[str, str], list[float]] = {key: [] for key in answers}
    tails: dict[tuple[str, str], list[float]] = {key: [] for key in answers}
    for number in range(rounds + 1):
        for key, answer in answers.items():
            spent = []
            for text in texts:
                started = time.perf_counter_ns()
                answer("query", [text])
                spent.append((time.perf_counter_ns() - started) / 1e3)
            spent.sort()
            if number:  # the first one warms up
                halves[key].append(spent[len(spent) // 2])
                tails[key].append(spent[len(spent) * 99 // 100])
    return {
        key: {
            "p50": round(statistics.median(halves[key]), 2),
            "p99": round(statistics.median(tails[key]), 2),
        }
        for key in answers
    }


def _model_ms(trace: Sequence[_Call], sampled: int, seed: int) -> float:
    """Milliseconds of the local model for a text of the trace, on one core."""
    texts = [text for _, call in trace for text in call]
    chosen = random.Random(seed).sample(texts, sampled)
    _LOCAL.embed(chosen[:2], truncate=True)
    started = time.perf_counter()
    _LOCAL.embed(chosen, truncate=True)
    return round((time.perf_counter() - started) * 1e3 / sampled, 2)


_COUNTED: dict[str, int] = {}
_LOCAL: Final = LocalEmbedder(threads=1)


def _tokens(texts: Sequence[str]) -> list[int]:
    new = [text for text in dict.fromkeys(texts) if text not in _COUNTED]
    if new:
        _COUNTED.update(zip(new, _LOCAL.count_tokens(new), strict=True))
    return [_COUNTED[text] for text in texts]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks cache``."""
    parser.add_argument("--queries", type=int, default=40_000, help="asked, some of them often")
    parser.add_argument("--different", type=int, default=5_000, help="queries there are")
    parser.add_argument("--documents", type=int, default=150)
    parser.add_argument("--edits", type=int, default=6, help="of each document")
    parser.add_argument("--memory-mib", type=int, default=8)
    parser.add_argument("--plays", type=int, default=3, help="of the trace")
    parser.add_argument("--rounds", type=int, default=7, help="of timed hits")
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
        plays=options.plays,
        rounds=options.rounds,
        seed=options.seed,
    )
    print(f"{result['texts']:,} texts, {result['model_ms_per_text']} ms each by the local model")
    for name, one in result["caches"].items():
        if one is None:
            print(f"{name}: not installed")
            continue
        print(
            f"{name}: {one['hit_share']:.1%} hits, {one['token_share']:.1%} of the tokens spared, "
            f"memory {one.get('memory_us')} µs, disk {one.get('disk_us')} µs, {one['seconds']} s"
        )
    write_result(result, options.out)
