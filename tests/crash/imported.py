"""A process that imports an export, to be killed at a random moment.

Usage: ``python -m tests.crash.imported DATA FILE``: goes on with an import that was cut short.
"""

from __future__ import annotations

import sys

import llmspell
from llmspell import Document, QuotaLimits, TenantConfig
from llmspell.tenancy import import_plan
from tests.tenancy.texts import Lines, embed

CONFIG = TenantConfig(id="to", quotas=QuotaLimits.unlimited())
RECORDS = 1_200
DOCUMENTS = 40
LINES = 7


def fill(database: llmspell.Database) -> llmspell.Tenant:
    """The tenant that is exported."""
    tenant = database.create_tenant(TenantConfig(id="from", quotas=QuotaLimits.unlimited()))
    texts = [f"text {i}" for i in range(RECORDS)]
    tenant.upsert(range(RECORDS), embed(texts), [{"n": i} for i in range(RECORDS)], texts)
    for number in range(DOCUMENTS):
        lines = "\n".join(f"line {i} of {number}" for i in range(LINES))
        tenant.ingest(Document(f"document {number}", lines))
    return tenant


def main(data: str, file: str) -> None:
    # Many batches, so that a kill falls between them or into one.
    import_plan.BATCH_RECORDS = 10  # type: ignore[misc]
    with llmspell.open(data, texts=Lines()) as database:
        print("open", flush=True)
        database.tenant("to").import_from(file, on_conflict="skip")


if __name__ == "__main__":
    main(*sys.argv[1:])
