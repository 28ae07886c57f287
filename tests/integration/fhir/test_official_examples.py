"""HL7's own R4 examples through the API: kept byte for byte, or refused for a reason that stands here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.web import as_sent, outcome, send, without_server
from twinward.fhir.resource_types import names

NOBODYS = names(
    """
    AuditEvent-example-error AuditEvent-example-login AuditEvent-example-logout AuditEvent-example-media
    AuditEvent-example-pixQuery AuditEvent-example-search AuditEvent-example Basic-classModel Binary-f006
    BiologicallyDerivedProduct-example Contract-C-123 DetectedIssue-lab Device-example Device-f001
    DeviceMetric-example EnrollmentResponse-ER2500 Group-example-patientlist Linkage-example
    List-example-simple-empty MeasureReport-hiv-indicators MolecularSequence-graphic-example-2
    OperationOutcome-allok PaymentNotice-77654 PaymentReconciliation-ER2500 Person-pd Procedure-education
    Procedure-ob Provenance-example-biocompute-object Provenance-example Provenance-signature
    RiskAssessment-population Schedule-example ServiceRequest-appendectomy-narrative Slot-2 Specimen-pooled-serum
    SupplyDelivery-pumpdelivery SupplyRequest-simpleorder Task-fm-example1
    TestReport-testreport-example VerificationResult-example
    """
)
"""They name no patient, or several, or one only by a contained or conditional reference: whose consent would protect
them, and under whose key they would be sealed, nobody can say. Sent together with one patient, they are taken."""

SAYS_NOTHING = frozenset({"ActivityDefinition-blood-tubes-supply", "EventDefinition-example"})
"""Their narrative is white space, which R4 forbids (txt-2)."""

CALLS_SOMEBODY = frozenset({"Subscription-example"})
"""Its channel is a rest-hook."""

BUNDLE = "Bundle-"
"""A Bundle is not kept as one resource: its entries are, by a transaction, a batch or an import."""

EMERGENCY = {"x-purpose-of-use": "ETREAT", "x-justification": "test of every example"}


@pytest.mark.slow
def test_every_official_example_is_kept_or_refused_for_its_reason(web: TestClient, shared_data: Path) -> None:
    files = {path.stem: path.read_bytes() for path in sorted((shared_data / "fhir-r4-examples").glob("*.json"))}
    assert len(files) == 360
    everything = b"".join(files.values())
    patients = {found.decode() for found in re.findall(rb'"reference": *"Patient/([A-Za-z0-9\-.]{1,64})"', everything)}
    for patient in sorted(patients):
        send(web, "PUT", f"/Patient/{patient}", content=json.dumps({"resourceType": "Patient", "id": patient}))
    refused: dict[str, str] = {}
    for name, content in files.items():
        given = json.loads(content)
        address = f"/{given['resourceType']}/{given['id']}"
        answer = send(web, "PUT", address, content=content)
        if answer.status_code in (200, 201):
            kept = send(web, "GET", address, headers=EMERGENCY)
            shown, said = (json.loads(one, parse_float=str) for one in (kept.content, content))
            assert without_server(shown) == without_server(said), name
            if "meta" not in said:
                assert as_sent(kept.content) == content.strip(), name
        else:
            assert answer.status_code == 400, (name, answer.text)
            refused[name] = outcome(answer)["diagnostics"]
    assert {name for name in refused if name.startswith(BUNDLE)} == {name for name in files if name.startswith(BUNDLE)}
    assert {name for name in refused if not name.startswith(BUNDLE)} == NOBODYS | SAYS_NOTHING | CALLS_SOMEBODY
    for name, reason in refused.items():
        if name in CALLS_SOMEBODY:
            assert "is not used, and so not taken" in reason
            continue
        why = "not kept as one" if name.startswith(BUNDLE) else "txt-2" if name in SAYS_NOTHING else "names no patient"
        assert why in reason, name


@pytest.mark.parametrize("element", ["target", "subject", "participant"])
def test_what_refers_to_one_patient_anywhere_is_that_patients(web: TestClient, element: str) -> None:
    for name in ("p", "q"):
        send(web, "PUT", f"/Patient/{name}", content=json.dumps({"resourceType": "Patient", "id": name}))
    one, other = {"reference": "Patient/p"}, {"reference": "Patient/q"}
    bodies = {
        "target": {"resourceType": "Provenance", "target": [one], "recorded": "2024-01-01T00:00:00Z"}
        | {"agent": [{"who": one}]},
        "subject": {"resourceType": "List", "status": "current", "mode": "working", "subject": one},
        "participant": {"resourceType": "Appointment", "status": "proposed"}
        | {"participant": [{"actor": one, "status": "accepted"}]},
    }
    body = bodies[element]
    made = send(web, "POST", f"/{body['resourceType']}", content=json.dumps(body))
    assert made.status_code == 201, made.text
    everything = send(web, "GET", "/Patient/p/$everything").json()
    assert made.json()["id"] in [entry["resource"].get("id") for entry in everything["entry"]]
    several = json.dumps(body | {"extension": [{"url": "http://e.example", "valueReference": other}]})
    answer = send(web, "POST", f"/{body['resourceType']}", content=several)
    assert answer.status_code == (201 if element == "subject" else 400)
