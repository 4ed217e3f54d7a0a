from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = ("langchain_core", "haystack", "llama_index", "pydantic")
PACKAGES = {
    "haystack": ("haystack", "haystack-ai"),
    "langchain": ("langchain_core", "langchain-core"),
    "llamaindex": ("llama_index.core.schema", "llama-index-core"),
}


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_integrations_imports_no_framework() -> None:
    code = f"import sys, llmspell.integrations; print({{*{FRAMEWORKS}}} & {{*sys.modules}})"
    assert printed(code) == "set()"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_framework_is_named_with_its_extra(name: str) -> None:
    module, package = PACKAGES[name]
    code = f"""
import sys
sys.modules[{module!r}] = None
from llmspell import errors
try:
    import llmspell.integrations.{name}
except errors.MissingDependency as error:
    print(error)
"""
    expected = f"{package} is not installed; run: pip install 'llmspell[{name}]'"
    assert printed(code) == expected
