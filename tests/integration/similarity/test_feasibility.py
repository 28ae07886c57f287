"""Counts over HTTP from a whole node: right but for the noise, charged on the ledger, answered once, logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from twinward.access.interfaces import AccessRequest
from twinward.cli.main import app
from twinward.client import Criteria, HospitalRefused, KeptCount, VendorClient, count_hospitals
from twinward.core.allowances import hospital_epsilon, vendor_epsilon
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.private_files import write_private
from twinward.core.vocabulary import Action, Purpose
from twinward.demo.accounts import OFFICER, VENDOR, open_accounts
from twinward.demo.display import Silent
from twinward.demo.querying import give_consent
from twinward.demo.sealing import seal_patients
from twinward.demo.serving import served
from twinward.node import Node, create_node
from twinward.protocol.criteria_costs import costs_of, matches
from twinward_crypto.feasibility.noise import GeometricNoise

pytestmark = pytest.mark.slow  # a node, filled and served

CRITERIA: dict[str, Any] = {
    "include": [{"feature": "age", "from": 30}],
    "exclude": [{"medication": "insulin"}],
    "at_least": {"count": 1, "of": [{"condition": "hypertension"}, {"condition": "type_2_diabetes"}]},
}


@dataclass
class Hospital:
    node: Node
    url: str
    token: str
    client: VendorClient

    def truth(self, told: dict[str, Any]) -> int:
        """How many are eligible, in the clear."""
        cohort = self.node.similarity().cohort
        costs = costs_of(Criteria.of(told), cohort.schema, cohort.schema.codes)
        return matches(costs, cohort.eligibility.tolist())

    def left(self) -> tuple[int, int]:
        """What the ledger says: the vendor's and the hospital's, in thousandths."""
        budgets, epoch = self.node.consortium.budgets, self.node.similarity().cohort.epoch
        tenant = self.node.settings.tenant
        names = vendor_epsilon(tenant, VENDOR.id), hospital_epsilon(tenant)
        return tuple(budgets.remaining_queries(name, epoch) for name in names)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    settings = Settings.load(
        tmp_path_factory.mktemp("feasible") / "home", scoring="processes:2", facet_years="1970-2033"
    )
    node = create_node(settings)
    try:
        accounts = open_accounts(node)
        admitted = seal_patients(node, Silent(), bundles=None, count=12, seed=1)
        give_consent(node, admitted.twins)
        node.consortium.grant_queries(VENDOR.id, 5)
        node.consortium.grant_epsilon(settings.tenant, VENDOR.id, own_millis=20_000, whole_millis=60_000)
        with served(node) as url, VendorClient(url, accounts.vendor_token) as client:
            yield Hospital(node, url, accounts.vendor_token, client)
    finally:
        node.close()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of nothing: counts are exact then."""
    monkeypatch.setattr(GeometricNoise, "draw", lambda *_: 0)


@pytest.mark.usefixtures("quiet")
def test_a_count_is_the_plain_truth_where_the_noise_is_none(hospital: Hospital) -> None:
    before = hospital.left()
    truth = hospital.truth(CRITERIA)
    assert 0 < truth < len(hospital.node.similarity().cohort)
    count = hospital.client.feasibility(CRITERIA, epsilon=1.0)
    assert count.noisy == truth
    assert (count.epsilon, count.half_width, count.low) == (1.0, 3, max(0, truth - 3))
    assert hospital.left() == (before[0] - 1000, before[1] - 1000)
    assert count.epsilon_left == (before[0] - 1000) / 1000


