"""``python -m tests.benchmarks.served_cohort RECORDS FEATURES FOLDER``: a cohort served over HTTP until it is killed.

Policy, gate, scoring in two processes, release and signatures are the node's. Feature vectors are drawn, and whoever
is asked permits and keeps no log: deciding and logging have rows of their own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from tests.benchmarks.harness import cpu_s_of
from tests.integration.similarity.fixtures import (
    EPOCH,
    HOSPITAL,
    AnswersAndTerms,
    CountedBudget,
    MemoryAnswers,
    app_of,
    schema_of,
)
from twinward.core.vocabulary import TwinId
from twinward.features.schema import FeatureSchema
from twinward.protocol.proofs import AnswerSigner
from twinward.protocol.terms import Mode
from twinward.similarity.answered_once import AnsweredOnce
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.service import Similarity
from twinward.similarity.service_policy import PublicTerms, ServicePolicy

WORKERS = 2
SEED = 20260101


class _Permitting:
    """Yes to everything, nowhere written down."""

    def decide(self, request: Any) -> object:
        """A permit of nothing."""
        return request

    def decide_many(self, requests: Sequence[Any]) -> list[Any]:
        """One for each."""
        return list(requests)


def schema(dimension: int) -> FeatureSchema:
    """Features ``f0``, ``f1`` and so on, whose values are their levels."""
    return schema_of({f"f{k}": (0, 127) for k in range(dimension)})


def rows(count: int, dimension: int) -> np.ndarray:
    """Uniform levels, the same in whichever process."""
    return np.random.default_rng(SEED).integers(0, 128, (count, dimension), dtype=np.int64)


def main(count: int, dimension: int, folder: Path) -> None:
    """Prepare, say so in ``FOLDER/ready.json``, serve."""
    policy = ServicePolicy(modes=(Mode.GATED,), max_weight=1, weighted=False, requests_per_minute=1_000_000)
    made, levels = schema(dimension), rows(count, dimension)
    twins = tuple(TwinId(f"0199e0c2-0000-7000-8000-{row:012x}") for row in range(count))
    secrets = CohortSecrets.generate(EPOCH, made, policy.gated_plan(made))
    cohort = Cohort(HOSPITAL, made, EPOCH, twins, levels, levels, np.empty((count, 0), np.int64))
    budget, signer = CountedBudget(1_000), AnswerSigner.generate()
    once = AnsweredOnce(cohort.binding, signer, budget, MemoryAnswers())
    access: Any = _Permitting()
    began, before = time.perf_counter(), cpu_s_of(os.getpid())
    service = Similarity(
        cohort, secrets, service_policy=policy, access=access, budget=once, scoring=Scoring(workers=WORKERS)
    )
    took, spent = time.perf_counter() - began, cpu_s_of(os.getpid()) - before
    answers = AnswersAndTerms(service, once, PublicTerms(HOSPITAL, made, policy, budget, signer))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    ready = {"port": listener.getsockname()[1], "key": signer.key, "prepared_s": took, "prepared_cpu_s": spent}
    (folder / "ready.new").write_text(json.dumps(ready))
    (folder / "ready.new").replace(folder / "ready.json")
    server = uvicorn.Server(uvicorn.Config(app_of(answers), log_config=None, lifespan="off", ws="none"))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
