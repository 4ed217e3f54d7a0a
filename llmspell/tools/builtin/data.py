"""Structured data: asked, and filled into texts."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final, Literal

from llmspell.tools import tool

__all__ = ["query_data", "render_template"]

_MAX_ROWS: Final = 100_000


@tool(idempotent=True)
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

    return jmespath.search(query, _read(text, format))


def _read(text: str, format: str) -> Any:
    match format:
        case "json":
            return json.loads(text)
        case "jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        case "csv":
            rows = csv.DictReader(io.StringIO(text), strict=True)
            return [row for row, _ in zip(rows, range(_MAX_ROWS), strict=False)]
        case _:
            import yaml

            # Dates and keys that JSON has none of become texts.
            return json.loads(json.dumps(yaml.safe_load(text), default=str))


@tool(idempotent=True)
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
