"""Structured data: asked, and filled into texts."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final, Literal

from llmspell.tools import tool

__all__ = ["query_data", "render_template"]

#: Imported by jinja2 when a template first has a text in quotes, or a filter that needs them.
_LAZY: Final = ("encodings.unicode_escape", "html", "jinja2.constants", "pprint")


@tool(idempotent=True, preload=_LAZY)
def query_data(
    text: str, query: str = "@", format: Literal["json", "jsonl", "csv", "yaml"] = "json"
) -> Any:
    """Read JSON, JSON lines, CSV or YAML, and give the part of it that a JMESPath query names.

    Args:
        text: the data. CSV has a first line of names, and gives a list of objects of strings.
        query: in JMESPath, such as "[?age > `30`].name" or "length(@)"; "@" is all of it.
        format: of the text.
    """
    import jmespath

    # Programs of Microsoft begin a file with the mark of its encoding.
    return jmespath.search(query, _read(text.removeprefix("\ufeff"), format))


def _read(text: str, format: str) -> Any:
    match format:
        case "json":
            return json.loads(text)
        case "jsonl":
            # Not by splitlines, which ends lines at signs that a JSON text may hold.
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        case "csv":
            # Of the process: a worker has bounds of its own, and others keep what they have.
            if len(text) > csv.field_size_limit():
                csv.field_size_limit(len(text))
            return list(csv.DictReader(io.StringIO(text), strict=True))
        case _:
            import yaml

            # Dates and keys that JSON has none of become texts.
            return json.loads(json.dumps(_with_keys(yaml.safe_load(text)), default=str))


def _with_keys(value: Any) -> Any:
    """It with keys that JSON can have; of what else it has none ``json`` makes a text itself."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str | int | float | None) else str(key): _with_keys(one)
            for key, one in value.items()
        }
    return [_with_keys(one) for one in value] if isinstance(value, list) else value


@tool(idempotent=True, preload=_LAZY)
def render_template(template: str, values: dict[str, Any]) -> str:
    """Fill values into a Jinja template.

    Args:
        template: such as "Dear {{ name }}{% if late %}, sorry{% endif %}".
        values: by name; one that the template wants and isn't given is an error.
    """
    import jinja2.debug  # which it imports itself where a template fails
    import jinja2.sandbox

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(template).render(values)
