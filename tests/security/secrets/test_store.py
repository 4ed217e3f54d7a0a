"""Where a secret is looked for, who may ask, and who is told."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from llmspell.errors import (
    ConfigError,
    InvalidSecretRef,
    SecretDenied,
    SecretNotFound,
    SecretUnavailable,
    UnreadableSecret,
)
from llmspell.security import Secret, SecretAccess, SecretRef, SecretStore
from tests.security.secrets.places import Clock, Shelf


def told(seen: list[SecretAccess]) -> list[tuple[str, str | None, str, str | None, bool]]:
    return [(str(a.ref), a.tenant, a.outcome, a.place and str(a.place), a.is_cached) for a in seen]


def test_the_environment_comes_first_and_then_backends_in_order() -> None:
    environ = {"OPENAI_API_KEY": "from env", "EMPTY_API_KEY": "", "MY_HOST_API_KEY": "dashed\n"}
    first, second = Shelf("first", a="1"), Shelf("second", a="2", b="2", empty="2", openai="2")
    store = SecretStore([first, second], environ=environ)
    for name, value in {
        "openai": "from env", "a": "1", "b": "2", "empty": "2", "my-host": "dashed",
    }.items():  # fmt: skip
        assert store.api_key(name) == Secret(value)
    assert first.asked == ["a", "b", "empty"] and second.asked == ["b", "empty"]
    assert store.get("second:a").reveal() == "2"
    assert store.get(SecretRef("env", "OPENAI_API_KEY")).reveal() == "from env"
    with pytest.raises(SecretNotFound, match="env:NONE_API_KEY, first:none, second:none"):
        store.api_key("none")


def test_the_processs_own_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_TEST_API_KEY", "v")
    assert SecretStore().api_key("llmspell_test").reveal() == "v"
    os.environb[b"LLMSPELL_TEST_API_KEY"] = b"\xff"
    with pytest.raises(UnreadableSecret):
        SecretStore().api_key("llmspell_test")


def test_a_backend_that_is_down_ends_the_search() -> None:
    first, second = Shelf("first"), Shelf("second", a="old")
    first.down = True
    with pytest.raises(SecretUnavailable):
        SecretStore([first, second], environ={}).api_key("a")
    assert second.asked == []


@pytest.mark.parametrize("text", ["other:a", "openai", "name:A"])
def test_a_reference_of_no_backend_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidSecretRef) as refused:
        SecretStore([Shelf()], environ={}).get(text)
    assert text.partition(":")[2] == "" or text not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"ttl": -1}, {"ttl": float("nan")}, {"ttl": float("inf")}, {"ttl": True},
        {"stale_grace": -1}, {"backends": [Shelf(), Shelf()]}, {"backends": [Shelf("env")]},
        {"backends": [Shelf("name")]},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SecretStore(**settings)  # type: ignore[arg-type]


# Tenants.


def test_a_tenant_has_its_own_and_nothing_else() -> None:
    shelf = Shelf(**{
        "openai": "the deployment's", "tenants/acme/openai": "acme's",
        "tenants/acme-corp/openai": "corp's", "tenants/=41cme/openai": "upper's",
    })  # fmt: skip
    environ = {"OPENAI_API_KEY": "env's", "ACME_API_KEY": "x"}
    store = SecretStore([shelf], environ=environ)
    assert store.for_tenant("acme").api_key("openai").reveal() == "acme's"
    assert store.for_tenant("acme-corp").api_key("openai").reveal() == "corp's"
    assert store.for_tenant("Acme").api_key("openai").reveal() == "upper's"
    assert store.api_key("openai").reveal() == "env's"
    assert shelf.asked == [
        "tenants/acme/openai", "tenants/acme-corp/openai", "tenants/=41cme/openai",
    ]  # fmt: skip
    for stranger in (
        "a",
        "acme/openai",
        "acme/..",
        "..",
        "tenants",
        "tenants/acme",
        "ACME",
        "=61cme",
    ):
        with pytest.raises(SecretNotFound):
            store.for_tenant(stranger).api_key("openai")


@pytest.mark.parametrize(
    "text",
    [
        "env:OPENAI_API_KEY", "env:PATH", "shelf:openai", "shelf:tenants/acme/openai",
        "shelf:tenants/other/openai", "shelf:tenants/granted/openai#k",
    ],
)  # fmt: skip
def test_a_tenant_names_no_place_itself(text: str) -> None:
    seen: list[SecretAccess] = []
    shelf = Shelf(openai="v", **{"tenants/acme/openai": "v", "tenants/other/openai": "v"})
    store = SecretStore(
        [shelf], environ={"OPENAI_API_KEY": "v", "PATH": "v"}, on_access=seen.append
    )
    store.get("shelf:openai")  # that it is cached for another handle is of no use
    view = store.for_tenant("acme", grants=["shelf:tenants/granted/openai"])
    attempts: list[Callable[[], object]] = [
        lambda: view.get(text),
        lambda: view.refresh(text),
        lambda: view.subscribe(text, print),
        lambda: asyncio.run(view.aget(text)),
    ]
    for attempt in attempts:
        with pytest.raises(SecretDenied, match="isn't granted"):
            attempt()
    assert told(seen)[1:] == [(text, "acme", "denied", None, False)] * 4
    assert shelf.asked == ["openai"]


def test_a_grant_lends_one_secret_and_the_own_comes_first() -> None:
    shelf = Shelf(openai="shared", other="x")
    store = SecretStore([shelf], environ={"ENV_API_KEY": "e"})
    grants = ["name:openai", "shelf:other", SecretRef("name", "env")]
    view = store.for_tenant("acme", grants=grants)
    assert view.api_key("openai").reveal() == "shared"
    assert view.get("shelf:other").reveal() == "x"
    assert view.api_key("env").reveal() == "e"
    with pytest.raises(SecretNotFound):
        view.api_key("other")
    with pytest.raises(SecretNotFound):
        store.for_tenant("acme").api_key("openai")
    shelf.values["tenants/acme/openai"] = "own"
    view.refresh("name:openai")
    assert view.api_key("openai").reveal() == "own"
    assert store.api_key("openai").reveal() == "shared"


def test_no_lookalike_of_a_grant_is_taken_for_it() -> None:
    class Lookalike(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    view = SecretStore([Shelf(other="v")], environ={}).for_tenant("acme", grants=["shelf:a"])
    sly = type("Sly", (SecretRef,), {"__eq__": lambda *_: True, "__hash__": lambda _: 0})
    with pytest.raises(InvalidSecretRef):
        view.get(sly("shelf", "other"))
    with pytest.raises(SecretDenied):
        view.get(Lookalike("shelf:other"))


@pytest.mark.parametrize("tenant", ["", "a" * 129, "a\0", "\ud800", None, 5])
def test_what_is_no_id_of_a_tenant_is_refused(tenant: object) -> None:
    with pytest.raises(ConfigError):
        SecretStore(environ={}).for_tenant(tenant)  # type: ignore[arg-type]


def test_grants_are_references() -> None:
    with pytest.raises(ConfigError, match="grants"):
        SecretStore(environ={}).for_tenant("a", grants="name:openai")
    with pytest.raises(InvalidSecretRef):
        SecretStore(environ={}).for_tenant("a", grants=["openai"])


# Who is told.


def test_every_access_is_told_with_its_outcome_and_without_the_value() -> None:
    seen: list[SecretAccess] = []
    clock, shelf = Clock(), Shelf(a="hunter22")
    store = SecretStore(
        [shelf], environ={}, ttl=10, stale_grace=10, on_access=seen.append, clock=clock
    )
    store.get("name:a")
    store.get("name:a")
    with pytest.raises(SecretNotFound):
        store.get("name:b")
    shelf.down = True
    clock.now += 15
    store.get("name:a")
    clock.now += 10
    with pytest.raises(SecretUnavailable):
        store.get("name:a")
    shelf.error = UnreadableSecret("no")
    with pytest.raises(UnreadableSecret):
        store.get("name:a")
    shelf.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        store.get("name:a")
    shelf.error = SecretDenied("no")
    with pytest.raises(SecretDenied):
        store.for_tenant("acme").get("name:a")
    assert told(seen) == [
        ("name:a", None, "read", "shelf:a", False),
        ("name:a", None, "read", "shelf:a", True),
        ("name:b", None, "missing", None, False),
        ("name:a", None, "stale", "shelf:a", True),
        ("name:a", None, "unavailable", None, False),
        ("name:a", None, "failed", None, False),
        ("name:a", None, "failed", None, False),
        ("name:a", "acme", "denied", None, False),
    ]
    assert "hunter22" not in repr(seen)


def test_an_access_that_cannot_be_told_gives_no_value() -> None:
    def full(_: SecretAccess) -> None:
        raise OSError("the audit log is full")

    store = SecretStore([Shelf(a="1")], environ={}, on_access=full)
    for _ in range(2):
        with pytest.raises(OSError, match="audit log"):
            store.get("name:a")


def test_in_a_coroutine_a_slow_backend_holds_nobody_up() -> None:
    shelf = Shelf(a="1")
    shelf.gate = threading.Event()
    store = SecretStore([shelf], environ={})

    async def ask() -> list[Secret[str]]:
        asked = [asyncio.ensure_future(store.aget("name:a")) for _ in range(3)]
        while not shelf.asked:
            await asyncio.sleep(0)
        assert shelf.gate is not None
        shelf.gate.set()
        return [*await asyncio.gather(*asked), await store.aapi_key("a")]

    assert asyncio.run(ask()) == [Secret("1")] * 4
    assert shelf.asked == ["a"]


def test_no_subscriber_hears_a_value_whose_access_cannot_be_told() -> None:
    shelf, heard, full = Shelf(a="1"), list[str](), list[bool]()

    def log(_: SecretAccess) -> None:
        if full:
            raise OSError("the audit log is full")

    store = SecretStore([shelf], environ={}, on_access=log)
    store.subscribe("name:a", lambda new: heard.append(new.reveal()))
    shelf.values["a"] = "2"
    full.append(True)
    with pytest.raises(OSError, match="audit log"):
        store.refresh()
    assert heard == []
    full.clear()
    assert store.get("name:a").reveal() == "2" and heard == ["2"]
