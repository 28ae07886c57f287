"""One truth in every process: what a command changes, a node that is being served knows; or the command refuses.

``SEEN`` and ``REFUSED`` name each verb that changes a home and the test that shows it; ``UNCHANGING`` the others. A new
verb that is in none of them fails here.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import typer

from tests.integration.cli.conftest import PASSWORD, Hospital, make_hospital, run
from twinward.access.interfaces import Principal
from twinward.cli.main import app
from twinward.core.vocabulary import Role
from twinward.fhir.bulk.synthetic_patients import patient_bundle
from twinward.node import open_node
from twinward_ledger.formats.checkpoint import open_checkpoint
from twinward_ledger.formats.note import VerifierKey

FHIR = {"content-type": "application/fhir+json"}

SEEN = {
    "access allow": "test_an_emergency_that_is_reviewed_and_more_that_are_allowed",
    "access review": "test_an_emergency_that_is_reviewed_and_more_that_are_allowed",
    "audit checkpoint": "test_a_checkpoint",
    "consortium cancel": "test_a_change_of_the_consortium",
    "consortium enact": "test_a_change_of_the_consortium",
    "consortium propose": "test_a_change_of_the_consortium",
    "disclosure seal": "test_readings_are_in_the_log_that_is_served",
    "keys finish": "test_keys_shredded_later_and_finished",
    "keys retire": "test_a_rotation_with_old_keys_destroyed",
    "keys rotate": "test_a_rotation_with_old_keys_destroyed",
    "keys rotate-log": "test_another_key_for_the_log",
    "keys seal": "test_a_sealed_key_store_leaves_what_runs_running",
    "keys shred": "test_a_shredded_person",
    "keys unseal": "test_a_sealed_key_store_leaves_what_runs_running",
    "node add-person": "test_a_new_person_signs_in",
    "node add-system": "test_a_new_systems_token",
    "node compact": "test_compacted_records",
    "similarity freeze": "test_a_frozen_cohort",
    "similarity refresh": "test_a_frozen_cohort",
    "similarity thaw": "test_a_frozen_cohort",
    "study run": "test_a_study",
    "twin consent": "test_a_consent",
    "twin import": "test_an_import",
    "twin set-target": "test_a_care_target",
    "twin shred": "test_a_shredded_person",
}
"""Verb: the test that a node which is served meanwhile knows of it at once."""

REFUSED = {
    "consortium renew": "test_what_takes_a_home_away_refuses",
    "demo": "test_what_takes_a_home_away_refuses",
    "node activate": "test_what_takes_a_home_away_refuses",
    "node init": "test_what_takes_a_home_away_refuses",
    "node restore": "test_what_takes_a_home_away_refuses",
    "similarity rebuild-history": "test_a_lost_release_history_is_begun_anew_only_while_nobody_serves",
    "node serve": "test_a_second_server_is_refused_until_the_first_is_gone",
    "witness serve": "test_a_second_witness_is_refused",
}
"""Verb: the test that it refuses while the home is served."""

READING = {
    "breach export",
    "breach list",
    "breach show",
    "erasure list",
    "erasure receipt",
    "study invite",
    "study keygen",
    "access emergencies",
    "alerts back-test",
    "alerts list",
    "audit export",
    "audit list",
    "consent show",
    "device list",
    "live models",
    "live series",
    "live sources",
    "thing describe",
    "thing history",
    "thing list",
    "thing show",
    "twin at-time",
    "twin export",
    "twin history",
    "twin show",
    "twin state",
    "twin watch",
    "what-if",
}
"""Verbs that change nothing but the log, to which each reading is added: the same for all of them."""

UNCHANGING = {
    "account list",
    "account sessions",
    "account show",
    "access check",
    "alerts rules",
    "alerts webhook",
    "audit check-proof",
    "audit consistency",
    "audit gaps",
    "audit policy",
    "audit tiles",
    "audit trust",
    "audit verifier",
    "audit verify",
    "consortium card",
    "consortium show",
    "disclosure open",
    "exchange list",
    "exchange suggest",
    "exchange surge",
    "outbreak alerts",
    "outbreak periods",
    "outbreak simulate",
    "disclosure public",
    "keys check-receipt",
    "keys split",
    "keys status",
    "node backup",
    "node doctor",
    "node status",
    "policy history",
    "policy preview",
    "policy show",
    "similarity key",
    "similarity plan",
    "study approvals",
    "study card",
    "study check",
    "study export",
    "study models",
    "study new",
    "study report",
    "study suspects",
    "twin list",
    "vendor budget",
    "vendor contact",
    "vendor contacts",
    "vendor feasibility",
    "vendor keygen",
    "vendor open",
    "vendor query",
    "vendor results",
    "vendor check-statement",
    "vendor schema",
    "vendor statement",
    "witness card",
    "witness compare",
    "witness create",
    "witness evidence",
    "witness status",
}
"""Verbs that change no node's home, or speak to the server itself."""

