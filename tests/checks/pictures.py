"""Pictures of every page of the console, for ``platform/docs/console.md``: ``python -m tests.checks.pictures``,
followed by names to take some of them only.

The pages are the route table's. Each has its heading, its sentence and its picture in that page of the documentation;
``tests/unit/console/test_pictures.py`` asks for them. Needs Chromium (``apt-get install chromium``).
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.hospital import Hospital, furnished, pages_of
from tests.tools import ROOT, require
from twinward.console.preferences import PREFERENCES_COOKIE
from twinward.console.sessions import PATH, SESSION_COOKIE

GUIDE: Final = ROOT / "platform/docs/console.md"
FOLDER: Final = ROOT / "platform/docs/pictures/console"
MOST_BYTES: Final = 60 << 10
WIDTH: Final = 1280
HEIGHT: Final = 720
MOST_HEIGHT: Final = 1280
PHONE: Final = 375
PATIENCE_MS: Final = 180_000
NO_PICTURE: Final[Mapping[str, str]] = {
    "/console/accesses/list.csv": "a file",
    "/console/breaches/{name}/file": "a file",
    "/console/breaches/{name}/progress": "for scripts",
    "/console/confirm/hospital": "leads to the hospital's sign-in",
    "/console/consistency": "for scripts",
    "/console/contacts/{name}/people.csv": "a file",
    "/console/erasures/{name}/receipt": "a file",
    "/console/exports/{twin}": "a file",
    "/console/my/accesses.json": "a file",
    "/console/my/accesses.pdf": "a file",
    "/console/my/record.json": "a file",
    "/console/policy/{name}/progress": "for scripts",
    "/console/proofs/{index}": "for scripts",
    "/console/reviews/progress/{day}": "for scripts",
    "/console/sign-in/code": "in the middle of signing in only",
    "/console/sign-in/hospital": "leads to the hospital's sign-in",
    "/console/sign-in/hospital/callback": "comes from the hospital's sign-in",
    "/console/verify/progress": "for scripts",
}
"""Addresses that show no page, and why."""
EXTRA: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = {
    "home-in-german": (PATH, "officer", {"language": "de"}),
    "home-in-the-dark": (PATH, "officer", {"theme": "dark"}),
    "accesses-on-a-phone": (f"{PATH}/accesses", "officer", {"width": PHONE}),
    "ward-on-a-phone": (f"{PATH}/ward", "nurse", {"width": PHONE}),
}
"""Pages taken once more, and how."""


def pictures_of(addresses: Iterable[str]) -> dict[str, str]:
    """From the address of each page, as the route table has it, to the name of its picture."""
    found = {}
    for address in sorted(set(addresses)):
        if address not in NO_PICTURE:
            name = re.sub(r"{[^}]*}", "one", address.removeprefix("/console")).strip("/").replace("/", "-")
            found[address] = name.replace("one:path", "one") or "home"
    return found


def shown_in_guide() -> set[str]:
    """The pictures that the guide shows, each by its name."""
    return set(re.findall(r"\]\(pictures/console/([\w-]+)\.webp\)", GUIDE.read_text("utf-8")))


def kept() -> dict[str, int]:
    """The pictures that are kept, with their size in bytes."""
    return {one.stem: one.stat().st_size for one in FOLDER.glob("*.webp")}


def small(taken: bytes) -> bytes:
    """A picture as it is kept: WebP of few colours, without further loss; a busy page in a smaller size."""
    picture = Image.open(BytesIO(taken)).convert("RGB")
    for scale, colours in ((1.0, 64), (1.0, 32), (0.8, 32), (0.7, 24), (0.6, 16)):
        size = (round(picture.width * scale), round(picture.height * scale))
        scaled = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
        made = BytesIO()
        scaled.quantize(colours, dither=Image.Dither.NONE).convert("RGB").save(made, "WEBP", lossless=True, method=6)
        if len(made.getvalue()) <= MOST_BYTES:
            break
    return made.getvalue()


class Photographer:
    """A browser in front of a furnished hospital."""

    def __init__(self, browser: Browser, hospital: Hospital) -> None:
        self._hospital = hospital
        self._context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        self._page = self._context.new_page()
        self._page.set_default_timeout(PATIENCE_MS)

    def take(
        self, name: str, path: str, person: str, *, width: int = WIDTH, theme: str = "light", language: str = "en"
    ) -> None:
        """Open a page as one of the hospital's people, and keep what is seen of it."""
        page, url = self._page, self._hospital.url
        self._context.clear_cookies()
        cookies = [(PREFERENCES_COOKIE, f"language={language}")]
        cookies += [(SESSION_COOKIE, self._hospital.cookies[person])] if person else []
        self._context.add_cookies([{"name": key, "value": value, "url": url + PATH} for key, value in cookies])
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.goto(url + path)
        for checked in ("#verified", "#append-only"):
            if page.locator(checked).count():
                page.wait_for_selector(f"{checked}[data-checked]")
        if page.locator("#export").count():
            page.wait_for_selector("#export[data-state=done]")
        height = min(MOST_HEIGHT, int(page.evaluate("document.documentElement.scrollHeight")))
        clip = {"x": 0, "y": 0, "width": width, "height": height}
        (FOLDER / f"{name}.webp").write_bytes(small(page.screenshot(full_page=True, clip=clip)))  # type: ignore[arg-type]


def main(only: Collection[str]) -> None:
    """Take all pictures anew, or only some."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    chromium = require("chromium", install="apt-get install chromium")
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        furnished(Path(home) / "home") as hospital,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        photographer = Photographer(browser, hospital)
        pages = {one.template: one for one in pages_of(hospital)}
        for address, name in pictures_of(pages).items():
            if only and name not in only:
                continue
            asked = {
                "reviews": f"?day={date.today()}",
                "accesses-print": "?agent=dr-lee",
                "consents": f"?twin={hospital.house.twins[0]}",
            }.get(name, "")
            asked = f"?twin={hospital.house.twins[3]}" if name == "erasures" else asked
            photographer.take(name, pages[address].path + asked, pages[address].person)
        for extra, (path, person, how) in EXTRA.items():
            if not only or extra in only:
                photographer.take(extra, path, person, **how)
        browser.close()
    for gone in set(kept()) - set(pictures_of(pages).values()) - set(EXTRA):
        (FOLDER / f"{gone}.webp").unlink()
    print(f"{len(kept())} pictures, {sum(kept().values()) >> 10} KiB, the largest {max(kept().values()) >> 10} KiB")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
