"""Which source a message is of: no two devices share the numbers of one."""

from __future__ import annotations

import pytest

from twinward.core.errors import BadInput
from twinward.live.intake.lines import NAME
from twinward.live.mqtt.broker import topic_of


def test_devices_whose_names_are_none_are_not_one_source() -> None:
    topic = topic_of("icu/+/readings", "icu")
    assert topic.source_of("icu/m-1/readings") == "icu.m-1"
    odd = ["icu/mönitor/readings", "icu/m 1/readings", f"icu/{'m' * 70}/readings", f"icu/{'m' * 71}/readings"]
    odd += ["icu//readings", "icu/m-1.apart/readings", "followed/before"]
    found = [topic.source_of(one) for one in odd]
    assert len({*found, "icu", "icu.m-1.apart"}) == len(odd) + 2
    assert all(map(NAME.fullmatch, found))
    assert topic.source_of(f"icu/{found[0].removeprefix('icu.')}/readings") not in found, "called so"
    assert topic_of("icu/readings", "icu").source_of("icu/readings") == "icu"
    assert NAME.fullmatch(topic_of("icu/+", "s" * 64).source_of("icu/x"))


def test_a_source_that_is_no_name_is_told_before_anything_is_followed() -> None:
    with pytest.raises(BadInput, match="source"):
        topic_of("icu/+/readings", "my ward")
