"""A secret shows nowhere but where it is revealed."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import traceback

import msgpack
import pytest

from llmspell.errors import InputError, SecretExposed
from llmspell.security import Secret

VALUE = "correct horse battery staple"


@dataclasses.dataclass
class Settings:
    name: str
    key: Secret[str]


def test_it_is_revealed_on_demand_alone() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    assert Secret(b"\x00\xff").reveal() == b"\x00\xff"
    formatted = [f"{secret}", f"{secret:>40}", f"{secret!r:^60}", "%s" % secret]  # noqa: UP031
    held = [repr([secret]), repr({"k": secret}), str(dir(secret))]
    for shown in [repr(secret), str(secret), *formatted, *held]:
        assert VALUE not in shown
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_never_pickled(protocol: int) -> None:
    with pytest.raises(SecretExposed, match="can't be pickled"):
        pickle.dumps(Settings("a", Secret(VALUE)), protocol)
    with pytest.raises(SecretExposed):
        Secret(VALUE).__getstate__()
    with pytest.raises(SecretExposed):
        Secret(VALUE).__reduce__()


def test_formats_of_data_refuse_it_or_show_the_mask() -> None:
    for dump in (json.dumps, msgpack.packb):
        with pytest.raises(TypeError) as refused:
            dump({"key": Secret(VALUE)})
        assert VALUE not in str(refused.value)
        assert VALUE not in str(dump({"key": Secret(VALUE)}, default=str))


def test_copies_and_asdict_hold_the_secret_and_not_its_value() -> None:
    settings = Settings("a", Secret(VALUE))
    assert copy.copy(settings.key) is settings.key
    assert copy.deepcopy(settings).key == settings.key
    assert VALUE not in repr(dataclasses.asdict(settings)) + repr(dataclasses.replace(settings))


def test_it_has_no_length_no_order_and_no_parts() -> None:
    secret = Secret(VALUE)
    for broken in (len, iter, sorted, bytes):
        with pytest.raises(TypeError) as refused:
            broken(secret)  # type: ignore[operator]
        assert VALUE not in str(refused.value)
    with pytest.raises(TypeError):
        _ = secret + "a"  # type: ignore[operator]
    with pytest.raises(TypeError):
        _ = secret < Secret("b")  # type: ignore[operator]
    assert repr(Secret("a")) == repr(Secret("a" * 100))


def test_equality_is_of_values_and_kinds_and_hashes_agree() -> None:
    assert Secret("a") == Secret("a") and Secret("a") != Secret("b")
    assert Secret("a") != Secret(b"a") and Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a")) and hash(Secret("a")) != hash("a")
    assert {Secret("a"): 1}[Secret("a")] == 1
    assert Secret("\ud800") == Secret("\ud800")


def test_it_is_immutable_and_final() -> None:
    secret = Secret(VALUE)
    for change in (lambda: setattr(secret, "value", 1), lambda: delattr(secret, "value")):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    with pytest.raises(TypeError, match="subclassed"):
        type("Open", (Secret,), {})


@pytest.mark.parametrize("value", ["", b"", None, 5])
def test_what_is_no_value_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        Secret(value)  # type: ignore[type-var]


def test_logs_and_tracebacks_with_locals_show_the_mask(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    logging.getLogger("app").warning("using %s and %r", secret, secret)
    assert "using *** and Secret('***')" in caplog.text
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert VALUE not in "".join(shown.format())
