"""What lies in the directory of a sentence model, read with care."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from llmspell.errors import ConfigError, CorruptFile, EmbeddingError
from llmspell.rag.embedding.onnx_wire import has_external_weights

__all__ = ["ModelFiles", "Pooling", "read_model_files"]

Pooling: TypeAlias = Literal["mean", "cls", "last"]
"""Which vectors of tokens make that of a text: their mean, that of the first, that of the last."""

POOLINGS: Final = ("mean", "cls", "last")

#: Where exporters put the model, in the order in which they are looked for.
_MODELS: Final = ("model.onnx", "onnx/model.onnx")
_POOLING: Final = "1_Pooling/config.json"
_MAX_CONFIG_BYTES: Final = 1 << 20
_MAX_TOKENIZER_BYTES: Final = 128 << 20
# What an ONNX file can be: a message of protocol buffers.
_MAX_MODEL_BYTES: Final = (1 << 31) - 1
# sentence_transformers.models.Pooling, before and after it named its mode in one field.
_FLAGS: Final[dict[str, Pooling]] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_MODES: Final[dict[str, Pooling]] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_KNOWN_MODULES: Final = {"Transformer", "Pooling", "Normalize"}
_PASSAGE_PROMPTS: Final = ("passage", "document")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A directory's content. ``pooling``, ``max_tokens`` and prompts as far as it says them."""

    model: bytes
    tokenizer: str
    digest: str
    pooling: Pooling | None
    max_tokens: int | None
    query_prompt: str
    passage_prompt: str


def read_model_files(path: Path, *, sha256: str | None) -> ModelFiles:
    """Read a directory; every file once, so that what is checked is what is used.

    Args:
        path: the directory.
        sha256: that the model's file must have, in hex; None for any.

    Raises:
        ConfigError: a file is missing or too large, or the model has parts that this can't do.
        CorruptFile: a file is damaged, or isn't the one that ``sha256`` means.
    """
    found = [path / name for name in _MODELS if (path / name).is_file()]
    if not found:
        raise ConfigError(f"{path} must have {' or '.join(_MODELS)}: export a model to ONNX there")
    _check_modules(path)
    model = _read(found[0], _MAX_MODEL_BYTES)
    digest = hashlib.sha256(model).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise CorruptFile(f"{found[0]} has the SHA-256 {digest}, and not {sha256}")
    try:
        is_split = has_external_weights(model)
    except EmbeddingError as error:
        raise CorruptFile(f"{found[0]} is damaged, or no ONNX file") from error
    if is_split:
        raise ConfigError(f"weights of {found[0]} lie in other files; export it as a single one")
    raw = _read(path / "tokenizer.json", _MAX_TOKENIZER_BYTES)
    try:
        tokenizer = raw.decode()
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path / 'tokenizer.json'} isn't UTF-8") from error
    sentence = _json(path / "sentence_bert_config.json")
    prompts = _json(path / "config_sentence_transformers.json").get("prompts")
    prompts = prompts if isinstance(prompts, dict) else {}
    return ModelFiles(
        model=model,
        tokenizer=tokenizer,
        digest=hashlib.sha256(digest.encode() + raw).hexdigest(),
        pooling=_pooling(path / _POOLING),
        max_tokens=_count(sentence.get("max_seq_length")),
        query_prompt=_text(prompts.get("query")),
        passage_prompt=next(
            (_text(prompts[name]) for name in _PASSAGE_PROMPTS if name in prompts), ""
        ),
    )


def _check_modules(path: Path) -> None:
    """A layer behind the pooling would be left out, and the vectors be others than the model's."""
    modules = _json_value(path / "modules.json")
    if modules is None:
        return
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in cast("Any", modules)]
    except (TypeError, KeyError) as error:
        raise CorruptFile(f"{path / 'modules.json'} is no list of modules") from error
    others = [kind for kind in kinds if kind not in _KNOWN_MODULES]
    if others:
        raise ConfigError(f"the model has parts that can't be computed here: {', '.join(others)}")


def _pooling(path: Path) -> Pooling | None:
    config = _json(path)
    if not config:
        return None
    if config.get("include_prompt") is False:
        raise ConfigError(f"{path} leaves the prompt out of the pooling, which can't be done here")
    mode = config.get("pooling_mode")
    if mode is None:
        named = [name for name, value in config.items() if name in _FLAGS and value is True]
        others = [
            name
            for name, value in config.items()
            if name.startswith("pooling_mode_") and value is True and name not in _FLAGS
        ]
        found = _FLAGS[named[0]] if len(named) == 1 and not others else None
    else:
        found = _MODES.get(mode) if isinstance(mode, str) else None
    if found is None:
        raise ConfigError(f"{path} pools in a way that can't be done here; known are {POOLINGS}")
    return found


def _json(path: Path) -> dict[str, Any]:
    value = _json_value(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CorruptFile(f"{path} is no JSON object")
    return value


def _json_value(path: Path) -> object:
    """None where there is no such file."""
    if not path.exists():
        return None
    try:
        value: object = json.loads(_read(path, _MAX_CONFIG_BYTES))
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is no JSON") from error
    return value


def _read(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise ConfigError(f"{path} is missing, or no file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path} has more than {most:,} bytes")
    return content


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 2 <= value < 1 << 31
    return value if is_count else None  # type: ignore[return-value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
