"""Against moto's server of AWS Secrets Manager."""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell.errors import (
    ConfigError,
    MissingDependency,
    SecretDenied,
    SecretNotFound,
    SecretUnavailable,
    UnreadableSecret,
)
from llmspell.security import AwsBackend, Secret, SecretRef, SecretStore
from tests.security.secrets.places import Clock, forks

boto3 = pytest.importorskip("boto3", reason="no boto3: pip install 'llmspell[test]'")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture
def aws(url: str, credentials: None) -> Iterator[Any]:
    client = boto3.client("secretsmanager", endpoint_url=url)
    for name, value in {
        "llmspell/openai": "shared", "llmspell/tenants/acme/openai": "acme's",
        "team": json.dumps({"key": "k", "number": 5, "empty": "", "null": None}),
        "broken": '{"key": "hunter22"',
    }.items():  # fmt: skip
        client.create_secret(Name=name, SecretString=value)
    client.create_secret(Name="binary", SecretBinary=b"\xff")
    yield client
    for held in client.list_secrets(IncludePlannedDeletion=True)["SecretList"]:
        client.delete_secret(SecretId=held["Name"], ForceDeleteWithoutRecovery=True)
    client.close()


@pytest.fixture
def backend(url: str, aws: Any) -> AwsBackend:
    return AwsBackend(endpoint_url=url)


def read(backend: AwsBackend, text: str) -> str | None:
    found = backend.read(SecretRef.parse(text))
    return None if found is None else found.reveal()


def test_names_references_and_arns_are_read(aws: Any, backend: AwsBackend) -> None:
    store = SecretStore([backend], environ={})
    assert store.api_key("openai").reveal() == "shared"
    assert store.for_tenant("acme").api_key("openai").reveal() == "acme's"
    assert store.get("aws:team#key").reveal() == "k"
    arn = aws.describe_secret(SecretId="team")["ARN"]
    assert store.get(f"aws:{arn}#key").reveal() == "k"
    for stranger in ("Acme", "acme/openai", ".."):
        with pytest.raises(SecretNotFound):
            store.for_tenant(stranger).api_key("openai")


def test_what_is_missing_or_no_text_is_told_apart(backend: AwsBackend) -> None:
    assert read(backend, "aws:none") is None
    for missing in ("none", "null"):
        with pytest.raises(SecretNotFound, match="no such field"):
            read(backend, f"aws:team#{missing}")
    for text in ("aws:team#number", "aws:team#empty", "aws:binary", "aws:llmspell/openai#a"):
        with pytest.raises(UnreadableSecret):
            read(backend, text)


def test_a_broken_object_is_not_shown_by_its_error(backend: AwsBackend) -> None:
    with pytest.raises(UnreadableSecret) as refused:
        read(backend, "aws:broken#key")
    assert "hunter22" not in str(refused.value)
    assert refused.value.__context__ is None and refused.value.__cause__ is None


def test_a_new_value_is_seen_and_a_deleted_secret_is_gone(aws: Any, backend: AwsBackend) -> None:
    clock = Clock()
    store = SecretStore([backend], environ={}, ttl=60, clock=clock)
    store.api_key("openai")
    aws.put_secret_value(SecretId="llmspell/openai", SecretString="new")
    assert store.api_key("openai").reveal() == "shared"
    clock.now += 60
    assert store.api_key("openai").reveal() == "new"
    aws.delete_secret(SecretId="llmspell/openai")
    with pytest.raises(SecretNotFound):
        store.refresh("name:openai")


def test_without_credentials_it_is_denied(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SecretDenied, match="NoCredentialsError"):
        read(AwsBackend(endpoint_url=url), "aws:team#key")


@pytest.mark.parametrize(
    "code, error",
    [
        ("AccessDeniedException", SecretDenied),
        ("DecryptionFailure", SecretDenied),
        ("InternalServiceError", SecretUnavailable),
        ("ThrottlingException", SecretUnavailable),
    ],
)
def test_answers_that_moto_does_not_give_are_told_by_their_code(
    backend: AwsBackend, code: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    def refuse(**_: str) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "hunter22"}}, "GetSecretValue")

    monkeypatch.setattr(backend._client.get(), "get_secret_value", refuse)
    with pytest.raises(error, match=code) as told:
        read(backend, "aws:team")
    assert "hunter22" not in str(told.value) and told.value.__context__ is None


def test_an_error_of_no_kind_of_botocores_leaves_its_frames_behind(
    backend: AwsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: str) -> None:
        answer = "hunter22"
        raise RuntimeError(answer)

    monkeypatch.setattr(backend._client.get(), "get_secret_value", fail)
    with pytest.raises(SecretUnavailable, match="RuntimeError") as told:
        read(backend, "aws:team")
    assert "hunter22" not in str(told.value) and told.value.__context__ is None


def test_no_log_has_the_answer_or_the_token_of_a_session(
    backend: AwsBackend,
    aws: Any,
    url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws.put_secret_value(SecretId="team", SecretString="hunter22")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
    with caplog.at_level(logging.DEBUG):
        assert read(AwsBackend(endpoint_url=url), "aws:team") == "hunter22"
        assert caplog.records and "hunter22" not in caplog.text
        assert "token-of-the-session" not in caplog.text
        # Of others in the same process it is theirs to decide.
        aws.get_secret_value(SecretId="team")
        assert "hunter22" in caplog.text


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(SecretUnavailable, match="EndpointConnectionError"):
        read(AwsBackend(endpoint_url="http://127.0.0.1:1"), "aws:a")


def test_without_a_region_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SecretUnavailable, match="region"):
        AwsBackend()


def _read_in_child(backend: AwsBackend) -> None:
    assert read(backend, "aws:team#key") == "k"


@forks
def test_a_forked_child_connects_for_itself(backend: AwsBackend) -> None:
    assert read(backend, "aws:team#key") == "k"
    child = multiprocessing.get_context("fork").Process(target=_read_in_child, args=(backend,))
    child.start()
    child.join(30)
    assert child.exitcode == 0


@pytest.mark.parametrize("settings", [{"prefix": ""}, {"timeout": 0}, {"timeout": 16}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AwsBackend(**settings)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency, match=r"llmspell\[aws\]"):
        AwsBackend()


def test_the_secret_shows_nowhere(backend: AwsBackend) -> None:
    assert "testing" not in repr(backend) and repr(Secret("a")) == "Secret('***')"
