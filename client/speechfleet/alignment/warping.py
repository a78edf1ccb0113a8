"""Dynamic time warping: which moment of one recording is which moment of another.

First coarsely over the whole, then finely within half a second of that path: time grows with
the length, not with its square, but for the coarse step, which is bounded by `MOST_COARSE`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechfleet.alignment.features import Features

COARSE = 4
"""Frames that are one frame of the coarse step."""
BAND = 25
"""Frames on each side of the coarse path in which the fine one is looked for."""
MOST_COARSE = 8_000_000
"""Cells of the coarse step; above it frames are coarser."""

Path = NDArray[np.int64]


def warp(reference: Features, other: Features) -> Path:
    """Return for each frame of ``reference`` the frame of ``other`` that is the same moment.

    The result never goes back.
    """
    coarse = COARSE
    while len(reference) * len(other) / coarse**2 > MOST_COARSE:
        coarse *= 2
    if min(len(reference), len(other)) < 2 * coarse:
        return _path(reference, other, np.zeros(len(reference), np.int64), len(other))
    rough = _path(
        _thinned(reference, coarse),
        _thinned(other, coarse),
        np.zeros(-(-len(reference) // coarse), np.int64),
        -(-len(other) // coarse),
    )
    at = (np.arange(len(reference)) + 0.5) / coarse - 0.5
    centre = np.interp(at, np.arange(len(rough)), rough) * coarse + coarse / 2
    band = BAND * coarse // COARSE
    width = min(2 * band + 1, len(other))
    low = np.clip(np.round(centre).astype(np.int64) - band, 0, len(other) - width)
    low[0] = 0
    return _path(reference, other, np.maximum.accumulate(low), width)


def _thinned(features: Features, factor: int) -> Features:
    pad = -len(features) % factor
    padded = np.pad(features, ((0, pad), (0, 0)), mode="edge")
    mean: Features = padded.reshape(-1, factor, features.shape[1]).mean(axis=1)
    return mean


def _path(reference: Features, other: Features, low: Path, width: int) -> Path:
    """Return the cheapest path where row i may only be in [low[i], low[i] + width)."""
    costs = np.full((len(reference), width), np.inf, np.float32)
    other_square = (other**2).sum(axis=1)
    before: NDArray[np.float64] | None = None
    for i, row in enumerate(reference):
        columns = slice(low[i], low[i] + width)
        near = other[columns]
        square = other_square[columns] - 2 * np.einsum("ij,j->i", near, row) + row @ row
        local = np.sqrt(np.maximum(square, 0), dtype=np.float64)
        if before is None:
            entered = np.full(width, np.inf)
            entered[0] = local[0]
        else:
            entered = local + _entered(before, int(low[i] - low[i - 1]))
        # Along the row: cost[j] = min over k <= j of entered[k] + the cost of k+1 .. j.
        walked = np.cumsum(local)
        before = np.minimum.accumulate(entered - walked) + walked
        costs[i] = before
    return _trace(costs, low, len(other))


def _entered(before: NDArray[np.float64], shift: int) -> NDArray[np.float64]:
    """Return the cheapest way from the row before into each column of a row ``shift`` further."""
    width = len(before)
    padded = np.full(width + shift + 1, np.inf)
    padded[1 : width + 1] = before
    diagonal = padded[shift : shift + width]
    straight = padded[shift + 1 : shift + 1 + width]
    cheapest: NDArray[np.float64] = np.minimum(diagonal, straight)
    return cheapest


def _trace(costs: NDArray[np.float32], low: Path, size: int) -> Path:
    path = np.empty(len(costs), np.int64)
    i = len(costs) - 1
    j = min(size - 1, int(low[i]) + costs.shape[1] - 1)
    first, last = j, j
    while True:
        up = _cost(costs, low, i - 1, j)
        diagonal = _cost(costs, low, i - 1, j - 1)
        left = _cost(costs, low, i, j - 1)
        if left < min(up, diagonal):
            j -= 1
            first = j
            continue
        path[i] = (first + last) // 2
        if i == 0:
            return path
        i -= 1
        if diagonal <= up:
            j -= 1
        first = last = j


def _cost(costs: NDArray[np.float32], low: Path, i: int, j: int) -> float:
    if i < 0:
        return np.inf
    column = j - low[i]
    return float(costs[i, column]) if 0 <= column < costs.shape[1] else np.inf
