"""What takes two officers takes two people: none of them gets into the other's account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kept_homes import founded
from twinward.access.errors import AnotherOfficers, SignInRefused
from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Purpose, Role
from twinward.node import Node

OLGA, OTTO = (Principal(name, Role.OFFICER, name.title()) for name in ("olga", "otto"))
BY_OLGA = AccessContext(OLGA, Purpose.COMPLIANCE)
PASSWORD, OTHER = "three words unlike others", "four words quite unlike those"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = founded(tmp_path_factory.mktemp("two") / "home")
    for one in (OLGA, OTTO, Principal("dr-lee", Role.CLINICIAN)):
        made.accounts.add_person(one, PASSWORD)
    yield made
    made.close()


def test_an_officer_makes_no_way_into_anothers_account(node: Node) -> None:
    with pytest.raises(AnotherOfficers, match="another officer"):
        node.account_desk.reset_password("otto", OTHER, BY_OLGA)
    with pytest.raises(AnotherOfficers, match="another officer"):
        node.account_desk.new_token("otto", BY_OLGA)
    assert node.accounts.by_password("otto", PASSWORD, roles=[Role.OFFICER])
    with pytest.raises(SignInRefused):
        node.accounts.by_password("otto", OTHER, roles=[Role.OFFICER])


def test_their_own_and_everybody_elses_are_theirs_to_help_with(node: Node) -> None:
    assert node.account_desk.new_token("olga", BY_OLGA)
    assert node.account_desk.new_token("dr-lee", BY_OLGA)
    assert node.account_desk.reset_password("dr-lee", OTHER, BY_OLGA).must_change
    with pytest.raises(NotFound):
        node.account_desk.reset_password("nobody", OTHER, BY_OLGA)


def test_at_the_machine_it_is_done(node: Node) -> None:
    at_the_machine = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)
    assert node.account_desk.reset_password("otto", OTHER, at_the_machine).must_change
