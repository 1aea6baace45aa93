"""The web application: one endpoint that predicts, and what surrounds it."""

from __future__ import annotations

import asyncio
import html
import json
import re
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tutelage.bundle.predict import Bundle
from tutelage.serve.batching import FAILED, Batcher, QueueFull
from tutelage.serve.guard import LOOPBACK_HOSTS, PREDICT, Guard
from tutelage.serve.limits import ServeLimits
from tutelage.serve.metrics import CONTENT_TYPE, Metrics
from tutelage.serve.problems import Refusal, refused
from tutelage.serve.schema import openapi, request_model

# A body too large is read on and thrown away up to so many times the limit: a client that still sends would
# otherwise meet a closed connection instead of the refusal.
_DISCARD = 16
# Of a character that JSON writes in two parts, one of them.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_PAGE = Path(__file__).with_name("page.html")


def create_app(
    bundle: Bundle,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
) -> Starlette:
    """The application. `hosts` are the Host headers it answers to (None: any), against DNS rebinding.

    With a `token`, everything but the page and the probes asks for it.
    """
    service = Service(bundle, limits or ServeLimits(), with_token=token is not None)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001 - Starlette's signature
        service.batcher.start()
        yield
        service.batcher.stop()

    app = Starlette(
        routes=[
            Route(PREDICT, service.predict, methods=["POST"]),
            Route("/", service.page),
            Route("/live", service.live),
            Route("/ready", service.ready),
            Route("/metrics", service.figures),
            Route("/openapi.json", service.openapi),
        ],
        middleware=[Middleware(Guard, service=service, token=token, hosts=hosts)],
        exception_handlers={Refusal: refused, HTTPException: refused},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


class Service:
    """The endpoints and what they share."""

    def __init__(self, bundle: Bundle, limits: ServeLimits, *, with_token: bool) -> None:
        self.bundle, self.limits, self.with_token = bundle, limits, with_token
        self.metrics = Metrics()
        self.batcher = Batcher(bundle, limits, self.metrics)
        self.draining = False
        self.in_flight = 0
        self._request = request_model(limits)

    async def predict(self, request: Request) -> Response:
        """POST {"inputs": [text, ...]} -> {"predictions": [record, ...]}."""
        if self.draining:
            raise self._later(503, "stopping", "the server is stopping")
        texts = self._texts(await self._body(request))
        try:
            answers = await self._answers(texts, request)
        except QueueFull:
            raise self._later(429, "queue_full", f"{self.limits.max_queue} requests wait already") from None
        except TimeoutError:
            seconds = f"{self.limits.deadline_seconds:g}"
            raise self._later(503, "deadline", f"no answer within {seconds} seconds") from None
        if all(answer is FAILED for answer in answers):
            raise Refusal(500, "prediction_failed", "the model could answer none of the texts")
        return JSONResponse({"predictions": answers})

    async def _answers(self, texts: list[str], request: Request) -> list[dict[str, Any]]:
        """What the model says, unless the client goes first: then nothing more is done for it."""
        answer = asyncio.ensure_future(self.batcher.answer(texts))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()

    async def live(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        """200 while the process runs."""
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        """200 while requests are taken."""
        if self.draining:
            raise self._later(503, "stopping", "the server is stopping")
        if not self.batcher.healthy:
            raise self._later(503, "not_ready", "the worker does not answer")
        return JSONResponse({"status": "ready", "task": self.bundle.task.name})

    async def figures(self, request: Request) -> Response:  # noqa: ARG002
        """Prometheus' text format."""
        ready = self.batcher.healthy and not self.draining
        gauges = {
            "tutelage_queue_requests": ("Requests that wait.", self.batcher.waiting),
            "tutelage_in_flight_requests": ("Requests under way.", self.in_flight),
            "tutelage_ready": ("1 while requests are taken.", ready),
        }
        return PlainTextResponse(self.metrics.text(gauges), media_type=CONTENT_TYPE)

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        """A page to try the model with; nothing in it comes from elsewhere."""
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        page = self._page.replace("{{nonce}}", nonce)
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002
        """OpenAPI 3.1."""
        return JSONResponse(self._openapi)

    @cached_property
    def _openapi(self) -> dict[str, Any]:
        return openapi(self.bundle, self.limits, with_token=self.with_token)

    @cached_property
    def _page(self) -> str:
        filled = {
            "task": self.bundle.task.name,
            "model": self.bundle.path.resolve().parent.name or self.bundle.path.name,
            "max_characters": str(self.bundle.limits.max_characters),
            "max_inputs": str(self.limits.max_inputs),
            "token": "" if self.with_token else "hidden",
        }
        page = _PAGE.read_text(encoding="utf-8")
        for name, value in filled.items():
            page = page.replace("{{" + name + "}}", html.escape(value))
        return page

    async def _body(self, request: Request) -> bytes:
        """The body, counted while it arrives: what it declares about itself is not believed."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" or "content-encoding" in request.headers:
            raise Refusal(
                415,
                "not_json",
                "the body is not declared as plain JSON",
                expected="Content-Type: application/json, no Content-Encoding",
            )
        limit, size, body = self.limits.max_body_bytes, 0, bytearray()
        try:
            async with asyncio.timeout(self.limits.deadline_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= limit:
                        body += chunk
                    elif size > _DISCARD * limit:
                        break
        except TimeoutError:
            raise Refusal(408, "slow_body", "the body took too long to arrive") from None
        if size > limit:
            raise Refusal(413, "body_too_large", "the body is too large", expected=f"at most {limit:,} bytes")
        return bytes(body)

    def _texts(self, body: bytes) -> list[str]:
        try:
            value: BaseModel = self._request.model_validate_json(_paired(body))
        except ValidationError as error:
            raise _misshapen(error) from None
        texts: list[str] = value.inputs  # type: ignore[attr-defined]
        most = self.bundle.limits.max_characters
        for position, text in enumerate(texts):
            if len(text) > most:
                raise Refusal(
                    413,
                    "text_too_long",
                    f"inputs.{position} has {len(text):,} characters",
                    expected=f"at most {most:,}",
                    cure="shorten or split the text",
                )
        return texts

    def _later(self, status: int, code: str, message: str) -> Refusal:
        seconds = str(self.limits.retry_after_seconds)
        return Refusal(status, code, message, cure=f"try again in {seconds} s", headers={"Retry-After": seconds})


async def _gone(request: Request) -> None:
    """Returns when the client has."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _paired(body: bytes) -> bytes:
    """A body without the halves of characters that clients cut in two: JSON may hold them, and no text does."""
    if not _HALF.search(body):
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode(errors="ignore")
    except (ValueError, RecursionError):
        return body


def _misshapen(error: ValidationError) -> Refusal:
    """What is wrong with a body, without quoting it: keys, too, are the client's own words."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    expected = '{"inputs": ["...", ...]}'
    if first["type"] == "json_invalid":
        return Refusal(400, "invalid_json", first["msg"], expected=expected)
    if first["type"] == "extra_forbidden":
        return Refusal(422, "invalid_request", "a key other than `inputs`", expected=expected)
    place = ".".join(str(part) for part in first["loc"])
    return Refusal(422, "invalid_request", f"{place or 'body'}: {first['msg']}", expected=expected)
