"""The access log over HTTP: its own files for everybody, events and proofs for officers.

The files (c2sp.org/tlog-tiles) let other people's tools read and check the log. No account is wanted for them: a leaf
is a salted commitment with a kind and a minute, and names nobody. What it does tell, how many events of which kind
there were in which minute, is in the threat model; ``publish_log = false`` keeps it back.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response

from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.api.http.caller import access_context
from twinward.api.http.representation import accept_of, acceptable
from twinward.audit.exports import ENDINGS, MEDIA_TYPES, ExportFormat, Printing, render
from twinward.audit.models import Filters
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.core.clock import Clock
from twinward.core.errors import Busy, NotFound, Unavailable
from twinward.core.media_types import preferred
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.node import Node
from twinward.overview.log import event_json, inclusion_json, permit_to_examine
from twinward_ledger.errors import LedgerError, NoSuchEntry
from twinward_ledger.log.static_files import CHECKPOINT, LogFiles

MAX_INDEX = 2**53 - 1
FOREVER = "public, max-age=31536000, immutable"
PARTIAL = "public, max-age=86400"
"""A partial tile never changes either, but the log need not keep it once there is a wider one."""

NOT_KEPT = "no-cache"
Index = Annotated[int, Path(ge=0, le=MAX_INDEX)]
_ContextOf = Callable[..., Any]
MOST_AT_ONCE: Final = 4
"""Files that this process makes at once, each wholly in memory; of one account half of them."""
_making: Final = Counter[str]()
_making_lock: Final = threading.Lock()


@contextmanager
def made_in_turn(account: str) -> Iterator[None]:
    """A place among the files that are made at once, until this ends. Raises ``Busy``: as many are as can be."""
    with _making_lock:
        if _making.total() >= MOST_AT_ONCE or _making[account] >= MOST_AT_ONCE // 2:
            raise Busy("other files are being made", hint="ask again in a minute")
        _making[account] += 1
    try:
        yield
    finally:
        with _making_lock:
            _making[account] -= 1
            if not _making[account]:
                del _making[account]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file as it is handed out."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessesFiles:
    """All accesses to one patient as a download, proven complete."""

    access: AccessControl
    reader: AuditReader[Permit]
    hospital: str
    fonts: tuple[FilePath, ...]
    clock: Clock

    @classmethod
    def of(cls, node: Node) -> Self:
        """Those of a node."""
        return cls(node.access, node.audit_reader, node.settings.hospital, node.settings.print_fonts, node.clock)

    def answer(self, permit: Permit, twin: TwinId, form: ExportFormat) -> Response:
        """The file, to be kept by the browser and by nobody on the way."""
        made = self.made(permit, twin, form)
        headers = {"content-disposition": f'attachment; filename="{made.name}"', "cache-control": "no-store"}
        return Response(made.content, media_type=made.media_type, headers=headers)

    def made(
        self,
        permit: Permit,
        twin: TwinId,
        form: ExportFormat,
        told: Callable[[str, int, int], None] = lambda _step, _done, _of: None,
    ) -> MadeFile:
        """The file. ``told`` hears how many of how many rows are ``proven``, then, on paper, ``printed``.

        Who may have it no longer when it is made, having signed out or been shut out meanwhile, is not given it.
        Raises ``Busy``: as many are being made as can be; each is wholly in memory.
        """
        with made_in_turn(permit.request.principal.id):
            made = self._made(permit, twin, form, told)
        self.access.require(permit.request)
        return made

    def _made(
        self, permit: Permit, twin: TwinId, form: ExportFormat, told: Callable[[str, int, int], None]
    ) -> MadeFile:
        at_ms = self.clock.now_ms()
        document = self.reader.document(
            permit, twin, hospital=self.hospital, at_ms=at_ms, told=lambda done, rows: told("proven", done, rows)
        )
        rows = len(document.rows)
        printing = Printing(self.fonts, lambda done: told("printed", done, rows))
        name = f"accesses-{re.sub('[^0-9A-Za-z-]', '_', twin)}{ENDINGS[form]}"
        return MadeFile(name, MEDIA_TYPES[form], render(document, form, printing))


@dataclass(frozen=True, slots=True)
class _Examination:
    """What officers examine: every look is decided, and logged, first."""

    access: AccessControl
    audit: Audit
    reader: AuditReader[Permit]
    files: AccessesFiles

    def permit(self, context: AccessContext, page: str, twin: TwinId | None = None) -> Permit:
        return permit_to_examine(self.access, context, page, twin)


def log_files_router(files: LogFiles) -> APIRouter:
    """The log's files; public."""
    router = APIRouter(prefix="/log", tags=["Log"], dependencies=[Depends(acceptable)])

    @router.get(
        "/checkpoint", summary="The newest checkpoint a quorum co-signed; public", response_class=PlainTextResponse
    )
    def checkpoint() -> Response:
        return _file(files, CHECKPOINT)

    @router.get("/tile/{path:path}", summary="Part of the tree, or leaves under it; public", response_class=_Bytes)
    def tile(path: str) -> Response:
        return _file(files, f"tile/{path}")

    return router


