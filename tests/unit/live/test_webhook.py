"""Signatures of notices: the example of Standard Webhooks' own libraries, and each part that is signed."""

from __future__ import annotations

import base64

from twinward.live.alerts.webhook import signature

# github.com/standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py
SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
GIVEN = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')


def test_a_signature_is_standard_webhooks() -> None:
    assert signature(SECRET, *GIVEN) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_id_time_and_body_are_signed() -> None:
    others = {signature(SECRET, "msg_other", *GIVEN[1:]), signature(SECRET, GIVEN[0], 1614265331, GIVEN[2])}
    others |= {signature(SECRET, *GIVEN[:2], b"{}"), signature(b"x" * 24, *GIVEN)}
    assert len(others | {signature(SECRET, *GIVEN)}) == 5
