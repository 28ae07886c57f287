"""All accesses to one twin as a file, from the console. A page shows how far it is; without scripts it is a link."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from twinward.access.interfaces import Permit
from twinward.api.audit import AccessesFiles
from twinward.audit.exports import ExportFormat
from twinward.console.file_stream import streamed, wants_progress
from twinward.console.pages import Console, said
from twinward.console.sessions import PATH, asked_again
from twinward.console.viewer import gettext
from twinward.core.vocabulary import TwinId

KINDS: Final = {ExportFormat.PDF: "PDF", ExportFormat.CSV: "CSV", ExportFormat.FHIR: "FHIR"}
_Twin = Annotated[str, InPath(min_length=1, max_length=36)]


def add_exports(router: APIRouter, console: Console) -> None:
    """Add the page and the file to the pages' router."""

    @router.get("/exports/{twin}/{form}")
    def page(request: Request, twin: _Twin, form: ExportFormat) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))  # the file is an access, this is none
        address = f"{PATH}/exports/{quote(twin)}?format={form.value}"
        back = f"{PATH}/accesses?twin={quote(twin)}"
        heading = gettext("All accesses to one twin, to take out")
        return console.page(
            request,
            "export.html",
            session,
            heading=heading,
            file=address,
            kind=KINDS.get(form, ""),
            twin=twin,
            back=back,
        )

    @router.get("/exports/{twin}")
    def export(request: Request, twin: _Twin, form: Annotated[ExportFormat, Query(alias="format")]) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))
        permit = console.permit(session, f"export {form.value}", TwinId(twin))
        return accesses_file(console, request, permit, TwinId(twin), form)


def accesses_file(console: Console, request: Request, permit: Permit, twin: TwinId, form: ExportFormat) -> Response:
    """All accesses to one twin, proven complete: as a download, or for the page that shows how far it is."""
    files = AccessesFiles.of(console.node)
    if not wants_progress(request):
        return files.answer(permit, twin, form)
    return streamed(lambda told: files.made(permit, twin, form, told), said)
