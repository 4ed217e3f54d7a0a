"""Commits that fail at the disk, as LMDB reports them: what they wrote is there, or it isn't."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import lmdb

from llmspell.storage.environment import Environment


class _FailingTransaction:
    def __init__(self, txn: Any, *, is_there: bool) -> None:
        self._txn = txn
        self._is_there = is_there

    def __enter__(self) -> Any:
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._is_there:
            self._txn.commit()
        else:
            self._txn.abort()
        if kind is None:
            raise lmdb.DiskError("mdb_txn_commit: Input/output error")


class _FailingEnvironment:
    """An LMDB environment whose next commit fails; opened anew, it is a sound one."""

    def __init__(self, env: Any, *, is_there: bool) -> None:
        self._env = env
        self._is_there = is_there

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def begin(self, *given: Any, **named: Any) -> Any:
        txn = self._env.begin(*given, **named)
        return _FailingTransaction(txn, is_there=self._is_there) if named.get("write") else txn


def fail_next_commit(env: Environment, *, is_there: bool) -> None:
    """Let the next commit fail, behind its last step or before its first."""
    env._env = _FailingEnvironment(env._env, is_there=is_there)  # type: ignore[assignment]
