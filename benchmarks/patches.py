"""Real vectors in any number: overlapping patches of photographs that two packages ship.

Raw pixels, so L2. The photographs are scikit-image's and scikit-learn's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PHOTOGRAPHS", "cut", "photographs"]

Picture = NDArray[np.uint8]

PHOTOGRAPHS = {
    "skimage": (
        *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png"),
        *("coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
        *("ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
    ),
    "sklearn": ("china.jpg", "flower.jpg"),
}
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
# Queries come from a tenth of the places: squares of this side that no base patch touches.
_SQUARE = 64
_HELD_OUT = 0.1
# Standard deviation, of 255: below it a patch is a plain surface, and equal to many others.
_LEAST_CONTRAST = 3.0


def photographs(*, colour: bool) -> list[Picture]:
    """Each photograph, (height, width, 3) or, not ``colour``, (height, width, 1).

    With ``colour`` those that are grey are left out.

    Raises:
        ValueError: a package isn't installed.
    """
    from PIL import Image

    found = []
    for package, names in PHOTOGRAPHS.items():
        folder = _folder(package)
        for name in names:
            with Image.open(folder / name) as picture:
                if colour and picture.mode not in ("RGB", "RGBA"):
                    continue
                pixels = np.asarray(picture.convert("RGB" if colour else "L"))
            found.append(pixels.reshape(*pixels.shape[:2], -1))
    return found


def cut(
    pictures: Sequence[Picture], *, height: int, width: int, size: int, queries: int, seed: int
) -> tuple[Picture, Picture]:
    """Draw different patches: (size, d) and, from places that those don't touch, (queries, d).

    Args:
        pictures: (h, w, channels) each.
        height: of a patch, in pixels.
        width: of a patch.
        size: patches in the base.
        queries: held-out patches.
        seed: of the places held out and of the draw.

    Raises:
        ValueError: the pictures don't have that many.
    """
    random = np.random.default_rng(seed)
    places: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for picture in pictures:
        held = _held_out(picture, random)
        inside = _window_sums(held, height, width)
        plain = _contrast(picture, height, width) < _LEAST_CONTRAST
        places.append(
            (
                np.flatnonzero((inside == 0) & ~plain),
                np.flatnonzero((inside == height * width) & ~plain),
            )
        )
    base = _draw(pictures, [place[0] for place in places], height, width, size, random)
    asked = _draw(pictures, [place[1] for place in places], height, width, queries, random)
    return base, asked


def _held_out(picture: Picture, random: np.random.Generator) -> NDArray[np.float64]:
    rows, columns = (-(-side // _SQUARE) for side in picture.shape[:2])
    squares = random.random((rows, columns)) < _HELD_OUT
    pixels = np.kron(squares, np.ones((_SQUARE, _SQUARE)))
    return np.asarray(pixels[: picture.shape[0], : picture.shape[1]], dtype=np.float64)


def _window_sums(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Sum over the window whose upper left corner each place is."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    corners = total[height:, width:] - total[:-height, width:] - total[height:, :-width]
    return np.asarray(corners + total[:-height, :-width])


def _contrast(picture: Picture, height: int, width: int) -> NDArray[np.float64]:
    grey = picture.mean(axis=2)
    count = height * width
    mean = _window_sums(grey, height, width) / count
    variance = _window_sums(grey * grey, height, width) / count - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _draw(
    pictures: Sequence[Picture],
    places: Sequence[NDArray[np.int64]],
    height: int,
    width: int,
    size: int,
    random: np.random.Generator,
) -> Picture:
    """``size`` different patches out of all places, in an order drawn too."""
    ends = np.cumsum([len(place) for place in places])
    # A few are equal to others and fall out.
    wanted = min(int(ends[-1]), size + size // 8 + 16)
    drawn = np.sort(random.choice(int(ends[-1]), size=wanted, replace=False))
    parts = []
    for picture, place, end in zip(pictures, places, ends, strict=True):
        chosen = drawn[(drawn >= end - len(place)) & (drawn < end)] - (end - len(place))
        windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width), axis=(0, 1))
        rows, columns = np.divmod(place[chosen], windows.shape[1])
        components = height * width * picture.shape[2]
        parts.append(windows[rows, columns].reshape(len(chosen), components))
    patches: Picture = np.unique(np.concatenate(parts), axis=0)
    if len(patches) < size:
        raise ValueError(f"the photographs have {len(patches):,} such patches, asked: {size:,}")
    return np.asarray(patches[random.permutation(len(patches))[:size]])


def _folder(package: str) -> Path:
    spec: Any = importlib.util.find_spec(package)
    if spec is None:
        raise ValueError(f"{package} is not installed; pip install 'llmspell[bench-data]'")
    return Path(spec.submodule_search_locations[0]) / _FOLDERS[package]
