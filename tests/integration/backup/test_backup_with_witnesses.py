"""A node whose witnesses are other machines: its quorum policy is in the backup, and the restored home has its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner

from tests.command_line import PROGRAM
from twinward.consortium.witness.home import WitnessSettings, create_witness
from twinward.core.config import Settings
from twinward.node import create_node, open_node

NAMES = ("northgate", "lakeside", "mercy")


def test_it_asks_its_witnesses_where_nothing_of_the_old_home_is_left(tmp_path: Path) -> None:
    cards = []
    for name in NAMES:
        witness = create_witness(tmp_path / name, WitnessSettings(name=name, url=f"https://{name}.example"))
        cards.append(witness.card())
        witness.close()
    home, keys, fresh = tmp_path / "home", tmp_path / "keys", tmp_path / "fresh"
    create_node(Settings(home=home), cards=cards).close()
    for arguments in (
        ("backup", tmp_path / "a.twbackup", "--keys-to", keys, "--home", home),
        ("restore", tmp_path / "a.twbackup", "--keys-from", keys, "--home", fresh),
    ):
        done = CliRunner().invoke(PROGRAM, ["node", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        if home.exists():
            shutil.copy2(home / "keys" / "master.key", keys / "keys")
            shutil.rmtree(home)
    with open_node(fresh) as node:
        policy = node.audit.anchorer.policy
        assert policy is not None
        assert {one.url for one in policy.witnesses} == {f"https://{name}.example" for name in NAMES}
