"""Bulk import over HTTP: the body is NDJSON, the job runs in the background, and bad lines are named when it is done.

The mirror image of ``$export`` (https://hl7.org/fhir/uv/bulkdata/export.html has the asynchronous pattern; there is no
standard for the way in). What was sent stays in memory until it is sealed: plaintext is never put on a disk. Jobs live
in memory, too: a restart forgets them, and what they had made durable stays. The same import, told to skip what is
kept, then goes on.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock, iso
from twinward.core.errors import Conflict, NotFound, TwinwardError, Unavailable
from twinward.core.vocabulary import Action
from twinward.fhir.bulk.ndjson_import import NdjsonTally, import_body
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.errors import InvalidResource, Issue, outcome_of
from twinward.fhir.mapping.ids import Origin
from twinward.twins.service import Twins

MAX_JOBS = 32
MAX_RUNNING = 2
"""Imports at a time: each holds its body in memory."""

MAX_NAMED = 1_000
"""Bad lines that are described; further ones are counted."""


class ImportNotFound(NotFound):
    """There is no such job, or it is another principal's."""


class ImportsBusy(Conflict):
    """Too many imports run at once."""

    http_status = 429


@dataclass(slots=True)
class ImportJob:
    """One import. ``done`` once it is over; ``error`` says why it ended before its last line."""

    owner: str
    at_ms: int
    source: str
    tally: NdjsonTally = field(default_factory=NdjsonTally)
    bad: list[BadLine] = field(default_factory=list)
    done: bool = False
    error: TwinwardError | None = None

    def manifest(self) -> dict[str, Any]:
        """What became of it."""
        changes = ("lines", "created", "updated", "unchanged", "new_twins", "refused")
        return {
            "transactionTime": iso(self.at_ms),
            "source": self.source,
            "counts": {name: getattr(self.tally, name) for name in changes},
            "error": [{"line": one.number, "outcome": outcome_of(one.error)} for one in self.bad],
        }


class Imports:
    """The jobs of one node. Whoever may not write at all is refused, and logged, by every method."""

    def __init__(self, twins: Twins, clock: Clock) -> None:
        self._twins = twins
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, ImportJob] = OrderedDict()

    def require(self, context: AccessContext) -> None:
        """Refuse who may not write, before what they send is read. Raises ``AccessDenied``."""
        self._twins.require(context, Action.WRITE)

    def start(self, context: AccessContext, body: bytes, *, asynchronous: bool, origin: Origin) -> str:
        """Begin a job; return its secret name.

        Args:
            context: who imports, and why.
            body: NDJSON.
            asynchronous: whether the caller said ``Prefer: respond-async``.
            origin: where it comes from, and what becomes of what came from there before.

        Raises:
            AccessDenied: the principal may write to nobody.
            InvalidResource: it was not asked for asynchronously.
            ImportsBusy: too many run already.
        """
        self.require(context)
        if not asynchronous:
            raise InvalidResource(Issue("not-supported", "", "an import is asynchronous: send Prefer: respond-async"))
        job = ImportJob(context.principal.id, self._clock.now_ms(), origin.of(body).name)
        name = secrets.token_urlsafe(24)
        with self._lock:
            if sum(not one.done for one in self._jobs.values()) >= MAX_RUNNING:
                raise ImportsBusy("too many imports are running", hint="ask again once one of them is done")
            self._jobs[name] = job
            while len(self._jobs) > MAX_JOBS:
                self._jobs.popitem(last=False)
        arguments = (job, context, body, origin)
        threading.Thread(target=self._run, args=arguments, name="fhir-import", daemon=True).start()
        return name

    def job(self, context: AccessContext, name: str) -> ImportJob:
        """A job of this principal's.

        Raises:
            AccessDenied: the principal may write to nobody.
            ImportNotFound: no such job of its.
            TwinwardError: the job could not go on, for this reason; what landed before stays.
        """
        self.require(context)
        with self._lock:
            job = self._jobs.get(name)
        if job is None or job.owner != context.principal.id:
            raise ImportNotFound("there is no such import", hint="send it again with again=skip")
        if job.error is not None:
            raise job.error
        return job

    def forget(self, context: AccessContext, name: str) -> None:
        """Forget a job that is over. Raises as ``job``, and ``ImportsBusy`` while it runs."""
        if not self.job(context, name).done:
            raise ImportsBusy("this import is running", hint="it cannot be taken back; ask again when it is done")
        with self._lock:
            self._jobs.pop(name, None)

    def _run(self, job: ImportJob, context: AccessContext, body: bytes, origin: Origin) -> None:
        def refuse(bad: BadLine) -> None:
            if len(job.bad) < MAX_NAMED:
                job.bad.append(bad)

        def show(tally: NdjsonTally) -> None:
            job.tally = tally

        try:
            bulk = self._twins.bulk_import(context)
            job.tally = import_body(body, bulk, origin=origin, on_bad_line=refuse, progress=show)
        except TwinwardError as error:
            job.error = error
        except BaseException:
            job.error = Unavailable("the import ended by a defect of this node", hint="its log says more")
            raise
        finally:
            job.bad.sort(key=lambda one: one.number)
            job.done = True
