"""``llmspell stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell.cli.options import DataOption, JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payload import StatsPayload

__all__ = ["stats"]


def stats(data: DataOption, as_json: JsonOption = False) -> None:
    """Show bytes on disk and every tenant's usage."""
    from importlib.metadata import version

    import llmspell
    from llmspell.cli.payload import tenant_payload

    out = Output(as_json=as_json)
    with llmspell.open(existing(data), shared_quotas=shared_quotas()) as database:
        tenants = [tenant_payload(database.tenant(info.id)) for info in database.tenants()]
    payload: StatsPayload = {
        "data": str(data),
        "version": version("llmspell"),
        # st_blocks is what the disk gives; LMDB's map is a sparse file of a far larger size.
        "bytes_on_disk": sum(
            path.stat().st_blocks * 512 for path in data.rglob("*") if path.is_file()
        ),
        "tenants": tenants,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import stats_view

        out.show(stats_view(payload))