@pytest.mark.usefixtures("quiet")
def test_a_count_under_a_filter_is_of_its_entries_alone_and_no_request_stands_on_it(hospital: Hospital) -> None:
    """Also of a single patient: the noise covers one row, whatever the filter. The officer's log shows the filter."""
    cohort = hospital.node.similarity().cohort
    (facet,) = cohort.schema.facets
    places, sizes = np.unique(cohort.facets[:, 0], return_counts=True)
    for place, size in zip(places.tolist(), sizes.tolist(), strict=True):
        criteria = {"exclude": [{"procedure": "dialysis"}], "where": {"year": facet.values[place]}}
        rows = cohort.eligibility[cohort.facets[:, 0] == place]
        costs = costs_of(Criteria.of(criteria), cohort.schema, cohort.schema.codes)
        prepared = hospital.client.prepare_count(criteria, epsilon=0.1)
        assert hospital.client.send_count(prepared).noisy == matches(costs, rows.tolist()) <= size
    assert f"only entries with year {facet.values[place]}" in " ".join(prepared.reading)
    with pytest.raises(HospitalRefused, match="without a filter"):
        hospital.client.propose_contact(
            KeptCount.of(prepared), title="A study", purpose="a trial of a medicine", text="What it asks of you"
        )


def test_a_count_is_off_by_no_more_than_the_noise_may_be(hospital: Hospital) -> None:
    count = hospital.client.feasibility({"exclude": [{"procedure": "dialysis"}]}, epsilon=1.0)
    assert abs(count.noisy - hospital.truth({"exclude": [{"procedure": "dialysis"}]})) <= 27


def test_a_question_sent_again_gets_the_same_answer_and_costs_nothing(hospital: Hospital) -> None:
    prepared = hospital.client.prepare_count(CRITERIA, epsilon=0.1)
    first = hospital.client.send_count(prepared)
    left = hospital.left()
    assert hospital.client.send_count(prepared) == first
    assert hospital.left() == left
    assert hospital.client.send_count(hospital.client.prepare_count(CRITERIA, epsilon=0.1)).query_id != first.query_id


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -1.0, 0.3])
def test_an_epsilon_that_is_not_offered_is_refused_before_anything_is_sent(hospital: Hospital, epsilon: float) -> None:
    left = hospital.left()
    with pytest.raises(BadInput, match="epsilon"):
        hospital.client.prepare_count(CRITERIA, epsilon=epsilon)
    assert hospital.left() == left


def test_what_is_announced_is_what_travels(hospital: Hospital) -> None:
    prepared = hospital.client.prepare_count(CRITERIA, epsilon=0.5)
    count = hospital.client.send_count(prepared)
    assert (count.upload_bytes, count.download_bytes) == (prepared.upload_bytes, prepared.download_bytes)
    assert (prepared.half_width, count.half_width) == (6, 6)
    assert "insulin" in " ".join(prepared.reading)
    assert prepared.hospital_seconds >= 1


def test_patients_find_in_the_log_who_counted_and_nothing_of_what(hospital: Hospital) -> None:
    hospital.client.feasibility({"include": [{"condition": "stroke"}]}, epsilon=0.1)
    asking = AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE)
    permit = hospital.node.access.decide(asking)
    rows = hospital.node.audit_reader.events(permit, limit=500).rows
    known = [row.event for row in rows if row.event is not None]
    events = [one for one in known if one.agent == VENDOR.id and one.action is Action.QUERY]
    assert [one for one in events if ("mode", "feasibility") in one.detail]
    assert {one.twin for one in events if one.twin is not None} == set(hospital.node.similarity().cohort.twins)
    assert "stroke" not in repr(events)


def test_terms_say_what_is_counted_by_and_are_signed(hospital: Hospital) -> None:
    terms = hospital.client.feasibility_terms()
    assert terms.code_list == hospital.node.similarity().cohort.schema.codes
    assert terms.epsilon_millis == (250, 100, 500, 1000)
    assert terms.rows % 64 == 0
    assert terms.proof is not None
    assert terms.proof.vendor == VENDOR.id
    again = hospital.client.feasibility_terms()
    assert again.rows == terms.rows


def test_the_room_for_rows_outlives_a_new_snapshot(hospital: Hospital) -> None:
    rows = hospital.client.feasibility_terms().rows
    hospital.node.refresh_cohort()
    assert hospital.client.feasibility_terms().rows == rows


