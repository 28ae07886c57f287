"""Three hospitals of one home exchange resources by the command line, on the embedded chain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from twinward.core.clock import iso
from twinward.node import open_node

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def home(hospital: Hospital) -> Hospital:
    hospital.asked("exchange", "open")
    return hospital


@pytest.fixture(scope="module")
def in_days(home: Hospital) -> Callable[[float], str]:
    with open_node(home.home) as node:
        now_ms = node.clock.now_ms()
    return lambda days: iso(now_ms + round(days * DAY_MS))


def test_it_is_opened_once_and_said_where_there_is_none(hospital: Hospital, tmp_path: Path) -> None:
    copied = tmp_path / "node"
    shutil.copytree(hospital.home, copied)
    fresh = Hospital(copied, hospital.twins, hospital.vendor_token)
    addresses = json.loads((copied / "consortium.json").read_text())
    (copied / "consortium.json").write_text(json.dumps({**addresses, "resource_exchange": ""}))
    assert "exchange open" in fresh.run("exchange", "list").output
    assert fresh.run("exchange", "list").exit_code == 4
    # A file that names a stranger's contract is not believed.
    (copied / "consortium.json").write_text(json.dumps({**addresses, "resource_exchange": addresses["witness_set"]}))
    done = fresh.run("exchange", "list")
    assert done.exit_code == 7
    assert "the consortium's contracts" in done.output


@pytest.mark.slow
def test_a_transfer_from_offer_to_receipt(home: Hospital, in_days: Callable[[float], str]) -> None:
    tenant, other = _hospitals(home)
    offer = home.asked("exchange", "offer", "ventilator", "5", "--until", in_days(7), "--as", "olga", "--id", "x")
    again = home.asked("exchange", "offer", "ventilator", "5", "--until", in_days(7), "--as", "olga", "--id", "x")
    assert offer == again
    assert (offer["hospital"], offer["left"], offer["stands"]) == (tenant, 5, True)
    need = home.asked(
        "exchange", "request", "ventilator", "3", "--until", in_days(6), "--as", "olga", "--hospital", other
    )
    assert need["hospital"] == other
    (best,) = home.asked("exchange", "suggest")["suggestions"]
    assert (best["giver"], best["receiver"], best["quantity"]) == (tenant, other, 3)
    promise = ["exchange", "promise", "--offer", str(offer["listing"]), "--request", str(need["listing"])]
    times = ["--ship-by", in_days(1), "--receive-by", in_days(2), "--as", "olga"]
    too_much = home.run(*promise, "--quantity", "4", *times)
    assert too_much.exit_code == 4
    assert "less left" in too_much.output
    theirs = home.run(*promise, "--quantity", "1", *times, "--hospital", other)
    assert theirs.exit_code == 4
    assert "another hospital's step" in theirs.output
    made = home.asked(*promise, "--quantity", "2", *times, "--details", "two, with tubes")
    number = str(made["transfer"])
    assert home.run("exchange", "receive", number, "--arrived", "2", "--as", "olga").exit_code == 4
    assert home.asked("exchange", "ship", number, "--as", "olga")["state"] == "shipped"
    got = home.asked("exchange", "receive", number, "--arrived", "1", "--as", "olga", "--hospital", other)
    assert (got["state"], got["arrived"], got["late"]) == ("received", 1, "")
    listed = home.asked("exchange", "list", "--all")
    assert [one["left"] for one in listed["listings"]] == [3, 1]
    assert home.asked("exchange", "list")["transfers"] == []

    disputed = home.asked("exchange", "dispute", number, "--why", "both arrived", "--as", "olga")
    assert disputed["state"] == "disputed"
    half = home.home.parent / "half.json"
    home.asked("exchange", "settle", number, "--arrived", "2", "--out", str(half), "--as", "olga")
    forged = json.loads(half.read_text())
    forged["arrived"] = 0
    wrong = home.home.parent / "wrong.json"
    wrong.write_text(json.dumps(forged))
    settle = ["exchange", "settle", number, "--as", "olga"]
    theirs = home.run(*settle, "--arrived", "2", "--with", str(wrong), "--hospital", other)
    assert theirs.exit_code == 2  # nobody signs what a file says instead of what was typed
    assert "0 arrived of transfer" in theirs.output
    assert home.run(*settle, "--arrived", "0", "--with", str(wrong), "--hospital", other).exit_code == 4
    assert home.run(*settle, "--arrived", "2", "--with", str(half)).exit_code == 2
    settled = home.asked(*settle, "--arrived", "2", "--with", str(half), "--hospital", other)
    assert (settled["state"], settled["arrived"]) == ("settled", 2)

    # one that they do not settle the consortium decides: the keys of a quorum are in this home
    decide = ["exchange", "decide", "--as", "olga", "--arrived", "0"]
    assert home.run(*decide, number).exit_code == 4, "it is settled"
    assert home.run(*decide, "99").exit_code == 3
    second = str(home.asked(*promise, "--quantity", "1", *times)["transfer"])
    home.asked("exchange", "ship", second, "--as", "olga")
    assert "no dispute" in home.run(*decide, second).output, "nothing waits to be decided against a promise that holds"
    home.asked("exchange", "dispute", second, "--why", "nothing came", "--as", "olga", "--hospital", other)
    assert home.run(*decide[:2], second, "--arrived", "0", "--as", "dr-lee").exit_code == 6
    decided = home.asked(*decide, second)
    assert (decided["state"], decided["arrived"]) == ("settled", 0)


def test_every_step_is_in_the_hospitals_own_log_and_nothing_else_leaves(
    home: Hospital, in_days: Callable[[float], str]
) -> None:
    home.asked(
        "exchange", "offer", "dialysis", "1", "--until", in_days(1), "--as", "olga", "--details", "secret room 9"
    )
    said = home.run("audit", "list", "--as", "olga").output
    assert "signed an offer of resources to other hospitals" in said
    with open_node(home.home) as node:
        contract = node.consortium.resource_exchange()
        assert contract is not None
        kept = contract.listing(contract.listing_count())
    assert b"secret" not in kept.details
    assert not any(b"secret room 9" in path.read_bytes() for path in home.home.rglob("*") if path.is_file())


def test_who_may_and_what_is_malformed(home: Hospital, in_days: Callable[[float], str]) -> None:
    offer = ["exchange", "offer", "ventilator", "1", "--until", in_days(1)]
    assert home.run(*offer, "--as", "dr-lee").exit_code == 6
    assert home.run(*offer, "--as", "nobody").exit_code == 3
    assert home.run("exchange", "offer", "Beds!", "1", "--until", in_days(1), "--as", "olga").exit_code == 2
    assert home.run("exchange", "offer", "ecmo", "1", "--until", "tomorrow", "--as", "olga").exit_code == 2
    assert home.run("exchange", "offer", "ecmo", "1", "--until", in_days(-1), "--as", "olga").exit_code == 4
    assert home.run(*offer, "--as", "olga", "--hospital", "x").exit_code == 2
    for named in ("--details", "--id"):
        assert home.run(*offer, "--as", "olga", named, "\udcff").exit_code == 2  # a byte that is no UTF-8
    assert home.run("exchange", "ship", "99", "--as", "olga").exit_code == 3
    assert home.run("exchange", "withdraw", "99", "--as", "olga").exit_code == 3
    bad = home.home.parent / "bad.json"
    for content in ("", "[]", '{"transfer": 1}', "\x00", "[" * 99_999):
        bad.write_text(content)
        wrong = home.run("exchange", "settle", "1", "--arrived", "1", "--with", str(bad), "--as", "olga")
        assert wrong.exit_code == 2
    bad.write_text("minutes = " + "[" * 99_999)
    deep = home.run("exchange", "suggest", "--way", str(bad))
    assert (deep.exit_code, "nested too deep" in deep.output) == (2, True)
    assert run("exchange", "surge", "--ward", "north", "--at", "north=1:1:1").exit_code == 2
    simulated = run("exchange", "surge", "--ward", "a=9:1", "--ward", "b=9:.5", "--at", "a=3:5:9", "--runs", "2")
    assert "mean of 2 runs" in simulated.output


def test_a_withdrawn_offer_and_a_cancelled_promise(home: Hospital, in_days: Callable[[float], str]) -> None:
    _, other = _hospitals(home)
    offers = ["exchange", "offer", "monitor", "--until", in_days(3), "--as", "olga", "--id", "monitors", "4"]
    offer = home.asked(*offers)["listing"]
    assert home.asked(*offers)["listing"] == offer
    assert home.run(*offers[:-1], "5").exit_code == 4  # an id that stands for something else
    told = [home.run(*offers[:-3], "--id", "told", "4", "--details", "ask for Kim").output for _ in range(2)]
    assert ["the salt of then" in one for one in told] == [False, True]  # a new salt checks nothing
    assert " salt " in told[0]
    need = home.asked(
        "exchange", "request", "monitor", "4", "--until", in_days(3), "--as", "olga", "--hospital", other
    )["listing"]
    made = home.asked(
        *["exchange", "promise", "--offer", str(offer), "--request", str(need), "--quantity", "4"],
        *["--ship-by", in_days(1), "--receive-by", in_days(2), "--as", "olga"],
    )
    assert home.run("exchange", "lapse", str(made["transfer"]), "--as", "olga").exit_code == 4
    nobodys = ["exchange", "promise", "--offer", str(offer), "--request", str(2**300), "--quantity", "1"]
    assert home.run(*nobodys, "--ship-by", in_days(1), "--receive-by", in_days(2), "--as", "olga").exit_code == 3
    gone = home.asked("exchange", "cancel", str(made["transfer"]), "--as", "olga")
    assert gone["state"] == "cancelled"
    ended = home.asked("exchange", "withdraw", str(offer), "--as", "olga")
    assert (ended["left"], ended["stands"]) == (4, False)
    with open_node(home.home) as node:
        assert node.exchange.broken(node.settings.tenant) == 1


def _hospitals(home: Hospital) -> tuple[str, str]:
    with open_node(home.home) as node:
        tenant = node.settings.tenant
        return tenant, next(name for name in node.settings.witnesses if name != tenant)
