"""Scopes of SMART App Launch 2 as far as a node keeps to them: ``system/*.rs`` and ``system/*.cruds``.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. A scope takes away, and never gives: role,
policy and consent decide as for any token. What is granted is kept to at the edge: a token without ``cud`` reads and
searches, and does nothing else. A scope of one type or with a query is understood and not granted: policy speaks of
categories, and a narrower word than what is kept to would be a promise nobody keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from twinward.access.errors import NoToken, ScopeTooNarrow

READS: Final = "system/*.rs"
ALL: Final = "system/*.cruds"
SUPPORTED: Final = (READS, ALL)
MOST_CHARS: Final = 2048

_SCOPE: Final = re.compile(
    r"system/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<may>c?r?u?d?s?|read|write|\*)(?P<query>\?[\x21\x23-\x5b\x5d-\x7e]+)?"
)
_MEANT: Final = {"rs": READS, "read": READS, "cruds": ALL, "*": ALL}


def granted_of(asked: str) -> tuple[str, ...]:
    """What is granted of the scopes that a request names, separated by spaces (RFC 6749, section 3.3).

    Raises ``NoToken``: one is no ``system`` scope, or none of them is granted here.
    """
    words = asked.split(" ")
    found = [_SCOPE.fullmatch(word) for word in words]
    if len(asked) > MOST_CHARS or any(one is None or not one["may"] for one in found):
        raise NoToken("invalid_scope", "scopes are of the form system/*.rs, separated by single spaces")
    meant = {_MEANT.get(one["may"]) for one in found if one and one["type"] == "*" and not one["query"]} - {None}
    granted = tuple(one for one in SUPPORTED if one in meant)
    if not granted:
        raise NoToken("invalid_scope", f"what can be granted here is {' or '.join(SUPPORTED)}; policy narrows it")
    return granted


def require(granted: Iterable[str], method: str, path: str) -> None:
    """Raise ``ScopeTooNarrow`` where a request is more than what a token was granted."""
    reads = method in ("GET", "HEAD") or (method == "POST" and path.startswith("/fhir/") and path.endswith("/_search"))
    if not reads and ALL not in granted:
        raise ScopeTooNarrow(ALL)
