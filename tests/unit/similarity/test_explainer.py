"""The explainer shows what happened and nothing of a patient."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from twinward.similarity.explainer import CountObservation, Observation, observe, write_count_page, write_explainer
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.token import make_token

TOP = 63


def seen(rows: np.ndarray, query: np.ndarray, radius: int) -> Observation:
    key = key_for(rows.shape[1], TOP)
    return observe(
        build_index(key, rows, top=TOP), make_token(key, query.tolist(), radius, top=TOP), rows, query, radius
    )


@pytest.fixture(scope="module")
def cohort() -> np.ndarray:
    random = np.random.default_rng(3)
    return np.clip(
        random.integers(0, 64, (20, 4))[random.integers(0, 20, 900)] + random.integers(-3, 4, (900, 4)), 0, 63
    )


def test_it_counts_what_the_search_did(cohort: np.ndarray) -> None:
    found = seen(cohort, cohort[5], 20)
    assert found.accepted == sum(found.hits) == int((((cohort - cohort[5]) ** 2).sum(axis=1) <= 20).sum())
    assert found.agrees
    assert found.tests_made < len(cohort) == found.records == sum(found.leaf_sizes)


@pytest.mark.parametrize("count", [1, 5, 17, 900])
def test_any_tree_draws_as_well_formed_pictures(cohort: np.ndarray, count: int, tmp_path: Path) -> None:
    found = seen(cohort[:count], cohort[0], 50)
    page = tmp_path / "explained.html"
    write_explainer(found, page, title="Search <explained>")
    text = page.read_text(encoding="utf-8")
    assert "Search &lt;explained&gt;" in text
    assert "obfuscation-grade" in text
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(svgs) == 4
    tree = ElementTree.fromstring(svgs[0])
    squares = [one for one in tree.iter("rect") if one.get("class") != "node"]
    assert len(squares) == len(found.leaves)
    assert sum(one.get("class") == "match" for one in squares) == sum(hit > 0 for hit in found.hits)
    assert not re.search(r"""(src|href)\s*=|https?://|url\(""", text), "nothing is fetched"


def test_a_search_that_finds_nothing_draws_too(cohort: np.ndarray, tmp_path: Path) -> None:
    far = np.array([63, 0, 63, 0])
    found = seen(cohort[:40], far, 0)
    write_explainer(found, tmp_path / "nothing.html", title="Nothing near")
    assert found.accepted == 0


def test_a_counts_page_shows_both_sides_and_fetches_nothing(tmp_path: Path) -> None:
    seen = CountObservation(
        reading=("include <age> from 40",),
        pairs=(("aa" * 32, "bb" * 32),),
        pairs_sent=2160,
        slots=(("cc" * 32, "dd" * 8, True), ("ee" * 32, "ff" * 8, False)),
        slots_sent=170,
        patients=50,
        room=64,
        truth=9,
        noisy=-2,
        half_width=6,
        bound=53,
        matched=51,
        epsilon=0.5,
        delta=9e-13,
        upload_bytes=138_000,
        download_bytes=6_844,
        seconds=1.5,
    )
    assert (seen.is_covered, seen.is_possible) == (False, True)
    write_count_page(seen, tmp_path / "count.html", title="A count")
    page = (tmp_path / "count.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "&lt;age&gt;" in page
    assert "Told: -2; 0 to 4 with 95 % probability; true: 9" in page
    assert "does not hold" in page
    assert not re.findall(r'(?:src|href)="', page)
