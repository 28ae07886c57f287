"""The access log over HTTP: checkpoint for everybody, events and proofs for officers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response

from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.access.service import Access
from twinward.api.http.reason import Reason, reason_or
from twinward.api.http.representation import accept_of, acceptable
from twinward.audit.exports import ENDINGS, MEDIA_TYPES, render
from twinward.audit.exports.export_format import ExportFormat
from twinward.audit.exports.printing import Printing
from twinward.audit.proofs.consistency_file import growth_file
from twinward.audit.reader import AuditReader, Filters
from twinward.audit.service import Audit
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.media_types import preferred
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.overview.log import event_json, inclusion_json, permit_to_examine

MAX_INDEX = 2**53 - 1


class _Settings(Protocol):
    @property
    def hospital(self) -> str:
        """What the node calls itself."""
        ...

    @property
    def print_fonts(self) -> tuple[FilePath, ...]:
        """What printed exports are set in, after DejaVu."""
        ...


class AuditNode(Protocol):
    """What these routes need of a node."""

    @property
    def access(self) -> Access:
        """Who decides."""
        ...

    @property
    def audit(self) -> Audit:
        """The trail."""
        ...

    @property
    def audit_reader(self) -> AuditReader[Permit]:
        """Reads it."""
        ...

    @property
    def clock(self) -> Clock:
        """Its time."""
        ...

    @property
    def settings(self) -> _Settings:
        """Its settings."""
        ...


Index = Annotated[int, Path(ge=0, le=MAX_INDEX)]


EXAMINING = Reason(Purpose.COMPLIANCE)
"""Why officers read the log, unless they say otherwise."""


def officer_permit(
    access: Access, principal: Principal, page: str, twin: TwinId | None = None, why: Reason = EXAMINING
) -> Permit:
    """Leave to read the log, or one twin's part of it, itself logged."""
    return permit_to_examine(access, AccessContext(principal, why.purpose, why.justification), page, twin)


def accesses_file(node: AuditNode, permit: Permit, twin: TwinId, form: ExportFormat) -> Response:
    """All accesses to one patient as a download, proven complete."""
    at_ms = node.clock.now_ms()
    document = node.audit_reader.document(permit, twin, hospital=node.settings.hospital, at_ms=at_ms)
    name = f"accesses-{re.sub('[^0-9A-Za-z-]', '_', twin)}{ENDINGS[form]}"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    content = render(document, form, Printing(node.settings.print_fonts))
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)


def audit_router(node: AuditNode, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes."""
    access, audit, reader = node.access, node.audit, node.audit_reader
    router = APIRouter(prefix="/api/1/audit", tags=["Audit"])
    examining = reason_or(EXAMINING.purpose)

    @router.get(
        "/checkpoint",
        summary="The newest signed checkpoint; public",
        response_class=PlainTextResponse,
        dependencies=[Depends(acceptable)],
    )
    def checkpoint() -> str:
        latest = audit.log.latest()
        if latest is None:
            raise NotFound("no checkpoint is signed yet", hint="`twinward audit checkpoint` makes one")
        return latest[1].encode().decode()

    @router.get("/events", summary="Events, newest first; for officers")
    def events(
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(examining),
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        twin: Annotated[str | None, Query(max_length=36)] = None,
        agent: Annotated[str | None, Query(max_length=64)] = None,
        role: Role | None = None,
        action: Action | None = None,
        decision: Annotated[str | None, Query(pattern="^(permit|deny)$")] = None,
    ) -> dict[str, Any]:
        permit = officer_permit(access, principal, "events", why=why)
        filters = Filters(TwinId(twin) if twin else None, agent, role, action, decision)
        page = reader.events(permit, before=before, limit=limit, filters=filters)
        return {"events": [event_json(row) for row in page.rows], "before": page.before, "size": audit.status().size}

    @router.get("/events/{index}", summary="One event; for officers")
    def event(
        index: Index, principal: Principal = Depends(principal_of), why: Reason = Depends(examining)
    ) -> dict[str, Any]:
        return event_json(reader.event(officer_permit(access, principal, "event", why=why), index))

    @router.get("/events/{index}/proof", summary="The proof that an event is in the log; for officers")
    def proof(
        index: Index, principal: Principal = Depends(principal_of), why: Reason = Depends(examining)
    ) -> dict[str, Any]:
        officer_permit(access, principal, "proof", why=why)
        return inclusion_json(audit, index)

    @router.get("/consistency", summary="The proof that the log only grew; for officers")
    def consistency(
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(examining),
        old: Annotated[int, Query(ge=1, le=MAX_INDEX)] = 1,
        new: Annotated[int | None, Query(ge=1, le=MAX_INDEX)] = None,
    ) -> Response:
        officer_permit(access, principal, "consistency", why=why)
        size = audit.status().signed_size if new is None else new
        proof = growth_file(audit.log.origin, old, size, audit.proofs.consistency(old, size))
        return Response(proof, media_type="application/json")

    @router.get(
        "/twins/{twin}/accesses",
        summary="Every access to one twin, with the proof that none was left out; for officers",
        response_class=Response,
        responses={200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}}},
    )
    def accesses(
        request: Request,
        twin: Annotated[str, Path(min_length=1, max_length=36)],
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(examining),
        form: Annotated[ExportFormat | None, Query(alias="format", description="Otherwise as Accept says.")] = None,
    ) -> Response:
        form = form or _form_of(accept_of(request))
        permit = officer_permit(access, principal, f"export {form.value}", TwinId(twin), why)
        return accesses_file(node, permit, TwinId(twin), form)

    return router


def _form_of(accept: str) -> ExportFormat:
    forms = {media_type.partition(";")[0]: form for form, media_type in MEDIA_TYPES.items()}
    chosen = preferred(accept, tuple(forms))
    return ExportFormat.PROOF if chosen is None else forms[chosen.name]