_ACCOUNTS = "tests/adversarial/access/test_accounts_taken_away.py"
_DELEGATIONS = "tests/integration/console/test_delegations.py"
_PROVIDER = "tests/integration/console/test_hospital_sign_in.py"
_PATIENTS = "tests/integration/console/test_patient_accounts.py"
_LIVE = "tests/integration/live/test_over_http.py"
_THINGS = "tests/integration/things/test_over_http.py"
_CLIENTS = "tests/adversarial/access/test_signing_clients.py"
_BREACHES = "tests/integration/breach/test_breaches.py"
_ERASURES = "tests/integration/console/test_erasures_page.py"
_POLICY = "tests/integration/policy/test_policy_changes.py"
_EXCHANGE = "tests/integration/cli/test_exchange.py"
_OUTBREAK = "tests/integration/cli/test_outbreak.py"
_COUNTING = "tests/integration/cli/test_outbreak_periods.py"
ELSEWHERE = {
    "account add-client": _CLIENTS,
    "account certificates": "tests/adversarial/access/test_mutual_tls.py",
    "account client-keys": _CLIENTS,
    "account delegate": _DELEGATIONS,
    "account disable": _ACCOUNTS,
    "account enable": _ACCOUNTS,
    "account enrol": _ACCOUNTS,
    "account end-delegation": _DELEGATIONS,
    "account end-sessions": _ACCOUNTS,
    "account expire-password": _ACCOUNTS,
    "account link": _PROVIDER,
    "account new-token": _ACCOUNTS,
    "account remove-passkey": "tests/unit/access/test_passkeys.py",
    "account reset-password": _ACCOUNTS,
    "account revoke-token": _ACCOUNTS,
    "account sign-out": _ACCOUNTS,
    "account tie": _PATIENTS,
    "account unenrol": _ACCOUNTS,
    "account units": _DELEGATIONS,
    "account unlink": _PROVIDER,
    "account untie": _PATIENTS,
    "alerts acknowledge": _LIVE,
    "alerts silence": _LIVE,
    "alerts remind": "tests/integration/live/test_reminders.py",
    "audit accept-clock": "tests/integration/node/test_clock.py",
    "audit review": "tests/integration/console/test_reviews.py",
    "breach assess": _BREACHES,
    "breach close": _BREACHES,
    "breach draft": _BREACHES,
    "breach note": _BREACHES,
    "breach notify": _BREACHES,
    "breach open": _BREACHES,
    "consent set": "tests/integration/cli/test_consent.py",
    "device assign": _LIVE,
    "device release": _LIVE,
    **{f"exchange {step}": _EXCHANGE for step in ("open", "offer", "request", "withdraw", "promise", "ship")},
    **{f"exchange {step}": _EXCHANGE for step in ("receive", "dispute", "settle", "decide", "cancel", "lapse")},
    "live close": _LIVE,
    "live connect": _LIVE,
    "live quarantine": _LIVE,
    "live replay": _LIVE,
    "live score": "tests/integration/live/test_scoring.py",
    "live take": _LIVE,
    **{f"outbreak {step}": _OUTBREAK for step in ("open", "raise", "watch", "end")},
    "outbreak forecast": _COUNTING,
    **{f"outbreak {step}": _COUNTING for step in ("invite", "approve", "reserve", "release", "sum")},
    "node move": "tests/integration/postgres/test_move.py",
    "erasure approve": _ERASURES,
    "erasure propose": _ERASURES,
    "erasure withdraw": _ERASURES,
    "policy approve": _POLICY,
    "policy propose": _POLICY,
    "policy withdraw": _POLICY,
    "node tables": "tests/integration/postgres/test_postgres.py",
    "site flower": "tests/integration/federation/test_flower.py",
    "study flower": "tests/integration/federation/test_flower.py",
    "site serve": "tests/integration/cli/test_site_serve.py",
    "study score": "tests/integration/cli/test_study_score.py",
    "study approve": "tests/integration/cli/test_study_invitations.py",
    "study quarantine": "tests/integration/cli/test_study_suspects.py",
    "thing add": _THINGS,
    "thing end": _THINGS,
    "thing record": _THINGS,
    "thing relate": _THINGS,
    "witness add-log": "tests/integration/witnesses/test_commands.py",
    "witness remember": "tests/integration/witnesses/test_commands.py",
}
"""Verbs shown elsewhere: on a witness's home, on accounts (beside the attacks on those), on the clock, on servers, in
the tests of what they are about."""


