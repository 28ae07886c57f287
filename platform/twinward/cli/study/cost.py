"""What a study would cost: each patient, and each hospital's privacy budget."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twinward.cli.output import say

if TYPE_CHECKING:
    from twinward.federation.evaluation.run_time import RunTime
    from twinward.federation.privacy.accountant import PrivacyPlan
    from twinward.federation.study import StudyProtocol
    from twinward.overview.studies import Budget

MICROS = 1_000_000


def say_cost(study: StudyProtocol, plan: PrivacyPlan, budgets: list[Budget] | None) -> None:
    """What a study would cost each patient, and each hospital's budget."""
    from twinward.federation.privacy.outlook import head_outlooks, outlook

    say(f"{study.study_id}: {study.detector.value} at {', '.join(study.hospitals)}")
    say(f"fingerprint {study.fingerprint().hex()}")
    say(f"ε = {plan.epsilon:.4f} at δ = {plan.delta:g} for one patient's whole stay")
    say(f"noise multiplier σ = {plan.noise_multiplier:.3f}, {plan.rounds} rounds, clip {study.clip:g}")
    say(f"signal: {outlook(study).signal_to_noise:.1f} times the noise, if there are as many patients (2 is least)")
    for head in head_outlooks(study):
        told = f"a head of its own, {head.signal_to_noise:.1f} times the noise"
        if not head.has_head:
            told = f"the backbone alone: a head takes {head.patients_needed} expected_patients at this ε"
        say(f"  {head.group}, {head.expected_patients} patients expected: {told}")
    say(f"cost: {plan.inverse_variance_micros / MICROS:.6f} of each hospital's budget, in 1/σ²")
    if budgets is None:
        say("no node here: the hospitals' budgets were not looked at")
        return
    for one in budgets:
        after = f"{(one.left - one.cost) / MICROS:.6f} after it" if one.reaches else "not enough"
        say(f"  {one.hospital}: {one.left / MICROS:.6f} left, {after}")


def say_time(measured: RunTime) -> None:
    """How long a study would take, as measured here."""
    say(f"time: {measured.round_s:.2f} s a round at each hospital, on a core like this machine's")
    say(f"  {lasting(measured.here_s)} of computing with all hospitals on this machine")
    say(f"  {lasting(measured.apart_s)} with each on its own")
    say(f"  and {measured.exchanges} exchanges with each hospital; over Flower some 4 s each")


def lasting(seconds: float) -> str:
    """A duration for people, with one unit."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def cost_json(study: StudyProtocol, plan: PrivacyPlan, budgets: list[Budget] | None) -> dict[str, Any]:
    """The same, for programs."""
    from twinward.federation.privacy.outlook import head_outlooks, outlook

    shown = {"study": study.study_id, "fingerprint": study.fingerprint().hex(), "epsilon": plan.epsilon}
    expected = outlook(study)
    shown |= {"signal_to_noise": expected.signal_to_noise, "worthwhile": expected.worthwhile}
    if study.disease_groups:
        shown["disease_groups"] = [asdict(one) for one in head_outlooks(study)]
    rest = {"delta": plan.delta, "noise_multiplier": plan.noise_multiplier, "rounds": plan.rounds}
    found = (
        None
        if budgets is None
        else [{"hospital": one.hospital, "left_micros": one.left, "reaches": one.reaches} for one in budgets]
    )
    return shown | rest | {"cost_micros": plan.inverse_variance_micros, "budgets": found}