@pytest.mark.parametrize("epsilon", [0.3, 0.01, 3])
def test_an_epsilon_that_is_not_offered_is_not_sent(hospital: Hospital, epsilon: float) -> None:
    with pytest.raises(BadInput, match="offers no count"):
        hospital.client.feasibility(CRITERIA, epsilon=epsilon)


def test_the_command_says_what_it_costs_before_it_asks(hospital: Hospital, tmp_path: Path) -> None:
    token, criteria = tmp_path / "token", tmp_path / "trial.toml"
    token.write_text(hospital.token)
    token.chmod(0o600)
    criteria.write_text('[[include]]\nfeature = "age"\nfrom = 40\n')
    arguments = ["vendor", "feasibility", hospital.url, "--criteria", str(criteria), "--token-file", str(token)]
    arguments += ["--epsilon", "0.5", "--known-hospitals", str(tmp_path / "known.json")]
    left = hospital.left()
    refused = CliRunner().invoke(app, arguments, input="n\n")
    assert refused.exit_code == 2  # nobody at the keyboard to ask, and no --yes
    assert hospital.left() == left
    for said in ("off by at most 6 with 95 % probability", "epsilon 0.5", "bytes up", "counted as: include age"):
        assert said in " ".join(refused.stderr.split())
    done = CliRunner().invoke(app, [*arguments, "--yes", "--json"])
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout[done.stdout.index("{\n") :])  # the server of this process logs there too
    (count,) = told["counts"].values()
    assert told["sum"]["noisy"] == count["noisy"]
    assert abs(count["noisy"] - hospital.truth({"include": [{"feature": "age", "from": 40}]})) <= 53
    assert hospital.left() == (left[0] - 500, left[1] - 500)


def test_several_hospitals_counts_are_summed_and_a_silent_one_is_named(hospital: Hospital, tmp_path: Path) -> None:
    """Two addresses of one node stand for two hospitals. The sum's interval is narrower than both together."""
    twin_url, silent = hospital.url.replace("127.0.0.1", "localhost"), "http://127.0.0.1:9"
    criteria = {"include": [{"feature": "age", "from": 40}]}
    left = hospital.left()
    with VendorClient(twin_url, hospital.token) as second, VendorClient(silent, hospital.token) as nobody:
        counts = count_hospitals([hospital.client, second, nobody], criteria, epsilon=0.5)
    assert hospital.left() == (left[0] - 1000, left[1] - 1000)
    assert [one.hospital for one in counts.failures] == [silent]
    assert counts.noisy == sum(one.noisy for one in counts.counts.values())
    assert abs(counts.noisy - 2 * hospital.truth(criteria)) <= 2 * 53
    assert 6 < counts.half_width < 12
    token, file = tmp_path / "token", tmp_path / "trial.toml"
    write_private(token, hospital.token.encode())
    file.write_text('[[include]]\nfeature = "age"\nfrom = 40\n')
    arguments = ["vendor", "feasibility", hospital.url, twin_url, silent, "--criteria", str(file), "--same-token"]
    arguments += ["--token-file", str(token), "--epsilon", "0.5", "--yes", "--known-hospitals", str(tmp_path / "known")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"together: about \d+ patients, \d+ to \d+ \(95 %\)", done.stdout)
    assert f"{silent}: no answer" in done.stdout


def test_what_all_vendors_may_spend_bounds_each(hospital: Hospital) -> None:
    """The last one of this file: it uses the epsilon up."""
    tenant = hospital.node.settings.tenant
    spent = 60_000 - hospital.left()[1]
    hospital.node.consortium.change(hospital.node.consortium.budgets.granting(hospital_epsilon(tenant), spent + 150))
    prepared = hospital.client.prepare_count(CRITERIA, epsilon=0.1)
    other = hospital.client.prepare_count(CRITERIA, epsilon=0.1)
    hospital.client.send_count(prepared)
    with pytest.raises(HospitalRefused, match=r"for all vendors together, epsilon 0\.05 left") as refusal:
        hospital.client.send_count(other)
    assert refusal.value.status == 403
    with pytest.raises(BadInput, match="is left for counts"):
        hospital.client.prepare_count(CRITERIA, epsilon=0.1)
