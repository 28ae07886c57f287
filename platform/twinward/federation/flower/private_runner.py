"""A SuperNode's tasks, taken by one process that stays: Flower's own way starts a process for each message (6 to 10 s).

Of flwr 1.42.0 this uses what is not public: the runtime API of a SuperNode in process isolation (``AcquireTask``), and
the functions by which ``flwr-clientapp`` pulls its input and pushes its reply. ``CONTRACT`` says which; a test holds
their source against what was read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import httpx
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import RetryInvoker, make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec.run_superexec import _SUPEREXEC_AUTH_METHODS
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from twinward.federation.flower.private_pulls import shorten_pulls

CONTRACT: Final = (
    pull_task_input,
    push_message,
    push_task_output,
    RuntimeHttpClient,
    SuperExecAuthHttpInterceptor,
    RuntimeTokenHttpInterceptor,
    make_simple_http_retry_invoker,
)
REQUEST, ANSWER, DATA = "twinward-request", "twinward-answer", "data"
_POLL_S: Final = 0.04
_COMPONENT: Final = "twinward-runner"


def run_tasks(address: str, secret: bytes, answer: Callable[[bytes], bytes], done: Callable[[], bool]) -> None:
    """Answer a SuperNode's messages until ``done``.

    Args:
        address: of its runtime API, host:port, on this machine.
        secret: which the SuperNode was given (``--superexec-auth-secret-file``): no other process takes its tasks.
        answer: what a message's bytes are answered.
        done: asked between messages.

    Raises:
        OSError, httpx.HTTPError: the SuperNode does not answer.
        flwr's ObjectPullError: it has a message whose content it never got, from a SuperLink that was killed.
    """
    shorten_pulls()
    client = _client(
        address, SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_SUPEREXEC_AUTH_METHODS)
    )
    try:
        while not done():
            found = client.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-clientapp"]))
            if found.HasField("task") and found.token:
                _answer_one(address, found.token, answer)
            else:
                time.sleep(_POLL_S)
    finally:
        client.close()


def _answer_one(address: str, token: str, answer: Callable[[bytes], bytes]) -> None:
    client = _client(address, RuntimeTokenHttpInterceptor(token))
    try:
        message, context, _, _ = pull_task_input(client)
        record = message.content[REQUEST]
        data = record[DATA] if isinstance(record, ConfigRecord) else b""
        content = RecordDict({ANSWER: ConfigRecord({DATA: answer(data if isinstance(data, bytes) else b"")})})
        push_message(client, Message(content, reply_to=message), context)
        push_task_output(client, context, SubStatus.COMPLETED, "")
    finally:
        client.close()


def _client(address: str, *interceptors: object) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,  # on this machine: the SuperNode listens on 127.0.0.1
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name=_COMPONENT), *interceptors],
        retry_invoker=_retrying(),
    )


def _retrying() -> RetryInvoker:
    """Flower's own retries, but for a 401: at that one it sends SIGINT to this process, which ends a process of its own
    and would end the runner. A task whose run died with its SuperLink is answered so; the error says as much."""
    made = make_simple_http_retry_invoker()
    gives_up = made.should_giveup

    def unless_refused(error: Exception) -> bool:
        refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.UNAUTHORIZED
        return refused or (gives_up is not None and gives_up(error))

    made.should_giveup = unless_refused
    return made
