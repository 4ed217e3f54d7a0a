"""Accesses to secrets and attempts to reach hosts, as records."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from llmspell.errors import (
    AuditFailed,
    SecretDenied,
    SecretNotFound,
    SecretUnavailable,
    UnreadableSecret,
)
from llmspell.security import (
    Attempt,
    AuditLog,
    Broker,
    SecretStore,
    read_audit,
    record_accesses,
    record_attempts,
)
from tests.security.audit.sinks import Keeping, Kept
from tests.security.broker.servers import LOOPBACK, Server, ok
from tests.security.secrets.places import Clock, Shelf

ATTEMPT = {
    "tenant": "acme", "method": "GET", "scheme": "https", "host": "a.test", "port": 443,
    "address": "192.0.2.1", "outcome": "answered", "reason": "", "status": 200, "hops": 1,
    "sent_bytes": 10, "received_bytes": 20, "seconds": 0.12345,
}  # fmt: skip


def test_each_access_is_recorded_with_what_came_of_it() -> None:
    sink, shelf, clock = Keeping(), Shelf(openai="sk-value"), Clock()
    store = SecretStore(
        [shelf], environ={}, ttl=1, stale_grace=9, clock=clock, on_access=record_accesses(sink)
    )
    store.get("shelf:openai")
    store.get("shelf:openai")
    clock.now += 2
    shelf.down = True
    store.get("shelf:openai")
    with pytest.raises(SecretUnavailable):
        store.get("shelf:other")
    shelf.down = False
    with pytest.raises(SecretNotFound):
        store.get("name:none")
    shelf.error = UnreadableSecret("no text")
    with pytest.raises(UnreadableSecret):
        store.get("shelf:other")
    with pytest.raises(SecretDenied):
        store.for_tenant("acme").get("shelf:openai")
    assert {one.kind for one in sink.kept} == {"secret.access"}
    assert [(one.subject, one.outcome, one.details["result"]) for one in sink.kept] == [
        ("shelf:openai", "done", "read"),
        ("shelf:openai", "done", "read"),
        ("shelf:openai", "done", "stale"),
        ("shelf:other", "failed", "unavailable"),
        ("name:none", "failed", "missing"),
        ("shelf:other", "failed", "failed"),
        ("shelf:openai", "denied", "denied"),
    ]
    assert [one.tenant for one in sink.kept] == [None] * 6 + ["acme"]
    assert sink.kept[1].details == {"result": "read", "place": "shelf:openai", "is_cached": True}
    assert "sk-value" not in str(sink.kept)


def test_an_access_that_cannot_be_recorded_gives_no_value() -> None:
    on_access = record_accesses(Keeping("done", "denied"))
    store = SecretStore([Shelf(openai="sk-value")], environ={}, on_access=on_access)
    for _ in range(2):  # from the backend, and from the cache
        with pytest.raises(AuditFailed):
            store.get("shelf:openai")
    with pytest.raises(AuditFailed) as caught:
        store.for_tenant("acme").get("shelf:openai")
    assert isinstance(caught.value.__context__, SecretDenied)


def test_a_log_counts_equal_accesses(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        store = SecretStore(
            [Shelf(openai="sk-value")], environ={}, on_access=record_accesses(log)
        ).for_tenant("acme", grants=["name:openai"])
        for _ in range(50):
            store.api_key("openai")
    records = list(read_audit(tmp_path / "log", tenant="acme"))
    assert [(one.subject, one.outcome, one.count) for one in records] == [
        ("name:openai", "done", count) for count in (1, 1, 48)
    ]
    assert records[0].details["place"] == "shelf:openai"


@pytest.mark.parametrize(
    ("changed", "subject", "outcome"),
    [
        ({}, "a.test:443", "done"),
        ({"outcome": "answered", "status": 500}, "a.test:443", "done"),
        ({"outcome": "refused", "reason": "host"}, "a.test:443", "denied"),
        ({"outcome": "failed", "reason": "tls", "host": "fd00::1"}, "[fd00::1]:443", "failed"),
        ({"outcome": "refused", "reason": "message", "host": "", "port": 0}, "(no host)", "denied"),
    ],
)
def test_each_attempt_is_recorded(changed: dict[str, object], subject: str, outcome: str) -> None:
    sink = Keeping()
    attempt = Attempt(**{**ATTEMPT, **changed})  # type: ignore[arg-type]
    record_attempts(sink)(attempt)
    assert sink.kept == [
        Kept(
            "network.access", subject, outcome, "acme",
            {
                "method": "GET", "scheme": "https", "address": "192.0.2.1",
                "reason": attempt.reason, "status": attempt.status, "hops": 1, "sent_bytes": 10,
                "received_bytes": 20, "seconds": 0.123,
            },
        )
    ]  # fmt: skip


def test_a_session_of_no_tenant_is_recorded_as_that_of_the_operator(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        record_attempts(log)(Attempt(**{**ATTEMPT, "tenant": None}))  # type: ignore[arg-type]
    (record,) = read_audit(tmp_path / "log")
    assert record.tenant is None


@pytest.mark.parametrize("failing", [(), ("done", "denied")])
def test_a_request_that_cannot_be_recorded_has_no_response(failing: tuple[str, ...]) -> None:
    sink = Keeping(*failing)
    with Server(ok(b"body")) as server:
        broker = Broker(
            ["a.test", LOOPBACK],
            resolver=lambda host, port: [LOOPBACK],
            on_attempt=record_attempts(sink),
        )
        session = broker.session(tenant="acme")
        answer = session.answer({"method": "GET", "url": server.url("/secret?key=v")})
        refused = session.answer({"method": "GET", "url": "http://b.test/"})
        session.close()
    if failing:
        assert answer["failed"] == refused["failed"] == "unrecorded"
        assert "body" not in answer
    else:
        assert answer["body"] == b"body" and refused["refused"] == "host"
        assert [(one.subject, one.outcome, one.tenant) for one in sink.kept] == [
            (f"a.test:{server.port}", "done", "acme"),
            ("b.test:80", "denied", "acme"),
        ]
        assert "secret" not in str(sink.kept)


def test_the_log_loads_neither_secrets_nor_the_broker() -> None:
    program = (
        "import sys, llmspell.security.audit; "
        "print([n for n in sys.modules if n.startswith(('llmspell.security.broker', "
        "'llmspell.security.secrets.')) or n.startswith('llmspell.security.urls')])"
    )
    done = run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The class of values alone, which the log masks.
    assert done.stdout.strip() == "['llmspell.security.secrets.secret']"
