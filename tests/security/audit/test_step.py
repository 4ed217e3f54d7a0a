"""Steps that begin only once that is on record."""

from __future__ import annotations

import pytest

from llmspell.errors import AuditFailed
from llmspell.security import audited
from tests.security.audit.sinks import Keeping, Kept


def test_a_step_is_recorded_as_begun_and_done() -> None:
    sink = Keeping()
    with audited(sink, "key.change", subject="master", details={"old": "k1"}) as end:
        assert sink.steps() == [("key.change", "begun")]
        end["new"] = "k2"
        end["tenant"] = "acme"  # which only the step tells
    assert sink.kept == [
        Kept("key.change", "master", "begun", None, {"old": "k1"}),
        Kept("key.change", "master", "done", "acme", {"new": "k2"}),
    ]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_failed_is_recorded_with_the_name_of_its_error(
    error: type[BaseException],
) -> None:
    sink = Keeping()
    with pytest.raises(error), audited(sink, "key.change", subject="m", tenant="acme") as end:
        end["rows"] = 3
        raise error("with a secret")
    assert sink.kept[1] == Kept(
        "key.change", "m", "failed", "acme", {"rows": 3, "error": error.__name__}
    )


def test_a_step_that_cannot_be_recorded_does_not_begin() -> None:
    with (
        pytest.raises(AuditFailed) as caught,
        audited(Keeping("begun"), "key.change", subject="master"),
    ):
        raise AssertionError("it began")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("error", [AuditFailed, RuntimeError])
def test_an_end_that_cannot_be_recorded_says_that_the_step_is_done(error: type[Exception]) -> None:
    class Closing(Keeping):
        def append(self, kind: str, *, outcome: str = "done", **_: object) -> None:  # type: ignore[override]
            if outcome == "done":
                raise error("closed meanwhile")

    with pytest.raises(error) as caught, audited(Closing(), "key.change", subject="master"):
        pass
    assert "the step is done" in caught.value.__notes__[0]


def test_a_failure_is_raised_whether_it_can_be_recorded_or_not() -> None:
    with (
        pytest.raises(ValueError, match="its own") as caught,
        audited(Keeping("failed"), "key.change", subject="master"),
    ):
        raise ValueError("its own")
    assert caught.value.__notes__ == ["not in the audit log: the disk is full"]


def test_without_a_sink_a_step_is_just_done() -> None:
    with audited(None, "key.change", subject="master") as end:
        end["new"] = "k2"
