"""Every page of the console is shown and told of in the documentation."""

from __future__ import annotations

from fastapi import FastAPI

from tests.checks.pictures import EXTRA, GUIDE, MOST_BYTES, NO_PICTURE, kept, pictures_of, shown_in_guide
from tests.integration.api.test_reason import api_routes


def test_every_page_has_a_small_picture_and_a_sentence(console_app: FastAPI) -> None:
    routes = [one for one in api_routes(console_app.routes) if one.path.startswith("/console")]
    pages = {one.path for one in routes if "GET" in (one.methods or ())}
    wanted = {*pictures_of(pages).values(), *EXTRA}
    assert set(kept()) == wanted, "make pictures"
    assert shown_in_guide() == wanted, f"say in {GUIDE.name} what each page is for, and show its picture"
    assert set(NO_PICTURE) <= pages
    assert {name: size for name, size in kept().items() if size > MOST_BYTES} == {}
