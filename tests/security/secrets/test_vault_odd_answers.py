"""A server that answers what no Vault does gets no token out of it, and gives no secret."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from llmspell.errors import (
    SecretUnavailable,
)
from llmspell.security import AppRole, Secret, SecretRef, VaultBackend, VaultToken


def read(backend: VaultBackend) -> None:
    backend.read(SecretRef.parse("vault:secret/data/team#key"))


class _Odd(BaseHTTPRequestHandler):
    """Answers what no Vault does; remembers what it was sent."""

    status = 200
    body = b"<html>"
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("X-Vault-Token")))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b"<html>"), (200, b"[]"), (200, b'{"data": null}'), (200, b'{"data": {"ttl": "x"}}'),
        (200, b'{"data": {"ttl": 1' + b"0" * 400 + b', "renewable": true}}'),
        *(
            (200, b'{"%s": {"%s": %s, "renewable": true}}' % (part, name, seconds))
            for part, name in ((b"data", b"ttl"), (b"auth", b"lease_duration"))
            for seconds in (b"NaN", b"Infinity", b"1e999", b"-1")
        ),
        (307, b""), (500, b"{}"), (503, b'{"errors": ["sealed"]}'), (429, b"{}"), (418, b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "auth", [VaultToken(Secret("t")), AppRole(role_id="r", secret_id=Secret("s"))]
)
def test_odd_answers_are_unavailable_and_redirects_get_no_token(
    status: int, body: bytes, auth: VaultToken | AppRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "of somebody else")
    handler = type("Handler", (_Odd,), {"status": status, "body": body, "seen": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(SecretUnavailable) as told:
            read(VaultBackend(f"http://127.0.0.1:{server.server_port}", auth))
        assert told.value.__context__ is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    asked = ("/v1/auth/token/lookup-self", "t")
    if isinstance(auth, AppRole):
        asked = ("/v1/auth/approle/login", None)  # type: ignore[assignment]
    assert handler.seen == [asked]  # type: ignore[attr-defined]
