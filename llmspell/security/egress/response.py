"""What a host has answered."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmspell.errors import EgressFailed, HttpStatusError

__all__ = ["Headers", "Response"]

MAX_CONTENT = 32 * 1024 * 1024
_ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Headers(Mapping[str, str]):
    """Headers by name, in whatever case; several of one name are joined with commas.

    ``pairs`` are all of them, in order, as Set-Cookie needs them.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = tuple((name, value) for name, value in pairs)
        joined: dict[str, str] = {}
        for name, value in self.pairs:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        self._joined = joined

    def __getitem__(self, name: str) -> str:
        return self._joined[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    def __repr__(self) -> str:
        return f"Headers({sorted(self._joined)})"  # values may be credentials


class Response:
    """A response, read as a whole.

    Attributes:
        status: its code.
        url: that answered, after redirects.
        headers: a mapping; names in whatever case.
        raw: the body as it was sent.
    """

    def __init__(
        self, status: int, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> None:
        self.status = status
        self.url = url
        self.headers = Headers(headers)
        self.raw = body
        self._content: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def content(self) -> bytes:
        """The body; gzip and deflate are decompressed, to 32 MiB at most.

        Raises:
            EgressFailed: it decompresses to more, or doesn't decompress.
        """
        if self._content is None:
            self._content = _decompressed(self.raw, self.headers.get("content-encoding", ""))
        return self._content

    @property
    def text(self) -> str:
        """The content by the charset of Content-Type, or UTF-8; what isn't text becomes U+FFFD."""
        parameters = self.headers.get("content-type", "").split(";")[1:]
        charset = "utf-8"
        for parameter in parameters:
            name, _, value = parameter.strip().partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip("\"'")
        try:
            return self.content.decode(charset, "replace")
        except (LookupError, ValueError):  # no text encoding of Python's
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.content)

    def raise_for_status(self) -> Response:
        """This response, if its status is below 400.

        Raises:
            HttpStatusError: it isn't.
        """
        if not self.ok:
            place = self.url.partition("?")[0]  # queries hold keys
            raise HttpStatusError(f"{place} answered {self.status}", status=self.status)
        return self

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def _decompressed(body: bytes, encoding: str) -> bytes:
    name = encoding.strip().lower()
    if not body or name in {"", "identity"}:
        return body
    if name not in _ENCODINGS:
        return body  # as it is; nobody asked for another
    bits = _ENCODINGS[name]
    if name == "deflate" and (body[0] & 0x0F) != 8:
        bits = -zlib.MAX_WBITS  # what some servers send by that name
    decompressor = zlib.decompressobj(bits)
    try:
        content = decompressor.decompress(body, MAX_CONTENT + 1)
    except zlib.error as error:
        raise EgressFailed(f"the response isn't {name}: {error}", reason="encoding") from error
    if len(content) > MAX_CONTENT:
        raise EgressFailed(
            f"a response that decompresses to more than {MAX_CONTENT:,} bytes", reason="encoding"
        )
    if not decompressor.eof:
        raise EgressFailed(f"the response's {name} is cut short", reason="encoding")
    return content