def audit_router(node: Node, principal_of: Callable[..., Any]) -> APIRouter:
    """The newest checkpoint; public where the log is. Events and proofs; for officers."""
    router = APIRouter(prefix="/api/1/audit", tags=["Audit"])
    examined = _Examination(node.access, node.audit, node.audit_reader, AccessesFiles.of(node))
    context_of = access_context(principal_of, Purpose.COMPLIANCE)

    def for_officers(context: AccessContext = Depends(context_of)) -> None:
        examined.permit(context, "checkpoint")

    # It tells the log's size, as the files do: a hospital that keeps those to itself keeps this, too.
    _add_checkpoint(router, node.audit, acceptable if node.settings.publish_log else for_officers)
    _add_events(router, examined, context_of)
    _add_proofs(router, examined, context_of)
    _add_accesses(router, examined, context_of)
    return router


def _add_checkpoint(router: APIRouter, audit: Audit, looked_at_by: Callable[..., Any]) -> None:
    @router.get(
        "/checkpoint",
        summary="The newest signed checkpoint; public where the log is",
        response_class=PlainTextResponse,
        dependencies=[Depends(looked_at_by)],
    )
    def checkpoint() -> str:
        latest = audit.log.latest()
        if latest is None:
            raise NotFound("no checkpoint is signed yet", hint="`twinward audit checkpoint` makes one")
        return latest[1].encode().decode()


def _add_events(router: APIRouter, examined: _Examination, context_of: _ContextOf) -> None:
    @router.get("/events", summary="Events, newest first; for officers")
    def events(
        context: AccessContext = Depends(context_of),
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        twin: Annotated[str | None, Query(max_length=36)] = None,
        agent: Annotated[str | None, Query(max_length=64)] = None,
        role: Role | None = None,
        action: Action | None = None,
        decision: Annotated[str | None, Query(pattern="^(permit|deny)$")] = None,
    ) -> dict[str, Any]:
        permit = examined.permit(context, "events")
        filters = Filters(TwinId(twin) if twin else None, agent, role, action, decision)
        page = examined.reader.events(permit, before=before, limit=limit, filters=filters)
        size = examined.audit.status().size
        return {"events": [event_json(row) for row in page.rows], "before": page.before, "size": size}

    @router.get("/events/{index}", summary="One event; for officers")
    def event(index: Index, context: AccessContext = Depends(context_of)) -> dict[str, Any]:
        return event_json(examined.reader.event(examined.permit(context, "event"), index))


def _add_proofs(router: APIRouter, examined: _Examination, context_of: _ContextOf) -> None:
    audit = examined.audit

    @router.get("/events/{index}/proof", summary="The proof that an event is in the log; for officers")
    def proof(index: Index, context: AccessContext = Depends(context_of)) -> dict[str, Any]:
        examined.permit(context, "proof")
        return inclusion_json(audit, index)

    @router.get("/consistency", summary="The proof that the log only grew; for officers")
    def consistency(
        context: AccessContext = Depends(context_of),
        old: Annotated[int, Query(ge=1, le=MAX_INDEX)] = 1,
        new: Annotated[int | None, Query(ge=1, le=MAX_INDEX)] = None,
    ) -> Response:
        examined.permit(context, "consistency")
        size = audit.status().signed_size if new is None else new
        proof = audit.proofs.consistency_file(old, size)
        return Response(proof, media_type="application/json")


def _add_accesses(router: APIRouter, examined: _Examination, context_of: _ContextOf) -> None:
    @router.get(
        "/twins/{twin}/accesses",
        summary="Every access to one twin, with the proof that none was left out; for officers",
        response_class=Response,
        responses={200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}}},
    )
    def accesses(
        request: Request,
        twin: Annotated[str, Path(min_length=1, max_length=36)],
        context: AccessContext = Depends(context_of),
        form: Annotated[ExportFormat | None, Query(alias="format", description="Otherwise as Accept says.")] = None,
    ) -> Response:
        form = form or _form_of(accept_of(request))
        permit = examined.permit(context, f"export {form.value}", TwinId(twin))
        return examined.files.answer(permit, TwinId(twin), form)


def _form_of(accept: str) -> ExportFormat:
    forms = {media_type.partition(";")[0]: form for form, media_type in MEDIA_TYPES.items()}
    chosen = preferred(accept, tuple(forms))
    return ExportFormat.PROOF if chosen is None else forms[chosen.name]


class _Bytes(Response):
    media_type = "application/octet-stream"


def _file(files: LogFiles, path: str) -> Response:
    try:
        file = files.read(path)
    except NoSuchEntry as error:
        raise NotFound(str(error)) from None
    except LedgerError as error:
        raise Unavailable("the log cannot be read now") from error
    keeping = NOT_KEPT if file.path == CHECKPOINT else FOREVER if file.immutable else PARTIAL
    return Response(file.content, media_type=file.media_type, headers={"cache-control": keeping})
