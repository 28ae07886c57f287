"""The FastAPI application over one node."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from twinward import __version__
from twinward.api import openapi
from twinward.api.fhir import fhir_router
from twinward.api.fhir.context import told_in_fhir
from twinward.api.fhir.subscriptions import Streaming
from twinward.api.http import pipeline
from twinward.api.http.conditions import conditions_checked
from twinward.api.http.direct import DirectRoutes
from twinward.api.rarely import Rarely
from twinward.api.tokens import token_urls, tokens_router
from twinward.api.twins.events import EventStreams
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
    principal_of = pipeline.caller_of(node.accounts, node.client_tokens, node.fresh_proofs, node.networks)
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
    # FHIR's routes see to conditions themselves.
    app.router.routes += Rarely(node, streams, conditions_checked(principal_of)).doors()


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
