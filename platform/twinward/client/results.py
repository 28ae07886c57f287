"""What comes back, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinward.protocol.terms import Mode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query that is ready to leave: look at it, then send it. Sent again it gets the same answer and costs nothing.

    Attributes:
        hospital: who would get it.
        mode: how it is asked.
        leakage: what that mode gives away, in the hospital's words.
        upload_bytes: size of what would be sent; in matrix mode in the clear.
        seconds: how long it took to make.
        query_id: what its answer can be fetched by.
    """

    hospital: str
    mode: Mode
    leakage: str
    upload_bytes: int
    seconds: float
    query_id: str
    send: Callable[[], Any] = field(repr=False)
    """The steps of sending, for the client that prepared it."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What came back.

    Attributes:
        mode: how it was asked.
        epoch: the cohort it is about; handles mean nothing in another one.
        handles: pseudonyms of matching patients; in vendor-key mode by blurred distance, ties by handle.
        count: how many were told; None where the hospital tells nothing.
        withheld: one sentence saying what is missing and why; empty if nothing is.
        budget_left: queries left in this epoch.
        distances: vendor-key mode: squared distance of each handle, noise included; empty otherwise.
        upload_bytes, download_bytes: size of the encrypted parts; in matrix mode of the token, 0 where none was sent.
        clear_bytes: size of what the hospital saw of the query: in matrix mode all of it.
        query_id: what it can be fetched again by until the epoch ends (``results``), free of charge.
        expires_at_s: until when its handles mean something, in seconds since 1970; None where that is not known.
    """

    mode: Mode
    epoch: int
    handles: tuple[str, ...]
    count: int | None
    withheld: str
    budget_left: int
    distances: tuple[int, ...] = field(default=(), repr=False)
    upload_bytes: int = 0
    download_bytes: int = 0
    clear_bytes: int = 0
    query_id: str = ""
    expires_at_s: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a patient, as the hospital keeps it."""

    handle: str
    record_type: str
    category: str
    content: bytes = field(repr=False)
