"""``llmspell secrets``: the encrypted store of secrets. Values come from stdin, never from argv."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.exits import WrongUsage
from llmspell.cli.options import JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, default_data_directory

if TYPE_CHECKING:
    from llmspell.cli.payload import (
        SecretChangedPayload,
        SecretDroppedKeysPayload,
        SecretKeyPayload,
        SecretListPayload,
        SecretPayload,
    )
    from llmspell.security import AuditLog, EncryptedStore, KeySource, Secret, SecretRef

__all__ = ["app"]

app = typer.Typer(
    help="Keep secrets of the deployment and of tenants in an encrypted file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KEY_VARIABLE = "LLMSPELL_SECRETS_KEY"


def _default_store() -> Path:
    return default_data_directory().with_name("llmspell-secrets") / "secrets.json"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the secret, as openai.")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="Whose it is; the deployment's.")
]
StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="LLMSPELL_SECRETS",
        metavar="PATH",
        default_factory=_default_store,
        show_default="a file per user",
        dir_okay=False,
        help="The encrypted file.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="LLMSPELL_SECRETS_KEY_SOURCE",
        metavar="SOURCE",
        help=f"Where its key is: env:VARIABLE, file:PATH, keyring or keyring:SERVICE. "
        f"Otherwise {KEY_VARIABLE} where that is set, or the keyring.",
    ),
]


@app.command("set")
def set_secret(
    name: NameArgument,
    store: StoreOption,
    tenant: TenantOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the text on stdin under a name; the first one makes the file, and a key."""
    encrypted = _store(store, key, audit_log())
    value = _value_from_stdin(encrypted.ref_for(name, tenant))
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    encrypted.set(name, value, tenant=tenant)
    _changed(name, tenant, store, f"Kept {name!r} in {store}.", as_json)


@app.command("get")
def get(
    name: NameArgument,
    store: StoreOption,
    tenant: TenantOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a secret."""
    from llmspell import errors
    from llmspell.security import SecretStore, record_accesses

    log, encrypted = audit_log(), _store(store, key)
    on_access = None if log is None else record_accesses(log)
    secrets, ref = SecretStore([encrypted], on_access=on_access), encrypted.ref_for(name, tenant)
    handle = secrets if tenant is None else secrets.for_tenant(tenant, grants=[ref])
    try:
        found = handle.get(ref)
    except errors.SecretNotFound:
        raise errors.SecretNotFound(
            f"there is no secret {name!r} of {_owner(tenant)} in {store}"
        ) from None
    payload: SecretPayload = {"tenant": tenant, "name": name, "value": found.reveal()}
    Output(as_json=as_json).result(payload)
    if not as_json:
        sys.stdout.write(payload["value"] + "\n")


@app.command("list")
def list_secrets(store: StoreOption, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """List whose secrets there are by which names, after checking that none was changed."""
    names = _store(store, key).names()
    payload: SecretListPayload = {
        "store": str(store),
        "secrets": [{"tenant": tenant, "name": name} for tenant, name in names],
    }
    Output(as_json=as_json).result(payload)
    if not as_json:
        for tenant, name in names:
            typer.echo(f"{name}  of {_owner(tenant)}")


@app.command("delete")
def delete(
    name: NameArgument,
    store: StoreOption,
    tenant: TenantOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a secret out."""
    _store(store, key, audit_log()).delete(name, tenant=tenant)
    _changed(name, tenant, store, f"Took {name!r} of {_owner(tenant)} out of {store}.", as_json)


@app.command("rotate-key")
def rotate_key(store: StoreOption, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Seal the file under a new key. The old ones stay, until ``drop-old-keys``."""
    new = _store(store, key, audit_log()).rotate_key()
    payload: SecretKeyPayload = {"store": str(store), "key": new}
    out = Output(as_json=as_json)
    out.result(payload)
    out.show(f"Sealed {store} under the key {payload['key']}.")


@app.command("drop-old-keys")
def drop_old_keys(
    store: StoreOption,
    key: KeyOption = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Another store by the same keys, whose own key stays too. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take the keys out that seal the store no more; copies by them can't be opened then."""
    others = [_store(path, key) for path in beside or ()]
    dropped = _store(store, key, audit_log()).drop_old_keys(others)
    payload: SecretDroppedKeysPayload = {"store": str(store), "keys": dropped}
    out = Output(as_json=as_json)
    out.result(payload)
    out.show(f"Took {len(dropped)} keys out: {', '.join(dropped) or 'none was old'}.")


def _changed(name: str, tenant: str | None, store: Path, said: str, as_json: bool) -> None:
    payload: SecretChangedPayload = {"tenant": tenant, "name": name, "store": str(store)}
    out = Output(as_json=as_json)
    out.result(payload)
    out.show(said)


def _owner(tenant: str | None) -> str:
    return "the deployment" if tenant is None else f"the tenant {tenant!r}"


def _store(path: Path, key: str | None, log: AuditLog | None = None) -> EncryptedStore:
    from llmspell.security import EncryptedStore

    return EncryptedStore(path.absolute(), _source(key, str(path.absolute())), audit=log)


def _source(key: str | None, store: str) -> KeySource:
    """Where the key is; in a keyring under the path of the store, since each has its own."""
    from llmspell.security import KeyFile, KeyringEntry, KeyVariable

    if key is None:
        return (
            KeyVariable(KEY_VARIABLE)
            if os.environ.get(KEY_VARIABLE)
            else KeyringEntry(account=store)
        )
    kind, _, rest = key.partition(":")
    match kind, rest:
        case "env", str(variable) if variable:
            return KeyVariable(variable)
        case "file", str(path) if path:
            return KeyFile(Path(path).absolute())
        case "keyring", service:
            return KeyringEntry(service or "llmspell", store)
    # What was given may be the key itself.
    raise WrongUsage("--key takes env:VARIABLE, file:PATH, keyring or keyring:SERVICE, and no key")


def _value_from_stdin(ref: SecretRef) -> Secret[str]:
    from llmspell.security import Secret
    from llmspell.security.secrets.backend import MAX_SECRET_BYTES, text_of

    if sys.stdin.isatty():
        return Secret(str(typer.prompt(f"Value of {ref}", hide_input=True, err=True)))
    return text_of(Secret(sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)), ref)
