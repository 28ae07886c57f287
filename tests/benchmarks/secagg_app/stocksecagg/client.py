"""A hospital that trains nothing: zeros, masked by Flower's own SecAgg+."""

from typing import Any

import numpy as np
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp


class Zeros(NumPyClient):  # type: ignore[misc]
    """As many as the server sent."""

    def fit(self, parameters: Any, config: Any) -> tuple[list[Any], int, dict[str, Any]]:
        return [np.zeros_like(one) for one in parameters], 540, {}


app = ClientApp(client_fn=lambda _: Zeros().to_client(), mods=[secaggplus_mod])
