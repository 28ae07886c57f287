"""What each command does, on a real node."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, run
from twinward.core.vocabulary import Category
from twinward.fhir.bulk.synthetic_patients import patient_bundle


def test_a_new_node_is_made_and_says_what_to_do_next(tmp_path: Path) -> None:
    home = tmp_path / "mercy"
    done = run("node", "init", "--home", str(home), "--tenant", "mercy", "--hospital", "Mercy Hospital")
    assert done.exit_code == 0, done.output
    assert "Mercy Hospital" in done.stdout
    assert f"twinward node serve --home {home}" in done.stdout
    status = run("node", "status", "--home", str(home), "--json")
    shown = json.loads(status.stdout)
    assert (shown["tenant"], shown["twins"], shown["log"]["size"], shown["log"]["witnesses"]) == ("mercy", 0, 0, 3)
    again = run("node", "init", "--home", str(home))
    assert again.exit_code == 4
    assert "not empty" in again.stderr


def test_a_node_whose_passphrase_file_is_missing_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINWARD_PASSPHRASE_FILE", str(tmp_path / "absent"))
    home = tmp_path / "node"
    done = run("node", "init", "--home", str(home))
    assert done.exit_code == 2
    assert "passphrase" in done.stderr
    assert not home.exists() or not any(home.iterdir())


def test_a_passphrase_protects_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passphrase, home = tmp_path / "passphrase", tmp_path / "node"
    passphrase.write_text("six words nobody would ever guess")
    passphrase.chmod(0o640)
    monkeypatch.setenv("TWINWARD_PASSPHRASE_FILE", str(passphrase))
    exposed = run("node", "init", "--home", str(home))
    assert (exposed.exit_code, "chmod 600" in exposed.stderr, list(home.iterdir())) == (2, True, [])
    passphrase.chmod(0o600)
    assert run("node", "init", "--home", str(home)).exit_code == 0
    assert run("keys", "status", "--home", str(home)).exit_code == 0
    passphrase.write_text("something else altogether")
    refused = run("keys", "status", "--home", str(home))
    assert refused.exit_code == 7
    assert "TWINWARD_PASSPHRASE_FILE" in refused.stderr
    assert "something else" not in refused.output


def test_status_counts_what_is_there(hospital: Hospital) -> None:
    shown = hospital.asked("node", "status")
    log = shown["log"]
    assert shown["twins"] + shown["shredded"] == 6
    assert log["signed"] == log["size"] - log["pending"] or log["signed"] >= log["anchored"]
    assert log["cosigned"] == 3
    assert isinstance(log["anchored_block"], int)
    assert {"id": "acme", "queries_left": 12} in shown["vendors"] or shown["vendors"][0]["queries_left"] <= 12
    text = hospital.run("node", "status").stdout
    assert f"{log['signed']:,} signed" in text


def test_status_without_its_chain_says_what_the_node_knows_by_itself(hospital: Hospital, tmp_path: Path) -> None:
    key = tmp_path / "chain.key"
    key.write_text(f"{5:064x}")
    key.chmod(0o600)
    chain_id = str(json.loads((hospital.home / "consortium.json").read_bytes())["chain_id"])
    names = {"TWINWARD_CHAIN": "http://127.0.0.1:9", "TWINWARD_CHAIN_ID": chain_id, "TWINWARD_CHAIN_KEY_FILE": str(key)}
    shown = hospital.asked("node", "status", code=7, env=names)
    assert (shown["log"]["cosigned"], shown["consortium"], shown["error"]["kind"]) == (3, None, "Unavailable")
    told = hospital.run("node", "status", env=names)
    assert (told.exit_code, "3 of 3 witnesses" in told.stdout) == (7, True)
    assert told.stderr.startswith("error: http://127.0.0.1:9 does not answer")


def test_people_and_systems_get_accounts(hospital: Hospital, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    person = ("node", "add-person", "petra", "--role", "clinician", "--password-file", str(password))
    assert hospital.run(*person).exit_code == 0
    assert hospital.run(*person).exit_code == 4
    paul = ("node", "add-person", "paul", "--role", "operator")
    unseen = hospital.run(*paul, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert unseen.exit_code == 2  # no terminal: what is typed would be seen
    assert "--password-file" in unseen.stderr
    typed = hospital.run(*paul, "--password-file", "-", input=f"{PASSWORD}\n")
    assert typed.exit_code == 0, typed.output
    assert PASSWORD not in typed.output
    made = hospital.asked("node", "add-system", "beta", "--role", "vendor", "--queries", "5")
    assert made["token"].startswith("twk_beta_")
    vendors = {one["id"]: one["queries_left"] for one in hospital.asked("node", "status")["vendors"]}
    assert vendors["beta"] == 5
    again = hospital.run("node", "add-system", "beta", "--role", "vendor", "--queries", "999")
    assert again.exit_code == 4
    vendors = {one["id"]: one["queries_left"] for one in hospital.asked("node", "status")["vendors"]}
    assert vendors["beta"] == 5  # a refused account changes nobody's budget
    told = hospital.run("audit", "list", "--as", "olga", "--action", "account", "--limit", "9").stdout
    assert "changed the account beta (added, with token 1) for" in told
    assert "looked at or changed" not in told


def test_good_files_land_and_bad_ones_are_named(tmp_path: Path) -> None:
    home, bundles = tmp_path / "node", tmp_path / "bundles"
    assert run("node", "init", "--home", str(home)).exit_code == 0
    bundles.mkdir()
    (bundles / "a-good.json").write_bytes(patient_bundle(0, 5))
    (bundles / "b-bad.json").write_text('{"resourceType": "Bundle", ')
    (bundles / "c-good.json").write_bytes(patient_bundle(1, 5))
    done = run("twin", "import", str(bundles), "--home", str(home))
    assert done.exit_code == 2
    assert "2 patients, 2 of them new" in done.stdout
    assert "b-bad.json" in done.stderr
    assert "a-good.json" not in done.stderr
    good = str(bundles / "a-good.json")
    unsaid = run("twin", "import", good, "--home", str(home))
    assert unsaid.exit_code == 2
    assert "--again skip" in unsaid.stderr
    again = run("twin", "import", good, "--again", "skip", "--home", str(home), "--json")
    assert again.exit_code == 0
    shown = json.loads(again.stdout)
    assert (shown["patients"], shown["new_twins"], shown["records"]["created"]) == (1, 0, 0)
    assert run("twin", "list", "--count", "--home", str(home)).stdout.strip() == "2"
    anew = run("twin", "import", good, "--source", "ward-b", "--home", str(home), "--json")
    assert (json.loads(anew.stdout)["new_twins"], json.loads(anew.stdout)["source"]) == (1, "ward-b")
    assert run("twin", "import", good, "--source", "a\nb", "--home", str(home)).exit_code == 2


def test_a_twin_is_read_through_the_gate(hospital: Hospital) -> None:
    before = hospital.asked("node", "status")["log"]["size"]
    shown = hospital.asked("twin", "show", hospital.twins[0], "--as", "dr-lee", "--category", "labs")
    assert shown["log_index"] == before
    assert {record["category"] for record in shown["records"]} == {Category.LABS.value}
    assert all(record["content"]["resourceType"] for record in shown["records"])
    refused = hospital.run("twin", "show", hospital.twins[0], "--as", "dr-lee", "--category", "psychiatry")
    assert refused.exit_code == 6
    assert "psychiatric" in refused.stderr
    assert "resourceType" not in refused.output
    assert hospital.asked("node", "status")["log"]["size"] == before + 2  # the refusal is in the log as well
    newest = hospital.asked("audit", "list", "--as", "olga", "--agent", "dr-lee", "--limit", "2")["events"]
    assert [event["decision"] for event in newest] == ["deny", "permit"]
    assert newest[1]["detail"]["via"] == "command line"


def test_consent_is_set_and_bites(hospital: Hospital, tmp_path: Path) -> None:
    twin = hospital.twins[1]
    no = tmp_path / "no.json"
    no.write_text('[{"effect": "deny", "roles": ["clinician"], "categories": ["labs"]}]')
    set_ = hospital.asked("twin", "consent", twin, "--as", "olga", "--file", str(no))
    assert set_["version"] == 2
    assert hospital.asked("twin", "consent", twin, "--as", "olga")["provisions"] == set_["provisions"]
    refused = hospital.run("twin", "show", twin, "--as", "dr-lee", "--category", "labs")
    assert refused.exit_code == 6
    assert "consent forbids" in refused.stderr
    assert hospital.run("twin", "consent", twin, "--as", "dr-lee").exit_code == 6


def test_the_log_is_listed_in_pages_of_sentences(hospital: Hospital) -> None:
    first = hospital.asked("audit", "list", "--as", "olga", "--limit", "2")
    assert len(first["events"]) == 2
    rest = hospital.asked("audit", "list", "--as", "olga", "--limit", "2", "--before", str(first["before"]))
    assert rest["events"][0]["index"] == first["events"][1]["index"] - 1
    text = hospital.run("audit", "list", "--as", "olga", "--action", "audit", "--limit", "1").stdout
    assert "olga (officer, data office) looked at the access log for compliance" in text
    assert hospital.run("audit", "list", "--as", "dr-lee").exit_code == 6


def test_a_proof_holds_anywhere_and_a_forged_one_nowhere(hospital: Hospital, tmp_path: Path) -> None:
    assert hospital.run("audit", "checkpoint").exit_code == 0
    proof, trust = tmp_path / "event.proof", tmp_path / "trust.json"
    export = ("audit", "export", "2", "--out", str(proof), "--disclose", "--as", "olga")
    assert hospital.run(*export).exit_code == 0
    assert stat.S_IMODE(proof.stat().st_mode) == 0o600
    assert hospital.run(*export).exit_code == 4
    assert hospital.run("audit", "trust", "--out", str(trust)).exit_code == 0

    held = run("audit", "check-proof", str(proof), "--trust", str(trust), "--json")
    shown = json.loads(held.stdout)
    assert (held.exit_code, shown["index"], len(shown["cosigned"])) == (0, 2, 3)
    assert shown["event"].startswith("node (node) wrote")

    whole = proof.read_text()
    proof.write_text(whole.replace("index 2\n", "index 3\n"))
    forged = run("audit", "check-proof", str(proof), "--trust", str(trust))
    assert forged.exit_code == 8
    assert "does not hold" in forged.stderr
    proof.write_text("not a proof")
    assert run("audit", "check-proof", str(proof), "--trust", str(trust)).exit_code == 2
    proof.write_text(whole)
    other = json.loads(trust.read_text())
    trust.write_text(json.dumps(other | {"quorum": 4}))
    assert run("audit", "check-proof", str(proof), "--trust", str(trust)).exit_code == 8
    trust.write_text(json.dumps(other | {"log": "nonsense"}))
    assert run("audit", "check-proof", str(proof), "--trust", str(trust)).exit_code == 2


def test_an_undisclosed_proof_says_nothing_of_the_event(hospital: Hospital, tmp_path: Path) -> None:
    proof = tmp_path / "event.proof"
    assert hospital.run("audit", "export", "1", "--out", str(proof)).exit_code == 0
    done = hospital.run("audit", "check-proof", str(proof))
    assert done.exit_code == 0
    assert "not disclosed" in done.stdout
    assert "system" not in done.stdout


def test_tampering_with_a_copy_is_named(hospital: Hospital, tmp_path: Path) -> None:
    assert hospital.asked("audit", "verify", "--deep")["sound"] is True
    copy = tmp_path / "log.db"
    shutil.copy(hospital.home / "log.db", copy)
    with sqlite3.connect(copy) as database:
        leaf = bytearray(database.execute("SELECT leaf FROM leaves WHERE idx = 3").fetchone()[0])
        leaf[-1] ^= 1
        database.execute("UPDATE leaves SET leaf = ? WHERE idx = 3", (bytes(leaf),))
    database.close()
    done = hospital.run("audit", "verify", "--file", str(copy))
    assert done.exit_code == 8
    assert "first bad index: 3" in done.stderr
    shown = hospital.asked("audit", "verify", "--file", str(copy), code=8)
    assert (shown["sound"], shown["first_bad_index"]) == (False, 3)


def test_an_erased_person_is_gone_and_the_deed_is_on_record(hospital: Hospital, tmp_path: Path) -> None:
    twin = hospital.twins[-1]
    shred = ("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT")
    size = hospital.asked("node", "status")["log"]["size"]
    assert "would be permitted" in hospital.run(*shred, "--dry-run").stdout
    assert hospital.asked("node", "status")["log"]["size"] == size
    assert hospital.run(*shred).exit_code == 2  # nobody to ask, and no --yes
    denied = hospital.run("keys", "shred", twin, "--as", "dr-lee", "--purpose", "PATRQT", "--yes")
    assert denied.exit_code == 6
    assert twin in hospital.asked("twin", "list")["twins"]

    planned = hospital.asked(*shred, "--dry-run")
    keks = [int(version) for version in hospital.asked("keys", "status")["keks"]]
    assert (planned["done"], planned["asked"][0]["permitted"], planned["retired"]) == (False, True, keks)
    assert hospital.asked("keys", "retire", "--dry-run") == {"retired": [], "done": False}
    receipts = tmp_path / "receipts"
    nowhere = hospital.run(*shred, "--yes", "--receipts", str(tmp_path / "no" / "receipts"))
    assert (nowhere.exit_code, (tmp_path / "no").exists()) == (2, False)
    assert twin in hospital.asked("twin", "list")["twins"]
    done = hospital.asked(*shred, "--yes", "--receipts", str(receipts))
    (receipt,) = done["erased"]
    assert hospital.asked("keys", "status")["keks"] == {str(done["kek"]): planned["keys"] - 1}
    assert twin not in hospital.asked("twin", "list")["twins"]
    gone = hospital.run("twin", "show", twin, "--as", "dr-lee", "--category", "labs")
    assert gone.exit_code == 3
    assert "shredded" in gone.stderr
    events = {one["index"]: one for one in hospital.asked("audit", "list", "--as", "olga", "--limit", "10")["events"]}
    assert events[receipt["decided_at_index"]]["state"] == "erased"
    deed = events[receipt["done_at_index"]]
    assert (deed["agent"], deed["action"], deed["twin"]) == ("olga", "shred", twin)
    assert deed["detail"]["decided_at_index"] == str(receipt["decided_at_index"])
    trust = tmp_path / "trust.json"
    hospital.run("audit", "trust", "--out", str(trust))
    held = run("keys", "check-receipt", receipt["receipt"], "--trust", str(trust), "--json")
    assert json.loads(held.stdout)["twin"] == twin
    assert json.loads(held.stdout)["block"] is not None
    other = tmp_path / "other.proof"
    hospital.run("audit", "export", "0", "--out", str(other))
    assert "not that something was shredded" in run("keys", "check-receipt", str(other), "--trust", str(trust)).stderr


def test_where_there_are_two_officers_one_alone_erases_nobody(hospital: Hospital) -> None:
    twin = hospital.twins[3]
    shred = ("shred", twin, "--as", "olga", "--purpose", "PATRQT", "--yes")
    add = ("node", "add-person", "otto", "--role", "officer", "--name", "Otto", "--password-file", "-")
    assert hospital.run(*add, input=PASSWORD).exit_code == 0
    for verb, more in (("keys", ()), ("twin", ("--later",)), ("keys", ("--category", "labs"))):
        refused = hospital.run(verb, *shred, *more)
        assert (refused.exit_code, "takes two officers" in refused.stderr) == (4, True)
    assert hospital.asked("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT", "--dry-run")["done"] is False
    size = hospital.asked("node", "status")["log"]["size"]
    assert hospital.run("keys", "shred", twin, "--as", "dr-lee", "--purpose", "PATRQT", "--yes").exit_code == 6
    assert hospital.asked("node", "status")["log"]["size"] == size + 1, (
        "whom policy refuses is refused by it, and logged"
    )
    assert twin in hospital.asked("twin", "list")["twins"]

    asked = ("--as", "olga", "--purpose", "PATRQT", "--reason", "she asked for it in writing")
    name = hospital.asked("erasure", "propose", twin, *asked)["erasure"]
    assert hospital.asked("erasure", "approve", name, "--as", "otto", "--yes")["state"] == "done"
    assert twin not in hospital.asked("twin", "list")["twins"]

    assert hospital.run("account", "disable", "otto", "--as", "olga").exit_code == 0
    alone = hospital.asked("keys", "shred", hospital.twins[4], *shred[2:])
    assert alone["erased"][0]["twin"] == hospital.twins[4], "a hospital of one officer erases, too"


def test_a_category_is_erased_later_and_the_rest_stays(hospital: Hospital) -> None:
    twin = hospital.twins[2]
    show = ("twin", "show", twin, "--as", "dr-lee")
    assert "labs" in hospital.run(*show, "--category", "labs").stdout
    before = hospital.run(*show, "--category", "vitals").stdout
    shred = ("keys", "shred", twin, "--as", "olga", "--purpose", "PATRQT", "--category", "labs")
    planned = hospital.run(*shred, "--dry-run").stdout
    assert "labs and the features computed from them" in planned
    assert hospital.asked(*shred, "--dry-run")["asked"][0]["categories"] == ["features", "labs"]
    assert "Erase 1 twin of labs and the features computed from them" in hospital.run(*shred).stderr  # the question
    shred += ("--later",)
    assert hospital.asked(*shred, "--yes")["ordered"] == [twin]
    assert hospital.asked("keys", "status")["unfinished_erasures"] == 1
    assert "1 erasure is unfinished: old backups" in hospital.run("keys", "status").stdout
    assert "1 erasure is unfinished" in hospital.run("keys", "finish", "--as", "olga", "--dry-run").stdout
    assert hospital.asked("keys", "finish", "--as", "olga", "--dry-run")["unfinished"] == 1
    (done,) = hospital.asked("keys", "finish", "--as", "olga")["erased"]
    assert done["categories"] == ["features", "labs"]
    assert hospital.asked("keys", "status")["unfinished_erasures"] == 0
    assert hospital.run(*show, "--category", "vitals").stdout == before
    assert hospital.run(*show, "--category", "labs").exit_code == 0


def test_rotation_wraps_every_key_anew(hospital: Hospital) -> None:
    before = hospital.asked("keys", "status")
    assert hospital.run("keys", "rotate", "--retire").exit_code == 2
    planned = hospital.asked("keys", "rotate", "--retire", "--dry-run")
    assert (planned["done"], planned["new"], planned["keys"]) == (False, True, sum(before["keks"].values()))
    assert hospital.asked("keys", "status") == before
    assert "nothing was done" in hospital.run("keys", "rotate", "--dry-run").stdout
    done = hospital.asked("keys", "rotate", "--retire", "--yes")
    assert (done["kek"], done["retired"]) == (planned["kek"], planned["retired"])
    after = hospital.asked("keys", "status")
    assert after["keks"] == {str(done["kek"]): sum(before["keks"].values())}
    assert hospital.run("twin", "show", hospital.twins[0], "--as", "dr-lee", "--category", "labs").exit_code == 0


def test_a_protocol_is_weighed_against_the_budgets(hospital: Hospital, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        'study_id = "s-1"\nhospitals = ["st-anna", "northgate", "lakeside"]\ndetector = "lstm-autoencoder"\n'
        "epsilon = 3.0\nclip = 0.3\nrounds = 40\n"
    )
    shown = hospital.asked("study", "check", str(study), code=6)  # no hospital has a cap yet
    assert shown["epsilon"] == pytest.approx(3.0, abs=1e-3)
    assert [one["reaches"] for one in shown["budgets"]] == [False] * 3
    alone = run("study", "check", str(study), "--json")
    assert (alone.exit_code, json.loads(alone.stdout)["budgets"]) == (0, None)
    assert hospital.asked("study", "models") == {"models": []}


def test_an_officer_lists_reviews_and_allows_emergencies(hospital: Hospital) -> None:
    twin, why = hospital.twins[0], "unconscious in the ambulance"
    reading = ("twin", "show", twin, "--as", "dr-lee", "--category", "psychiatry", "--purpose", "ETREAT")
    assert hospital.run(*reading, "--justification", "..........").exit_code == 6
    assert hospital.run(*reading, "--justification", why).exit_code == 0
    assert hospital.asked("node", "status")["emergencies"]["unreviewed"] == 1
    assert "wait for their review" in hospital.run("node", "status").stdout
    assert hospital.run("access", "emergencies", "--as", "dr-lee").exit_code == 6
    (one,) = hospital.asked("access", "emergencies", "--as", "olga")["emergencies"]
    assert (one["twin"], one["justification"], one["declared"]) == (twin, why, True)
    review = ("access", "review", one["emergency"], "--as", "olga", "--justified", "--note")
    assert hospital.run(*review, "ok").exit_code == 2
    done = hospital.asked(*review, "confirmed by the ward")
    assert (done["finding"], done["closed"], done["late"]) == ("justified", True, False)
    assert hospital.run(*review, "confirmed by the ward").exit_code == 4
    assert hospital.asked("node", "status")["emergencies"] == dict.fromkeys(
        ("unreviewed", "overdue", "undeclared", "undelivered", "next_due_ms"), 0
    ) | {"open": 1}
    allow = ("access", "allow", "dr-lee", "--patients", "40", "--as")
    assert hospital.run(*allow, "dr-lee").exit_code == 6
    assert hospital.run(*allow, "olga", "--for", "25h").exit_code == 2
    assert hospital.run(*allow, "olga", "--for", "two hours").exit_code == 2
    assert hospital.asked(*allow, "olga", "--for", "2h")["patients"] == 40
    assert hospital.run("access", "allow", "nobody", "--patients", "40", "--as", "olga").exit_code == 3
    assert hospital.run("access", "allow", "olga", "--patients", "40", "--as", "olga").exit_code == 2  # no clinician


def test_a_narrow_terminal_breaks_no_heading(hospital: Hospital) -> None:
    done = hospital.run("account", "list", env={"COLUMNS": "40"})
    assert done.exit_code == 0
    for heading in ("account", "password", "tokens", "last used"):
        assert heading in done.stdout
    assert "acme" in done.stdout
    assert max(map(len, hospital.run("account", "list").stdout.splitlines())) > 40


@pytest.mark.parametrize(("days", "said"), [("9" * 40 + "d", "1 to 9999"), ("0d", "1 to 9999"), ("soon", "90d")])
def test_a_time_that_a_token_cannot_have_is_named(hospital: Hospital, days: str, said: str) -> None:
    refused = hospital.run("account", "new-token", "acme", "--expires", days)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_what_was_typed_is_not_repeated_without_end(hospital: Hospital) -> None:
    refused = hospital.run("account", "show", "a" * 10_000)
    assert refused.exit_code == 3
    assert len(refused.stderr) < 500


def test_an_account_that_was_disabled_already_is_said(hospital: Hospital) -> None:
    assert hospital.run("node", "add-system", "twice", "--role", "system").exit_code == 0
    assert "already" not in hospital.run("account", "disable", "twice").stdout
    assert "disabled already" in hospital.run("account", "disable", "twice").stdout
    assert "already" not in hospital.run("account", "enable", "twice").stdout
    assert "already" in hospital.run("account", "enable", "twice").stdout


def test_a_file_of_known_hospitals_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = ("--known-hospitals", str(tmp_path / "slip.json"))
    done = run("vendor", "schema", "http://127.0.0.1:9", *missing, env={"TWINWARD_TOKEN": "twk_a_b"})
    assert done.exit_code == 7
    assert "slip.json is not there" in done.stderr