@dataclass
class Served:
    """A hospital whose node is served by a process of its own."""

    hospital: Hospital
    tokens: dict[str, str]
    url: str
    process: subprocess.Popen[str]
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def get(self, path: str, who: str = "clinician", **more: Any) -> httpx.Response:
        return self.client.get(path, headers={"authorization": f"Bearer {self.tokens[who]}"}, **more)

    def send(self, method: str, path: str, body: Any, who: str) -> httpx.Response:
        headers = FHIR | {"authorization": f"Bearer {self.tokens[who]}"}
        return self.client.request(method, path, headers=headers, content=json.dumps(body))

    def typed(self, *arguments: str, code: int = 0, **options: Any) -> str:
        """A command on the home that is served, from this process, which is not the server's."""
        done = self.hospital.run(*arguments, **options)
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.output

    def newest(self) -> str:
        """The twin that was made last."""
        return max(self.typed("twin", "list").split())

    def demographics(self, twin: str) -> str:
        return self.typed("twin", "show", twin, "--as", "dr-lee", "--category", "demographics")


def serve_command(home: Path) -> list[str]:
    options = ["--port", "0", "--checkpoint-every", "0", "--home", str(home)]
    return [sys.executable, "-m", "twinward", "node", "serve", *options]


@contextmanager
def served(hospital: Hospital, tokens: dict[str, str]) -> Iterator[Served]:
    process = subprocess.Popen(
        serve_command(hospital.home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        one = Served(hospital, tokens, found[0], process)
        with one.client:
            yield one
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Six patients, and accounts whose tokens are known."""
    hospital = make_hospital(tmp_path_factory.mktemp("served") / "node")
    with open_node(hospital.home) as opened:
        roles = {"clinician": Role.CLINICIAN, "officer": Role.OFFICER, "ward": Role.SYSTEM}
        tokens = {name: opened.accounts.add_system(Principal(f"t-{name}", role)) for name, role in roles.items()}
    with served(hospital, tokens | {"vendor": hospital.vendor_token}) as one:
        yield one


def _verbs(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from _verbs(one, (*path, name))
    else:
        yield " ".join(path)


def test_every_verb_is_accounted_for() -> None:
    known = [*SEEN, *REFUSED, *READING, *UNCHANGING, *ELSEWHERE]
    assert sorted(known) == sorted(_verbs(typer.main.get_command(app)))
    for test in {*SEEN.values(), *REFUSED.values()}:
        assert callable(globals()[test])


def test_an_emergency_that_is_reviewed_and_more_that_are_allowed(node: Served) -> None:
    headers = {"x-purpose-of-use": "ETREAT", "x-justification": "patient found unconscious on the ward"}
    headers["authorization"] = f"Bearer {node.tokens['clinician']}"

    def opened(twin: str) -> int:
        path, asked = f"/api/1/twins/{twin}/records", {"category": "labs"}
        return node.client.get(path, params=asked, headers=headers).status_code

    assert [opened(twin) for twin in node.hospital.twins] == [200] * 5 + [429]
    node.typed(*["access", "allow", "t-clinician", "--as", "olga", "--patients", "6", "--for", "1h"])
    assert opened(node.hospital.twins[5]) == 200

    def told() -> dict[str, str]:
        found = node.get("/api/1/emergencies", "officer").json()["emergencies"]
        return {one["emergency"]: one["state"] for one in found}

    newest = next(iter(told()))
    node.typed("access", "review", newest, "--as", "olga", "--justified", "--note", "seen with the ward's chief")
    (reviewed,) = (
        e for e in node.get("/api/1/emergencies", "officer").json()["emergencies"] if e["emergency"] == newest
    )
    assert reviewed["state"] == "reviewed"


def test_a_new_person_signs_in(node: Served) -> None:
    node.typed(*["node", "add-person", "nadia", "--role", "officer", "--password-file", "-"], input=PASSWORD)
    form = re.search(r'name="csrf" value="([^"]+)"', node.client.get("/console/sign-in").text)
    assert form
    data = {"account": "nadia", "password": PASSWORD, "csrf": form[1]}
    answer = node.client.post("/console/sign-in", data=data)
    assert answer.status_code == 303


def test_a_new_systems_token(node: Served) -> None:
    token = json.loads(node.typed(*["node", "add-system", "ward-7", "--role", "clinician", "--json"]))["token"]
    headers = {"authorization": f"Bearer {token}"}
    assert node.client.get(f"/api/1/twins/{node.hospital.twins[0]}", headers=headers).status_code == 200


def test_an_import(node: Served, tmp_path: Path) -> None:
    bundle = tmp_path / "anew.json"
    bundle.write_bytes(patient_bundle(1, seed=77))
    before = set(node.typed("twin", "list").split())
    node.typed("twin", "import", str(bundle))
    (twin,) = set(node.typed("twin", "list").split()) - before
    assert node.get(f"/api/1/twins/{twin}").status_code == 200


def test_a_consent(node: Served, tmp_path: Path) -> None:
    twin, no = node.hospital.twins[1], tmp_path / "no.json"
    no.write_text('[{"effect": "deny"}]')
    assert node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).status_code == 200
    node.typed("twin", "consent", twin, "--as", "olga", "--file", str(no))
    assert node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).status_code == 403
    assert node.get(f"/api/1/twins/{twin}/consent", who="officer").json()["provisions"][0]["effect"] == "deny"
    no.write_text("[]")
    node.typed("twin", "consent", twin, "--as", "olga", "--file", str(no))
    assert node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).status_code == 200


def test_a_frozen_cohort(node: Served, tmp_path: Path) -> None:
    """Who consents while it is frozen joins with the thaw; who withdraws leaves; the terms say since when."""
    schema = "/api/1/similarity/schema"
    yes, no = tmp_path / "yes.json", tmp_path / "no.json"
    no.write_text('[{"effect": "deny"}]')

    def members() -> set[str]:
        assert node.get("/api/1/similarity/query-key", who="vendor").status_code == 200
        with open_node(node.hospital.home) as opened:
            return set(opened.similarity().cohort.twins)

    everybody = members()
    late = sorted(everybody)[-1]
    yes.write_text(json.dumps(node.get(f"/api/1/twins/{late}/consent", who="officer").json()["provisions"]))
    node.typed("twin", "consent", late, "--as", "olga", "--file", str(no))
    assert members() == everybody - {late}
    node.typed("similarity", "freeze", "--as", "olga")
    assert members() == everybody - {late}
    assert node.get(schema, who="vendor").json()["cohort"]["frozen_since_ms"] % 60_000 == 0
    node.typed("twin", "consent", late, "--as", "olga", "--file", str(yes))
    node.typed("similarity", "refresh", "--as", "olga")
    assert members() == everybody - {late}
    node.typed("similarity", "freeze", "--as", "olga", code=4)
    node.typed("similarity", "thaw", "--as", "dr-lee", code=6)
    node.typed("similarity", "thaw", "--as", "olga")
    assert members() == everybody
    assert node.get(schema, who="vendor").json()["cohort"]["frozen_since_ms"] is None
    node.typed("similarity", "thaw", "--as", "olga", code=4)


def test_a_care_target(node: Served) -> None:
    twin = node.hospital.twins[0]
    path = f"/api/1/twins/{twin}/features/hba1c_percent/desiredProperties"
    node.typed("twin", "set-target", twin, "hba1c_percent", "--value", "6.5", "--as", "dr-lee")
    assert node.get(path).json()["value"] == pytest.approx(6.5)


def test_a_checkpoint(node: Served) -> None:
    node.typed("audit", "checkpoint")
    signed = int(node.client.get("/log/checkpoint").text.splitlines()[1])
    node.get(f"/api/1/twins/{node.hospital.twins[0]}")
    node.typed("audit", "checkpoint")
    assert int(node.client.get("/log/checkpoint").text.splitlines()[1]) > signed


def test_readings_are_in_the_log_that_is_served(node: Served) -> None:
    node.demographics(node.hospital.twins[2])
    newest = node.get("/api/1/audit/events", who="officer", params={"limit": 3}).json()["events"]
    assert any(one["agent"] == "dr-lee" and one["twin"] == node.hospital.twins[2] for one in newest)


def test_a_change_of_the_consortium(node: Served) -> None:
    """A quorum's keys are in this home, so it agrees at once; what was proposed without them waits, or is cancelled."""
    budget = "/api/1/similarity/budget"
    node.typed("consortium", "propose", "--grant", "acme=77")
    assert node.get(budget, who="vendor").json()["remaining"] == 77
    with open_node(node.hospital.home) as opened:
        grant = opened.consortium.budgets.granting("acme", 2**63)
        number = opened.consortium.witness_set.propose(grant)
    assert f"change {number} is proposed" in node.typed("consortium", "show")
    assert "TooEarly" in node.typed("consortium", "enact", str(number), code=4)
    node.typed("consortium", "cancel", str(number))
    assert "NotProposed" in node.typed("consortium", "enact", str(number), code=4)
    assert "nothing is proposed" in node.typed("consortium", "show")
    assert node.get(budget, who="vendor").json()["remaining"] == 77
    for wrong in ([], ["--quorum", "2", "--admit", "0x1"], ["--admit", "0x1"], ["--grant", "acme"]):
        node.typed("consortium", "propose", *wrong, code=2)
    node.typed("consortium", "propose", "--retire", "nobody", code=3)
    assert "ImpossibleQuorum" in node.typed("consortium", "propose", "--quorum", "9", code=4)


@pytest.mark.slow
def test_a_study(node: Served, tmp_path: Path) -> None:
    """Its readings are in the log that is served, its model is on the ledger that the console reads."""
    twin, yes = node.hospital.twins[0], tmp_path / "yes.json"
    yes.write_text('[{"effect": "permit", "roles": ["researcher"], "purposes": ["HRESCH"]}]')
    node.typed("twin", "consent", twin, "--as", "olga", "--file", str(yes))
    node.typed("node", "add-system", "marie", "--role", "researcher")
    for name in ("st-anna", "northgate", "lakeside"):
        node.typed("consortium", "propose", "--cap", f"{name}=100000")
    protocol = tmp_path / "served-1.toml"
    node.typed("study", "new", str(protocol))
    node.typed("study", "run", str(protocol), "--as", "marie", "--yes")
    newest = node.get("/api/1/audit/events", who="officer", params={"limit": 5, "agent": "marie"}).json()["events"]
    assert any((one["agent"], one["action"], one["twin"]) == ("marie", "train", twin) for one in newest)
    assert json.loads(node.typed("study", "card", "served-1", "--json"))["card"]["study"] == "served-1"


def test_compacted_records(node: Served) -> None:
    twin = node.hospital.twins[3]
    before = node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).json()["records"]
    node.typed("node", "compact")
    after = node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).json()["records"]
    assert sorted(one["content_base64"] for one in after) == sorted(one["content_base64"] for one in before)


