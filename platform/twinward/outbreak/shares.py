"""What hospitals hand each other of a period: masked shares, and their sum, which alone says anything.

A share has, for each day from the first on, the day's nodes of every syndrome, with this hospital's noise and under the
masks of all pairs of hospitals (``federation.aggregation.secure_aggregation``). The masks of a day are of its own: the
day is part of what they are derived from. Only shares of all hospitals together open.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.federation.aggregation.secure_aggregation import (
    HospitalIdentity,
    Masked,
    RoundSecret,
    open_sum,
    round_transcript,
)
from twinward.federation.errors import InvitationInvalid, RoundAborted, SumImplausible
from twinward.federation.signed_json import read_fields, signed_fields, verify_fields
from twinward.outbreak.agreement import ATTEMPT, AgreedPeriod, PeriodTerms
from twinward.outbreak.continual import MAX_DAYS, nodes_of_day
from twinward.outbreak.errors import OutbreakInvalid
from twinward_crypto.errors import CryptoError

_SHARE: Final = b"twinward/outbreak/share/v1\0"
_CONTEXT: Final = b"twinward/outbreak/day/v1"
_WORD: Final = 8
_HINT: Final = "`twinward outbreak release` at that hospital writes one"
_BEYOND: Final = 12
"""Standard deviations of noise below zero that no draw reaches (< 1e-32)."""
_MOST_PER_HOSPITAL: Final = 10_000_000
_Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def numbers_of(terms: PeriodTerms, day: int) -> int:
    """How many numbers a day has: its nodes, of every syndrome."""
    return len(terms.syndromes) * len(nodes_of_day(terms, day))


def masked_day(agreed: AgreedPeriod, secret: RoundSecret, day: int, values: NDArray[np.int64]) -> Masked:
    """A day's numbers under its masks. Raises ``KeyRefused``."""
    keys = agreed.keys
    transcript = round_transcript(agreed.terms.fingerprint(), day, ATTEMPT, keys, _CONTEXT)
    return secret.mask(values, keys, transcript, least=len(keys))


class _ShareFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["twinward/outbreak-share/1"]
    period: _Hex32
    keys: _Hex32
    hospital: str
    days: Annotated[list[Annotated[str, Field(pattern=r"^([0-9a-f]{16})+$")]], Field(min_length=1, max_length=MAX_DAYS)]
    signature: str


