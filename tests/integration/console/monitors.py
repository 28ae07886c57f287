"""Monitors of a console's house: an hour of a small ward, one patient getting worse, one device with nobody."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from tests.integration.console.fixtures import House
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import FixedClock, iso
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.live.alerts.rules import shipped_rules
from twinward.live.alerts.watch import Watch
from twinward.live.intake.intake import Intake
from twinward.live.intake.lines import read_lines

GATEWAY = AccessContext(Principal("icu-gateway", Role.SYSTEM), Purpose.RECORD_MANAGEMENT)
_OFFICER = AccessContext(Principal("officer", Role.OFFICER), Purpose.RECORD_MANAGEMENT)
_USUAL = {
    "8867-4": (76, 3, "/min"),
    "59408-5": (97, 0.7, "%"),
    "9279-1": (15, 1, "/min"),
    "8480-6": (122, 4, "mm[Hg]"),
    "8462-4": (74, 3, "mm[Hg]"),
    "8310-5": (36.8, 0.1, "Cel"),
    "9269-2": (15, 0, "{score}"),
}
"""Code: what is usual, how much it varies, its unit."""
_WORSE = {"8867-4": 0.9, "59408-5": -0.25, "9279-1": 0.25, "8480-6": -0.6}
"""By how much a minute, for the first patient, from the twentieth minute on."""
_MINUTES = 60
_UNSEEN_MINUTES = 6
"""For so long nobody came: alerts that were raised before are escalated."""


def an_hour_of_it(house: House) -> TwinId:
    """Stream it, up to now; the patient who got worse."""
    live, now_ms, chance = house.node.live, house.node.clock.now_ms(), random.Random(7)
    beds = [one for one in house.node.twins.all() if one in house.twins][:4]
    begin_ms = now_ms - _MINUTES * 60_000
    for bed, twin in enumerate(beds, 1):
        live.assign(GATEWAY, f"icu-bed-{bed}", twin, begin_ms)
    live.release(GATEWAY, "icu-bed-4", begin_ms + 1)
    denied = Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.LABS,))
    house.node.access.set_consents(_OFFICER, [(beds[2], (denied,))])
    lines = []
    for minute in range(_MINUTES):
        for bed in range(1, 5):
            for code, (usual, spread, unit) in _USUAL.items():
                worse = _WORSE.get(code, 0) * max(0, minute - 20) if bed == 1 else 0
                value = round(chance.gauss(usual, spread) + worse, 1 if unit == "Cel" else 0)
                at_ms = begin_ms + minute * 60_000 + 30_000
                reading = {"seq": len(lines), "device": f"icu-bed-{bed}", "code": code, "value": min(value, 200)}
                if code == "59408-5":
                    reading["value"] = min(value, 100)
                lines.append(json.dumps(reading | {"unit": unit, "time": iso(at_ms)}).encode())
    ago = replace(live.watch._parts, clock=FixedClock(now_ms - _UNSEEN_MINUTES * 60_000))
    early = (_MINUTES - _UNSEEN_MINUTES) * len(lines) // _MINUTES
    Intake(ago, Watch(ago, shipped_rules).follow).take(GATEWAY, "icu-gateway", read_lines(b"\n".join(lines[:early])))
    live.intake.take(GATEWAY, "icu-gateway", read_lines(b"\n".join(lines[early:])))
    live.watch.tick()
    return beds[0]
