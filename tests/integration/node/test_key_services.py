"""A whole node on a key service that is not the embedded one."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinward.config import Settings
from twinward.errors import Unavailable
from twinward.node import create_node, open_node
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
        with open_node(home) as node:
            assert node.identity.sealing_key() == sealing_key
        assert "twinward.st-anna.kek.1" not in vault.key_names()
        assert not (home / "keys").exists()
        vault.sealed = True
        with pytest.raises(Unavailable, match="sealed"), open_node(home):
            pass
