"""An outlook as JSON: the same for a command and over HTTP. Times are hours, shares are of one."""

from __future__ import annotations

from typing import Any

from twinward.things.what_if.outlook import Estimate, Outlook, StageOutlook


def answer(outlook: Outlook) -> dict[str, Any]:
    """Everything that was found out; what nobody can say is null."""
    scenario, theory = outlook.scenario, outlook.theory
    mean, least, most = outlook.occupancy.round(3).tolist()
    return {
        "scenario": {
            "name": scenario.name,
            "arrivalsPerHour": scenario.arrivals_h,
            "days": scenario.days,
            "waiting": scenario.waiting,
            "urgent": scenario.urgent,
            "present": len(scenario.present_h),
        },
        "runs": outlook.runs,
        "arrived": _estimate(outlook.arrived),
        "refused": _estimate(outlook.refused),
        "stages": [_stage(one) for one in outlook.stages],
        "occupancy": {"mean": mean, "least": least, "most": most},
        "theory": None
        if theory is None
        else {"refused": theory.refused, "waited": theory.waited, "waitHours": theory.wait_h},
    }


def _stage(one: StageOutlook) -> dict[str, Any]:
    return {
        "name": one.name,
        "servers": one.servers,
        "waitHours": _estimate(one.wait_h),
        "longWaitHours": _estimate(one.long_wait_h),
        "urgentWaitHours": None if one.urgent_wait_h is None else _estimate(one.urgent_wait_h),
        "waited": _estimate(one.waited),
        "busy": _estimate(one.busy),
    }


def _estimate(one: Estimate) -> dict[str, float]:
    return {"mean": one.mean, "low": one.low, "high": one.high, "least": one.least, "most": one.most}
