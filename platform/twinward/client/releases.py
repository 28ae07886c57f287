"""Released records, opened or as a file: what the hospital sealed and signed, with the moment when their use ends.

Kept so, records are opened when they are needed and not a moment after their end: ``Release.open`` refuses what has
expired, was altered, or is not the hospital's. The end stands in the signed answer and, once more, in what is sealed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from twinward.client.checking import read_as, require_proof
from twinward.client.errors import AnswerForged, AnswerMalformed, RecordsExpired
from twinward.client.keys import VendorKeys
from twinward.client.results import Record
from twinward.client.signed_files import members, terms_in
from twinward.core.errors import BadInput
from twinward.protocol.messages import RecordsReply, SealedRecords
from twinward.protocol.proofs import Kind
from twinward.protocol.sealed_records import open_records
from twinward.protocol.terms import Terms
from twinward_crypto.errors import OpenError

FORMAT: Final = "twinward-release-1"


@dataclass(frozen=True, slots=True)
class Release:
    """A hospital's terms and its answers with sealed records, each the very JSON that it sent."""

    terms: dict[str, Any] = field(repr=False)
    answers: tuple[dict[str, Any], ...] = field(repr=False)

    def encode(self) -> bytes:
        """The bytes of a file. What is in it opens with the vendor's keys alone."""
        return json.dumps({"format": FORMAT, "terms": self.terms, "answers": self.answers}, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes) -> Release:
        """What ``encode`` wrote. Raises ``BadInput``."""
        hint = "`twinward vendor results --keys … --out …` writes one beside the records"
        told = members(data, FORMAT, what="release", hint=hint)
        answers = told.get("answers")
        if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
            raise BadInput("this is no release", hint=hint)
        return cls(told["terms"], tuple(answers))

    def open(self, keys: VendorKeys, *, key: str | None = None, now_s: float | None = None) -> tuple[Record, ...]:
        """The records, opened.

        Args:
            keys: what they were sealed to.
            key: the hospital's key for answers as hex; None takes the file's own word for it.
            now_s: seconds since 1970; None for now.

        Raises:
            RecordsExpired: their end is past; nothing was opened.
            AnswerForged, AnswerMalformed: not the hospital's, altered, or of other terms; other keys.
        """
        terms, about, believed = terms_in(self.terms, key)
        replies = []
        for raw in self.answers:
            reply = read_as(RecordsReply, raw)
            if require_proof(Kind.RECORDS, raw, key=believed).binding != about.binding:
                raise AnswerForged("records of another hospital, schema or epoch than its terms")
            require_current(reply.until_s, time.time() if now_s is None else now_s)
            replies.append(reply)
        return tuple(
            record
            for reply in replies
            for sealed in reply.records
            for record in opened(keys, sealed, terms, reply.until_s)
        )


@dataclass(frozen=True, slots=True)
class Records:
    """Opened records. ``withheld`` says in one sentence what is missing and why; empty if nothing is.

    ``budget_left``: queries left in this epoch, None where the hospital does not say. ``until_s``: until when they may
    be used, in seconds since 1970; None where nothing was released. ``release``: the same as a file, sealed and signed.
    """

    records: tuple[Record, ...]
    withheld: str
    sealed_bytes: int
    budget_left: int | None = None
    until_s: int | None = None
    release: Release | None = field(default=None, repr=False)


def require_current(until_s: int | None, now_s: float) -> None:
    """Raises ``RecordsExpired`` where records' end is past."""
    if until_s is not None and now_s >= until_s:
        raise RecordsExpired(
            f"these records were released until {datetime.fromtimestamp(until_s, tz=UTC):%Y-%m-%d %H:%M} UTC",
            hint="ask the hospital for them again: it decides anew, by what each patient says now",
        )


def opened(keys: VendorKeys, sealed: SealedRecords, terms: Terms, until_s: int | None) -> list[Record]:
    """One patient's records. Raises ``AnswerMalformed``: other keys, no records, or another end than was signed."""
    try:
        told = open_records(keys, sealed.sealed, binding=terms.binding(), handle=sealed.handle)
    except OpenError as error:
        raise AnswerMalformed("sealed records do not open with these keys") from error
    except ValueError as error:
        raise AnswerMalformed("sealed records hold something else than records") from error
    if told.until_s != until_s:
        raise AnswerMalformed("sealed records with another end than their answer says")
    return [Record(sealed.handle, one.record_type, one.category, one.content) for one in told.records]
