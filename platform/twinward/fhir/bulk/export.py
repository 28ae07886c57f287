"""Bulk export: a job that is prepared in the background, then files that are streamed out of the vault.

The asynchronous pattern of https://hl7.org/fhir/uv/bulkdata/export.html. Preparing looks only at which types are
kept, through blind tags: nothing is opened and nothing is written down. A patient's records are opened while a file
is being fetched, so that each fetch is an access of its own, decided and logged patient by patient at the moment the
records leave, and a consent taken back between the two is respected. Jobs live in memory: a restart forgets them.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock, iso
from twinward.core.errors import NotFound, TwinwardError
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.categories import categories_of_type
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search.live import OBSERVATION, LiveRecords
from twinward.fhir.search.parameters import moment_of, require_served, types_of
from twinward.fhir.search.representation import reference_of, shown
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record

MAX_JOBS = 32
MEDIA_TYPE = "application/fhir+ndjson"
_DELETED = "deleted"
"""The file of deletions: no type is called so."""

_TWINS_AT_ONCE = 16
SERVED = ("_outputFormat", "_since", "_type")
_FORMATS = frozenset({MEDIA_TYPE, "application/ndjson", "ndjson"})


class ExportNotFound(NotFound):
    """There is no such job or file, or it is another principal's."""


@dataclass(slots=True)
class Job:
    """One export. ``types`` is None until it is prepared; ``error`` says why it could not be."""

    owner: str
    request: str
    twins: Sequence[TwinId] = field(repr=False)
    asked: frozenset[str]
    since_ms: int
    at_ms: int
    types: list[str] | None = None
    error: TwinwardError | None = None
    looked_at: int = 0

    def manifest(self, address: str) -> dict[str, Any]:
        """Where the files are. ``address`` is the job's own."""
        output = [{"type": name, "url": f"{address}/{name}.ndjson"} for name in self.types or []]
        deleted = [{"type": "Bundle", "url": f"{address}/{_DELETED}.ndjson"}] if self.since_ms and self.types else []
        return {
            "transactionTime": iso(self.at_ms),
            "request": self.request,
            "requiresAccessToken": True,
            "output": output,
            "deleted": deleted,
            "error": [],
        }


