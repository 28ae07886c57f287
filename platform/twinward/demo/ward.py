"""The last step: an hour of a ward. Monitors stream, one patient deteriorates, the alert fires, who gets a ventilator;
the log tells both stories.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence

from twinward.access.interfaces import AccessContext
from twinward.core.clock import iso
from twinward.core.vocabulary import Purpose, TwinId
from twinward.demo.accounts import CLINICIAN
from twinward.demo.display import Display
from twinward.demo.result import Ward
from twinward.live.intake.lines import read_lines
from twinward.live.models import Outcome
from twinward.node import SYSTEM, Node
from twinward.things.interactions import Report
from twinward.things.models import Kind, Relation, What
from twinward.things.service import New

BEDS, MINUTES = 8, 60
_MINUTE_MS = 60_000
_USUAL = {"8867-4": (76, 3, "/min"), "59408-5": (97, 0.7, "%"), "9279-1": (15, 1, "/min"), "8480-6": (122, 4, "mm[Hg]")}
"""Code: what is usual, how much it varies, its unit."""
_WORSE = {"8867-4": 0.9, "59408-5": -0.25, "9279-1": 0.25, "8480-6": -0.6}
"""By how much a minute, for the patient who deteriorates from the twentieth minute on."""
_FILING = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
_CARING = AccessContext(CLINICIAN, Purpose.TREATMENT)


def hour_of_a_ward(node: Node, display: Display, twins: Sequence[TwinId], seed: int) -> Ward:
    """Stream it, each minute sent twice as a gateway does that lost the answer; acknowledge what is raised."""
    beds, began = twins[:BEDS], time.perf_counter()
    begin_ms = node.clock.now_ms() - MINUTES * _MINUTE_MS
    display.begin("6 · an hour of a ward", MINUTES)
    for bed, twin in enumerate(beds):
        node.live.assign(_FILING, f"monitor-{bed + 1}", twin, begin_ms)
    stored = again = seq = 0
    chance = random.Random(seed)
    for minute in range(MINUTES):
        lines = []
        for bed in range(len(beds)):
            for code in _USUAL:
                seq += 1
                lines.append(_line(seq, bed, code, minute, begin_ms, chance))
        batch = read_lines("\n".join(lines).encode())
        for _ in range(2):
            outcomes = [one.outcome for one in node.live.intake.take(_FILING, "ward-3", batch)]
            stored += outcomes.count(Outcome.STORED)
            again += outcomes.count(Outcome.DUPLICATE)
        display.advance()
    alerts = node.live.alerts.of(_CARING, beds[0]) if beds else []
    for one in alerts:
        node.live.alerts.acknowledge(_CARING, one.id)
    if beds:
        _equip(node, beds)
    elsewhere = sum(len(node.live.alerts.of(_CARING, twin)) for twin in beds[1:])
    report = node.live.closing.run(now=True)
    raised = tuple(f"{one.rule} after {(one.raised_ms - begin_ms) // _MINUTE_MS} minutes" for one in alerts)
    ward = Ward(len(beds), stored, again, raised, elsewhere, report.windows, time.perf_counter() - began)
    display.finish(f"{stored} readings of {len(beds)} beds, each sent twice; {', '.join(raised) or 'no alert'}")
    return ward


def _equip(node: Node, twins: Sequence[TwinId]) -> None:
    """The ward, its beds and monitors; and a ventilator, which is given to the patient who deteriorates and started."""
    things, relate = node.things, node.things.relations.relate
    things.add(_FILING, New("ward-3", Kind.WARD, "Ward 3"))
    for bed, twin in enumerate(twins, 1):
        things.add(_FILING, New(f"bed-3-{bed}", Kind.BED, f"Ward 3, bed {bed}"))
        relate(_FILING, f"bed-3-{bed}", Relation.PART_OF, "ward-3")
        relate(_FILING, f"bed-3-{bed}", Relation.ASSIGNED_TO, twin)
        things.add(_FILING, New(f"monitor-{bed}", Kind.DEVICE, f"Monitor {bed}", "monitor"))
        relate(_FILING, f"monitor-{bed}", Relation.LOCATED_IN, f"bed-3-{bed}")
    things.add(_FILING, New("ventilator-1", Kind.DEVICE, "Ventilator 1", "ventilator", 500, 180))
    relate(_FILING, "ventilator-1", Relation.LOCATED_IN, "bed-3-1")
    relate(_CARING, "ventilator-1", Relation.ASSIGNED_TO, twins[0])
    things.interactions.record(_CARING, "ventilator-1", Report(What.STARTED))


def _line(seq: int, bed: int, code: str, minute: int, begin_ms: int, chance: random.Random) -> str:
    usual, spread, unit = _USUAL[code]
    worse = _WORSE[code] * max(0, minute - 20) if bed == 0 else 0
    value = round(min(chance.gauss(usual, spread) + worse, 100 if unit == "%" else 300))
    at_ms = begin_ms + minute * _MINUTE_MS + bed
    reading = {"seq": seq, "device": f"monitor-{bed + 1}", "code": code, "value": value, "unit": unit}
    return json.dumps(reading | {"time": iso(at_ms)})
