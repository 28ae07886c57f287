"""One hospital in a process of its own: ``python -m tests.integration.similarity.serve_fixtures SEED FOLDER``.

Writes ``FOLDER/ready.json`` (its port, its patients' levels, the vendor's handle of each), then serves until killed.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import numpy as np
import uvicorn

from tests.integration.similarity.fixtures import VENDOR, House, app_of, schema_of

FEATURES = ("a", "b", "c")
PATIENTS = 50
ALLOWANCE = 1_000


def main(seed: int, folder: Path) -> None:
    schema = schema_of(dict.fromkeys(FEATURES, (0, 127)))
    levels = np.random.default_rng(seed).integers(0, 128, (PATIENTS, len(FEATURES)))
    house = House(folder, schema, levels, allowance=ALLOWANCE)
    house.service._below_trilateration = lambda principal: None  # type: ignore[method-assign]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    ready = {
        "port": listener.getsockname()[1],
        "levels": levels.tolist(),
        "handles": [house.service.secrets.handle(VENDOR.id, twin) for twin in house.twins],
    }
    server = uvicorn.Server(uvicorn.Config(app_of(house.answers), log_config=None, lifespan="off", ws="none"))
    aside = folder / "ready.new"
    aside.write_text(json.dumps(ready))
    aside.replace(folder / "ready.json")
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
