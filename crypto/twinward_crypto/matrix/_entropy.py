"""Real-valued random numbers from the operating system's generator: keys and masks never come from a seeded one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]
Entropy = Callable[[int], bytes]
"""Gives that many unpredictable bytes."""

SYSTEM: Entropy = os.urandom


def uniforms(entropy: Entropy, low: float, high: float, *shape: int) -> Reals:
    """Independent uniform numbers in ``[low, high)`` with 53 random bits each."""
    raw = np.frombuffer(entropy(8 * math.prod(shape)), dtype="<u8") >> np.uint64(11)
    return low + (high - low) * (raw.astype(np.float64) * 2.0**-53).reshape(shape)


def normals(entropy: Entropy, *shape: int) -> Reals:
    """Independent standard normal numbers (Box and Muller)."""
    count = math.prod(shape)
    first = 1.0 - uniforms(entropy, 0.0, 1.0, count)
    second = uniforms(entropy, 0.0, 2 * math.pi, count)
    return (np.sqrt(-2.0 * np.log(first)) * np.cos(second)).reshape(shape)


def permutation(entropy: Entropy, count: int) -> NDArray[np.int64]:
    """A uniformly random order of ``0 .. count - 1``."""
    order: NDArray[Any] = np.argsort(uniforms(entropy, 0.0, 1.0, count), kind="stable")
    return order.astype(np.int64)
