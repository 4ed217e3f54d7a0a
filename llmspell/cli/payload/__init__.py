"""The JSON documents that commands print with ``--json``.

Keys are stable: later releases may add some, and neither rename nor remove any. Times are in
seconds, sizes in bytes, unless a key says otherwise.
"""

from llmspell.cli.payload.audit import (
    AuditListPayload,
    AuditProblemPayload,
    AuditRecordPayload,
    AuditReportPayload,
)
from llmspell.cli.payload.checks import (
    CheckPayload,
    DamagePayload,
    DoctorPayload,
    ScrubbedTenantPayload,
    ScrubPayload,
)
from llmspell.cli.payload.copies import (
    ExportPayload,
    ImportedPayload,
    SnapshotTakenPayload,
)
from llmspell.cli.payload.index import (
    BenchPayload,
    ImportPayload,
    SnapshotPayload,
)
from llmspell.cli.payload.records import (
    HitPayload,
    IngestPayload,
    SearchPayload,
    hit_payload,
    ingest_payload,
    retrieved_payload,
)
from llmspell.cli.payload.secrets import (
    SecretChangedPayload,
    SecretDroppedKeysPayload,
    SecretKeyPayload,
    SecretListPayload,
    SecretNamePayload,
    SecretPayload,
)
from llmspell.cli.payload.tenants import (
    DroppedPayload,
    QuotaPayload,
    StatsPayload,
    TenantListPayload,
    TenantPayload,
    UsagePayload,
    tenant_payload,
)

__all__ = [
    "AuditListPayload",
    "AuditProblemPayload",
    "AuditRecordPayload",
    "AuditReportPayload",
    "BenchPayload",
    "CheckPayload",
    "DamagePayload",
    "DoctorPayload",
    "DroppedPayload",
    "ExportPayload",
    "HitPayload",
    "ImportPayload",
    "ImportedPayload",
    "IngestPayload",
    "QuotaPayload",
    "ScrubPayload",
    "ScrubbedTenantPayload",
    "SearchPayload",
    "SecretChangedPayload",
    "SecretDroppedKeysPayload",
    "SecretKeyPayload",
    "SecretListPayload",
    "SecretNamePayload",
    "SecretPayload",
    "SnapshotPayload",
    "SnapshotTakenPayload",
    "StatsPayload",
    "TenantListPayload",
    "TenantPayload",
    "UsagePayload",
    "hit_payload",
    "ingest_payload",
    "retrieved_payload",
    "tenant_payload",
]
