"""What every request passes before it reaches an endpoint: the right host, the token, and a net below."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.serve.problems import Refusal

if TYPE_CHECKING:
    from tutelage.serve.app import Service

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
PREDICT = "/v1/predict"
# Probes carry no credentials, and a browser cannot send a token when it opens a page; neither tells anything.
OPEN = frozenset({"/", "/live", "/ready"})
PATHS = OPEN | {PREDICT, "/metrics", "/openapi.json"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_CLIENT_GONE = 499
_log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, service: Service, token: str | None, hosts: Collection[str] | None) -> None:
        self._app, self._service, self._hosts = app, service, hosts
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        predicting = scope["path"] == PREDICT
        self._service.in_flight += predicting
        try:
            self._check(scope)
            await self._app(scope, receive, guarded_send)
        except Refusal as refusal:
            await refusal.response()(scope, receive, guarded_send)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception as error:
            # No trace: a message may quote what a user sent.
            _log.error("%s %s failed: %s", scope["method"], _known(scope), type(error).__name__)
            if not status:
                await _broken().response()(scope, receive, guarded_send)
        finally:
            self._service.in_flight -= predicting
            self._service.metrics.request(_known(scope), status, time.perf_counter() - start)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _without_port(headers.get("host", "")).lower()
        if not host:
            raise Refusal(400, "no_host", "there is no Host header", expected="a Host header")
        if self._hosts is not None and host not in self._hosts:
            raise Refusal(
                421,
                "wrong_host",
                "the Host header names another server",
                expected=", ".join(sorted(self._hosts)),
                cure="use one of these names in the address",
            )
        if self._token is not None and scope["path"] not in OPEN and not self._admits(headers):
            raise Refusal(
                401,
                "unauthorized",
                "the token is missing or wrong",
                expected="Authorization: Bearer TOKEN",
                cure="ask whoever runs this server for the token",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _admits(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Constant time: how long a refusal takes tells nothing about the token.
        same = hmac.compare_digest(given.strip().encode(), self._token)
        return same and scheme.lower() == "bearer"


def _without_port(host: str) -> str:
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _known(scope: Scope) -> str:
    """A path of our own, or `other`: what a client made up stays out of logs and metrics."""
    return scope["path"] if scope["path"] in PATHS else "other"


def _broken() -> Refusal:
    return Refusal(
        500,
        "internal_error",
        "the server failed on this request",
        cure="look at the server's log, or send the texts one by one",
    )
