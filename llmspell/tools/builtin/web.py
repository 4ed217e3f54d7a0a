"""Pages of the web: fetched through the broker, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from llmspell.errors import ConfigError
from llmspell.security import SecurityRequirements, egress
from llmspell.tools import FunctionTool, tool

__all__ = ["html_to_markdown", "web_tools"]

_MAX_CHARS: Final = 200_000
# The encodings of the web (encoding.spec.whatwg.org), which Python imports with the first page in
# one: in a worker it is too late then, and such a page would be read as UTF-8.
_ENCODINGS: Final = tuple(
    f"encodings.{name}"
    for name in (
        *("ascii", "latin_1", "utf_8_sig", "utf_16", "utf_16_be", "utf_16_le"),
        *(f"iso8859_{part}" for part in (*range(1, 12), *range(13, 17))),
        *("cp866", "cp874", *(f"cp{page}" for page in range(1250, 1259))),
        *("koi8_r", "koi8_u", "mac_cyrillic", "mac_roman"),
        *("big5", "big5hkscs", "gb2312", "gbk", "gb18030"),
        *("cp932", "euc_jp", "iso2022_jp", "shift_jis", "cp949", "euc_kr"),
    )
)


def web_tools(domains: Iterable[str]) -> list[FunctionTool[..., Any]]:
    """Tools that reach the given hosts, and no others: ``fetch_url`` and ``read_web_page``.

    They run confined, as RESTRICTED tools (PRIVILEGED with the host ``"*"``); the broker in your
    process makes their requests, and judges each address and redirect. The extras ``security`` and
    ``tools`` are needed.

    Args:
        domains: as :meth:`SecurityRequirements.with_network_access` takes them.

    Raises:
        ConfigError: no host, or what is none.
    """
    hosts = [] if isinstance(domains, str) else list(domains)
    if not hosts:
        raise ConfigError(f"domains must list the hosts to reach, got {domains!r}")
    needs = SecurityRequirements.privileged() if "*" in hosts else SecurityRequirements.restricted()
    for host in hosts:
        needs = needs.with_network_access(host)
    return [
        fetch_url.with_options(requirements=needs),
        read_web_page.with_options(requirements=needs, idempotent=True),
    ]


@tool(preload=_ENCODINGS)
def fetch_url(
    url: str,
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET",
    headers: dict[str, str] | None = None,
    body: str | None = None,
    max_chars: int = 20_000,
) -> dict[str, Any]:
    """Make an HTTP request, and give the status and the text of the response.

    Args:
        url: http or https.
        headers: by name.
        body: of the request.
        max_chars: of the text that are given at most.
    """
    response = egress.client().request(method, url, headers=headers, content=body)
    text = response.text
    most = min(max(max_chars, 0), _MAX_CHARS)
    return {
        "status": response.status,
        "url": response.url,
        "content_type": response.headers.get("content-type", ""),
        "text": text[:most],
        "is_cut": len(text) > most,
    }


@tool(preload=_ENCODINGS)
def read_web_page(url: str, max_chars: int = 20_000) -> dict[str, Any]:
    """Fetch a web page, and give what it says as Markdown.

    Args:
        url: http or https.
        max_chars: of the text that are given at most.
    """
    response = egress.client().get(url).raise_for_status()
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml", ""):
        title, text = _markdown(_text_of(response))
    elif kind.startswith("text/") or kind.endswith(("json", "xml")):
        title, text = "", response.text
    else:
        raise ValueError(f"{response.url} is {kind}, and no page")
    most = min(max(max_chars, 0), _MAX_CHARS)
    return {
        "url": response.url,
        "title": title,
        "markdown": text[:most],
        "is_cut": len(text) > most,
    }


@tool(idempotent=True)
def html_to_markdown(html: str) -> str:
    """Turn HTML into Markdown; scripts and styles are left out."""
    return _markdown(html)[1]


def _text_of(response: Any) -> str:
    """A page by the encoding that its header says, or else the page itself."""
    from bs4.dammit import EncodingDetector

    if "charset=" not in response.headers.get("content-type", "").lower():
        declared = EncodingDetector.find_declared_encoding(response.content, is_html=True)
        try:
            return str(response.content.decode(declared or "utf-8", "replace"))
        except (LookupError, ValueError):  # no text encoding of Python's
            pass
    return str(response.text)


# Not the reader of ingests, which drops links and emphasis: these help an agent to go on, and would
# be noise in an embedding.
def _markdown(html: str) -> tuple[str, str]:
    """The title and the text of a page."""
    import re

    import bs4
    import markdownify

    tree = bs4.BeautifulSoup(html, "html.parser")
    for one in tree(["script", "style", "noscript", "template", "iframe", "svg"]):
        one.decompose()
    title = tree.title.get_text(strip=True) if tree.title else ""
    if tree.head:
        tree.head.decompose()
    text = markdownify.MarkdownConverter(heading_style="ATX").convert_soup(tree)
    return title, re.sub(r"\n{3,}", "\n\n", text).strip()
