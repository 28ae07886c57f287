"""What a hospital that lies may answer, and what a coordinator makes of it."""

from __future__ import annotations

import msgspec
import pytest

from tests.integration.federation.kit import HOSPITALS, site_of
from twinward.federation.errors import NotPaid, RoundAborted
from twinward.federation.site_messages import REPLIES, Failed, RemoteSite, answered
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol

STUDY = StudyProtocol.for_dp_var("said-1", HOSPITALS)
DEEP = b"\x81\xa1a" * 30_000


class Liar(RemoteSite):
    """A hospital that answers everything alike."""

    def __init__(self, said: bytes) -> None:
        super().__init__("north")
        self._said = said

    def close(self) -> None:
        """Nothing is held."""

    def _carried(self, message: bytes) -> bytes:
        return self._said


@pytest.mark.parametrize("said", [b"", b"\xc1", DEEP, b"\x91" * 100_000])
def test_an_answer_that_is_none_ends_the_round_by_name(said: bytes) -> None:
    with pytest.raises(RoundAborted, match="north dropped out"):
        Liar(said).join(STUDY)


def test_what_a_hospital_says_went_wrong_is_cut_short() -> None:
    said = msgspec.msgpack.encode(Failed("NotPaid", "x" * 10**7, "y" * 10**7))
    with pytest.raises(NotPaid) as refused:
        Liar(said).join(STUDY)
    assert len(str(refused.value)) + len(refused.value.hint) < 3000


@pytest.mark.parametrize(
    "message", [DEEP, msgspec.msgpack.encode({"type": "join", "study": b'{"a":' * 20_000, "attempt": 1})]
)
def test_a_request_of_any_depth_is_refused_by_name(message: bytes) -> None:
    site = site_of("north", HeldStays(simulate_stays(2, 0)))
    reply = REPLIES.decode(answered(site, message, pace_s=0.001))
    assert isinstance(reply, Failed)
    assert reply.kind == "BadInput"
