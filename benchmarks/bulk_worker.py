"""One ingest in a process of its own, which tells how much memory it holds while it runs.

Started by :mod:`benchmarks.bulk` as ``python -m benchmarks.bulk_worker JOB``; it prints JSON lines.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks.memory import now
from benchmarks.overhead import room_of
from llmspell import Chunking, IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.rag import LocalEmbedder, MemoryGuard, Pipeline
from llmspell.rag.embedding import CallableEmbedder
from llmspell.tenancy import IngestProgress

__all__ = ["content_digest", "pipeline"]

_DIM: Final = 64
_EVERY: Final = 8
#: Both bounded, so that a large corpus needs no more time for its graph than for all else.
_INDEX: Final = IndexParams(m=8, ef_construction=40)


def pipeline(embedder: str, guard: MemoryGuard) -> Pipeline:
    """The text services of a run.

    Args:
        embedder: ``"local"`` is the default model with the default chunking. ``"bytes"`` counts
            every eighth byte, which takes no time and finds nothing, and splits at the end of a
            paragraph or line before 8,192 characters without counting tokens: what is left is the
            pipeline.
        guard: bounds it.
    """
    if embedder == "local":
        return Pipeline(LocalEmbedder(), memory=guard)
    from tokenizers import Tokenizer, models

    # Any text is one token, so that the length in characters is what ends a chunk.
    one = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    counted = CallableEmbedder(_bytes, model_id="bytes", dim=_DIM, tokenizer=one)
    return Pipeline(counted, chunking=Chunking(method="recursive", overlap=0), memory=guard)


def content_digest(tenant: Tenant) -> dict[str, Any]:
    """How much a tenant holds, and a hash of all ids, texts, metadata and vectors by id."""
    digest, records = hashlib.blake2b(digest_size=16), 0
    cursor = None
    while True:
        page = tenant.scan(cursor=cursor)
        for record in page.records:
            told = (record.id, record.text, sorted(record.metadata.items()))
            digest.update(repr(told).encode())
            digest.update(np.asarray(record.vector, dtype="<f4").tobytes())
        records += len(page.records)
        if (cursor := page.cursor) is None:
            break
    return {"records": records, "digest": digest.hexdigest()}


def _bytes(texts: Sequence[str], task: str) -> NDArray[np.float32]:
    counted = [np.frombuffer(text.encode(), dtype=np.uint8)[::_EVERY] % _DIM for text in texts]
    return np.array([np.bincount(one, minlength=_DIM) for one in counted], dtype=np.float32)


def _say(**told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")  # at once, since two threads tell
    sys.stdout.flush()


def _sampled(every: float, sample: Callable[[], Mapping[str, Any]], end: threading.Event) -> None:
    while not end.wait(every):
        _say(**sample())


def main(job: Mapping[str, Any]) -> None:
    """Ingest ``job["corpus"]`` into ``job["data"]``, and tell how it goes.

    It tells its memory every ``job["sample_seconds"]`` and once more at the end. After
    ``job["kill_at"]`` files it waits to be killed.
    """
    started = time.perf_counter()
    guard = MemoryGuard(job["max_bytes"])
    state = IngestProgress(documents=0, total=None, chunks=0, current="")
    with llmspell.open(job["data"], texts=pipeline(job["embedder"], guard)) as db:
        if not db.tenants():
            quotas = QuotaLimits.unlimited()
            db.create_tenant(TenantConfig(id="bench", quotas=quotas, index=_INDEX))
        tenant = db.tenant("bench")

        end = threading.Event()

        def move(moved: IngestProgress) -> None:
            nonlocal state
            state = moved
            if state.documents == job["kill_at"]:
                _say(**sample())
                _say(reached=state.documents, chunks=state.chunks)
                end.wait()  # nothing is written any more until the signal comes

        def sample() -> dict[str, Any]:
            memory = now()
            return {
                "seconds": round(time.perf_counter() - started, 1),
                "documents": state.documents,
                "chunks": state.chunks,
                "anonymous_bytes": memory.anonymous if memory else None,
                "file_bytes": memory.file if memory else None,
                "index_bytes": room_of(tenant).memory,
                "held_bytes": guard.tracker.held,
            }

        told = (job["sample_seconds"], sample, end)
        sampler = threading.Thread(target=_sampled, args=told, daemon=True)
        sampler.start()
        report = tenant.ingest(Path(job["corpus"]), progress=move)
        end.set()
        sampler.join()
        _say(**sample())
        _say(
            added=report.added,
            unchanged=report.unchanged,
            chunks=report.chunks,
            seconds=round(report.seconds, 2),
            stages={name: round(spent, 2) for name, spent in report.stages.items()},
            skipped=report.skipped[:10],
            guard_peak_bytes=guard.tracker.peak,
            content=content_digest(tenant) if job["digest"] else None,
        )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
