"""The FHIR endpoint without HTTP: read, vread, history, everything, metadata; and where to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from twinward import __version__
from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock
from twinward.core.vocabulary import Action, Category
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.live_observations import place_of
from twinward.fhir.resource_types import NO_RECORD, R4_TYPES, SUBSCRIPTION
from twinward.fhir.rest.capabilities import capability_statement
from twinward.fhir.rest.everything import Everything, read_everything
from twinward.fhir.rest.histories import cursor_of, read_instance_history, read_type_history
from twinward.fhir.rest.writes import Writes
from twinward.fhir.search.live import OBSERVATION, LiveRecords
from twinward.fhir.search.parameters import require_served
from twinward.fhir.search.representation import is_resource, reference_of
from twinward.fhir.search.results import history, page_links, searchset, withheld_issues
from twinward.fhir.search.service import Search
from twinward.fhir.validation.validator import ID
from twinward.twins.errors import RecordNotFound, TooMuchAtOnce
from twinward.twins.read.each import Opened
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record

_MOST_BASES = 16
_VERSION_ID = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class FhirService:
    """What the routes call."""

    twins: Twins
    clock: Clock
    live: LiveRecords | None = None
    _statements: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)
    """By the base and token URLs that the node is asked under: a statement changes with the release only."""

    @property
    def writes(self) -> Writes:
        """Create, update, delete."""
        return Writes(self.twins, self.clock)

    @property
    def search(self) -> Search:
        """Search within patients and across them."""
        return Search(self.twins, live=self.live)

    def read(self, context: AccessContext, resource_type: str, resource_id: str) -> Record:
        """The newest version of one resource, byte for byte.

        Raises:
            InvalidResource: an id that cannot be one.
            RecordNotFound: not kept, or no type of R4.
            AccessDenied: as ``Twins.read_reference``.
        """
        reference = reference_to(resource_type, resource_id)
        place = place_of(resource_id) if self.live is not None and resource_type == OBSERVATION else None
        if self.live is None or place is None:
            return self.twins.read_reference(context, reference)
        if context.principal.own_twin != place[0]:
            self.twins.require(context, Action.READ)
        if self.twins.all(place[0], 1) != [place[0]]:
            return self.twins.read_reference(context, reference)  # it is not kept, and is told as that
        patient, _ = self.twins.search.within_if_any(context, place[0], "Patient", frozenset({Category.DEMOGRAPHICS}))
        return self.live.read(context, resource_id, reference_of(patient[0]) if patient else "")

    def read_each(self, asked: Sequence[tuple[AccessContext, str]]) -> list[Opened | Exception]:
        """What ``read`` gives or raises for each reference of ``reference_if_kept``; see ``Twins.read_each``."""
        return self.twins.read_each(asked)

    def reference_if_kept(self, resource_type: str, resource_id: str) -> str | None:
        """``Type/id``; None where it may name a reading of the live pipe. Raises as ``reference_to``."""
        reference = reference_to(resource_type, resource_id)
        is_live = self.live is not None and resource_type == OBSERVATION and place_of(resource_id) is not None
        return None if is_live else reference

    def read_version(self, context: AccessContext, resource_type: str, resource_id: str, version_id: str) -> Record:
        """One version of one resource, byte for byte. Raises as ``Versions.read``."""
        reference = reference_to(resource_type, resource_id)
        version = int(version_id) if _VERSION_ID.fullmatch(version_id) else 0  # there is no version 0
        return self.twins.versions.read(context, reference, version)

    def history(
        self,
        context: AccessContext,
        resource_type: str,
        resource_id: str,
        *,
        base: str,
        pairs: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """The versions of one resource that this principal may see, newest first.

        Raises:
            InvalidResource: one of ``pairs``, the parameters of the request, is not served.
            AccessDenied, RecordNotFound: as ``Versions.history``.
        """
        reference = reference_to(resource_type, resource_id)
        past = read_instance_history(pairs)
        versions = self.twins.versions.history(context, reference)
        stored = self.twins.versions.stored(reference) if past.at else {}
        shown, total, before = past.page(versions, stored)
        counts = past.subset.only_counts
        links = page_links(f"{base}/{reference}/_history", past.used, str(before or ""), counts=counts)
        return history(() if counts else shown, base=base, total=total, links=links, subset=past.subset)

    def history_of_all(
        self, context: AccessContext, resource_type: str, *, base: str, pairs: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """The versions of all resources of a type, or (empty) of all types, that this principal may see, newest first.

        Raises:
            InvalidResource: one of ``pairs`` is not served, or too much would have to be looked at.
            AccessDenied: the principal may not search here.
            RecordNotFound: no type of R4.
        """
        kind = resource_type_of(resource_type) if resource_type else ""
        asked = read_type_history(pairs, kind)
        changes, counts = self.twins.changes, asked.subset.only_counts
        found: list[Record] = []
        total = after = None
        try:
            if counts:
                total = changes.count(context, asked.wanted)
            else:
                found, after = changes.page(context, asked.wanted, asked.count)
        except TooMuchAtOnce as error:
            raise InvalidResource(Issue("too-costly", "", str(error)), hint=error.hint) from None
        address = f"{base}/{kind}/_history" if kind else f"{base}/_history"
        links = page_links(address, asked.used, cursor_of(after) if after else "", counts=counts)
        return history(found, base=base, total=total, links=links, subset=asked.subset)

    def everything(
        self, context: AccessContext, patient_id: str, *, base: str, pairs: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """A searchset of all that this principal may see of a patient, the Patient resource first, then what is kept,
        then what came by the live pipe.

        Raises:
            InvalidResource: one of ``pairs``, the parameters of the request, is not served.
            AccessDenied, RecordNotFound: as ``Twins.read_permitted``.
        """
        reference = reference_to("Patient", patient_id)
        asked = read_everything(pairs)
        records, withheld = self.twins.read_permitted(context, reference)
        measured, unseen = self._measured(context, reference, asked)
        shown, total, after = asked.page(reference, [record for record in records if is_resource(record)], measured)
        counts = asked.subset.only_counts
        return searchset(
            () if counts else shown,
            base=base,
            total=total,
            links=page_links(f"{base}/{reference}/$everything", asked.used, after, counts=counts),
            issues=withheld_issues(withheld | unseen),
            subset=asked.subset,
        )

    def _measured(
        self, context: AccessContext, reference: str, asked: Everything
    ) -> tuple[Iterator[Record] | None, frozenset[Category]]:
        twin = self.twins.find(reference)
        if self.live is None or twin is None or not asked.has_measured or not self.live.live.has_measured(twin):
            return None, frozenset()
        return self.live.walk(context, twin, reference, asked.after_record, asked.measured)

    def metadata(self, *, base: str, token_url: str = "", pairs: Sequence[tuple[str, str]] = ()) -> bytes:
        """The CapabilityStatement, in full; ``token_url`` empty says that no access tokens are given.

        Raises ``InvalidResource`` where something else is asked, by name.
        """
        require_served("the capability statement", [one for one in pairs if one != ("mode", "full")], ())
        key = f"{base} {token_url}"
        statement = self._statements.get(key)
        if statement is None:
            statement = capability_statement(
                base=base, token_url=token_url, software_version=__version__, at_ms=self.clock.now_ms()
            )
            if len(self._statements) < _MOST_BASES:
                self._statements[key] = statement
        return statement


def reference_to(resource_type: str, resource_id: str) -> str:
    """``Type/id`` of an address.

    Raises:
        RecordNotFound: no type of R4.
        InvalidResource: an id that cannot be one, or a type whose resources are no records.
    """
    resource_type_of(resource_type)
    if not ID.fullmatch(resource_id):
        raise InvalidResource(Issue("value", "", "an id is 1 to 64 letters, digits, hyphens and dots"))
    return f"{resource_type}/{resource_id}"


def resource_type_of(name: str) -> str:
    """The name, if it is a type of R4 whose resources are records.

    Raises:
        RecordNotFound: no type of R4.
        InvalidResource: a Subscription, which is nobody's record: it is asked for and changed by itself.
    """
    if name == SUBSCRIPTION:
        raise InvalidResource(Issue("not-supported", "", NO_RECORD))
    # The node's own records (features, stays) have references too; only resource types are looked up from outside.
    if name not in R4_TYPES:
        raise RecordNotFound("this is not a resource type of FHIR R4")
    return name
