"""What a query asked, shown afterwards: its secret key, against which each of its pairs is held.

Whoever asked gives the key and says what each level costs. ``P = sG`` has one ``s``, and ``B - sA`` is one element, so
a query opens to one table of costs and to no other: the disclosed costs are those that were counted by. The key opens
the query and its answer, and nothing else: each query has its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import cache

from twinward_crypto.errors import MalformedBundle, MalformedKey
from twinward_crypto.feasibility.group import ORDER, SODIUM, Element, Group, Scalar, scalar_of
from twinward_crypto.feasibility.query import FeasibilityQuery

_REFUSED = "this key does not open the query to what is said of it"


def require_costs(
    query: FeasibilityQuery,
    secret: Scalar,
    costs: Sequence[Sequence[int]],
    threshold: int,
    group: Group = SODIUM,
) -> None:
    """Check that a query encrypts these costs under this threshold, and under this key.

    Args:
        query: as it was sent; its elements are checked here.
        secret: 32 bytes, little-endian: the canonical scalar.
        costs: of each feature, what each level costs.
        threshold: ``T``.
        group: what is computed in.

    Raises:
        MalformedBundle: it encrypts anything else; which, is not said.
    """
    query.require_elements(group)
    if not 0 < int.from_bytes(secret, "little") < ORDER or len(secret) != len(query.public):
        raise MalformedBundle(_REFUSED)
    if threshold != query.threshold or tuple(len(some) for some in costs) != query.levels:
        raise MalformedBundle(_REFUSED)

    @cache
    def element(cost: int) -> Element:
        return group.multiply_base(scalar_of(cost))

    try:
        sound = hmac.compare_digest(group.multiply_base(secret), query.public)
        for some, pairs in zip(costs, query.pairs, strict=True):
            for cost, (one, other) in zip(some, pairs, strict=True):
                shared = group.multiply(secret, one)
                expected = group.add(shared, element(cost)) if cost else shared
                sound &= hmac.compare_digest(expected, other)
    except MalformedKey:
        sound = False
    if not sound:
        raise MalformedBundle(_REFUSED)
