"""A search of the encrypted partition tree: each test on a narrow copy first, on the ciphertext where that is not sure.

A ciphertext ``C`` (row of k float64) has a copy ``C'`` of int16 times a scale. With ``|C - C'|`` and what float32 sums
and either float64 order can lose in ``slack``, the trace's sign is certain where ``|<C', T>|`` exceeds ``slack |T|``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twinward_crypto.kernels.compiler import inlined, kernel

BLOCK = 64
"""Numbers that are summed in float32; their sums are added in float64."""


@kernel("float64(int16[::1], float32[::1])", fastmath={"reassoc", "contract"})
def narrow_trace(row: Any, token: Any) -> Any:
    """``<row, token>``; both are a multiple of ``BLOCK`` long."""
    total = 0.0
    for start in range(0, token.shape[0], BLOCK):
        part = np.float32(0)
        some, others = row[start : start + BLOCK], token[start : start + BLOCK]
        for k in range(BLOCK):
            part += np.float32(some[k]) * others[k]
        total += np.float64(part)
    return total


@kernel("float64(float64[::1], float64[::1])", fastmath={"reassoc", "contract"})
def wide_trace(row: Any, token: Any) -> Any:
    """``<row, token>``."""
    total = 0.0
    for k in range(token.shape[0]):
        total += row[k] * token[k]
    return total


@inlined
def accepted(place: Any, narrow: Any, scales: Any, slacks: Any, wide: Any, t32: Any, t64: Any, norm: Any) -> Any:
    """Whether the trace at this place is at most zero."""
    trace = narrow_trace(narrow[place], t32) * scales[place]
    bound = slacks[place] * norm
    if trace > bound:
        return False
    if trace < -bound:
        return True
    return wide_trace(wide[place], t64) <= 0


_ROWS = "int16[:,::1], float64[::1], float64[::1], float64[:,::1]"


@kernel(f"UniTuple(int64, 4)(int64, int64[:,::1], int64[:,::1], {_ROWS}, {_ROWS}, float32[::1], float64[::1], float64,"
        " int64[::1], int64[::1], int64[::1])")  # fmt: skip
def walk(
    root: Any, children: Any, leaves: Any,
    inner: Any, inner_scales: Any, inner_slacks: Any, inner_wide: Any,
    records: Any, record_scales: Any, record_slacks: Any, record_wide: Any,
    t32: Any, t64: Any, norm: Any, queue: Any, path: Any, found: Any,
) -> Any:  # fmt: skip
    """Level by level from the root. Children and leaves must name what there is: the caller made sure.

    Returns:
        How many inner nodes are in ``path``, leaves in ``queue`` from its end backwards, positions in ``found``, and
        how many records were tested. The first is -1 where these arrays are too small: the shape is no tree.
    """
    first, last, nodes, ended, hits, tested = 0, 1, 0, 0, 0, 0
    queue[0] = root
    top = queue.shape[0]
    while first < last:
        node = queue[first]
        first += 1
        if last + 2 + ended + 1 > top or nodes == path.shape[0] or hits + leaves.shape[1] > found.shape[0]:
            return -1, 0, 0, 0
        if node >= 0:
            path[nodes] = node
            nodes += 1
            for side in range(2):
                if accepted(2 * node + side, inner, inner_scales, inner_slacks, inner_wide, t32, t64, norm):
                    queue[last] = children[node, side]
                    last += 1
            continue
        ended += 1
        queue[top - ended] = ~node
        held = leaves[~node]
        for k in range(held.shape[0]):
            place = held[k]
            if place < 0:
                continue
            tested += 1
            if accepted(place, records, record_scales, record_slacks, record_wide, t32, t64, norm):
                found[hits] = place
                hits += 1
    return nodes, ended, hits, tested
