"""The vendor SDK: ask hospitals which patients are like this one, without showing the query.

Imports the crypto leaf and the public feature schema, never the node. ``VendorClient`` is the way in; ``messages`` is
the contract that both sides of the HTTP API are written against.
"""

from twinward.client.errors import AnswerMalformed, ClientError, HospitalRefused, HospitalUnreachable
from twinward.client.threshold import Threshold
from twinward.client.vendor import Matches, VendorClient

__all__ = [
    "AnswerMalformed",
    "ClientError",
    "HospitalRefused",
    "HospitalUnreachable",
    "Matches",
    "Threshold",
    "VendorClient",
]
