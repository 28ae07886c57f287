"""Rounds on Flower's simulation engine, run in its environment (``make simulation``): ours, or stock SecAgg+.

``python -m tests.benchmarks.ray_rounds ours|stock HOSPITALS COUNT`` prints the rounds' seconds as JSON. Stock adds up
vectors of the same length, of zeros: no training, no noise, no signed keys, 22 bits a number, seeds folded to 32.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}
STAYS = 540
BACKEND: Any = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    "init_args": {"include_dashboard": False, "log_to_driver": False},
}


def ours(hospitals: int, count: int) -> list[float]:
    """The one round of as many DP-VAR studies, once all joined: contributions, noise, masks, the opened sum."""
    from twinward.core.clock import SystemClock
    from twinward.federation import api
    from twinward.federation.coordinator import Progress
    from twinward.federation.evaluation.benchmark import synthetic_benchmark
    from twinward.federation.flower.ray_engine import simulate_on_ray
    from twinward.federation.simulation import deal_out
    from twinward.federation.stays.sources import HeldStays

    took: list[float] = []
    joined = 0.0

    def note(step: Progress) -> None:
        nonlocal joined
        if step.stage == "joining":
            joined = time.perf_counter()
        elif step.stage == "training":
            took.append(time.perf_counter() - joined)

    for number in range(count):
        study = api.with_hospitals(api.new_study(f"bench-{number}", expected_patients=STAYS * hospitals), hospitals)
        stays = deal_out(study, HeldStays(api.synthetic_data(study, STAYS * hospitals, number).stays))
        simulate_on_ray(study, stays, synthetic_benchmark(), SystemClock(), progress=note)
    return took


def stock(hospitals: int, count: int) -> list[float]:
    """Rounds of Flower's own SecAgg+ after the first, which also starts its actors."""
    import numpy as np
    from flwr.client import NumPyClient
    from flwr.client.mod import secaggplus_mod
    from flwr.clientapp import ClientApp
    from flwr.common import ndarrays_to_parameters
    from flwr.server import LegacyContext, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from twinward.federation import api
    from twinward.federation.detectors import build_detector

    nothing = np.zeros(build_detector(api.new_study("bench")).dimension, np.float32)
    took: list[float] = []

    class Client(NumPyClient):  # type: ignore[misc]
        def fit(self, parameters: Any, config: Any) -> tuple[list[Any], int, dict[str, Any]]:
            return [nothing], STAYS, {}

    class Timed(FedAvg):  # type: ignore[misc]
        began = 0.0

        def configure_fit(self, *given: Any, **named: Any) -> Any:
            self.began = time.perf_counter()
            return super().configure_fit(*given, **named)

        def aggregate_fit(self, *given: Any, **named: Any) -> Any:
            took.append(time.perf_counter() - self.began)
            return super().aggregate_fit(*given, **named)

    strategy = Timed(
        fraction_evaluate=0.0,
        min_fit_clients=hospitals,
        min_available_clients=hospitals,
        initial_parameters=ndarrays_to_parameters([nothing]),
    )

    def main(grid: Any, context: Any) -> None:
        legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=count + 1), strategy=strategy)
        DefaultWorkflow(fit_workflow=SecAggPlusWorkflow(hospitals, hospitals - 1))(grid, legacy)

    server = ServerApp()
    server.main()(main)
    client = ClientApp(client_fn=lambda _: Client().to_client(), mods=[secaggplus_mod])
    run_simulation(server, client, hospitals, backend_config=BACKEND)
    return took[1:]


if __name__ == "__main__":
    which, hospitals, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(json.dumps({"rounds_s": (ours if which == "ours" else stock)(hospitals, count)}) + "\n")