@dataclass(frozen=True)
class Share:
    """One hospital's masked days, from the first on."""

    hospital: str
    days: tuple[Masked, ...]

    def signed(self, agreed: AgreedPeriod, identity: HospitalIdentity) -> bytes:
        """The file: the same bytes each time for the same days."""
        fields = {
            "kind": "twinward/outbreak-share/1",
            "period": agreed.terms.fingerprint().hex(),
            "keys": agreed.keys_digest.hex(),
            "hospital": self.hospital,
            "days": [one.astype("<u8").tobytes().hex() for one in self.days],
        }
        return signed_fields(fields, identity, _SHARE)

    @classmethod
    def parse(cls, raw: bytes, agreed: AgreedPeriod) -> Self:
        """A share of this very period under these very keys. Raises ``InvitationInvalid``, which names whose."""
        fields = read_fields(raw, "a share of a period")
        try:
            found = _ShareFile.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:80]
            raise InvitationInvalid(f"this is not a share of a period: {where}: {first['msg']}", hint=_HINT) from None
        terms, roster = agreed.terms, agreed.invitation.roster
        if found.hospital not in roster or bytes.fromhex(found.period) != terms.fingerprint():
            raise InvitationInvalid(f"the share of {found.hospital[:63]} is of another period", hint=_HINT)
        verify_fields(fields, roster[found.hospital], _SHARE, f"the share of {found.hospital}")
        if bytes.fromhex(found.keys) != agreed.keys_digest:
            raise InvitationInvalid(f"{found.hospital} masked for other hospitals' keys than these", hint=_HINT)
        lengths = [len(one) // (2 * _WORD) for one in found.days]
        if len(lengths) > terms.days or lengths != [numbers_of(terms, day + 1) for day in range(len(lengths))]:
            raise InvitationInvalid(f"the share of {found.hospital} has other days than the period's", hint=_HINT)
        days = tuple(np.frombuffer(bytes.fromhex(one), "<u8").astype(np.uint64) for one in found.days)
        return cls(found.hospital, days)


@dataclass(frozen=True)
class SummedDays:
    """Hospitals' counts of a period, added up, with the noise of all of them.

    Attributes:
        terms: of the period.
        sums: by syndrome, each node's (first day, last day, sum), of the days so far.
    """

    terms: PeriodTerms
    sums: Mapping[str, tuple[tuple[int, int, int], ...]]

    @property
    def days(self) -> int:
        """How many days are summed."""
        return max(last for nodes in self.sums.values() for _, last, _ in nodes)

    def daily(self, syndrome: str) -> list[int]:
        """Each day's own sum, from the first on. Raises ``OutbreakInvalid`` for a syndrome that is not counted."""
        if syndrome not in self.sums:
            raise OutbreakInvalid(
                f"the period {self.terms.name} does not count {syndrome!r}", hint=f"one of {', '.join(self.sums)}"
            )
        return [number for first, last, number in self.sums[syndrome] if first == last]

    def shown(self) -> dict[str, Any]:
        """As the file that ``watch`` and ``forecast`` read; whoever judges makes it from shares, nobody signs it."""
        sums = {name: [list(node) for node in nodes] for name, nodes in self.sums.items()}
        return {
            "kind": "twinward/outbreak-sum/1",
            "terms": self.terms.model_dump(mode="json"),
            "noise": self.terms.noise,
            "sums": sums,
        }

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """From the file. Raises ``OutbreakInvalid``."""
        try:
            fields = read_fields(raw, "the sum of a period")
            terms = PeriodTerms.parse(fields["terms"])
            sums = {name: tuple(tuple(node) for node in nodes) for name, nodes in fields["sums"].items()}
            made = cls(terms, sums)
            made._require_whole(fields)
        except (InvitationInvalid, CryptoError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            hint = "`twinward outbreak sum` writes one"
            raise OutbreakInvalid("not the sum of a period's daily counts", hint=hint) from None
        return made

    def _require_whole(self, fields: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless each syndrome has exactly the nodes of the same days."""
        if fields.get("kind") != "twinward/outbreak-sum/1" or fields.get("noise") != self.terms.noise:
            raise ValueError("kind")
        if set(self.sums) != set(self.terms.syndromes) or not 1 <= self.days <= self.terms.days:
            raise ValueError("sums")
        nodes = [node for day in range(1, self.days + 1) for node in nodes_of_day(self.terms, day)]
        for found in self.sums.values():
            if [(first, last) for first, last, _ in found] != nodes:
                raise ValueError("days")
            if not all(type(number) is int and abs(number) < 1 << 53 for node in found for number in node):
                raise ValueError("counts")

    def content(self) -> bytes:
        """The file."""
        return json.dumps(self.shown()).encode()


def added_up(agreed: AgreedPeriod, shares: Sequence[Share]) -> SummedDays:
    """What all hospitals' shares come to, of the days that all of them have.

    Raises:
        RoundAborted: a hospital's share is missing; it is named, and nothing is opened.
        InvitationInvalid: a hospital's share is there twice, and they differ.
        SumImplausible: some hospital does not keep to the protocol: no counts under this noise come to that.
    """
    terms = agreed.terms
    by_name: dict[str, Share] = {}
    for one in shares:
        kept = by_name.setdefault(one.hospital, one)
        if any((a != b).any() for a, b in zip(kept.days, one.days, strict=False)):
            raise InvitationInvalid(
                f"two shares of {one.hospital} say different things of one day",
                hint="its home was turned back, or it lies: a day is released once; ask that hospital",
            )
        by_name[one.hospital] = max(kept, one, key=lambda share: len(share.days))
    missing = [name for name in terms.hospitals if name not in by_name]
    if missing:
        raise RoundAborted(
            f"the share of {', '.join(missing)} is missing, so nothing is opened",
            hint="`twinward outbreak release` at that hospital writes it; without it the others' mean nothing",
        )
    sums: dict[str, list[tuple[int, int, int]]] = {name: [] for name in terms.syndromes}
    for day in range(1, min(len(one.days) for one in by_name.values()) + 1):
        total = open_sum({name: one.days[day - 1] for name, one in by_name.items()}, terms.hospitals)
        _require_plausible(terms, total)
        nodes = nodes_of_day(terms, day)
        for place, name in enumerate(terms.syndromes):
            numbers = total[place * len(nodes) : (place + 1) * len(nodes)].tolist()
            sums[name] += [(first, last, number) for (first, last), number in zip(nodes, numbers, strict=True)]
    return SummedDays(terms, {name: tuple(nodes) for name, nodes in sums.items()})


def series_of(periods: Sequence[SummedDays], syndrome: str) -> tuple[int, list[int], int]:
    """Periods that follow each other as one series: the last day since 1970-01-01, daily sums, the noise's variance.

    Raises:
        OutbreakInvalid: a gap, an overlap, other hospitals, or a syndrome that one of them does not count.
    """
    ordered = sorted(periods, key=lambda one: one.terms.first_day)
    if len({frozenset(one.terms.hospitals) for one in ordered}) != 1:
        raise OutbreakInvalid("these periods are of different hospitals: their sums are no one series")
    for before, after in itertools.pairwise(ordered):
        if before.days != before.terms.days or before.terms.day_of(after.terms.first_day) != before.terms.days + 1:
            raise OutbreakInvalid(
                f"{after.terms.name} does not begin on the day after the last one of {before.terms.name}",
                hint="give the sums of periods that follow each other, the earlier ones whole",
            )
    last = ordered[-1]
    ends = last.terms.date_of(last.days).toordinal() - _EPOCH_ORDINAL
    return ends, [one for each in ordered for one in each.daily(syndrome)], max(one.terms.noise for one in ordered)


_EPOCH_ORDINAL: Final = 719_163
"""1970-01-01 as ``date.toordinal`` counts."""


def _require_plausible(terms: PeriodTerms, total: NDArray[np.int64]) -> None:
    least = -_BEYOND * math.isqrt(terms.noise) - _BEYOND
    if (total < least).any() or (total > _MOST_PER_HOSPITAL * len(terms.hospitals)).any():
        raise SumImplausible(
            "no counts under this noise come to such a sum: some hospital does not keep to the protocol",
            hint="which one, the masks hide; the period ends here and stays charged",
        )
