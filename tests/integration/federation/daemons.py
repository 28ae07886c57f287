"""Three hospitals' daemons on real sockets in this process, each with a home; one can be killed and started again."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.integration.federation.kit import HOSPITALS, IDENTITIES, ROSTER, AllPaid, seeded_bytes
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import Approval, Approvals
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.invitation import Invitation
from twinward.federation.site import HospitalSite
from twinward.federation.site_socket import SocketChannel, SocketServer
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_desk import StudyDesk

EAST = IDENTITIES["east"]


def protocol(name: str, rounds: int = 3) -> StudyProtocol:
    return StudyProtocol.for_autoencoder(name, HOSPITALS, rounds=rounds, hidden=4, bins=2, expected_patients=60)


def invitation_to(study: StudyProtocol) -> bytes:
    return Invitation(study, ROSTER, "east", "marie").signed(EAST)


class Daemons:
    """Three hospitals' daemons, each with a home; one can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, SocketServer] = {}
        self.channels: list[SocketChannel] = []
        self.opened: list[str] = []
        for name in HOSPITALS:
            (folder / name).mkdir()
            self.start(name)

    def approvals(self, name: str) -> Approvals:
        return Approvals(self.folder / name, IDENTITIES[name])

    def approve(self, study: StudyProtocol, *names: str) -> None:
        for name in names or HOSPITALS:
            self.approvals(name).keep(invitation_to(study), "olga", 1)

    def start(self, name: str) -> None:
        stays = HeldStays(simulate_stays(20, HOSPITALS.index(name)))

        def open_site(approval: Approval) -> HospitalSite:
            self.opened.append(name)
            memory = AnsweredRounds(self.folder / name / "studies.db")
            return HospitalSite(
                IDENTITIES[name],
                approval.invitation.roster,
                stays,
                reservations=AllPaid(),
                answered=memory,
                random_bytes=seeded_bytes(1),
            )

        desk = StudyDesk(IDENTITIES[name], self.approvals(name), open_site, pace_s=0.01)
        self.servers[name] = SocketServer(self.folder / f"{name}.sock", desk.answer)
        threading.Thread(target=self.servers[name].serve, daemon=True).start()

    def restart(self, name: str) -> None:
        self.servers[name].close()
        self.start(name)

    def channel(self, name: str) -> SocketChannel:
        self.channels.append(SocketChannel(self.folder / f"{name}.sock", 60))
        return self.channels[-1]

    def sites(self, coordinator: HospitalIdentity = EAST) -> list[DaemonSite]:
        return [DaemonSite(name, self.channel(name), coordinator, self.approvals("east")) for name in HOSPITALS]
