"""Settings of Sphinx; `nox -s docs` builds the pages, warnings as errors."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "llmspell"
author = "the llmspell authors"
release = installed_version("llmspell")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "llmspell"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
