"""Kernels are loaded from a folder that nobody else may write to, and never compiled where somebody waits."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twinward_crypto.kernels import store
from twinward_crypto.kernels.place import VARIABLE, folder, installation, meddler


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own that says it is ready, with nothing in it."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    monkeypatch.setattr(store, "_loaded", {})
    folder().mkdir(parents=True, mode=0o700)
    (folder() / "ready").touch()
    return folder()


def test_a_folder_of_ones_own_counts(place: Path) -> None:
    assert store.unusable() == ""
    assert meddler(place) is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_does_not(place: Path, mode: int) -> None:
    for one in (place, place.parent):
        one.chmod(mode)
        assert meddler(place) == one
        assert "others may write" in store.unusable()
        assert store.load("screen") is None
        with pytest.raises(PermissionError, match="others may write"):
            store.prepare()
        one.chmod(0o700)


def test_a_link_into_a_folder_of_others_does_not_count(place: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o777)
    (tmp_path / "theirs" / "ready").touch()
    (place / "ready").unlink()
    place.rmdir()
    place.symlink_to(tmp_path / "theirs")
    assert store.unusable()


def test_a_folder_with_a_sticky_bit_does_not_count_itself(place: Path) -> None:
    place.chmod(0o1777)
    assert meddler(place) == place


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_elses_does_not_count(place: Path) -> None:
    os.chown(place, 65534, 65534)
    assert meddler(place) == place


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_to_does_not_count(place: Path, mode: int) -> None:
    (kept := place / "screen.1.nbc").touch()
    kept.chmod(mode)
    assert meddler(place) == kept
    assert store.load("screen") is None


def test_a_file_that_is_a_link_does_not_count(place: Path, tmp_path: Path) -> None:
    (kept := place / "screen.1.nbc").symlink_to(tmp_path / "elsewhere")
    assert meddler(place) == kept


def test_a_link_that_others_may_turn_round_does_not_count(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / "link").symlink_to(place.parent)
    theirs.chmod(0o777)
    monkeypatch.setenv(VARIABLE, str(theirs / "link"))
    assert folder().resolve() == place
    assert str(theirs) in store.unusable()
    assert store.load("screen") is None


@pytest.mark.parametrize("error", [PermissionError, RuntimeError])
def test_where_the_folder_cannot_be_looked_into_the_plain_code_computes(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse() -> Path:
        raise error

    monkeypatch.setattr(store, "folder", refuse)
    assert "cannot be read" in store.unusable()
    assert store.load("screen") is None


def test_what_root_compiled_for_a_service_may_be_read_by_it_and_written_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    monkeypatch.setattr(store, "FAMILIES", ())
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            made = store.prepare()
        finally:
            assert os.umask(before) == umask
        assert [one.stat().st_mode & 0o777 for one in (made.parent, made)] == [0o755, 0o755]
        assert {one.stat().st_mode & 0o777 for one in made.iterdir()} == {0o644}
        for one in made.iterdir():
            one.unlink()
        made.rmdir()
        made.parent.rmdir()


def test_what_an_earlier_version_of_this_installation_compiled_is_deleted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    monkeypatch.setattr(store, "FAMILIES", ())
    for name, whose in (("earlier", installation()), ("being-compiled", installation()), ("anothers", "0" * 64)):
        (made := tmp_path / "kernels" / name).mkdir(parents=True, mode=0o700)
        (made / "lock").write_text(whose)
        (made / "bfv.1.nbc").write_bytes(b"code")
    (tmp_path / "kernels" / "no-lock").mkdir()
    (tmp_path / "kernels" / "link").symlink_to(tmp_path / "kernels" / "earlier")
    (tmp_path / "kernels" / "pipe").mkdir()
    os.mkfifo(tmp_path / "kernels" / "pipe" / "lock")  # nobody waits for whoever would write into it
    with (tmp_path / "kernels" / "being-compiled" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ready = store.prepare()
    left = {one.name for one in ready.parent.iterdir()}
    assert left == {ready.name, "being-compiled", "anothers", "no-lock", "link", "pipe"}
    assert (ready / "lock").read_text() == installation()
    assert store.unusable() == ""


def test_a_process_that_compiles_takes_no_code_from_where_the_node_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinward.node import kernels

    started: list[list[str]] = []

    class Nothing:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def __enter__(self) -> Nothing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def kill(self) -> None: ...

    monkeypatch.setattr(kernels, "unusable", lambda: "not compiled")
    monkeypatch.setattr(kernels.subprocess, "Popen", Nothing)
    with kernels.compiled_beside():
        assert started[0][1:3] == ["-P", "-m"]


def test_kernels_are_turned_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    monkeypatch.setattr(store, "_loaded", {})
    assert "turned off" in store.unusable()
    assert store.load("screen") is None


def test_without_numba_there_are_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "versions", lambda: "")
    assert "extra node" in store.unusable()
    assert store.load("screen") is None
    with pytest.raises(ImportError, match="extra node"):
        store.prepare()


def in_another_process(code: str, place: Path, home: Path) -> str:
    """What it prints. It finds kernels where this test says."""
    environment = os.environ | {VARIABLE: str(place.parent), "HOME": str(home)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.slow
def test_what_is_not_there_is_not_compiled_by_whoever_loads(place: Path, tmp_path: Path) -> None:
    asked = "from twinward_crypto.kernels import store; print(store.unusable(), store.load('screen'))"
    assert in_another_process(asked, place, tmp_path) == "None"
    assert sorted(one.name for one in place.iterdir()) == ["ready"]


@pytest.mark.slow
def test_files_that_are_no_kernels_leave_the_plain_code(place: Path, tmp_path: Path) -> None:
    (place / "ready").unlink()
    compiled = in_another_process("from twinward_crypto.kernels import store; print(store.prepare())", place, tmp_path)
    assert compiled == str(place)
    for one in place.glob("*.nb*"):
        one.write_bytes(b"no pickle")
    assert (
        in_another_process("from twinward_crypto.kernels import store; print(store.load('screen'))", place, tmp_path)
        == "None"
    )


@pytest.mark.slow
def test_the_command_line_loads_no_numba() -> None:
    code = (
        "import sys, twinward.cli.main, twinward_crypto.kernels.store as s; s.unusable();"
        "print([one for one in sys.modules if one.split('.')[0] in ('numba', 'llvmlite')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
