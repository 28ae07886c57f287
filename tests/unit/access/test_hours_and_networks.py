"""The hospital's clock and networks, as rules of the policy ask for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from twinward.access.hours import Hour, Hours
from twinward.access.networks import Networks
from twinward.core.config import Settings

ZONES = ("UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
NAMED = {"ward": ("10.20.0.0/16", "fd00:20::/64"), "intensive": ("10.20.7.0/24",), "vpn": ("172.16.0.9",)}


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@given(zone=st.sampled_from(ZONES), at_ms=st.integers(ms("1990-01-01T00:00"), ms("2060-01-01T00:00")))
@example(zone="Australia/Lord_Howe", at_ms=ms("2026-04-04T14:59:59"))  # clocks go back by half an hour
@example(zone="America/St_Johns", at_ms=ms("2005-04-03T03:30:30"))  # clocks were changed a minute after midnight
def test_an_hour_is_the_zones_and_holds_until_it_ends(zone: str, at_ms: int) -> None:
    hours = Hours(zone)
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    assert hours.at(at_ms) == (local.hour, local.isoweekday())
    ends_ms = hours.until_ms(at_ms)
    assert 0 < ends_ms - at_ms <= 3_600_000
    assert {hours.at(one) for one in range(at_ms, ends_ms, 60_000)} | {hours.at(ends_ms - 1)} == {hours.at(at_ms)}


def test_the_hour_that_comes_twice_and_the_one_that_never_comes() -> None:
    hours = Hours("Europe/Vienna")
    assert [hours.at(ms(f"2026-10-25T{at}")).hour for at in ("00:30", "01:30")] == [2, 2]
    assert [hours.at(ms(f"2026-03-29T{at}")).hour for at in ("00:59", "01:00")] == [1, 3]
    assert hours.at(ms("2026-12-01T23:30")) == Hour(0, 3)
    assert hours.until_ms(ms("2026-12-01T18:59:30", "Europe/Vienna")) == ms("2026-12-01T19:00", "Europe/Vienna")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.20.1.1", "ward"),
        ("10.20.7.1", "intensive"),  # the narrower range
        ("::ffff:10.20.7.1", "intensive"),  # as a socket for both families says it
        ("fd00:20::1%eth0", "ward"),
        ("172.16.0.9", "vpn"),
        ("172.16.0.10", "outside"),
        ("10.20.0.80", "outside"),  # a proxy, which did not say for whom it asks
        ("127.0.0.1", "outside"),  # a request is never the node itself
        ("testclient", "outside"),
        ("unknown", "outside"),
        ("", "outside"),
    ],
)
def test_an_address_is_in_the_narrowest_network_or_outside(address: str, network: str) -> None:
    networks = Networks(NAMED, ["10.20.0.80/32"])
    assert networks.of(address) == network
    assert networks.names == ("ward", "intensive", "vpn", "node", "outside")
    assert Networks().of(address) == "outside"


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ({"node": ["10.0.0.0/8"]}, "node is what rules call a place already"),
        ({"outside": ["10.0.0.0/8"]}, "outside is what rules call a place already"),
        ({"ward": ["10.0.0.0/8"], "vpn": ["10.9.9.9/8"]}, "10.0.0.0/8 is in two networks"),
        ({"ward": ["10.0.0"]}, "an IP address or a range"),
        ({"ward": []}, "at least 1"),
        ({'w" ]; permit': ["10.0.0.0/8"]}, "pattern"),
        ({f"w{number}": [f"10.0.0.{number}"] for number in range(65)}, "at most 64"),
    ],
)
def test_networks_that_no_rule_could_mean_are_refused(networks: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(networks=networks)


def test_networks_are_read_from_the_file_that_a_home_is_made_with(tmp_path: Path) -> None:
    made = Settings(home=tmp_path, networks=NAMED, facet_sites={"north": ("Organization/1", "Organization/2")})
    (tmp_path / "twinward.toml").write_text(made.to_toml())
    read = Settings.load(tmp_path)
    assert read.networks == {**NAMED, "vpn": ("172.16.0.9/32",)}
    assert read.facet_sites == made.facet_sites
