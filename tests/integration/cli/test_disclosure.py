"""A patient's records from the hospital's vault into a recipient's hands, sealed to a key that only it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from twinward.access.interfaces import AccessRequest
from twinward.client.keys import Stretching, VendorKeys
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.node import open_node
from twinward.protocol.disclosed import DisclosedRecord, DisclosedRecords, open_disclosed

PASSPHRASE = "correct horse battery"
CHEAP = Stretching(memory_kib=64, iterations=1, lanes=1)
RECORDS = DisclosedRecords(
    "twinward.example/st-anna/access-log",
    17,
    "0198-anna",
    (DisclosedRecord("0198-r", "Observation", "labs", 2, 1_767_225_600_000, b'{"value": 1.10}\r\n\x00\xff'),),
)


@pytest.fixture
def keys(tmp_path: Path) -> VendorKeys:
    made = VendorKeys.generate()
    made.save(tmp_path / "acme.keys", PASSPHRASE, stretching=CHEAP)
    (tmp_path / "acme.pass").write_text(PASSPHRASE + "\n")
    (tmp_path / "acme.pass").chmod(0o600)
    return made


@pytest.mark.parametrize("classical", [True, False])
def test_what_was_sealed_opens_to_the_same_bytes(classical: bool) -> None:
    pair = VendorKeys.generate(classical=classical)
    sealed = RECORDS.seal(pair.public)
    assert open_disclosed(sealed, pair) == RECORDS
    assert b"anna" not in sealed[len(RECORDS.origin) + 15 :]
    assert RECORDS.seal(pair.public) != sealed


def test_no_altered_byte_and_no_other_key_opens_it() -> None:
    pair = VendorKeys.generate(classical=True)
    sealed = RECORDS.seal(pair.public)
    flipped = [sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :] for place in range(len(sealed))]
    said = set()
    for altered in (*flipped, b"", sealed[:-1], sealed[:40], sealed + b"\x00"):
        with pytest.raises(BadInput) as caught:
            open_disclosed(altered, pair)
        said.add(str(caught.value))
    with pytest.raises(BadInput) as caught:
        open_disclosed(sealed, VendorKeys.generate(classical=True))
    assert said == {str(caught.value)}  # it does not say which check failed


def test_what_is_no_public_key_is_refused() -> None:
    for key in (b"", bytes(33), b"\x01" + bytes(31)):
        with pytest.raises(BadInput):
            RECORDS.seal(key)


def test_records_go_from_vault_to_recipient(hospital: Hospital, keys: VendorKeys, tmp_path: Path) -> None:
    twin, out = hospital.twins[3], tmp_path / "labs.sealed"
    secret = ("--keys", str(tmp_path / "acme.keys"), "--passphrase-file", str(tmp_path / "acme.pass"))
    assert run("disclosure", "public", *secret, "--out", str(tmp_path / "acme.pub")).exit_code == 0
    to = ("--to", str(tmp_path / "acme.pub"), "--category", "labs", "--category", "vitals", "--out", str(out))
    seal = ("disclosure", "seal", twin, *to, "--purpose", "PATRQT")
    assert hospital.run(*seal, "--as", "dr-lee").exit_code == 6
    assert not out.exists()
    done = hospital.asked(*seal, "--as", "olga")
    assert done["records"] > 0
    assert hospital.run(*seal, "--as", "olga").exit_code == 4  # nothing is overwritten
    opened = run("disclosure", "open", str(out), *secret, "--out", str(tmp_path / "opened"), "--json")
    assert json.loads(opened.stdout)["event"] == done["event"]
    got = sorted(path.read_bytes() for path in (tmp_path / "opened").iterdir())
    with open_node(hospital.home) as node:
        lee = node.accounts.named("dr-lee")
        asked = frozenset({Category.LABS, Category.VITALS})
        request = AccessRequest(lee, Action.READ, Purpose.TREATMENT, TwinId(twin), asked)
        assert got == sorted(one.content for one in node.vault.read_twin(node.access.decide(request)))
    events = hospital.asked("audit", "list", "--as", "olga", "--action", "export", "--limit", "20")["events"]
    (event,) = [one for one in events if one["index"] == done["event"]]
    assert event["detail"]["recipient"] == keys.fingerprint
    other = VendorKeys.generate()
    other.save(tmp_path / "other.keys", PASSPHRASE, stretching=CHEAP)
    secret = ("--keys", str(tmp_path / "other.keys"), "--passphrase-file", str(tmp_path / "acme.pass"))
    refused = run("disclosure", "open", str(out), *secret, "--out", str(tmp_path / "no"))
    assert refused.exit_code == 2
    assert not (tmp_path / "no").exists()


def test_a_file_that_is_no_key_opens_nothing(hospital: Hospital, tmp_path: Path) -> None:
    (tmp_path / "acme.pub").write_text("not hexadecimal")
    to = ("--to", str(tmp_path / "acme.pub"), "--category", "labs", "--out", str(tmp_path / "out"))
    size = hospital.asked("node", "status")["log"]["size"]
    done = hospital.run("disclosure", "seal", hospital.twins[3], *to, "--as", "olga", "--purpose", "PATRQT")
    assert done.exit_code == 2
    (tmp_path / "acme.pub").write_text("00" * 33)
    assert (
        hospital.run("disclosure", "seal", hospital.twins[3], *to, "--as", "olga", "--purpose", "PATRQT").exit_code == 2
    )
    assert hospital.asked("node", "status")["log"]["size"] == size  # nothing was decided
