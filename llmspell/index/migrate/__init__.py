"""From index files of other libraries to ours: hnswlib, FAISS, USearch and NumPy.

The files are read without those libraries. ``convert`` gives an :class:`llmspell.Index`; ``read``
gives the vectors in batches.
"""

from llmspell.index.migrate.opening import convert, read
from llmspell.index.migrate.source import FORMATS, Description, ForeignFile, Format

__all__ = ["FORMATS", "Description", "ForeignFile", "Format", "convert", "read"]
