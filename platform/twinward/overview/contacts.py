"""A contact request's criteria as they are counted here, for console and command line alike."""

from __future__ import annotations

from typing import Final

from twinward.core.errors import BadInput
from twinward.node import Node
from twinward.protocol.criteria_costs import costs_of
from twinward.recruitment.models import ContactRequest

OWN_INVITATIONS: Final = "own invitations"
"""What a patient's look at the studies is logged as."""


def reading_of(node: Node, request: ContactRequest) -> tuple[tuple[str, ...], str]:
    """Each criterion in words; or nothing, and why they mean nothing here any more."""
    schema = node.twins.schema
    try:
        return costs_of(request.reading(), schema, schema.codes).reading, ""
    except BadInput as error:
        return (), str(error)
