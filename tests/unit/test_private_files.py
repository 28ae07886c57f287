"""Files whole or not at all, and none through a planted link."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from twinward.core.config import Settings
from twinward.core.private_files import replacing, write_private, write_public
from twinward.node import create_node, open_node


@pytest.mark.parametrize(("write", "mode"), [(write_private, 0o600), (write_public, 0o644)])
def test_a_planted_link_is_replaced_not_written_through(tmp_path: Path, write: object, mode: int) -> None:
    victim, target = tmp_path / "victim", tmp_path / "settings"
    victim.write_bytes(b"somebody else's")
    target.symlink_to(victim)
    for name in ("settings.new", ".settings.new", ".settings.unfinished"):
        (tmp_path / name).symlink_to(victim)
    write(target, b"ours")  # type: ignore[operator]
    assert victim.read_bytes() == b"somebody else's"
    assert (target.read_bytes(), target.is_symlink()) == (b"ours", False)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_what_breaks_off_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "settings"
    target.write_bytes(b"old")

    def break_off() -> None:
        with replacing(target) as file:
            file.write(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("settings", b"old")]


def test_a_home_that_was_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    home = tmp_path / "node"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    create_node(Settings.load(home)).close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o750)
    with open_node(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
