"""``llmspell audit``: verify an audit log, and show what is in it."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.exits import ExitCode, NothingHere
from llmspell.cli.options import JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import AUDIT_KEY_VARIABLE, audit_key

if TYPE_CHECKING:
    from llmspell.cli.payload import AuditListPayload, AuditRecordPayload, AuditReportPayload
    from llmspell.security import AuditRecord, AuditReport

__all__ = ["app"]

app = typer.Typer(help="Verify an audit log, and show what is in it.")

LogArgument = Annotated[Path, typer.Argument(metavar="PATH", help="Directory of the log.")]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file", envvar=AUDIT_KEY_VARIABLE, metavar="FILE", help="Key of a keyed log."
    ),
]
# The zone is UTC, as in what is printed.
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


@app.command("verify")
def verify(
    path: LogArgument,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="LOG:SEQ:HASH", help="A record that must be there: a former head."),
    ] = None,
    key_file: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every record of an audit log, while others append to it."""
    from llmspell.security import verify_audit

    out = Output(as_json=as_json)
    report = verify_audit(_existing(path), anchor, audit_key(key_file))
    out.result(_report(report))
    if not as_json:
        from rich.text import Text

        # As text: what is in brackets is not markup.
        out.show(*map(Text, _lines(report)))
    if not report.is_sound:
        raise typer.Exit(ExitCode.STORAGE)


@app.command("show")
def show(
    path: LogArgument,
    tenant: Annotated[str | None, typer.Option(help="Only what is of this tenant.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, as secret.access.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_TIMES, help="Only from this time on, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_TIMES, help="Only before this time, in UTC.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="The last so many of these.")] = 100,
    key_file: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show records of an audit log, oldest first, each checked before."""
    from llmspell.security import read_audit

    out = Output(as_json=as_json)
    records = read_audit(
        _existing(path),
        key=audit_key(key_file),
        tenant=tenant,
        kind=kind,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
    )
    chosen = deque(records, maxlen=last)
    payload: AuditListPayload = {"records": list(map(_record, chosen))}
    out.result(payload)
    if not as_json:
        for record in payload["records"]:
            typer.echo(_line(record))


def _existing(path: Path) -> Path:
    if not (path / "header.json").exists():
        raise NothingHere(f"no audit log at {path}")
    return path


def _report(report: AuditReport) -> AuditReportPayload:
    problem = report.problem
    return {
        "sound": report.is_sound,
        "log": report.head.log,
        "first": report.first,
        "records": report.records,
        "segments": report.segments,
        "bytes": report.size,
        "head": str(report.head) if report.head.hash else None,
        "torn": report.torn,
        "uncounted": report.uncounted,
        "notices": list(report.notices),
        "problem": None
        if problem is None
        else {
            "reason": problem.reason,
            "message": problem.message,
            "segment": problem.segment,
            "offset": problem.offset,
            "seq": problem.seq,
        },
    }


def _lines(report: AuditReport) -> list[str]:
    lines = [f"note: {notice}" for notice in report.notices]
    held = f"{report.records:,} records in {report.segments:,} files hold"
    if report.problem is None:
        return [*lines, f"{held}; nothing was changed.", f"head: {report.head}"]
    return [*lines, f"{held}, and then: {report.problem.message} [{report.problem.reason}]"]


def _record(record: AuditRecord) -> AuditRecordPayload:
    return {
        "seq": record.seq,
        "time": _time(record.time),
        "kind": record.kind,
        "tenant": record.tenant,
        "subject": record.subject,
        "outcome": record.outcome,
        "count": record.count,
        "until": None if record.until is None else _time(record.until),
        "of": record.of,
        "batch": record.batch,
        "details": dict(record.details),
        "hash": record.hash,
    }


def _time(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _line(record: AuditRecordPayload) -> str:
    # Escaped as in the log: a subject mustn't move the cursor of who looks at it.
    parts = [
        f"{record['time']} {record['seq']} {record['kind']} {record['outcome']}",
        f"tenant={json.dumps(record['tenant'])} {json.dumps(record['subject'])}",
    ]
    if record["of"] is not None:
        parts.append(f"{record['count']} more of record {record['of']}")
    if record["until"] is not None:
        parts.append(f"repeats until {record['until']} are counted")
    if record["details"]:
        parts.append(json.dumps(record["details"]))
    return "  ".join(parts)
