"""Processes of one's own run no code out of the folder that they happen to be started in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twinward.core.child_processes import SAFE_PATH, without_working_directory

PLANTED = "open('ran', 'w').close()"
ASKING = """
from twinward.similarity.feasibility.worker import CountingWorker
from twinward.similarity.scoring.child import Child
from twinward_crypto.errors import MalformedBundle

if __name__ == "__main__":
    child = Child(CountingWorker)
    try:
        child.ask(b"", b"", None)
    except MalformedBundle:
        print("answered")
    finally:
        child.close()
"""


ON_RAY = """
import os

from twinward.similarity.scoring.ray_shards import connected, released

ray = connected("")
seen = ray.get(ray.remote(lambda: __import__("sys").path).remote())
ray.get(ray.remote(lambda: __import__("colorsys").rgb_to_hsv(1, 1, 1)).remote())
print("answered", os.getcwd() in seen)
released(ray)
"""


def planted(folder: Path, *names: str) -> Path:
    """A folder in which somebody has put modules of these names."""
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


@pytest.mark.parametrize("before", [None, "", "1"])
def test_what_lies_in_the_working_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv(SAFE_PATH, raising=False)
    if before is not None:
        monkeypatch.setenv(SAFE_PATH, before)
    folder = planted(tmp_path, "secrets")
    with without_working_directory():
        subprocess.run([sys.executable, "-c", "import secrets; secrets.token_bytes"], cwd=folder, check=True)
    assert not (folder / "ran").exists()
    assert os.environ.get(SAFE_PATH) == before


@pytest.mark.slow
def test_a_process_that_scores_runs_nothing_that_lies_where_the_node_was_started(tmp_path: Path) -> None:
    (script := tmp_path / "asking.py").write_text(ASKING)
    (folder := tmp_path / "shared").mkdir()
    planted(folder, "secrets", "tenseal", "numba")
    environment = {name: value for name, value in os.environ.items() if name != SAFE_PATH}
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert not (folder / "ran").exists()
    assert ran.stdout.strip() == "answered", ran.stderr


@pytest.mark.slow
def test_an_actor_of_a_cluster_runs_nothing_that_lies_where_the_node_was_started(tmp_path: Path) -> None:
    (script := tmp_path / "asking.py").write_text(ON_RAY)
    (folder := tmp_path / "shared").mkdir()
    planted(folder, "colorsys", "tenseal", "numba")
    environment = {name: value for name, value in os.environ.items() if name != SAFE_PATH}
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert not (folder / "ran").exists()
    assert ran.stdout.strip() == "answered False", ran.stderr
