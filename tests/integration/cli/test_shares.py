"""Officers seal a node's keys among themselves and open them again, on the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import run
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.providers.local import LocalKeyProvider

FIRST = KekId(TenantId("st-anna"), 1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    LocalKeyProvider(tmp_path / "node" / "keys").create(FIRST)
    return tmp_path / "node"


def split(home: Path, *options: str) -> list[str]:
    done = run("keys", "split", *options, "--home", str(home), "--json")
    assert done.exit_code == 0, done.output
    shares = json.loads(done.stdout)["shares"]
    assert isinstance(shares, list)
    return shares


def test_split_seal_unseal(home: Path) -> None:
    shares = split(home)
    assert len(shares) == 5
    key_file = home / "keys" / "master.key"
    right = key_file.read_bytes()
    sealing = ("keys", "seal", "--shares-from", "-", "--home", str(home))
    assert run(*sealing, input="\n".join(shares[:3])).exit_code == 2  # nobody said yes
    assert key_file.exists()
    assert run(*sealing, "--yes", input="\n".join(shares[:2])).exit_code == 7
    assert key_file.exists()
    assert run(*sealing, "--yes", input="\n".join(shares[:3])).exit_code == 0
    assert not key_file.exists()
    closed = run("keys", "split", "--home", str(home))
    assert closed.exit_code == 7
    assert "unseal" in closed.stderr

    unsealing = ("keys", "unseal", "--shares-from", "-", "--home", str(home))
    assert run(*unsealing, input="\n".join(shares[3:])).exit_code == 7
    assert run(*unsealing, input="\n".join(shares[:3])[:-1] + "0").exit_code == 2
    assert not key_file.exists()
    assert run(*unsealing, input="\n".join([shares[4], "", shares[1], shares[3].lower()])).exit_code == 0
    assert key_file.read_bytes() == right
    assert LocalKeyProvider(home / "keys").versions(FIRST.tenant) == (1,)


def test_what_split_printed_is_taken_as_it_is(home: Path, tmp_path: Path) -> None:
    printed, key_file = tmp_path / "shares.txt", home / "keys" / "master.key"
    right = key_file.read_bytes()
    printed.write_text(run("keys", "split", "--shares", "3", "--threshold", "2", "--home", str(home)).stdout)
    printed.chmod(0o600)
    assert len(printed.read_text().splitlines()) == 4
    sealed = run("keys", "seal", "--yes", "--shares-from", str(printed), "--home", str(home))
    assert (sealed.exit_code, key_file.exists()) == (0, False), sealed.output
    some = "\n".join(line.upper() for line in printed.read_text().splitlines()[1:3])
    assert run("keys", "unseal", "--shares-from", "-", "--home", str(home), input=some).exit_code == 0
    assert key_file.read_bytes() == right
    other = run("keys", "seal", "--yes", "--shares-from", "-", "--home", str(home), input="any 2 of these\n" + some)
    assert other.exit_code == 2, "only the line that split prints is passed over"


def test_another_nodes_shares_do_nothing(home: Path, tmp_path: Path) -> None:
    LocalKeyProvider(tmp_path / "other" / "keys")
    strange = "\n".join(split(tmp_path / "other", "--shares", "2", "--threshold", "2"))
    done = run("keys", "seal", "--yes", "--shares-from", "-", "--home", str(home), input=strange)
    assert done.exit_code == 7
    assert (home / "keys" / "master.key").exists()


@pytest.mark.parametrize(("shares", "threshold"), [("3", "1"), ("3", "4"), ("33", "2"), ("-1", "-1")])
def test_a_split_that_protects_nothing_is_refused(home: Path, shares: str, threshold: str) -> None:
    done = run("keys", "split", f"--shares={shares}", f"--threshold={threshold}", "--home", str(home))
    assert done.exit_code == 2
    assert "threshold" in done.stderr


def test_only_a_local_key_file_is_split(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("keys", "split", "--home", str(tmp_path / "nowhere")).exit_code == 3
    monkeypatch.setenv("TWINWARD_KEYS", "pkcs11:token=x?module-path=/x.so")
    assert run("keys", "split", "--home", str(home)).exit_code == 2


def test_nobody_to_ask(home: Path) -> None:
    done = run("keys", "unseal", "--home", str(home))
    assert done.exit_code == 2
    assert "--shares-from" in done.stderr