def test_a_rotation_with_old_keys_destroyed(node: Served) -> None:
    """What the server makes after it is wrapped under the key that is left: another process opens it."""
    node.typed("keys", "rotate", "--retire", "--yes")
    made = node.send("POST", "/fhir/Patient", {"resourceType": "Patient", "name": [{"family": "Later"}]}, "ward")
    assert made.status_code == 201, made.text
    assert node.get(f"/api/1/twins/{node.hospital.twins[0]}").status_code == 200
    keks = json.loads(node.typed("keys", "status", "--json"))["keks"]
    assert list(keks.values())[:-1] == [0] * (len(keks) - 1)
    assert len(keks) == 1
    assert "Later" in node.demographics(node.newest())
    node.typed("keys", "rotate")
    node.typed("keys", "retire", "--yes")
    later = node.send("POST", "/fhir/Patient", {"resourceType": "Patient", "name": [{"family": "Latest"}]}, "ward")
    assert later.status_code == 201, later.text
    assert "Latest" in node.demographics(node.newest())


def test_another_key_for_the_log(node: Served) -> None:
    """What is served signs with the new key from the next checkpoint on, and shows the browser how it came."""
    done = json.loads(node.typed("keys", "rotate-log", "--as", "olga", "--yes", "--json"))
    assert node.get(f"/api/1/twins/{node.hospital.twins[0]}").status_code == 200
    node.typed("audit", "checkpoint")
    after = VerifierKey.parse(done["after"])
    checkpoint, _ = open_checkpoint(node.get("/log/checkpoint").content, after)
    assert checkpoint.size > done["size"]
    status = json.loads(node.typed("node", "status", "--json"))["log"]
    assert (status["key"], status["key_since"], status["signed"]) == (done["after"], done["size"], checkpoint.size)
    assert status["cosigned"] == status["witnesses"]


