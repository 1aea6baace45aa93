"""Running the server: where it listens, who may come in, and how it leaves."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import uvicorn
from starlette.applications import Starlette

from tutelage.bundle.predict import load
from tutelage.errors import UserError
from tutelage.serve.app import Service, create_app
from tutelage.serve.guard import LOOPBACK_HOSTS
from tutelage.serve.limits import ServeLimits

TOKEN_VARIABLE = "TUTELAGE_TOKEN"
# Seconds of refusing after SIGTERM even when nothing is in flight: balancers see /ready turn, and connections
# accepted just before still get an answer.
_LINGER = 0.5
_TICKS = 10  # uvicorn's, a tenth of a second each, between two looks for connections that say nothing


def serve(
    path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int | None = None,
    token: str | None = None,
    insecure: bool = False,
    limits: ServeLimits | None = None,
) -> None:
    """Serve a bundle until SIGTERM or Ctrl-C, then answer what is in flight and return.

    The token comes from `token` or the variable TUTELAGE_TOKEN. Port 0 takes a free one. Raises `UserError`
    for an address that cannot be used, and for one that others can reach without a token unless `insecure`.
    """
    token = _checked(token if token is not None else os.environ.get(TOKEN_VARIABLE))
    local = is_loopback(host)
    if not local and token is None and not insecure:
        raise UserError(
            f"host {host} can be reached from other machines, and there is no token",
            expected="a token that clients must send",
            cure=f"set {TOKEN_VARIABLE}, give `--token-file FILE`, or say `--insecure` if you mean it",
        )
    limits = limits or ServeLimits()
    # uvicorn warns once per refused connection: a flood of requests must not become a flood of lines.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    listener = bind(host, port)
    with listener:
        bundle = load(path, threads=threads)
        bundle.predict(["warm-up"])
        hosts = LOOPBACK_HOSTS | {host.lower()} if local else None
        app = create_app(bundle, limits, token=token, hosts=hosts)
        if not local and token is None:
            print("warning: anyone who reaches this address can use the model", file=sys.stderr)
        _Server(app, limits, f"{bundle.task.name} on {_address(host, listener)}").run(sockets=[listener])


def read_token(file: Path) -> str:
    """The token in a file, white space around it removed."""
    try:
        return _checked(file.read_text(encoding="utf-8")) or ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the token file {file} cannot be read", expected="a file with a token") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A socket on the address. Raises `UserError` with the cure when it cannot be had."""
    # The resolver takes a port modulo 65,536 without a word.
    if not 0 <= port <= 65_535:
        raise UserError(f"port {port}", expected="0 to 65535", cure="`--port 8000`, or `--port 0` for any")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"{host}:{port} is no address: {error}", expected="a host and a port") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # A second server may bind a port on which the first has not begun to listen.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from error
    return listener


def _unusable(host: str, port: int, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"port {port} on {host} is in use",
            expected="a free port",
            cure=f"stop the other program, or take another: `--port {port + 1}`, or `--port 0` for any",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(
            f"port {port} may not be used: {error.strerror}",
            expected="a port you may listen on",
            cure="take one above 1023: `--port 8000`",
        )
    return UserError(
        f"cannot listen on {host}:{port}: {error.strerror}",
        expected="an address of this machine",
        cure="`--host 127.0.0.1`",
    )


class _Server(uvicorn.Server):
    """uvicorn, except that a signal first lets everything in flight finish while new requests are refused."""

    def __init__(self, app: Starlette, limits: ServeLimits, title: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=limits.max_connections,
                timeout_graceful_shutdown=2,
            )
        )
        self._service: Service = app.state.service
        self._limits, self._title = limits, title
        self._signalled: float | None = None
        # Of connections without a request under way: the last request, and since when it has been the last.
        self._silent: WeakKeyDictionary[Any, tuple[Any, float]] = WeakKeyDictionary()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"Serving {self._title} (Ctrl-C to stop)", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        # Not handed on to uvicorn, which would raise the signal again after a clean end.
        if self._signalled is not None:
            self.should_exit = self.force_exit = True
        self._service.draining = True
        self._signalled = self._signalled or time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        if self._signalled is not None:
            waited = time.monotonic() - self._signalled
            done = self._service.in_flight == 0 and waited >= _LINGER
            # uvicorn's own end takes up to 3 s more.
            if done or waited >= max(self._limits.drain_seconds - 3, 0):
                self.should_exit = True
        if counter % _TICKS == 0:
            self._close_silent()
        return await super().on_tick(counter)

    def _close_silent(self) -> None:
        """uvicorn closes those that were answered; whoever never ends the head of a request would stay for ever."""
        now = time.monotonic()
        connections: list[Any] = list(self.server_state.connections)
        for connection in connections:
            last = connection.cycle
            if last is not None and not last.response_complete:
                continue
            known, since = self._silent.setdefault(connection, (last, now))
            if known is not last:
                self._silent[connection] = (last, now)
            elif now - since > self._limits.deadline_seconds:
                connection.transport.close()


def _checked(token: str | None) -> str | None:
    if token is None:
        return None
    if not token.strip() or not token.strip().isascii() or not token.strip().isprintable():
        raise UserError(
            "the token is empty or not plain ASCII",
            expected="printable ASCII characters",
            cure='make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return token.strip()


def _address(host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{name}:{listener.getsockname()[1]}"
