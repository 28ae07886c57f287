"""One patient's own pages: who looked at the record, and all of the record to take along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from twinward.access.interfaces import AccessContext, Permit, categories_in
from twinward.audit.events.plain_words import PlainWords, Say, plain_words
from twinward.audit.models import AccessEvent, AuditRow, Filters, IndexedAccess
from twinward.core.clock import iso
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Role, TwinId
from twinward.fhir.mapping.live_observations import live_observations
from twinward.fhir.search.representation import is_resource, reference_of
from twinward.live.signals import LIVE_CATEGORIES
from twinward.node import Node
from twinward.overview.consents import LOOKED
from twinward.overview.contacts import OWN_INVITATIONS
from twinward.twins.references import DELETED
from twinward.vault.interfaces import Record

_READ_AT_ONCE: Final = 200
MOST_MEASURED_BYTES: Final = 64 << 20
"""Of what was measured, in one file: about a month of eight signals each second."""
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class OwnAccess:
    """One event about the patient's record. ``words`` None: it cannot be opened any more.

    What the hospital's system did several times on end, and nobody else in between, is one: the newest, with how many
    there were, where the oldest stands in the log and when it was. So is an officer's examining of who looked, which
    opens no record: each page and filter of it is an event.
    """

    index: int
    at_ms: int
    words: PlainWords | None
    event: AccessEvent | None
    oldest: int
    since_ms: int
    times: int = 1

    def repeats(self, words: PlainWords | None) -> bool:
        """Whether an older event is the same once more. What people did with a record always stands by itself."""
        if self.event is None or self.words != words:
            return False
        examined = self.event.role is Role.OFFICER and self.event.action is Action.AUDIT
        return examined or self.event.role is Role.NODE


def own_accesses(
    node: Node,
    permit: Permit,
    twin: TwinId,
    account: str,
    *,
    before: int | None,
    limit: int,
    looks: bool,
    say: Say = str,
) -> tuple[list[OwnAccess], int | None]:
    """A page of who did what with a record, newest first, and where the next begins (None: nowhere).

    Args:
        node: the hospital's.
        permit: to audit, naming this twin.
        twin: the patient's.
        account: who reads; what it did is told as one's own.
        before: events below this index only.
        limit: how many.
        looks: also the reader's own looks at this list and at consents, which otherwise fill it.
        say: puts words into the reader's language.
    """
    found: list[OwnAccess] = []
    for row in _rows(node, permit, twin, before):
        event = row.event
        if event is not None and not looks and event.agent == account and _is_look(event):
            continue
        at_ms = row.minute_ms if event is None else event.at_ms
        words = None if event is None else plain_words(event, reader=account, name=_name(node, event), say=say)
        if found and found[-1].repeats(words):
            found[-1] = replace(found[-1], oldest=row.index, since_ms=at_ms, times=found[-1].times + 1)
            continue
        if len(found) == limit:
            return found, found[-1].oldest
        found.append(OwnAccess(row.index, at_ms, words, event, row.index, at_ms))
    return found, None


def own_relations(node: Node, twin: TwinId, rows: list[OwnAccess]) -> dict[int, str]:
    """How care connects whoever made each of these accesses with the patient, by index, where that may be told."""
    return node.reviews.relations(twin, [_indexed(row.index, row.event) for row in rows if row.event is not None])


def own_bundle(node: Node, context: AccessContext, twin: TwinId) -> bytes:
    """Every FHIR resource of a record that may be taken out, as a Bundle (FHIR R4, type collection).

    What monitors and gateways sent stands in it as Observations, the newest first.

    What policy or consent keeps back is named in an OperationOutcome at the end, and so is what is no FHIR resource.

    Raises:
        AccessDenied: nothing of it may be taken out; the refusal is logged.
        TwinNotFound, TwinShredded: it is not kept any more.
    """
    request = context.request(Action.EXPORT, twin, RECORD_CATEGORIES)
    permits = node.access.decide_part(request)
    withheld = RECORD_CATEGORIES - categories_in([one.request for one in permits])
    records = [one for permit in permits for one in node.vault.read_twin(permit) if one.content != DELETED]
    resources = [one.content for one in records if is_resource(one)]
    unlike = len(records) - len(resources)
    measured, more = _measured(node, twin, permits, records)
    resources += measured
    said = []
    if more:
        said.append("what was measured earlier is not in this file, which would be too long: ask the hospital")
    if withheld:
        kinds = ", ".join(sorted(one.value for one in withheld))
        said.append(f"kept back, because it is given out by explicit consent only or consent forbids it: {kinds}")
    if unlike:
        said.append(f"{unlike} recordings of monitors are not in this file: ask the hospital")
    if said:
        issues = [{"severity": "information", "code": "suppressed", "diagnostics": one} for one in said]
        resources.append(json.dumps({"resourceType": "OperationOutcome", "issue": issues}).encode())
    head = json.dumps({"resourceType": "Bundle", "type": "collection", "timestamp": iso(node.clock.now_ms())}).encode()
    entries = b",\n".join(b'{"resource":' + one + b"}" for one in resources)
    return head[:-1] + (b',"entry":[\n' + entries + b"\n]" if entries else b"") + b"}\n"


def _measured(
    node: Node, twin: TwinId, permits: Sequence[Permit], records: Sequence[Record]
) -> tuple[list[bytes], bool]:
    """What came by the live pipe, the newest first, and whether there is more than a file takes."""
    subject = next((reference_of(one) for one in records if one.record_type == "Patient"), "")
    found: list[bytes] = []
    size = 0
    wanted = [(permit, one) for permit in permits for one in sorted(permit.request.categories & LIVE_CATEGORIES)]
    for permit, category in wanted:
        for hour in node.live.reader.windows(permit, category, newest_first=True):
            if size > MOST_MEASURED_BYTES:
                return found, True
            some = [_ENCODER.encode(one.resource) for one in live_observations(twin, subject, hour)]
            size += sum(map(len, some))
            found += some
    return found, False


def _rows(node: Node, permit: Permit, twin: TwinId, before: int | None) -> Iterator[AuditRow]:
    while True:
        page = node.audit_reader.of_twin(permit, twin, before=before, limit=_READ_AT_ONCE, filters=Filters())
        yield from page.rows
        if page.before is None:
            return
        before = page.before


def _indexed(index: int, event: AccessEvent) -> IndexedAccess:
    return IndexedAccess(
        index,
        event.at_ms,
        event.agent,
        event.role,
        event.unit,
        event.action,
        event.purpose,
        event.twin,
        event.categories,
        event.decision == "permit",
        "",
    )


def _is_look(event: AccessEvent) -> bool:
    """Whether a patient looked at what stands about the record, and not at the record."""
    if event.action is Action.CONTACT:
        return dict(event.detail).get("page") == OWN_INVITATIONS
    return event.action is Action.AUDIT or (event.action is Action.CONSENT and LOOKED in event.detail)


def _name(node: Node, event: AccessEvent) -> str:
    record = node.accounts.find(event.agent)
    return record.name if record is not None and record.role is event.role else ""