class Exports:
    """The jobs of one node. Whoever may not export at all is refused, and logged, by every method."""

    def __init__(self, twins: Twins, clock: Clock, live: LiveRecords | None = None) -> None:
        self._twins = twins
        self._clock = clock
        self._live = live
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def start(
        self,
        context: AccessContext,
        pairs: Sequence[tuple[str, str]],
        *,
        request: str,
        patients_only: bool,
        asynchronous: bool,
    ) -> str:
        """Begin a job; return its secret name.

        Args:
            context: who exports, and why; each file is fetched with one of its own.
            pairs: the parameters: ``_type``, ``_since``, ``_outputFormat``.
            request: the address that was asked, for the manifest.
            patients_only: leave out what belongs to no patient.
            asynchronous: whether the caller said ``Prefer: respond-async``.

        Raises:
            AccessDenied: the principal may export nobody.
            InvalidResource: a parameter that is not served.
        """
        self._twins.require(context, Action.EXPORT)
        if not asynchronous:
            raise InvalidResource(Issue("not-supported", "", "an export is asynchronous: send Prefer: respond-async"))
        asked, since_ms = _parameters(pairs)
        directory = None if patients_only else self._twins.directory()
        twins = [*sorted(self._twins.all()), *([] if directory is None else [directory])]
        job = Job(context.principal.id, request, twins, asked, since_ms, self._clock.now_ms())
        name = secrets.token_urlsafe(24)
        with self._lock:
            self._jobs[name] = job
            while len(self._jobs) > MAX_JOBS:
                self._jobs.popitem(last=False)
        threading.Thread(target=self._prepare, args=(job,), name="fhir-export", daemon=True).start()
        return name

    def job(self, context: AccessContext, name: str) -> Job:
        """A job of this principal's.

        Raises:
            AccessDenied: the principal may export nobody.
            ExportNotFound: no such job of its.
            TwinwardError: the job could not be prepared, for this reason.
        """
        self._twins.require(context, Action.EXPORT)
        with self._lock:
            job = self._jobs.get(name)
        if job is None or job.owner != context.principal.id:
            raise ExportNotFound("there is no such export", hint="start it again: a restart of the node forgets jobs")
        if job.error is not None:
            raise job.error
        return job

    def cancel(self, context: AccessContext, name: str) -> None:
        """Forget a job. Raises as ``job``."""
        self.job(context, name)
        with self._lock:
            self._jobs.pop(name, None)

    def file(self, context: AccessContext, name: str, file: str) -> Iterator[bytes]:
        """The lines of one file, patient after patient; who may not be exported now is left out (and logged so).

        Raises:
            AccessDenied, ExportNotFound: as ``job``; also for a file that the job does not have.
        """
        job = self.job(context, name)
        resource_type = file.removesuffix(".ndjson")
        if file == f"{_DELETED}.ndjson" and job.since_ms and job.types:
            return self._deletions(context, job)
        if resource_type not in (job.types or []) or not file.endswith(".ndjson"):
            raise ExportNotFound("this export has no such file", hint="its manifest lists them")
        return self._lines(context, job, resource_type)

    def _deletions(self, context: AccessContext, job: Job) -> Iterator[bytes]:
        """A transaction a patient, of what was deleted since: who may not be exported is left out of it, too."""
        finding = self._twins.search
        types = job.types or []
        wanted = frozenset[Category]().union(*(categories_of_type(one) for one in types))
        for start in range(0, len(job.twins), _TWINS_AT_ONCE):
            some = job.twins[start : start + _TWINS_AT_ONCE]
            for twin, records in finding.deleted_across(context, Action.EXPORT, some, wanted):
                since = [one for one in records if one.committed_at_ms >= job.since_ms and one.record_type in types]
                leaves = {
                    one: finding.still_leaves(context, Action.EXPORT, twin, one)
                    for one in sorted({record.category for record in since})
                }
                gone = [reference_of(one) for one in since if leaves[one.category]]
                if gone:
                    entries = [{"request": {"method": "DELETE", "url": reference}} for reference in gone]
                    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
                    yield json.dumps(bundle, separators=(",", ":")).encode() + b"\n"

    def _lines(self, context: AccessContext, job: Job, resource_type: str) -> Iterator[bytes]:
        finding = self._twins.search
        wanted = categories_of_type(resource_type)
        for start in range(0, len(job.twins), _TWINS_AT_ONCE):
            some = job.twins[start : start + _TWINS_AT_ONCE]
            for twin, records in finding.across(context, Action.EXPORT, some, resource_type, wanted):
                refused: set[Category] = set()
                for record in records:
                    if record.committed_at_ms < job.since_ms or record.category in refused:
                        continue
                    # A client that reads slowly takes a patient's lines one by one: each may be the last permitted.
                    if not finding.still_leaves(context, Action.EXPORT, twin, record.category):
                        refused.add(record.category)
                        continue
                    yield _line(record)
                if resource_type == OBSERVATION:
                    yield from map(_line, self._measured(context, twin, job.since_ms))

    def _measured(self, context: AccessContext, twin: TwinId, since_ms: int) -> Iterator[Record]:
        """What came by the live pipe of a patient, named by who they are where that may be exported, too."""
        if self._live is None or not self._live.live.has_measured(twin):
            return
        of_patient = self._twins.search.across(
            context, Action.EXPORT, [twin], "Patient", frozenset({Category.DEMOGRAPHICS})
        )
        subjects = [reference_of(one) for _, found in of_patient for one in found]
        yield from self._live.leaving(context, twin, subjects[0] if subjects else "", since_ms)

    def _prepare(self, job: Job) -> None:
        found: set[str] = set()
        try:
            for twin in job.twins:
                found |= self._twins.search.types_of(twin)
                if self._live is not None and self._live.live.has_measured(twin):
                    found.add(OBSERVATION)
                job.looked_at += 1
        except TwinwardError as error:
            job.error = error
            return
        served = found & R4_TYPES
        job.types = sorted(served & job.asked if job.asked else served)


def _line(record: Record) -> bytes:
    # A line break in JSON is never inside a string, so leaving it out changes no value.
    return shown(record).translate(None, b"\r\n") + b"\n"


def _parameters(pairs: Sequence[tuple[str, str]]) -> tuple[frozenset[str], int]:
    asked: set[str] = set()
    since_ms = 0
    require_served("$export", pairs, SERVED)
    for name, value in pairs:
        if name == "_type":
            asked |= types_of(value)
        elif name == "_since":
            since_ms = moment_of(name, value)[0]
        elif name == "_outputFormat" and value.replace(" ", "+") not in _FORMATS:
            raise InvalidResource(Issue("not-supported", "", f"_outputFormat is {MEDIA_TYPE} here"))
    return frozenset(asked), since_ms
