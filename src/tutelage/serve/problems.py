"""Refusals: every answer that is not a success has the same JSON shape."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

_CODES = {404: "not_found", 405: "method_not_allowed"}


class Refusal(Exception):  # noqa: N818 - an answer to a client, not an error of the server
    """Why a request is not answered; never holds any text of the user."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        expected: str = "",
        cure: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}
        said = {"code": code, "message": message, "expected": expected, "cure": cure}
        self.body = {"error": {key: value for key, value in said.items() if value}}

    def response(self) -> JSONResponse:
        """{"error": {"code", "message", "expected", "cure"}}."""
        return JSONResponse(self.body, self.status, headers=self.headers)


async def refused(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - Starlette's signature
    """Starlette's handler of `Refusal` and of its own 404 and 405."""
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, "http_error")
        error = Refusal(error.status_code, code, error.detail, headers=dict(error.headers or {}))
    assert isinstance(error, Refusal)
    return error.response()
