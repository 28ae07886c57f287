"""The FastAPI application over one node."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from twinward import __version__
from twinward.api import openapi
from twinward.api.accounts import accounts_router
from twinward.api.audit import audit_router, log_files_router
from twinward.api.contacts import contacts_router
from twinward.api.delegations import delegations_router
from twinward.api.emergencies import emergencies_router
from twinward.api.fhir import fhir_router
from twinward.api.fhir.context import told_in_fhir
from twinward.api.fhir.subscriptions import Streaming
from twinward.api.http import pipeline
from twinward.api.http.conditions import conditions_checked
from twinward.api.http.direct import DirectRoutes
from twinward.api.live import live_router
from twinward.api.proofs import proofs_router
from twinward.api.similarity import similarity_router
from twinward.api.things import things_router
from twinward.api.tokens import token_urls, tokens_router
from twinward.api.twins.events import EventStreams
from twinward.api.twins.reading import twins_router
from twinward.api.twins.records import twin_records_router
from twinward.api.twins.targets import twin_targets_router
from twinward.fhir.rest.service import FhirService
from twinward.fhir.search.live import LiveRecords
from twinward.fhir.subscriptions.service import Subscriptions
from twinward.node import Node
from twinward.node.readiness import Readiness, readiness_of


def create_app(node: Node, *, listens: str = "", count: Callable[[str, str, int, int], None] | None = None) -> FastAPI:
    """Every route of the node's API. The console is mounted on top of it by ``twinward.console.mount``.

    ``listens``: the host that is listened on, a name the node may be called by. ``count`` is told of each request that
    ended: its method, its route's template, its status, how many milliseconds it took.
    """
    app = FastAPI(
        title="Twinward",
        version=__version__,
        summary=f"{node.settings.hospital}: sealed twins, a co-signed access log, encrypted similarity queries",
        docs_url=None,  # the interactive pages load scripts from elsewhere; /openapi.json is there for any tool
        redoc_url=None,
    )
    _add_domains(app, node)
    _add_probes(app, readiness_of(node))
    openapi.complete(app)
    pipeline.install(app, node.clock, public_url=node.settings.public_url, listens=listens, count=count)
    return app


def _add_domains(app: FastAPI, node: Node) -> None:
    principal_of = pipeline.caller_of(node.accounts, node.client_tokens, node.fresh_proofs)
    token_url_of = token_urls(node.settings.public_url)
    app.include_router(
        tokens_router(node.client_tokens, token_url_of, mutual_tls=node.settings.tls_client_ca is not None)
    )
    streams, standing = EventStreams(), node.accounts.require_standing
    streaming = Streaming(subscriptions_of(node), streams, standing)
    service = FhirService(node.twins, node.clock, LiveRecords(node.live))
    fhir = fhir_router(service, principal_of, streaming, token_url_of)
    app.router.routes.insert(0, DirectRoutes(fhir.routes, told_in_fhir))  # looked at before any of FastAPI's
    app.include_router(fhir)
    principal_of = conditions_checked(principal_of)  # FHIR's routes see to it themselves
    app.include_router(twins_router(node.twins, node.access, node.audit.writes, streams, principal_of, standing))
    app.include_router(twin_targets_router(node.twins, principal_of))
    app.include_router(twin_records_router(node.twins, node.access, node.store, principal_of))
    app.include_router(live_router(node.live, node.twins, streams, principal_of, standing))
    app.include_router(things_router(node.things, node.twins, principal_of, node.settings.public_url))
    app.include_router(similarity_router(node.cohort, node.access, principal_of))
    app.include_router(contacts_router(node.cohort, node.contacts, node.access, principal_of))
    if node.settings.publish_log:
        app.include_router(log_files_router(node.log_files))
    app.include_router(audit_router(node, principal_of))
    app.include_router(accounts_router(node.account_desk, principal_of))
    app.include_router(proofs_router(node.fresh_proofs, principal_of))
    app.include_router(delegations_router(node.delegations, node.clock, principal_of))
    app.include_router(emergencies_router(node.emergencies, node.access, node.clock, principal_of))


def subscriptions_of(node: Node) -> Subscriptions:
    """A node's FHIR subscriptions."""
    return Subscriptions(node.twins, node.access, node.subscriptions, node.audit.writes, node.clock)


def _add_probes(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/health", tags=["Node"], summary="Whether the process answers", response_class=PlainTextResponse)
    async def health() -> str:
        return "ok\n"

    @app.get("/ready", tags=["Node"], summary="Whether the stores it needs answer", response_class=PlainTextResponse)
    def ready() -> str:
        readiness.require()
        return "ready\n"