@pytest.fixture
def one_officer(node: Served) -> Iterator[None]:
    """Where another one may approve, nobody erases alone."""
    with open_node(node.hospital.home) as opened:
        others = [one.id for one in opened.accounts.of_role(Role.OFFICER) if one.id != "olga"]
    for name in others:
        node.typed("account", "disable", name, "--as", "olga")
    yield
    for name in others:
        node.typed("account", "enable", name, "--as", "olga")


@pytest.mark.usefixtures("one_officer")
def test_a_shredded_person(node: Served) -> None:
    for verb, twin in (("keys", node.hospital.twins[4]), ("twin", node.hospital.twins[5])):
        assert node.get(f"/api/1/twins/{twin}").status_code == 200
        node.typed(verb, "shred", twin, *["--as", "olga", "--purpose", "PATRQT", "--yes"])
        assert node.get(f"/api/1/twins/{twin}").status_code in (404, 410)
        assert node.get(f"/api/1/twins/{twin}/records", params={"category": "labs"}).status_code in (404, 410)


@pytest.mark.usefixtures("one_officer")
def test_keys_shredded_later_and_finished(node: Served) -> None:
    twin = node.hospital.twins[3]
    node.typed("keys", "shred", twin, *["--as", "olga", "--purpose", "PATRQT", "--later", "--yes"])
    assert node.get(f"/api/1/twins/{twin}").status_code in (404, 410)
    node.typed("keys", "finish", "--as", "olga")
    assert node.get(f"/api/1/twins/{node.hospital.twins[0]}").status_code == 200


