"""What requests and answers look like, and the OpenAPI 3.1 page that says so."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, create_model

from tutelage.bundle.predict import Bundle
from tutelage.serve.limits import ServeLimits
from tutelage.version import __version__

_REFUSALS = {
    "400": "The body is not JSON, or there is no Host header.",
    "401": "The token is missing or wrong.",
    "408": "The body took too long to arrive.",
    "413": "The body or a text is too long.",
    "415": "The body is not declared as application/json.",
    "421": "The Host header names another server.",
    "422": "The body is JSON of another shape, or holds too many texts.",
    "429": "The queue is full; see Retry-After.",
    "500": "The model could answer none of the texts.",
    "503": "The server is stopping, or the deadline has passed; see Retry-After.",
}


class Problem(BaseModel):
    """Why there is no answer."""

    code: str
    message: str
    expected: str | None = None
    cure: str | None = None


class Failure(BaseModel):
    """Takes the place of an answer."""

    error: Problem


def request_model(limits: ServeLimits) -> type[BaseModel]:
    """The model of a request's body: {"inputs": [text, ...]}."""
    texts = Annotated[
        list[StrictStr],
        Field(min_length=1, max_length=limits.max_inputs, description="texts, one prediction each"),
    ]
    return create_model("PredictRequest", __config__=ConfigDict(extra="forbid"), inputs=(texts, ...))


def openapi(bundle: Bundle, limits: ServeLimits, *, with_token: bool) -> dict[str, Any]:
    """The page; the schema of a prediction is read off a real one, so that any task describes itself."""
    example = bundle.predict(["an example"])[0]
    request = request_model(limits).model_json_schema()
    request["examples"] = [{"inputs": ["an example"]}]
    failure = Failure.model_json_schema(ref_template="#/components/schemas/{model}")
    problem = failure.pop("$defs")["Problem"]
    refusals = {status: _refusal(meaning) for status, meaning in _REFUSALS.items()}
    predict = {
        "operationId": "predict",
        "summary": f"Predict: {bundle.task.name}",
        "requestBody": {"required": True, "content": _json(_ref("PredictRequest"))},
        "responses": {
            "200": {
                "description": "One prediction a text, in order; a failure where the model failed on one.",
                "content": _json(_ref("PredictResponse")),
            },
            **refusals,
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Tutelage: {bundle.task.name}", "version": __version__},
        "paths": {
            "/v1/predict": {"post": predict},
            "/live": {"get": _plain("live", "The process runs.", {"200": "It does."})},
            "/ready": {"get": _plain("ready", "Takes requests.", {"200": "It does.", "503": "Not now."})},
            "/metrics": {"get": _metrics()},
        },
        "components": {
            "schemas": {
                "PredictRequest": request,
                "PredictResponse": _response(),
                "Prediction": {**schema_of(example), "examples": [example]},
                "Failure": failure,
                "Problem": problem,
            },
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if with_token else {}),
        },
        **({"security": [{"token": []}]} if with_token else {}),
    }


def schema_of(value: Any) -> dict[str, Any]:
    """The JSON schema of a value such as a prediction: mappings with all their keys, strings, numbers."""
    if isinstance(value, dict):
        inside = {key: schema_of(item) for key, item in value.items()}
        return {"type": "object", "properties": inside, "required": list(value)}
    if isinstance(value, list):
        return {"type": "array", "items": schema_of(value[0]) if value else {}}
    return {"type": "string" if isinstance(value, str) else "number"}


def _response() -> dict[str, Any]:
    either = {"anyOf": [_ref("Prediction"), _ref("Failure")]}
    return {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": either}},
        "required": ["predictions"],
    }


def _metrics() -> dict[str, Any]:
    page = {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"operationId": "metrics", "summary": "Figures of the server.", "responses": {"200": page}}


def _plain(name: str, summary: str, responses: dict[str, str]) -> dict[str, Any]:
    described = {
        status: {"description": meaning, "content": _json({"type": "object"})} for status, meaning in responses.items()
    }
    return {"operationId": name, "summary": summary, "security": [], "responses": described}


def _refusal(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": _json(_ref("Failure"))}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
