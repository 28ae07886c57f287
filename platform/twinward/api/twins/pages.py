"""Twins by page: which come next, and what a caller may see of them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessControl
from twinward.api.twins import shape
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, TwinId
from twinward.twins.service import Twins
from twinward.twins.state.states import Outline
from twinward.vault.errors import TwinShredded

SIZE, MOST = 25, 200
TWIN = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_OPTION = re.compile(r"\s*(size|cursor)\(([^()]*)\)\s*(?:,|$)")
_OUTLINED = {"twinId", "_revision", "_modified"}
Shown = tuple[TwinId, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Pages:
    """The list of twins, as one caller after the other sees it."""

    twins: Twins
    access: AccessControl

    def page(self, context: AccessContext, option: str, selection: shape.Selection) -> dict[str, Any]:
        """One page, and the cursor of the next where twins are left.

        Raises:
            BadInput: the option is none.
            AccessDenied: the caller may not list twins.
        """
        size, after = _option(option)
        detail = (("list", ",".join(sorted(selection)) or "outlines"),)
        self.access.decide(context.request(Action.SEARCH, detail=detail))
        shown: list[Shown] = []
        # Whom the caller may see nothing of leaves no gap: a page is filled with others, its cursor is one of them.
        rest = self._after(after, size)
        while len(shown) < size and rest:
            some = rest[: size - len(shown)]
            shown += self._seen(some, context, selection)
            rest = self._after(some[-1], size)
        cursor = {"cursor": _cursor(shown[-1][0])} if shown and rest else {}
        return {"items": [item for _, item in shown]} | cursor

    def now(self, twin: TwinId) -> Outline:
        """The twin's outline; of one that was shredded an empty one: only who may read is told that it was."""
        try:
            return self.twins.states.outline(twin)
        except TwinShredded:
            return self.twins.states.nothing_of(twin)

    def _after(self, twin: TwinId, most: int) -> list[TwinId]:
        return [one for one in self.twins.all(twin, most + 1) if one != twin][:most]

    def _seen(self, some: Sequence[TwinId], context: AccessContext, selection: shape.Selection) -> Iterator[Shown]:
        """Those of some twins that the caller may see something of; each is decided and logged."""
        states = self.twins.states
        if set(selection) <= _OUTLINED:
            for outline in states.listed(context, some):
                yield outline.twin, shape.pick(shape.outlined(outline), selection)
            return
        for twin in some:
            with suppress(AccessDenied, TwinShredded):
                state = states.read(context, self.now(twin))
                yield twin, shape.whole(state, states.schema, selection)


def _option(text: str) -> tuple[int, TwinId]:
    """Page size and the twin after which the page begins. Raises ``BadInput``."""
    size, after, at = SIZE, "", 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None:
            raise BadInput("this option is not known", hint="e.g. option=size(25),cursor(…)")
        name, value = match.groups()
        if name == "cursor":
            after = _after(value)
        elif value.isascii() and value.isdigit() and 1 <= int(value[:4]) <= MOST and len(value) < 4:
            size = int(value)
        else:
            raise BadInput(f"a page has 1 to {MOST} twins")
        at = match.end()
    return size, TwinId(after)


def _cursor(twin: TwinId) -> str:
    return base64.urlsafe_b64encode(twin.encode()).decode().rstrip("=")


def _after(cursor: str) -> str:
    try:
        twin = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        twin = ""
    if TWIN.fullmatch(twin) is None:
        raise BadInput("this is not a cursor of this list", hint="take it from the last page, unaltered")
    return twin
