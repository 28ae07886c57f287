"""Rounds of Flower's own SecAgg+; their seconds are written to the file ``times`` of the run's configuration."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import ServerApp

app = ServerApp()


class Timed(FedAvg):  # type: ignore[misc]
    """Notes how long a round takes, from the model to the opened sum."""

    began = 0.0

    def __init__(self, times: Path, **named: Any) -> None:
        super().__init__(**named)
        self.times = times
        self.took: list[float] = []

    def configure_fit(self, *given: Any, **named: Any) -> Any:
        self.began = time.perf_counter()
        return super().configure_fit(*given, **named)

    def aggregate_fit(self, server_round: Any, results: Any, failures: Any) -> Any:
        self.took.append(time.perf_counter() - self.began)
        written = self.times.with_suffix(".part")
        written.write_text(json.dumps({"rounds_s": self.took, "failures": len(failures), "results": len(results)}))
        written.replace(self.times)
        return super().aggregate_fit(server_round, results, failures)


@app.main()  # type: ignore[untyped-decorator]
def main(grid: Any, context: Any) -> None:
    """As many rounds as the run's configuration says."""
    given = context.run_config
    hospitals = int(given["hospitals"])
    strategy = Timed(
        Path(str(given["times"])),
        fraction_evaluate=0.0,
        min_fit_clients=hospitals,
        min_available_clients=hospitals,
        initial_parameters=ndarrays_to_parameters([np.zeros(int(given["length"]), np.float32)]),
    )
    legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=int(given["rounds"])), strategy=strategy)
    DefaultWorkflow(fit_workflow=SecAggPlusWorkflow(hospitals, hospitals - 1))(grid, legacy)
