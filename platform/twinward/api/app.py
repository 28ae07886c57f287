"""The FastAPI application over one node."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from twinward import __version__
from twinward.api import document, problems
from twinward.api.audit import audit_router
from twinward.api.auth import bearer_principal
from twinward.api.fhir import fhir_router
from twinward.api.guard import Guard
from twinward.api.log_files import log_files_router
from twinward.api.similarity import similarity_router
from twinward.api.twin_events import EventStreams
from twinward.api.twin_records import twin_records_router
from twinward.api.twin_targets import twin_targets_router
from twinward.api.twins import twins_router
from twinward.audit.writes import WriteLog
from twinward.fhir.service import FhirService
from twinward.node import Node


def create_app(node: Node) -> FastAPI:
    """Every route of the node's API. The console is mounted on top of it by ``twinward.console.mount``."""
    app = FastAPI(
        title="Twinward",
        version=__version__,
        summary=f"{node.settings.hospital}: sealed twins, a co-signed access log, encrypted similarity queries",
        docs_url=None,  # the interactive pages load scripts from elsewhere; /openapi.json is there for any tool
        redoc_url=None,
    )
    problems.install(app)
    principal_of = bearer_principal(node.accounts)
    app.include_router(fhir_router(FhirService(node.twins, node.clock), principal_of))
    streams = EventStreams()
    app.include_router(
        twins_router(node.twins, node.access, WriteLog(node.audit), streams, principal_of, node.accounts.by_token)
    )
    app.include_router(twin_targets_router(node.twins, principal_of))
    app.include_router(twin_records_router(node.twins, node.access, node.store, principal_of))
    app.include_router(similarity_router(node.cohort, node.access, principal_of))
    if node.settings.publish_log:
        app.include_router(log_files_router(node.log_files))
    app.include_router(audit_router(node, principal_of))

    @app.get("/health", tags=["Node"], summary="Whether the node answers", response_class=PlainTextResponse)
    def health() -> str:
        return "ok\n"

    document.complete(app)
    app.add_middleware(Guard, clock=node.clock)
    return app
