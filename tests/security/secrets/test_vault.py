"""Against a real OpenBao: reading, logging in, renewing, and what isn't allowed."""

from __future__ import annotations

import multiprocessing
import sys
import threading

import pytest
import requests

from llmspell.errors import (
    ConfigError,
    InvalidSecretRef,
    MissingDependency,
    SecretDenied,
    SecretNotFound,
    SecretUnavailable,
    UnreadableSecret,
)
from llmspell.security import AppRole, Secret, SecretRef, SecretStore, VaultBackend, VaultToken
from tests.security.secrets.bao_server import ROOT, BaoServer
from tests.security.secrets.places import Clock, forks

HOUR = 3600.0


def by_token(bao: BaoServer, clock: Clock | None = None, **settings: str) -> VaultBackend:
    token = Secret(bao.token(**settings))
    return VaultBackend(bao.url, VaultToken(token), clock=clock or Clock())


def by_role(bao: BaoServer, clock: Clock | None = None) -> VaultBackend:
    role = AppRole(role_id=bao.role_id, secret_id=Secret(bao.secret_id()))
    return VaultBackend(bao.url, role, clock=clock or Clock())


def read(backend: VaultBackend, text: str = "vault:secret/data/team#key") -> str | None:
    found = backend.read(SecretRef.parse(text))
    return None if found is None else found.reveal()


@pytest.mark.parametrize("make", [by_token, by_role])
def test_names_and_references_are_read(bao: BaoServer, make: type) -> None:
    store = SecretStore([make(bao)], environ={})
    assert store.api_key("openai").reveal() == "shared"
    assert store.get("vault:secret/data/team#key").reveal() == "k"
    assert store.for_tenant("acme").api_key("openai").reveal() == "acme's"
    assert store.for_tenant("..").api_key("openai").reveal() == "dots'"
    for stranger in ("acm", "acme/openai", "Acme", "."):
        with pytest.raises(SecretNotFound):
            store.for_tenant(stranger).api_key("openai")


def test_what_is_not_there_or_no_text_is_told_apart(bao: BaoServer) -> None:
    backend = by_token(bao)
    for missing in ("team#none", "team", "team#null", "llmspell/none#value"):
        assert read(backend, f"vault:secret/data/{missing}") is None
    for other in ("number", "empty", "nested"):
        with pytest.raises(UnreadableSecret):
            read(backend, f"vault:secret/data/team#{other}")
    with pytest.raises(InvalidSecretRef, match="MOUNT/data/PATH"):
        read(backend, "vault:secret/metadata/team#key")


def test_a_new_version_is_seen_and_a_deleted_one_is_gone(bao: BaoServer) -> None:
    clock = Clock()
    store = SecretStore([by_token(bao)], environ={}, ttl=60, clock=clock)
    bao.put("llmspell/rotated", value="1")
    heard = list[str]()
    store.subscribe("name:rotated", lambda new: heard.append(new.reveal()))
    bao.put("llmspell/rotated", value="2")
    assert store.api_key("rotated").reveal() == "1"
    clock.now += 60
    assert store.api_key("rotated").reveal() == "2" and heard == ["2"]
    bao.root.secrets.kv.v2.delete_latest_version_of_secret("llmspell/rotated")
    with pytest.raises(SecretNotFound):
        store.refresh("name:rotated")


def test_what_the_policy_denies_is_denied_and_costs_no_login(bao: BaoServer) -> None:
    backend = by_role(bao)
    assert read(backend) == "k"
    before = bao.accessors()
    for _ in range(5):
        with pytest.raises(SecretDenied, match="Forbidden"):
            read(backend, "vault:secret/data/private#value")
    assert bao.accessors() == before and read(backend) == "k"


def test_a_token_that_was_revoked_is_replaced_by_a_login(bao: BaoServer) -> None:
    backend = by_role(bao)
    before = bao.accessors()
    assert read(backend) == "k"
    (accessor,) = bao.accessors() - before
    bao.root.auth.token.revoke_accessor(accessor)
    assert read(backend) == "k"


def test_a_token_that_was_revoked_without_a_way_to_log_in_is_told(bao: BaoServer) -> None:
    token = bao.token()
    tokens = [Secret(token), Secret(token), Secret(bao.token())]
    backend = VaultBackend(bao.url, VaultToken(lambda: tokens.pop(0)), clock=Clock())
    assert read(backend) == "k"
    bao.root.auth.token.revoke(token)
    with pytest.raises(SecretDenied, match="looking up the token"):
        read(backend)
    assert read(backend) == "k"  # by the next that is given


def test_a_lease_is_renewed_in_time_and_not_before(bao: BaoServer) -> None:
    clock = Clock()
    backend = by_role(bao, clock)
    before = bao.accessors()
    read(backend)
    (accessor,) = bao.accessors() - before

    def renewed() -> bool:
        about = bao.root.auth.token.lookup_accessor(accessor)["data"]
        return "last_renewal_time" in about and bool(about["last_renewal_time"])

    clock.now += 0.66 * HOUR
    read(backend)
    assert not renewed()
    clock.now += 0.01 * HOUR
    read(backend)
    assert renewed()
    assert bao.accessors() == before | {accessor}


def test_when_the_lease_has_ended_the_role_logs_in_again(bao: BaoServer) -> None:
    clock = Clock()
    backend = by_role(bao, clock)
    before = bao.accessors()
    read(backend)
    clock.now += HOUR
    read(backend)
    assert len(bao.accessors() - before) == 2


