"""The officers' alert as a webhook: an address of the hospital's own is told that the glass was broken, and no more.

What is sent names no patient, clinician or reason: it says where to look. Redirects are not followed and no proxy is
used, so that it goes to where the operator wrote and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.access.emergency import Emergency
from twinward.core.errors import Unavailable
from twinward_ledger.deadline import Connections

PAGE = "/console/emergencies"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """An HTTP receiver of alerts; implements ``emergency_follow_up.Alert``."""

    url: str
    hospital: str

    def __call__(self, emergency: Emergency) -> None:
        """Tell it. Raises ``Unavailable`` unless it answers with a 2xx in time."""
        import httpx  # costs a fifth of a second, and most processes never alert anybody

        connections = Connections()
        body = {"kind": "break-glass", "hospital": self.hospital, "emergency": emergency.name, "page": PAGE}
        try:
            with (
                connections.cut_after(TIMEOUT_S),
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream(  # whatever it answers with is not read
                    "POST", self.url, json=body, extensions={"trace": connections.trace}
                ) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Unavailable(f"the receiver of alerts does not answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Unavailable(f"the receiver of alerts answers with status {status}")