def test_a_sealed_key_store_leaves_what_runs_running(node: Served) -> None:
    shares = json.loads(node.typed("keys", "split", "--shares", "3", "--threshold", "2", "--json"))["shares"]
    given = "\n".join(shares[:2])
    node.typed("keys", "seal", "--shares-from", "-", "--yes", input=given)
    made = node.send("POST", "/fhir/Patient", {"resourceType": "Patient", "name": [{"family": "Sealed"}]}, "ward")
    assert made.status_code == 201, made.text
    node.typed("keys", "unseal", "--shares-from", "-", input=given)
    assert "Sealed" in node.demographics(node.newest())


def test_what_takes_a_home_away_refuses(node: Served, tmp_path: Path) -> None:
    home = node.hospital.home
    node.typed("node", "init", code=4)
    assert "served" in node.typed("consortium", "renew", "--yes", code=4)
    archive = tmp_path / "today.twbackup"
    node.typed("node", "backup", str(archive))
    assert "served" in node.typed("node", "restore", str(archive), "--replace", "--yes", code=4)
    assert "at work" in node.typed("node", "activate", "--yes", code=4)
    (home / "made-by-demo").touch()
    assert "served" in node.typed("demo", "--force", code=4)
    (home / "made-by-demo").unlink()
    assert node.get(f"/api/1/twins/{node.hospital.twins[0]}").status_code == 200


def test_a_lost_release_history_is_begun_anew_only_while_nobody_serves(node: Served) -> None:
    history = node.hospital.home / "releases.sealed"
    kept = history.read_bytes() if history.exists() else None
    history.write_bytes(b"altered")
    try:
        command = ["similarity", "rebuild-history", "--as", "olga"]
        assert "altered" in node.typed(*command, "--dry-run")
        assert "is being served" in node.typed(*command, "--yes", code=4)
        assert history.read_bytes() == b"altered"
    finally:
        history.unlink() if kept is None else history.write_bytes(kept)


@pytest.mark.slow
def test_a_second_server_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """Also after kill -9, which gives nobody time to tidy up."""
    home = tmp_path / "node"
    assert run("node", "init", "--home", str(home)).exit_code == 0
    hospital = Hospital(home, (), "")
    with served(hospital, {}) as first:
        refused = first.typed("node", "serve", "--port", "0", code=4)
        assert f"process {first.process.pid}" in refused
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(20)
        with served(hospital, {}) as second:
            assert second.client.get("/health").status_code == 200
            second.process.send_signal(signal.SIGTERM)
            second.process.wait(20)
    with served(hospital, {}) as third:
        assert third.client.get("/health").status_code == 200


def test_a_second_witness_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "witness"
    assert run("witness", "create", "--name", "northgate", "--home", str(home)).exit_code == 0
    command = [sys.executable, "-m", "twinward", "witness", "serve", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as first:
        try:
            assert first.stdout is not None
            assert "answers at" in first.stdout.readline()
            again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (again.returncode, f"process {first.pid}" in again.stderr) == (4, True)
        finally:
            first.kill()
    deadline = time.monotonic() + 20
    while first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
