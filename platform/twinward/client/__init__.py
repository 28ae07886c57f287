"""The vendor SDK: ask hospitals which patients are like this one, without showing the query.

Imports the crypto leaf and the public feature schema, never the node. ``VendorClient`` (``AsyncVendorClient`` with
await) is the way in, ``ask_hospitals`` asks several, ``Criteria`` are what patients are counted by, ``VendorKeys`` open
the records that consent lets out; ``messages`` is the contract that both sides of the HTTP API are written against.
"""

from twinward.client.asynchronous import AsyncVendorClient
from twinward.client.contacts import Contact, KeptCount
from twinward.client.counts import Count, PreparedCount
from twinward.client.errors import (
    AnswerForged,
    AnswerMalformed,
    ClientError,
    HospitalKeyChanged,
    HospitalRefused,
    HospitalUnreachable,
    OutOfRange,
    RecordsExpired,
    VersionUnknown,
)
from twinward.client.keys import VendorKeys
from twinward.client.multi import Answers, Counts, Failure, Found, ask_hospitals, ask_hospitals_async, count_hospitals
from twinward.client.question import Question, Threshold
from twinward.client.releases import Records, Release
from twinward.client.results import Matches, Prepared, Record
from twinward.client.statements import Statement
from twinward.client.vendor import VendorClient
from twinward.protocol.criteria import Criteria
from twinward.protocol.terms import Mode

__all__ = [
    "AnswerForged",
    "AnswerMalformed",
    "Answers",
    "AsyncVendorClient",
    "ClientError",
    "Contact",
    "Count",
    "Counts",
    "Criteria",
    "Failure",
    "Found",
    "HospitalKeyChanged",
    "HospitalRefused",
    "HospitalUnreachable",
    "KeptCount",
    "Matches",
    "Mode",
    "OutOfRange",
    "Prepared",
    "PreparedCount",
    "Question",
    "Record",
    "Records",
    "RecordsExpired",
    "Release",
    "Statement",
    "Threshold",
    "VendorClient",
    "VendorKeys",
    "VersionUnknown",
    "ask_hospitals",
    "ask_hospitals_async",
    "count_hospitals",
]
