"""A registered model over a hospital's twins: consent and role, what is filed, once, and read again over FHIR."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from tests.held_keys import HeldKeysBudget
from tests.integration.cli.conftest import OFFICER, Hospital
from twinward import federation
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import iso
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.federation.models import COHORT
from twinward.federation.study import StudyProtocol
from twinward.fhir.mapping.risk_assessments import MODEL_SYSTEM
from twinward.fhir.validation.validator import validate
from twinward.node import open_node
from twinward.node.study_score import result_id

pytestmark = pytest.mark.slow

STUDY = StudyProtocol.for_dp_var(
    "watch-1", ("st-anna", "northgate", "lakeside"), signals="checkup", expected_patients=600, epsilon=3.0
)


LIVE_STUDY = StudyProtocol.for_dp_var(
    "watch-live", ("st-anna", "northgate", "lakeside"), expected_patients=600, epsilon=3.0
)


@pytest.fixture(scope="module")
def registered(hospital: Hospital) -> str:
    """A model over made-up patients, registered on the ledger and kept in the home; its hash."""
    with open_node(hospital.home) as node:
        node.accounts.add_system(Principal("marie", Role.RESEARCHER, "Marie Research"))
        for name in STUDY.hospitals:
            node.consortium.cap_privacy(name, COHORT, 10_000_000)
    return register(hospital, STUDY)


def register(hospital: Hospital, study: StudyProtocol) -> str:
    shares = {name: federation.synthetic_data(study, 200, seed).stays for seed, name in enumerate(study.hospitals)}
    done = federation.run_simulation(study, shares)
    federation.save_model(done, hospital.home / "models")
    with open_node(hospital.home) as node:
        budget, plan = HeldKeysBudget(node.consortium.budgets, node.consortium.keys), done.plan
        paid = budget.reserve(study.fingerprint(), study.hospitals, plan.inverse_variance_micros)
        budget.commit(paid)
        node.consortium.models.register(paid, done.model.hash(), done.card.hash(), plan.epsilon_micros, plan.delta_e12)
    return done.model.hash().hex()


def test_who_may_not_score_is_refused(hospital: Hospital, registered: str) -> None:
    for account in ("marie", "olga", "acme"):
        done = hospital.run("study", "score", "watch-1", "--as", account)
        assert done.exit_code == 6, done.output
    assert hospital.run("study", "score", "watch-2", "--as", "dr-lee").exit_code == 3
    assert hospital.run("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "nan").exit_code == 2


def test_what_departs_is_filed_once_and_read_like_any_record(hospital: Hospital, registered: str) -> None:
    seen = hospital.asked("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "-1", "--dry-run")
    assert (seen["scored"], seen["filed"], len(seen["anomalies"])) == (6, {}, 6)
    denied = hospital.twins[0]
    with open_node(hospital.home) as node:
        no_care = Provision(effect="deny", purposes=(Purpose.TREATMENT,))
        node.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), denied, (no_care,))
    filed = hospital.asked("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "-1")
    assert (filed["scored"], filed["filed"]) == (5, {"created": 5})
    assert denied not in {one["twin"] for one in filed["anomalies"]}
    again = hospital.asked("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "-1")
    assert again["filed"] == {"unchanged": 5}
    found = filed["anomalies"][0]
    resource_id = result_id(registered, found["twin"])
    with open_node(hospital.home) as node:
        lee = AccessContext(node.accounts.named("dr-lee"), Purpose.TREATMENT)
        record = node.twins.read_reference(lee, f"RiskAssessment/{resource_id}")
        assert (record.twin, record.category, record.version) == (found["twin"], Category.CONDITIONS, 1)
    body = json.loads(record.content)
    assert body["method"]["coding"] == [{"system": MODEL_SYSTEM, "code": registered}]
    assert body["subject"]["reference"].startswith("Patient/")
    shares = [
        part["valueDecimal"]
        for extension in body["prediction"][0]["extension"]
        for part in extension.get("extension", [])
        if part["url"] == "share"
    ]
    assert shares == sorted(shares, reverse=True) == [one["share"] for one in found["signals"]]
    assert 0.05 <= sum(shares) <= 1.001
    validate(json.loads(record.content, parse_float=Decimal))
    events = hospital.asked("audit", "list", "--as", "olga", "--limit", "200")["events"]
    by_lee = {(one["agent"], one["action"]) for one in events}
    assert {("dr-lee", "read"), ("dr-lee", "write")} <= by_lee
    shown = hospital.run("twin", "show", found["twin"], "--as", "dr-lee", "--category", "conditions")
    assert "RiskAssessment v1" in shown.stdout


def test_a_finding_that_stands_no_more_is_amended(hospital: Hospital, registered: str) -> None:
    hospital.run("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "-1")
    done = hospital.run("study", "score", "watch-1", "--as", "dr-lee", "--threshold", "1e9")
    assert done.exit_code == 0, done.output
    assert "5 earlier findings stand no more: amended" in done.stdout
    with open_node(hospital.home) as node:
        lee = AccessContext(node.accounts.named("dr-lee"), Purpose.TREATMENT)
        record = node.twins.read_reference(lee, f"RiskAssessment/{result_id(registered, hospital.twins[1])}")
    body = json.loads(record.content)
    assert (body["status"], record.version) == ("amended", 2)
    assert "not above" in body["prediction"][0]["qualitativeRisk"]["text"]


def test_an_altered_model_scores_nobody(hospital: Hospital, registered: str) -> None:
    path = hospital.home / "models" / "watch-1.model"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert hospital.run("study", "score", "watch-1", "--as", "dr-lee").exit_code == 4
    finally:
        path.write_bytes(content)


def test_a_registered_model_scores_live_twins(hospital: Hospital, registered: str) -> None:
    """Over the command line: of years it is refused, altered it scores nobody; one of hours raises what contributes."""
    assert hospital.run("live", "score", "watch-1", "--as", "dr-lee").exit_code == 2
    register(hospital, LIVE_STUDY)
    assert hospital.run("live", "score", "watch-live", "--as", "olga").exit_code == 6
    measured = iso(int(time.time() // 3600 * 3600 - 600) * 1000 - (3_600_000 if time.time() % 3600 < 600 else 0))
    lines = [
        {"seq": seq, "device": "monitor-1", "code": code, "value": value, "unit": unit, "time": measured}
        for seq, (code, value, unit) in enumerate((("8867-4", 171, "/min"), ("8310-5", 40.1, "Cel")), 1)
    ]
    file = hospital.home / "hot.ndjson"
    file.write_text("\n".join(json.dumps(one) for one in lines))
    twin = hospital.twins[1]
    for done in (
        hospital.run("node", "add-system", "gateway", "--role", "system"),
        hospital.run("device", "assign", "monitor-1", twin, "--as", "gateway", "--from", measured),
        hospital.run("live", "take", str(file), "--source", "gw", "--as", "gateway"),
    ):
        assert done.exit_code == 0, done.output
    begun = hospital.asked("live", "score", "watch-live", "--as", "dr-lee", "--threshold", "-1")
    assert (begun["scored"], begun["raised"]) == (1, 1)
    assert hospital.asked("live", "score", "watch-live", "--as", "dr-lee", "--threshold", "-1")["raised"] == 0
    found = hospital.asked("alerts", "list", "--as", "dr-lee", "--twin", twin)["alerts"]
    (alert,) = [one for one in found if one["rule"] == "model:watch-live"]
    assert {one["signal"] for one in alert["because"]} <= {"heart_rate", "temperature"}
    assert all(0.05 <= one["share"] <= 1 for one in alert["because"])
    path = hospital.home / "models" / "watch-live.model"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    (kept,) = hospital.asked("live", "models", "--as", "dr-lee")["models"]
    assert (kept["account"], "is not the model that was registered" in kept["problem"]) == ("dr-lee", True)
    assert hospital.run("live", "score", "watch-live", "--as", "dr-lee", "--stop").exit_code == 0
    assert hospital.asked("live", "models", "--as", "dr-lee") == {"models": []}
