"""LlamaIndex's nodes as records, and back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import InputError
from llmspell.integrations.llamaindex.framework import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    TextNode,
)
from llmspell.integrations.matching import Found
from llmspell.integrations.metadata import DOCUMENT, from_fields, to_fields

__all__ = ["document_of", "to_fields_of", "to_node", "to_text"]

_KINDS: Final = {
    kind.class_name(): kind for kind in (TextNode, Node, IndexNode, ImageNode, Document)
}
#: A class's name for its own text; it is the record's.
_TEXT: Final = "text"
#: What a node shows beside its text; LlamaIndex leaves their data, which is base64, out of a dump.
_RESOURCES: Final = ("text_resource", "image_resource", "audio_resource", "video_resource")


def to_fields_of(node: BaseNode) -> dict[str, Any]:
    """Metadata of the record of a node, with all else that the node holds.

    Raises:
        InputError: the node can't be written as JSON.
        MetadataError: its metadata can't be kept.
    """
    try:
        held = node.model_dump(mode="json", exclude={"metadata", "embedding"})
    except ValueError as error:
        raise InputError(f"node {node.node_id!r} can't be kept: {error}") from error
    if _TEXT in held:
        held[_TEXT] = ""
    for name in _RESOURCES:
        data = getattr(getattr(node, name, None), "data", None)
        if data is not None:
            held[name]["data"] = data.decode()
    fields = to_fields(node.metadata, {"node": held})
    document = document_of(node)
    if document is not None:
        fields[DOCUMENT] = document
    return fields


def to_text(node: BaseNode) -> str:
    """Text of the record of a node."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def document_of(node: BaseNode) -> str | None:
    """Id of the document that a node is of: by its relation, or else by its metadata."""
    document = node.ref_doc_id or node.metadata.get("ref_doc_id")
    return document if isinstance(document, str) and document else None


def to_node(found: Found, vector: NDArray[np.float32] | None = None) -> BaseNode:
    """The node of a record; a plain one of text where LlamaIndex didn't write it.

    Args:
        vector: (dim,) of the record; None leaves the embedding out.
    """
    metadata, beside = from_fields(found.metadata)
    held = beside.get("node", {"id_": str(found.id), _TEXT: ""})
    node = _KINDS.get(held.get("class_name"), TextNode).from_dict(held)
    if _TEXT in held:
        node.set_content(found.text or "")
    node.metadata = metadata
    node.embedding = None if vector is None else vector.tolist()
    return node
