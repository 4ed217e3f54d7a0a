"""Just enough of the ONNX file format to read weights and to write a graph.

ONNX is protocol buffers (onnx/onnx: onnx/onnx.proto, whose field numbers stand below). The ``onnx``
package would do the same at 18 MB and a slower start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import EmbeddingError

__all__ = ["GraphWriter", "has_external_weights", "read_weights"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT_ATTRIBUTE, _INT_ATTRIBUTE, _INTS_ATTRIBUTE = 1, 2, 7
_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    3: np.dtype("i1"),
    7: np.dtype("<i8"),
}
_DTYPE_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}
_IR_VERSION: Final = 8
# By field number, the messages within a message that lead to tensors, and what says that the data
# of one lie elsewhere (TensorProto.external_data and data_location).
_IN_GRAPH: Final[Mapping[int, str]] = {1: "node", 5: "tensor", 15: "sparse"}
_IN_FUNCTION: Final[Mapping[int, str]] = {7: "node"}
_INNER: Final[Mapping[str, Mapping[int, str]]] = {
    "graph": _IN_GRAPH,
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "external"},
}
_MAX_DEPTH: Final = 64
_OPSETS: Final = (("", 17), ("com.microsoft", 1))


def read_weights(model: bytes) -> dict[str, NDArray[Any]]:
    """The named tensors of a model, in the order of the file; read-only views of ``model``.

    Raises:
        EmbeddingError: ``model`` isn't a whole ONNX file.
    """
    weights: dict[str, NDArray[Any]] = {}
    try:
        for field, graph in _fields(memoryview(model)):
            if field != 7:  # ModelProto.graph
                continue
            for inner, tensor in _fields(graph):
                if inner == 5:  # GraphProto.initializer
                    _read_tensor(tensor, weights)
    except (IndexError, ValueError, TypeError) as error:
        raise EmbeddingError(f"the model file is damaged ({error}); install it again") from error
    return weights


def has_external_weights(model: bytes) -> bool:
    """Whether a tensor of a model, in whatever depth, has its data in another file.

    Raises:
        EmbeddingError: ``model`` isn't a whole ONNX file.
    """
    is_graph = False
    try:
        for field, value in _fields(memoryview(model)):
            if field == 7:  # ModelProto.graph
                is_graph = True
                if _is_external(value, _IN_GRAPH):
                    return True
            elif field == 25 and _is_external(value, _IN_FUNCTION):  # ModelProto.functions
                return True
    except (IndexError, ValueError, TypeError) as error:
        raise EmbeddingError(f"the model file is damaged ({error}); install it again") from error
    if not is_graph:
        raise EmbeddingError("the model file has no graph; is it an ONNX file?")
    return False


def _is_external(message: memoryview, inner: Mapping[int, str], depth: int = 0) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    for field, value in _fields(message):
        kind = inner.get(field)
        if kind == "external":
            if value:
                return True
        elif kind is not None and _is_external(value, _INNER[kind], depth + 1):
            return True
    return False


def _read_tensor(message: memoryview, weights: dict[str, NDArray[Any]]) -> None:
    shape, dtype, name, raw = [], 0, "", None
    for field, value in _fields(message):
        if field == 1:
            shape.append(value)
        elif field == 2:
            dtype = value
        elif field == 8:
            name = bytes(value).decode()
        elif field == 9:
            raw = value
    if raw is not None and dtype in _DTYPES:
        weights[name] = np.frombuffer(raw, dtype=_DTYPES[dtype]).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int, or the bytes of a message, string or array."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            size, at = _read_varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at + size > len(message):
            raise ValueError("a field ends beyond its message")
        yield key >> 3, message[at : at + size]
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


class GraphWriter:
    """Collects tensors and nodes, and gives the model that they make."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._tensors: list[tuple[bytes, memoryview]] = []

    def tensor(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant; gives its name."""
        dims = b"".join(_int(1, size) for size in array.shape)
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        code = _DTYPE_CODES[array.dtype]
        head = dims + _int(2, code) + _text(8, name) + _head(9, len(raw))
        self._tensors.append((head, raw))
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        domain: str = "",
        **attributes: float | list[int],
    ) -> str:
        """Add an operation with one output; gives the output's name."""
        message = b"".join(_text(1, name) for name in inputs) + _text(2, output)
        message += _text(4, operator) + _text(7, domain)
        for name, value in attributes.items():
            message += _bytes(5, _attribute(name, value))
        self._nodes.append(message)
        return output

    def model(self, source: tuple[str, int, Sequence[str]], output: tuple[str, int]) -> bytes:
        """The finished file.

        Args:
            source: name, element type code and axis names of the one input.
            output: name and element type code of the one output.
        """
        name, code, axes = source
        shape = b"".join(_bytes(1, _text(2, axis)) for axis in axes)
        parts: list[bytes | memoryview] = [_bytes(1, node) for node in self._nodes]
        parts.append(_text(2, "graph"))
        for head, raw in self._tensors:
            parts += (_head(5, len(head) + len(raw)), head, raw)
        parts.append(_bytes(11, _value(name, _int(1, code) + _bytes(2, shape))))
        parts.append(_bytes(12, _value(output[0], _int(1, output[1]))))
        opsets = b"".join(
            _bytes(8, _text(1, domain) + _int(2, version)) for domain, version in _OPSETS
        )
        size = sum(map(len, parts))
        # One copy of the weights, at the end: the six that nested messages cost took 100 ms.
        return b"".join((_int(1, _IR_VERSION), opsets, _head(7, size), *parts))


def _value(name: str, tensor_type: bytes) -> bytes:
    return _text(1, name) + _bytes(2, _bytes(1, tensor_type))


def _attribute(name: str, value: int | float | list[int]) -> bytes:
    message = _text(1, name)
    if isinstance(value, float):
        return (
            message
            + _varint(2 << 3 | _FIXED32)
            + struct.pack("<f", value)
            + _int(20, _FLOAT_ATTRIBUTE)
        )
    if isinstance(value, int):
        return message + _int(3, value) + _int(20, _INT_ATTRIBUTE)
    return message + b"".join(_int(8, one) for one in value) + _int(20, _INTS_ATTRIBUTE)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _head(field, len(value)) + value


def _head(field: int, size: int) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(size)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written in two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
