"""Tables that are put in another order by their heads, and paged: by links, kept in the address, without a script.

One door: a page says which columns its table has and what each is sorted by; heads, addresses, pages and the order of
names come from here (``templates/_tables.html`` writes them). Rows are sorted in this process: every such list is read
whole for its page anyway, from small stores or off the chain. What is too long for that is not: accesses are put in
order by their index, and use the heads alone.

Invariants:

* An order is total and the same at each request: equals stand in the table's first order, and equals by that as they
  were given, so pages neither double nor lose rows.
* What is missing stands last, whichever way the order goes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar, cast
from urllib.parse import urlencode

from fastapi import Request

from twinward.console.viewer import gettext, message
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence

PAGE_ROWS: Final = 50
RowT = TypeVar("RowT")
ShownT = TypeVar("ShownT")
Value = str | int | float | None
"""What a row is sorted by; None and "" are missing. A column's are all texts or all numbers."""

_NUMBER: Final = re.compile(r"[0-9]+")
_PAGE: Final = re.compile(r"[1-9][0-9]{0,6}")


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head as it is written; ``sorted`` is aria-sort's value, ``address`` empty where nothing is sorted."""

    words: str
    css: str = ""
    address: str = ""
    sorted: str = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """One column.

    Attributes:
        words: its head, in English.
        name: how the address calls it; empty for one that nobody would sort by.
        key: what its rows are sorted by; None where something else than this module sorts.
        css: the head's classes.
        falls: whether the largest comes first at the first press: dates, counts.
        rising, falling: the address's words for its two orders, where they are not ``name`` and ``-name``.
    """

    words: str
    name: str = ""
    key: Callable[[RowT], Value] | None = None
    css: str = ""
    falls: bool = False
    rising: str = ""
    falling: str = ""

    @property
    def orders(self) -> tuple[str, str]:
        """Rising and falling, as the address says them."""
        return self.rising or self.name, self.falling or f"-{self.name}"

    def head(self, order: str, address: Callable[[str], str]) -> Head:
        """As it is written where a table is in an order, with the way to the next one."""
        if not self.name:
            return Head(gettext(self.words), self.css)
        rising, falling = self.orders
        next_ = {rising: falling, falling: rising}.get(order, falling if self.falls else rising)
        now = {rising: "ascending", falling: "descending"}.get(order, "")
        return Head(gettext(self.words), self.css, address(next_), now)


@dataclass(frozen=True, slots=True)
class Arranged(Generic[RowT]):
    """One page of a table's rows, in the order that was asked for; iterating gives its rows.

    Attributes:
        id: of the element that scrolls, where the links lead: the keyboard goes on from there.
        total, first: how many rows there are on all pages, and the place of this page's first (1 for the first).
        page, pages: which of how many.
        earlier, later: addresses of the pages beside; empty where there is none.
    """

    id: str
    rows: tuple[RowT, ...]
    heads: tuple[Head, ...]
    total: int
    first: int
    page: int
    pages: int
    earlier: str
    later: str

    def shown(self, show: Callable[[RowT], ShownT]) -> Arranged[ShownT]:
        """Its rows as a page writes them: only those that are on it."""
        return replace(cast("Arranged[ShownT]", self), rows=tuple(show(one) for one in self.rows))

    def __iter__(self) -> Iterator[RowT]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)  # with slots, Python cannot note what `Table[Row](…)` is made for
class Table(Generic[RowT]):
    """A table of a page.

    Attributes:
        name: of its element; where a page has ``several`` tables, also what its parameters begin with.
        columns: from left to right.
        first: the order it has where the address names none; empty for the order in which rows are given.
        several: whether its page has other tables that are sorted.
        forgets: parameters that say what was just done, which a link does not repeat.
    """

    name: str
    columns: tuple[Column[RowT], ...]
    first: str = ""
    several: bool = False
    forgets: tuple[str, ...] = ()

    def arranged(self, request: Request, rows: Iterable[RowT]) -> Arranged[RowT]:
        """The page of rows that a request asks for; beyond the last one the last.

        Raises:
            BadInput: there is no such order, or no such page.
        """
        sort, page = (f"{self.name}-{one}" if self.several else one for one in ("sort", "page"))
        every, asked = list(rows), request.query_params
        order = asked.get(sort, "") or self.first
        kept = [one for one in asked.multi_items() if one[0] not in (sort, page, *self.forgets)]

        def address(order: str, number: int = 1) -> str:
            own = {sort: "" if order == self.first else order, page: str(number) if number > 1 else ""}
            said = urlencode([*kept, *((name, value) for name, value in own.items() if value)])
            return f"?{said}#{self._id}"

        pages = max(1, -(-len(every) // PAGE_ROWS))
        number = min(_page(asked, page), pages)
        start = (number - 1) * PAGE_ROWS
        return Arranged(
            id=self._id,
            rows=tuple(self._in_order(every, order)[start : start + PAGE_ROWS]),
            heads=tuple(one.head(order, address) for one in self.columns),
            total=len(every),
            first=start + 1,
            page=number,
            pages=pages,
            earlier=address(order, number - 1) if number > 1 else "",
            later=address(order, number + 1) if number < pages else "",
        )

    @property
    def _id(self) -> str:
        return f"table-{self.name}"

    def _in_order(self, rows: list[RowT], order: str) -> list[RowT]:
        if not order:
            return rows
        if order != self.first:
            rows = self._in_order(rows, self.first)
        column = next((one for one in self.columns if one.key and order in one.orders), None)
        if column is None or column.key is None:
            names = ", ".join(order for one in self.columns if one.key for order in one.orders)
            raise BadInput(
                sentence("there is no {field} {written!r}", field=sentence("sort"), written=order[:32]),
                hint=sentence("one of {names}", names=names),
            )
        keyed = [(column.key(row), row) for row in rows]
        present = [(_comparable(key), row) for key, row in keyed if key is not None and key != ""]
        present.sort(key=lambda one: one[0], reverse=order == column.orders[1])  # equals stay as they were, both ways
        return [row for _, row in present] + [row for key, row in keyed if key is None or key == ""]


def collated(text: str) -> tuple[str, str]:
    """What texts are compared by, as a reader looks for them: letter case and accents aside (DIN 5007-1: ä as a, ß as
    ss), figures by their value, so that bed 2 stands before bed 10; then by the text itself.
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return _NUMBER.sub(lambda found: found[0].lstrip("0").rjust(20, "0"), plain), text


def _comparable(key: str | float) -> tuple[str, str] | float:
    return collated(key) if isinstance(key, str) else key


def _page(asked: Mapping[str, str], name: str) -> int:
    written = asked.get(name, "") or "1"
    if not _PAGE.fullmatch(written):
        raise BadInput(message("there is no such page"), hint=message("pages count from 1"))
    return int(written)
