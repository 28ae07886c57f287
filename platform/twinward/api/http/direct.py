"""The straight way from the router to a route's own work.

FastAPI looks for a route by trying one after the other, twice, and works out anew for each request what the route
depends on: more than half of what a read costs. All of that is known once the routes are there. So ``DirectRoutes``
stands before FastAPI's router, looks once, and calls the stages that FastAPI itself read from the route's declaration:
in FastAPI's order, each once, with FastAPI's validation.

What it does not know stays with FastAPI: routes with models, lists, forms or generators, and every request that it has
no route for, which is how 404 and 405 are said. ``tests/integration/api/test_direct_routes.py`` holds both ways
against each other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Final, NoReturn, Union, get_args, get_origin

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_SIMPLE: Final = (str, int, bool, type(None))
"""Of a default: what nobody can change."""
_FAILED: Final = object()
"""Stands where a stage was not called, because what it takes is not right."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One value that a stage reads from the request."""

    name: str
    alias: str
    place: str
    default: Any
    is_required: bool
    validate: Callable[..., tuple[Any, list[Any]]]

    @classmethod
    def of(cls, declared: Any) -> _Parameter | None:
        """As FastAPI declared it; None where it may be more than one text, or is made anew."""
        info = declared.field_info
        is_required = info.is_required()
        default = None if is_required else declared.default
        is_union = get_origin(info.annotation) in (Union, UnionType)
        kinds = get_args(info.annotation) if is_union else (info.annotation,)
        if not isinstance(default, _SIMPLE) or not all(kind in _SIMPLE for kind in kinds):
            return None
        alias = declared.validation_alias or declared.alias
        return cls(declared.name, alias, info.in_.value, default, is_required, declared.validate)


@dataclass(slots=True)
class _Stage:
    """One call on the way. ``takes``: names and where what they stand for was put; ``puts``: where this one's goes."""

    call: Callable[..., Any]
    is_async: bool
    puts: int
    request_name: str | None
    parameters: list[_Parameter] = field(default_factory=list)
    takes: list[tuple[str | None, int]] = field(default_factory=list)

    def arguments(self, request: Request, put: Sequence[Any], errors: list[Any]) -> dict[str, Any] | None:
        """What it is called with; None where it is not to be called."""
        arguments = {} if self.request_name is None else {self.request_name: request}
        is_right = True
        for name, place in self.takes:
            if put[place] is _FAILED:
                is_right = False
            elif name is not None:
                arguments[name] = put[place]
        for one in self.parameters:
            value = _sent(request, one.place).get(one.alias)
            if value is None and not one.is_required:
                arguments[one.name] = one.default
                continue
            found, faults = one.validate(value, arguments, loc=(one.place, one.alias))
            arguments[one.name] = found
            errors += faults
            is_right = is_right and not faults
        return arguments if is_right else None


def _sent(request: Request, place: str) -> Mapping[str, Any]:
    if place == "path":
        return request.path_params
    return request.headers if place == "header" else request.query_params


def straightened(route: APIRoute) -> Handler | None:
    """What answers a route's requests; None where FastAPI has to."""
    stages: list[_Stage] = []
    is_plain = route.body_field is None and route.response_field is None and _gives_response(route.endpoint)
    if not is_plain or not _straighten(route.dependant, stages, {}):
        return None

    async def handle(request: Request) -> Response:
        put: list[Any] = [_FAILED] * len(stages)
        errors: list[Any] = []
        for stage in stages:
            arguments = stage.arguments(request, put, errors)
            if arguments is None:
                continue
            if stage.is_async:
                put[stage.puts] = await stage.call(**arguments)
            else:
                put[stage.puts] = await run_in_threadpool(stage.call, **arguments)
        if errors:
            raise RequestValidationError(errors)
        answer: Response = put[-1]
        return answer

    return handle


def _straighten(dependant: Dependant, stages: list[_Stage], known: dict[Any, int]) -> bool:
    """Add a dependant's stages, those it depends on first; whether all of it is known here."""
    takes: list[tuple[str | None, int]] = []
    for one in dependant.dependencies:
        if not one.use_cache:
            return False
        if one.cache_key not in known:
            if not _straighten(one, stages, known):
                return False
            known[one.cache_key] = stages[-1].puts
        takes.append((one.name, known[one.cache_key]))
    declared = (*dependant.path_params, *dependant.query_params, *dependant.header_params)
    parameters = [known_one for each in declared if (known_one := _Parameter.of(each)) is not None]
    beyond = (
        dependant.cookie_params,
        dependant.body_params,
        dependant.http_connection_param_name,
        dependant.websocket_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
        dependant.is_gen_callable,
        dependant.is_async_gen_callable,
        dependant.call is None,
        len(parameters) < len(declared),
    )
    if any(beyond) or dependant.call is None:
        return False
    is_async, puts = dependant.is_coroutine_callable, len(stages)
    stages.append(_Stage(dependant.call, is_async, puts, dependant.request_param_name, parameters, takes))
    return True


def _gives_response(endpoint: Callable[..., Any]) -> bool:
    try:
        said = inspect.signature(endpoint, eval_str=True).return_annotation
    except NameError:
        return False
    return isinstance(said, type) and issubclass(said, Response)


@dataclass(frozen=True, slots=True)
class _Found:
    """A route, and what answers it; None where FastAPI does."""

    pattern: re.Pattern[str]
    route: APIRoute
    handle: Handler | None


class DirectRoutes(BaseRoute):
    """Routes found by one look, before FastAPI looks for them.

    Args:
        routes: of the routers whose requests these are, in the order in which they are to be tried.
        told: put around what answers a route, as FastAPI's route puts it there: it turns errors into answers.
    """

    def __init__(self, routes: Iterable[BaseRoute], told: Callable[[Handler], Handler]) -> None:
        self._by_method: dict[str, list[_Found]] = {}
        for route in routes:
            if not isinstance(route, APIRoute):
                continue
            straight = straightened(route)
            found = _Found(route.path_regex, route, None if straight is None else told(straight))
            for method in route.methods or ():
                self._by_method.setdefault(method, []).append(found)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """FULL where the request's route is known and straight; else NONE, and FastAPI looks for it."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        for one in self._by_method.get(scope["method"], ()):
            if matched := one.pattern.match(scope["path"]):
                if one.handle is None:
                    break
                convertors = one.route.param_convertors
                params = {name: convertors[name].convert(value) for name, value in matched.groupdict().items()}
                found = {
                    "route": one.route,
                    "endpoint": one.route.endpoint,
                    "path_params": params,
                    "direct": one.handle,
                }
                return Match.FULL, found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that ``matches`` found a route for."""
        answering: Callable[[Request], Awaitable[Response]] = scope["direct"]
        response = await answering(Request(scope, receive, send))
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> NoReturn:
        """FastAPI's routes say that; this one has no name."""
        raise NoMatchFound(name, path_params)
