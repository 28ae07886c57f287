"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from twinward_crypto.kernels.place import folder

if TYPE_CHECKING:
    from tests.chains import Ground
    from tests.postgres import Postgres

settings.register_profile("twinward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("twinward")

ROOT = Path(__file__).resolve().parent.parent
os.environ.pop("COLUMNS", None)  # a console takes its width when it is made; each test says how wide it wants one
set_hypothesis_home_dir(ROOT / ".hypothesis")


KERNELS = os.environ.get("TWINWARD_KERNELS") or str(folder().parent)
"""Where `make setup` compiled them: tests have a home of their own, and compiling takes a minute."""


LONGEST = (
    "test_pages.py",
    "test_study_run.py",
    "test_forge.py",
    "test_schemathesis.py",
    "test_console_in_chromium.py",
    "test_release_attacks.py",
    "test_flower.py",
    "test_every_page_in_chromium.py",
    "test_demo.py",
    "test_vendor_key_attacks.py",
    "test_while_serving.py",
    "test_consent_is_one_truth.py",
)
"""By what they take: minutes at the top, half a minute at the end."""
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30


def _stores_in_memory() -> None:
    """Tests make thousands of stores whose commits wait for a disk. What ``kill -9`` leaves is left in memory too."""
    if IN_MEMORY.is_dir():
        place = os.statvfs(IN_MEMORY)
        if place.f_bavail * place.f_frsize >= ROOM_BYTES and not place.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


_stores_in_memory()
gc.disable()  # what is imported and collected stays: looking through it for garbage is a sixth of collection


_SLOW_AS_A_WHOLE: Final = re.compile(r"^pytestmark = (?:\[\s*)?pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is slow as a whole is not imported where slow tests are left out."""
    if config.getoption("markexpr") == "not slow" and collection_path.suffix == ".py":
        return bool(_SLOW_AS_A_WHOLE.search(collection_path.read_text("utf-8"))) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one of minutes that begins last leaves every other core idle until it ends."""
    files = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda one: files.get(one.path.name, len(files)))


def pytest_collection_finish() -> None:
    """From here on garbage is collected, and not looked for in what stays."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 10, 10)  # 700 looks a thousand times a minute
    sys.setrecursionlimit(2_000)  # py_ecc, which BLS is held against, lets nested JSON overflow the stack


@pytest.fixture(scope="session", autouse=True)
def _what_takes_long_is_brief() -> Iterator[None]:
    from tests.brief_stretching import stretched_briefly
    from tests.laid_tables import statements_kept  # not where tests are only handed out to workers

    with statements_kept(), stretched_briefly():
        yield


@pytest.fixture(scope="session", autouse=True)
def place_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests run in an empty folder, for a user without settings: what `make run` left beside them is not theirs."""
    own = tmp_path_factory.mktemp("own")
    (own / "user").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("TWINWARD_", "XDG_", "PG", "AWS_")) and not name.startswith("TWINWARD_TEST_"):
                patch.delenv(name)
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
                patch.delenv(name)
        patch.setenv("HOME", str(own / "user"))
        patch.setenv("TWINWARD_KERNELS", KERNELS)
        patch.chdir(own)
        yield own


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real inputs beside the repository; not part of it, so a bare clone skips what needs them."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository: real patient bundles and conformance vectors are absent")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, shared by the tests that ask for a database of it."""
    from tests.postgres import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(name="ground", params=["embedded", pytest.param("anvil", marks=pytest.mark.slow)])
def ground_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A new chain: the embedded one, and in ``make test-all`` a real anvil too."""
    from tests.chains import ground  # a second of imports that most files do without

    with ground(request.param, tmp_path) as made:
        yield made
