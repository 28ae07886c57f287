"""Pages for readers run as they stand: every block of commands, in order, on a real node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import fill_vaults, make_hospital
from tests.kept_homes import copied

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def filled(home: Path) -> None:
    make_hospital(home)
    fill_vaults(home, 40)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (
            "officer.md",
            (
                "twins     6",
                "HOLDS",
                "no gap",
                "holds: event 12",
                "nothing was done or logged",
                "holds Monday to Friday, 0:00 to 7:00, 19:00 to 24:00; Saturday to Sunday",
                "refused: researchers work on weekdays from 7 to 19 only",
                "refused: records are exported from the hospital's own network only",
            ),
        ),
        ("patient.md", ("ann may sign in as patient", "ann (patient) may be used")),
        ("sign-in.md", ("ward-7", "olga (officer) may be used")),
        ("federation.md", ("approved: sepsis-watch for", "northgate answers approved", "registered as model 1")),
        (
            "live.md",
            ("61.0", "2 stored", "1 window was closed", "NOT on anybody", "1 alert by rules", "seen by dr-lee"),
        ),
        (
            "things.md",
            (
                "the bed is taken",
                "used 2 for",
                "7 things",
                "2 beds: 1 with",
                "(fault, 1 fault)",
                "Erlang B",
                "triage: wait",
            ),
        ),
        ("exchange.md", ("offer 1: 5 of 5", "transfer 1: 2 ventilator", "received", "settled", "mean of 20 runs")),
        (
            "outbreak.md",
            (
                "7 days of flu-week",
                "alert 1 is raised: influenza",
                "of 54 days that are known",
                "exit code 4: a week is too little",
                "later on average",
            ),
        ),
        ("own-data.md", ("900 patients", "nothing registered", "wrote blood-1.html", "wrote blood-1.onnx", "AUROC 0.")),
        ("studies.md", ("registered as model 1", "wrote sepsis-watch.html", "this card is model 1")),
    ],
)
def test_a_page_runs_as_it_stands(page: str, says: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path = tmp_path_factory.mktemp("page")  # short: a socket in a peer's home has a path of 103 bytes at most
    home = tmp_path / "home"
    if page in ("studies.md", "federation.md"):
        copied(("filled",), home, filled)
    else:
        make_hospital(home)
    text = (ROOT / "platform/docs" / page).read_text(encoding="utf-8")
    for content in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / "study.toml").write_text(content)
    # What a page starts in the background ends with it: it would hold the output open where a command has failed.
    script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script += "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)):
        (tmp_path / f"page{number}.py").write_text(program)
        script += f"\npython page{number}.py"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TWINWARD_HOME": str(home),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for words in says:
        assert words in done.stdout
