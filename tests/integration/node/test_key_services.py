"""A whole node on a key service that is not the embedded one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.kept_homes import founded
from twinward.core.config import Settings
from twinward.core.errors import Unavailable
from twinward.core.ids import new_twin_id
from twinward.node import create_node, open_node
from twinward_crypto.errors import KeyProviderError
from twinward_crypto.testing.fake_transit import FakeTransit


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "node"


def test_a_node_keeps_its_identity_in_a_transit_engine(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeTransit(tmp_path) as vault:
        token = tmp_path / "token"
        token.write_text(vault.token)
        token.chmod(0o600)
        monkeypatch.setenv("TWINWARD_KEYS", f"transit:{vault.url}/transit?token-file={token}&ca-file={vault.ca_file}")
        made = create_node(Settings.load(home))
        sealing_key = made.identity.sealing_key()
        made.close()
        with open_node(home) as node:
            assert node.keyring.rotate(lambda done, total: None) == 2
            assert node.keyring.retire() == [1]
            node.heartbeat()
            log_key = node.audit.change_log_key(node.log.next_key).newest
        with open_node(home) as node:
            assert node.log.key == log_key, "derived in the service, whatever became of the KEKs"
            assert node.identity.sealing_key() == sealing_key
        assert "twinward.st-anna.kek.1" not in vault.key_names()
        assert not (home / "keys").exists()
        vault.sealed = True
        with pytest.raises(Unavailable, match="sealed"), open_node(home):
            pass


def test_a_node_keeps_its_identity_in_aws_kms(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.server import ThreadedMotoServer

    for name, value in (("ACCESS_KEY_ID", "AKIA"), ("SECRET_ACCESS_KEY", "x"), ("EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        monkeypatch.setenv("TWINWARD_KEYS", f"aws-kms:eu-central-1?endpoint={address}")
        made = create_node(Settings.load(home))
        sealing_key = made.identity.sealing_key()
        made.keyring.create(twin := new_twin_id(0))
        made.close()
        with open_node(home) as node:
            assert node.identity.sealing_key() == sealing_key
            audit_key = node.keyring.audit_key(twin)
            assert node.keyring.rotate() == 2
            assert node.keyring.retire() == [1]
            node.heartbeat()
            log_key = node.audit.change_log_key(node.log.next_key).newest
        with open_node(home) as node:
            assert node.log.key == log_key, "derived in the service, whatever became of the KEKs"
            assert node.keyring.audit_key(twin) == audit_key
        assert not (home / "keys").exists()
    finally:
        server.stop()
    monkeypatch.setattr("twinward_crypto.providers._kms_service.ATTEMPTS", 1)
    with pytest.raises(Unavailable, match="KMS cannot be used"), open_node(home):
        pass


def test_a_node_moves_to_hybrid_wrapping_by_a_rotation(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create_node(Settings.load(home))
    made.keyring.create(twin := new_twin_id(0))
    audit_key = made.keyring.audit_key(twin)
    made.close()
    monkeypatch.setenv("TWINWARD_KEYS", f"local-hybrid:{home / 'keys'}")
    with open_node(home) as node:
        assert node.keyring.audit_key(twin) == audit_key
        node.keyring.rotate()
        node.keyring.retire()
    monkeypatch.delenv("TWINWARD_KEYS")
    with sqlite3.connect(home / "keyring.db") as connection:
        assert connection.execute("SELECT DISTINCT length(wrapped) FROM wrapping_key").fetchall() == [(1171,)]
    connection.close()
    with open_node(home) as node:
        assert node.keyring.audit_key(twin) == audit_key


def test_a_closed_node_has_given_back_its_key_service(home: Path) -> None:
    made = founded(home)
    made.close()
    made.close()
    with pytest.raises(KeyProviderError, match="closed"):
        made.identity.sealing_key()
