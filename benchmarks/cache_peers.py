"""Caches of embeddings that ``python -m benchmarks cache`` sets beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACKAGES", "PEERS", "Answer", "Model", "Peer"]

#: A task (``"passage"`` or ``"query"``) and texts; gives their vectors.
Answer: TypeAlias = Callable[[str, list[str]], object]

PACKAGES: Final = ("langchain-classic", "gptcache")


class Model(Protocol):
    """What a cache asks for what it hasn't."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...

    def embed_query(self, text: str) -> list[float]: ...


class Peer(NamedTuple):
    """A cache, as it is opened in a directory of its own; raises ImportError where it isn't."""

    label: str
    tier: str
    open: Callable[[Path, Model], Answer]


def _langchain_files(directory: Path, model: Model) -> Answer:
    from langchain_classic.storage import LocalFileStore

    return _langchain(LocalFileStore(str(directory)), model)


def _langchain_memory(directory: Path, model: Model) -> Answer:
    from langchain_classic.storage import InMemoryByteStore

    return _langchain(InMemoryByteStore(), model)


def _langchain(store: Any, model: Model) -> Answer:
    from langchain_classic.embeddings import CacheBackedEmbeddings

    cached = CacheBackedEmbeddings.from_bytes_store(
        model,
        store,
        namespace="bench",
        query_embedding_cache=True,
        key_encoder="blake2b",
    )

    def answer(task: str, texts: list[str]) -> object:
        return cached.embed_query(texts[0]) if task == "query" else cached.embed_documents(texts)

    return answer


def _gptcache(directory: Path, model: Model) -> Answer:
    """Its map of exact texts, with room for all of them; it has no tier on disk below that."""
    from gptcache import Cache
    from gptcache.adapter.api import get, put
    from gptcache.manager import get_data_manager
    from gptcache.processor.post import first
    from gptcache.processor.pre import get_prompt

    cache = Cache()
    manager = get_data_manager(data_path=str(directory / "map"), max_size=1_000_000)
    # It would write all of them with every twentieth, and when Python ends.
    manager.flush = lambda: None
    cache.init(
        pre_embedding_func=get_prompt,
        post_process_messages_func=first,
        data_manager=manager,
    )

    def answer(task: str, texts: list[str]) -> object:
        found = {text: get(f"{task}: {text}", cache_obj=cache) for text in texts}
        missing = [text for text, kept in found.items() if kept is None]
        if missing:
            for text, vector in zip(missing, model(missing), strict=True):
                # What it keeps are texts: a letter for each byte.
                found[text] = vector.tobytes().decode("latin-1")
                put(f"{task}: {text}", found[text], cache_obj=cache)
        raw = "".join(found[text] for text in texts).encode("latin-1")
        return np.frombuffer(raw, np.float32).reshape(len(texts), -1)

    return answer


PEERS: Final = {
    "langchain_memory": Peer("LangChain, InMemoryByteStore", "memory", _langchain_memory),
    "gptcache": Peer("GPTCache, its map", "memory", _gptcache),
    "langchain": Peer("LangChain, LocalFileStore", "disk", _langchain_files),
}
