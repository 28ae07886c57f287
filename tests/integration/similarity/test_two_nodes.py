"""Two whole nodes of one consortium, each with its own vault and log, one ledger of budgets between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest

from tests.integration.similarity.test_sealed_records import OFFICER, VENDOR, provision
from twinward.access.interfaces import AccessContext
from twinward.client import HospitalRefused, Mode, Question, VendorClient, VendorKeys, ask_hospitals
from twinward.core.config import Settings
from twinward.core.vocabulary import Category, Purpose
from twinward.demo.serving import served
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, Node, create_node, join_as_peer
from twinward.twins.models import DIRECTORY

pytestmark = pytest.mark.slow  # two nodes, filled and served

ALLOWANCE = 16
THRESHOLD = 0.25
SETTINGS = {"modes": ("gated", "vendor-key", "matrix"), "vendor_key_noise": 1}


@dataclass
class Served:
    node: Node
    url: str
    client: VendorClient

    def within(self, question: Question) -> set[str]:
        """Brute force over the node's own cohort."""
        cohort = self.node.similarity().cohort
        query = np.array(cohort.schema.quantise(cohort.schema.in_own_units(question.values)))
        near = ((cohort.levels - query) ** 2).sum(axis=1) <= question.limit().to_squared(cohort.schema)
        handle = self.node.similarity().secrets.handle
        return {handle(VENDOR.id, twin) for twin, inside in zip(cohort.twins, near, strict=True) if inside}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    first = create_node(Settings.load(tmp_path_factory.mktemp("two") / "node", **SETTINGS))
    second = join_as_peer(first, "northgate")
    with ExitStack() as stack:
        stack.callback(first.close)
        stack.callback(second.close)
        first.consortium.grant_queries(VENDOR.id, ALLOWANCE)
        opened = []
        for seed, node in enumerate((first, second)):
            twins = [
                node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
                for one in generate_cohort(9, seed)
                if one.reference != DIRECTORY
            ]
            yes = (provision(Category.FEATURES, Category.LABS),)
            node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, yes) for twin in twins])
            token = node.accounts.add_system(VENDOR)
            url = stack.enter_context(served(node))
            opened.append(Served(node, url, stack.enter_context(VendorClient(url, token))))
        yield opened


def test_every_mode_at_both_is_brute_force_and_paid_from_one_ledger(hospitals: list[Served]) -> None:
    cohort = hospitals[0].node.similarity().cohort
    features = cohort.schema.features
    row = cohort.levels[0].tolist()
    values = {f.name: f.low + level * cohort.schema.step(f.name) for f, level in zip(features, row, strict=True)}
    for number, mode in enumerate(Mode, start=1):
        question = Question(values, mode, THRESHOLD)
        answers = ask_hospitals([one.client for one in hospitals], question)
        assert answers.complete
        for one in hospitals:
            expected = one.within(question)
            assert set(answers.matches[one.url].handles) == (expected if len(expected) >= 3 else set())
        assert {one.client.budget().remaining for one in hospitals} == {ALLOWANCE - 2 * number}
    assert answers.found


def test_both_release_records_to_one_key_and_handles_are_each_ones_own(hospitals: list[Served]) -> None:
    keys = VendorKeys.generate()
    answers = ask_hospitals([one.client for one in hospitals], Question({"age": 50}, Mode.GATED, 1.0))
    told = [answers.matches[one.url] for one in hospitals]
    for one, matches in zip(hospitals, told, strict=True):
        assert len(matches.handles) == 9
        assert {record.handle for record in one.client.records(matches, keys, categories=["labs"]).records}
    with pytest.raises(HospitalRefused) as refusal:
        hospitals[0].client.records(told[1], keys, categories=["labs"])
    assert refusal.value.status == 404


def test_the_budget_is_one_for_the_whole_consortium(hospitals: list[Served]) -> None:
    first, second = hospitals
    while first.client.budget().remaining:
        first.client.query_gated({"age": 50}, threshold=1.0)
    with pytest.raises(HospitalRefused, match="0 queries left") as refusal:
        second.client.query_gated({"age": 50}, threshold=1.0)
    assert "00:00 UTC" in refusal.value.hint