def test_a_token_that_cannot_be_renewed_lasts_its_time(bao: BaoServer) -> None:
    clock = Clock()
    backend = by_token(bao, clock, ttl="1h", renewable=False)  # type: ignore[arg-type]
    assert read(backend) == "k"
    clock.now += 0.99 * HOUR
    assert read(backend) == "k"


def test_a_root_token_has_no_end(bao: BaoServer) -> None:
    clock = Clock()
    backend = VaultBackend(bao.url, VaultToken(Secret(ROOT)), clock=clock)
    read(backend)
    clock.now += 1e9
    assert read(backend) == "k"


@pytest.mark.parametrize("wrong", ["role", "secret", "token"])
def test_who_cannot_log_in_is_denied(bao: BaoServer, wrong: str) -> None:
    role_id = "nobody" if wrong == "role" else bao.role_id
    secret_id = "hunter22" if wrong == "secret" else bao.secret_id()
    auth: AppRole | VaultToken = AppRole(role_id=role_id, secret_id=Secret(secret_id))
    if wrong == "token":
        auth = VaultToken(Secret("hunter22"))
    with pytest.raises(SecretDenied) as denied:
        read(VaultBackend(bao.url, auth))
    assert "hunter22" not in str(denied.value) and denied.value.__context__ is None


def test_no_token_is_taken_from_the_environment(
    bao: BaoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", ROOT)
    with pytest.raises(SecretDenied):
        read(VaultBackend(bao.url, VaultToken(Secret("wrong"))))


def test_a_server_that_does_not_answer_is_unavailable_and_the_grace_holds(bao: BaoServer) -> None:
    clock = Clock()
    backend = VaultBackend(bao.url, VaultToken(Secret(bao.token())), timeout=0.05)
    store = SecretStore([backend], environ={}, ttl=10, stale_grace=10, clock=clock)
    bao_answers = VaultBackend(bao.url, VaultToken(Secret(bao.token())))
    assert read(bao_answers) == "k"
    store._reading._backends["vault"] = bao_answers  # type: ignore[index]
    assert store.api_key("openai").reveal() == "shared"
    store._reading._backends["vault"] = backend  # type: ignore[index]
    bao.pause()
    try:
        clock.now += 10
        assert store.api_key("openai").reveal() == "shared"
        clock.now += 10
        with pytest.raises(SecretUnavailable, match="Timeout"):
            store.api_key("openai")
    finally:
        bao.resume()


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(SecretUnavailable, match="ConnectionError"):
        read(VaultBackend("http://127.0.0.1:1", VaultToken(Secret("t"))))


def test_many_threads_log_in_once(bao: BaoServer) -> None:
    backend = by_role(bao)
    before = bao.accessors()
    threads = [threading.Thread(target=read, args=(backend,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bao.accessors() - before) == 1


def _read_in_child(backend: VaultBackend) -> None:
    assert read(backend) == "k"


@forks
def test_a_forked_child_connects_for_itself(bao: BaoServer) -> None:
    backend = by_role(bao)
    read(backend)
    child = multiprocessing.get_context("fork").Process(target=_read_in_child, args=(backend,))
    with backend._session.get().lock:
        child.start()
        child.join(30)
    assert child.exitcode == 0 and read(backend) == "k"


@pytest.mark.parametrize("url", ["", "vault:8200", "file:///x", "https://u:hunter22@vault"])
def test_what_is_no_url_of_a_server_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        VaultBackend(url, VaultToken(Secret("t")))
    assert "hunter22" not in str(refused.value)


def test_a_renewal_that_finds_no_server_is_tried_again_a_little_later(
    bao: BaoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    backend = by_role(bao, clock)
    before = bao.accessors()
    read(backend)
    tried = []

    def no_server() -> None:
        tried.append(clock.now)
        raise requests.ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(backend._session.get().client.auth.token, "renew_self", no_server)
        clock.now += 0.7 * HOUR
        for _ in range(3):
            assert read(backend) == "k"
        clock.now += 5
        assert read(backend) == "k"
    assert len(tried) == 2
    clock.now += HOUR
    assert read(backend) == "k"
    assert len(bao.accessors() - before) == 2


@pytest.mark.parametrize(
    "settings", [{"mount": "a/../b"}, {"prefix": ""}, {"timeout": 0}, {"timeout": 61}]
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        VaultBackend("https://x", VaultToken(Secret("t")), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example.org:8200", "http://10.0.0.1:8200", "http://localhost.example.org",
        "http://127.0.0.1.example.org", "ftp://localhost", "https://u:p@localhost", "https://",
        "http://[::2]:8200", "http://[", "localhost:8200",
    ],
)  # fmt: skip
def test_a_token_goes_to_no_other_machine_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError, match="url must be https"):
        VaultBackend(url, VaultToken(Secret("t")))


@pytest.mark.parametrize(
    "url", ["http://localhost:8200", "http://127.0.0.2", "http://[::1]:8200", "https://vault:8200"]
)
def test_the_same_machine_may_be_asked_without_tls(url: str) -> None:
    assert url in repr(VaultBackend(url, VaultToken(Secret("t"))))


def test_nothing_of_it_shows(bao: BaoServer) -> None:
    token, secret_id = bao.token(), bao.secret_id()
    for auth in (VaultToken(Secret(token)), AppRole(role_id="r", secret_id=Secret(secret_id))):
        shown = repr(auth) + repr(VaultBackend(bao.url, auth))
        assert token not in shown and secret_id not in shown


def test_without_hvac_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(MissingDependency, match=r"llmspell\[vault\]"):
        VaultBackend("https://x", VaultToken(Secret("t")))
