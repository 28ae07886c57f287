"""A daemon's socket: whose it is, what it takes, and that it goes on after whatever a client does."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from twinward.core.errors import BadInput, Conflict
from twinward.federation import site_socket
from twinward.federation.errors import RoundAborted, SiteUnreachable
from twinward.federation.site_socket import SocketChannel, SocketServer


def start(path: Path) -> SocketServer:
    server = SocketServer(path, lambda message: message[::-1])
    threading.Thread(target=server.serve, daemon=True).start()
    return server


def asked(place: Path, message: bytes) -> bytes:
    with closing(SocketChannel(place, 10)) as channel:
        return channel.ask(message)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "site.sock"


@pytest.fixture
def server(place: Path) -> Iterator[SocketServer]:
    made = start(place)
    yield made
    made.close()


def test_messages_go_and_come_whole(server: SocketServer, place: Path) -> None:
    channel = SocketChannel(place, 20)
    for message in (b"", b"abc", os.urandom(3 << 20)):
        assert channel.ask(message) == message[::-1]
    channel.close()


def test_it_is_its_owners_alone_from_the_first_moment(server: SocketServer, place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_another_users_process_is_told_nothing(
    server: SocketServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_socket.os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(site_socket, "_ROOT", 4_000_001)
    with pytest.raises(RoundAborted):
        asked(place, b"abc")


def test_one_that_promises_too_much_or_goes_in_the_middle_stops_nobody_else(server: SocketServer, place: Path) -> None:
    for sent in (struct.pack(">I", 0xFFFFFFFF) + b"x", struct.pack(">I", 100) + b"x", b"\0\0"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(place))
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
    assert asked(place, b"abc") == b"cba"


def test_who_holds_all_connections_is_answered_and_others_are_again_later(server: SocketServer, place: Path) -> None:
    held = [SocketChannel(place, 20) for _ in range(site_socket.MOST_CONNECTIONS)]
    assert {one.ask(b"ab") for one in held} == {b"ba"}
    with pytest.raises(RoundAborted):
        asked(place, b"ab")
    for one in held:
        one.close()
    for _ in range(100):
        try:
            assert asked(place, b"ab") == b"ba"
        except RoundAborted:
            continue
        return
    pytest.fail("nobody was let in again")


def test_a_conversation_goes_on_with_the_daemon_that_follows(place: Path) -> None:
    first, channel = start(place), SocketChannel(place, 20)
    assert channel.ask(b"ab") == b"ba"
    # As after kill -9: connections break, and the socket's file stays.
    first._listener.shutdown(socket.SHUT_RDWR)
    first._listener.close()
    assert channel._connection is not None
    channel._connection.shutdown(socket.SHUT_RDWR)
    assert place.is_socket()
    second = start(place)
    assert channel.ask(b"cd") == b"dc"
    second.close()
    assert not place.exists()
    with pytest.raises((SiteUnreachable, RoundAborted)):
        channel.ask(b"ef")
    channel.close()
    with pytest.raises(SiteUnreachable, match="no daemon answers"):
        asked(place, b"ef")


def test_patience_is_counted_from_when_somebody_stopped_not_from_the_question(place: Path) -> None:
    """A relay that is killed in the middle of a long round, and is there again at once."""
    patience_s = 1.5

    def dies_in_the_middle() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen(1)
            there.set()
            connection, _ = listener.accept()
            time.sleep(patience_s + 0.2)
            connection.close()
        followers.append(start(place))

    there, followers = threading.Event(), list[SocketServer]()
    thread = threading.Thread(target=dies_in_the_middle)
    thread.start()
    there.wait()
    with closing(SocketChannel(place, 20, patience_s)) as channel:
        assert channel.ask(b"ab") == b"ba"
    thread.join()
    followers[0].close()


def test_what_lies_in_its_place_is_left_alone(place: Path) -> None:
    place.write_text("precious")
    with pytest.raises(Conflict):
        SocketServer(place, bytes)
    assert place.read_text() == "precious"
    with pytest.raises(BadInput, match="too long"):
        SocketServer(place.parent / ("x" * 120), bytes)


def test_one_place_has_one_daemon(server: SocketServer, place: Path) -> None:
    with pytest.raises(Conflict, match="another process answers"):
        SocketServer(place, bytes)
    assert asked(place, b"ab") == b"ba"


def test_a_daemon_outlives_a_moment_without_descriptors(server: SocketServer, place: Path) -> None:
    class Scarce:
        """The listener, which has no descriptor left once."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener, self.failed = listener, False

        def accept(self) -> object:
            if not self.failed:
                self.failed = True
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listener.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(self._listener, name)

    scarce = Scarce(server._listener)
    server._listener = scarce  # type: ignore[assignment]
    assert asked(place, b"ab") == b"ba"  # by the accept that was waiting
    assert asked(place, b"cd") == b"dc"
    assert scarce.failed
