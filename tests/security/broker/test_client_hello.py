"""The ClientHello is read as TLS writes it, and anything else is refused, in bounded time."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import EgressDenied
from llmspell.security.broker.client_hello import MAX_HELLO, ClientHello, read_client_hello

ENCRYPTED = 0xFE0D  # the extension


def real_hello(name: str | None, **options: object) -> bytes:
    """What OpenSSL says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    for key, value in options.items():
        setattr(context, key, value)
    written = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), written, server_hostname=name).do_handshake()
    return written.read()


def block(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def hello(*extensions: tuple[int, bytes], after: bytes = b"") -> bytes:
    """One that we write."""
    listed = b"".join(kind.to_bytes(2, "big") + block(2, data) for kind, data in extensions)
    body = b"\x03\x03" + bytes(32) + block(1, b"") + block(2, b"\x13\x01") + block(1, b"\0")
    return b"\x01" + block(3, body + block(2, listed) + after)


def named(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, block(2, b"".join(bytes([kind]) + block(2, name) for name in names))


def record(data: bytes) -> bytes:
    return b"\x16\x03\x01" + block(2, data)


@pytest.mark.parametrize("name", ["a.test", "A.Test", "x" * 60 + ".test"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_of_a_real_one_is_read(name: str, version: ssl.TLSVersion) -> None:
    said = real_hello(name, minimum_version=version)
    assert read_client_hello(said) == ClientHello(name.lower(), encrypted=False)


def test_an_address_is_not_named() -> None:
    assert read_client_hello(real_hello("127.0.0.1")) == ClientHello(None, encrypted=False)
    assert read_client_hello(real_hello(None)) == ClientHello(None, encrypted=False)


def test_it_is_waited_for_byte_by_byte() -> None:
    said = real_hello("a.test")
    for cut in range(len(said)):
        assert read_client_hello(said[:cut]) is None
    assert read_client_hello(said + b"\x17\x03\x03 what follows") == read_client_hello(said)


def test_it_may_come_in_several_records() -> None:
    said = hello(named(b"a.test"))
    for cut in (1, 3, 5, len(said) - 1):
        whole = record(said[:cut]) + record(said[cut:])
        assert read_client_hello(whole) == ClientHello("a.test", encrypted=False)
    tiny = b"".join(record(said[at : at + 1]) for at in range(len(said)))
    with pytest.raises(EgressDenied, match="records"):
        read_client_hello(tiny)


def test_an_encrypted_second_one_is_told() -> None:
    said = record(hello(named(b"a.test"), (ENCRYPTED, b"x")))
    assert read_client_hello(said) == ClientHello("a.test", encrypted=True)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x",
        b"\x80\x2e\x01\x03\x01",  # SSL 2.0's
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x17\x03\x03\x00\x01x",
        record(b"\x02\x00\x00\x01x"),
        record(b"\x01\xff\xff\xff"),
        record(b"\x01\x00\x00\x01x"),
        record(hello(named(b"a.test"), named(b"b.test"))),
        record(hello(named(b"a.test", b"b.test"))),
        record(hello(named(b"a.test", kind=1))),
        record(hello(named(b""))),
        record(hello(named(b"\xff.test"))),
        record(hello((0, b""))),
        record(hello((0, b"\x00\x10\x00\x00\x05a.t"))),
        record(hello((0, named(b"a.test")[1] + b"x"))),
        record(hello(named(b"a.test"), after=b"x")),
    ],
)
def test_what_is_no_client_hello_of_one_name_is_refused(said: bytes) -> None:
    with pytest.raises(EgressDenied) as caught:
        read_client_hello(said)
    assert caught.value.reason == "client-hello"


def test_it_ends() -> None:
    with pytest.raises(EgressDenied):
        read_client_hello(record(b"\x01" + (MAX_HELLO + 1).to_bytes(3, "big") + bytes(16_000)))


REAL = real_hello("a.test")


@settings(max_examples=3000, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda data: record(b"\x01" + block(3, data))),
        st.lists(
            st.tuples(st.sampled_from([0, 10, ENCRYPTED]), st.binary(max_size=20)), max_size=4
        ).map(lambda extensions: record(hello(*extensions))),
        # A real one with bytes changed, cut and put in.
        st.lists(
            st.tuples(st.integers(0, len(REAL)), st.binary(max_size=4), st.integers(0, 4)),
            max_size=4,
        ).map(lambda changes: _changed(changes)),
    )
)
def test_any_bytes_are_read_waited_for_or_refused(said: bytes) -> None:
    try:
        found = read_client_hello(said)
    except EgressDenied:
        return
    if found is not None and found.server_name is not None:
        # What was read stands there.
        assert found.server_name.encode() in said.lower()


def _changed(changes: list[tuple[int, bytes, int]]) -> bytes:
    said = REAL
    for at, data, gone in changes:
        said = said[:at] + data + said[at + gone :]
    return said
