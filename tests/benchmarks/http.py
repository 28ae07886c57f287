"""A durable create over HTTP against a handler that does nothing, both called as ASGI applications in this process."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI, Request

from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.integration.fhir.hospital import Hospital
from twinward.access.accounts import Accounts
from twinward.access.interfaces import Principal
from twinward.api.fhir import fhir_router
from twinward.api.http.caller import bearer_principal
from twinward.core.vocabulary import Role

FHIR = b"application/fhir+json"


def transaction(*resources: dict[str, Any]) -> bytes:
    """A transaction that puts resources under their ids."""
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def observation(patient: str) -> dict[str, Any]:
    """A new heart rate."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2025-06-01T08:00:00Z",
        "valueQuantity": {"value": 71, "unit": "/min", "system": "http://unitsofmeasure.org"},
    }


async def post(app: FastAPI, body: bytes, token: str, path: str = "/fhir/Observation") -> int:
    """One POST, without a client's or a socket's cost; the answer's status."""
    status = 0
    headers = [(b"content-type", FHIR), (b"authorization", f"Bearer {token}".encode()), (b"host", b"localhost")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


async def post_all(app: FastAPI, bodies: list[bytes], token: str, at_once: int = 1) -> None:
    """So many at once, each sender one after the other, as ward systems send them."""

    async def one_sender(some: list[bytes]) -> None:
        for body in some:
            status = await post(app, body, token)
            if status not in (200, 201):
                raise RuntimeError(f"the API answered {status}")

    await asyncio.gather(*(one_sender(bodies[start::at_once]) for start in range(at_once)))


def creating(scale: Scale) -> list[Row]:
    count, patient = scale.pick(200, 40), str(uuid.uuid4())
    hospital = Hospital(scale.folder)
    accounts = Accounts(scale.folder / "accounts.db", hospital.clock)
    token = accounts.add_system(Principal("ward-monitor", Role.SYSTEM))
    ours, nothing = FastAPI(), FastAPI()
    ours.include_router(fhir_router(hospital.fhir, bearer_principal(accounts)))

    @nothing.post("/fhir/{resource_type}")
    async def no_op(request: Request) -> dict[str, bool]:
        return {"read": bool(await request.body())}

    asyncio.run(post(ours, transaction({"resourceType": "Patient", "id": patient}), token, "/fhir"))
    bodies: list[bytes] = []

    def fresh() -> None:
        bodies[:] = [json.dumps(observation(patient)).encode() for _ in range(count)]

    arms = [
        Arm("durable create", lambda: asyncio.run(post_all(ours, bodies, token)), count, fresh),
        Arm("16 senders", lambda: asyncio.run(post_all(ours, bodies, token, 16)), count, fresh),
        Arm("no-op handler", lambda: asyncio.run(post_all(nothing, bodies, token)), count, fresh),
    ]
    samples = race(arms, scale.pick(7, 3))
    hospital.close()
    accounts.close()
    target = Target("≤2.5× a no-op handler's CPU", "ratio", "most", 2.5)
    work = "create one Observation over HTTP: sign-in, validate, permit, log, seal, commit"
    rows = []
    for arm, label in (("durable create", work), ("16 senders", f"{work}, 16 senders at once")):
        pair = (arm, "no-op handler")
        rows += [
            versus(f"{label}, CPU", samples, *pair, clock="cpu", unit="µs", scale=1e6, kind="times", target=target),
            versus(f"{label}, wall", samples, *pair, clock="wall", unit="µs", scale=1e6, kind="times"),
        ]
    return rows


BENCHMARKS = (
    Benchmark(
        "vault.http",
        "one new Observation a request for a known patient, bearer token, two durable commits each (log, vault),"
        " against a FastAPI handler that reads the body; called as ASGI: no socket and no client"
        " in either figure",
        creating,
    ),
)
