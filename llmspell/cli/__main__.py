"""``python -m llmspell.cli`` is the ``llmspell`` command."""

from __future__ import annotations

import sys

from llmspell.cli.entry import main

sys.exit(main())
