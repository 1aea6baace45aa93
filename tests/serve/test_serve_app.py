from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tutelage.bundle.predict import Bundle
from tutelage.serve.app import create_app
from tutelage.serve.limits import ServeLimits

URL = "http://127.0.0.1:8000"
LIMITS = ServeLimits(max_body_bytes=20_000, max_inputs=4)


@pytest.fixture
def client(served: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(served, LIMITS), base_url=URL) as client:
        yield client


def post(client: TestClient, content: bytes | str, **headers: str) -> Any:
    return client.post("/v1/predict", content=content, headers={"content-type": "application/json", **headers})


def test_half_a_character_is_left_out_as_everywhere(client: TestClient, served: Bundle) -> None:
    answer = post(client, '{"inputs": ["a fine film \\ud83d", "dull \\ud83d\\ude00 plot"]}')
    assert answer.status_code == 200
    assert answer.json() == {"predictions": served.predict(["a fine film ", "dull \U0001f600 plot"])}


def test_predictions_are_the_bundles_own(client: TestClient, served: Bundle) -> None:
    texts = ["a fine film", "", "dull plot"]
    answer = client.post("/v1/predict", json={"inputs": texts})
    assert answer.status_code == 200
    assert answer.json() == {"predictions": served.predict(texts)}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ("", 400, "invalid_json"),
        ("{", 400, "invalid_json"),
        (b'{"inputs": ["\xff"]}', 400, "invalid_json"),
        ("[" * 10_000, 400, "invalid_json"),
        ("[]", 422, "invalid_request"),
        ("{}", 422, "invalid_request"),
        ('{"inputs": "a"}', 422, "invalid_request"),
        ('{"inputs": []}', 422, "invalid_request"),
        ('{"inputs": ["a", 3]}', 422, "invalid_request"),
        ('{"inputs": ["a"], "secret-key": 1}', 422, "invalid_request"),
        ('{"inputs": ["a", "a", "a", "a", "a"]}', 422, "invalid_request"),
        ('{"inputs": ["' + "a" * 2_001 + '"]}', 413, "text_too_long"),
        ('{"inputs": ["' + "a" * 30_000 + '"]}', 413, "body_too_large"),
        ('{"inputs": ["' + "a" * 500_000 + '"]}', 413, "body_too_large"),
    ],
)
def test_bodies_that_are_refused(client: TestClient, content: str, status: int, code: str) -> None:
    answer = post(client, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "secret-key" not in answer.text


def test_a_refused_input_is_named_by_position(client: TestClient) -> None:
    assert "inputs.1" in post(client, '{"inputs": ["a", 3]}').json()["error"]["message"]
    long = '{"inputs": ["a", "b", "' + "c" * 2_001 + '"]}'
    assert "inputs.2" in post(client, long).json()["error"]["message"]


def test_a_streamed_body_is_counted_without_a_declared_length(client: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"x" * 1_000

    answer = client.post("/v1/predict", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(client: TestClient, headers: dict[str, str]) -> None:
    assert post(client, '{"inputs": ["a"]}', **headers).status_code == 415
    charset = {"content-type": "application/json; charset=utf-8"}
    assert post(client, '{"inputs": ["a"]}', **charset).status_code == 200


def test_other_paths_and_methods_have_the_same_error_shape(client: TestClient) -> None:
    assert client.get("/nowhere").json()["error"]["code"] == "not_found"
    assert client.get("/v1/predict").status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80"])
def test_a_rebound_host_is_refused_everywhere(client: TestClient, host: str) -> None:
    for path in ("/", "/live", "/metrics", "/openapi.json"):
        assert client.get(path, headers={"host": host}).status_code == 421
    assert post(client, '{"inputs": ["a"]}', host=host).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_the_machines_own_names_are_let_in(client: TestClient, host: str) -> None:
    assert client.get("/live", headers={"host": host}).status_code == 200


def test_no_other_origin_is_invited(client: TestClient) -> None:
    asked = client.options(
        "/v1/predict", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert asked.status_code == 405
    answer = post(client, '{"inputs": ["a"]}', origin="http://evil.example")
    for headers in (asked.headers, answer.headers):
        assert not [name for name in headers if name.startswith("access-control")]


def test_a_token_is_asked_for_where_anything_is_told(served: Bundle) -> None:
    token = "correct horse".replace(" ", "-")
    with TestClient(create_app(served, token=token, hosts=None), base_url="http://any.example") as client:
        for path in ("/", "/live", "/ready"):
            assert client.get(path).status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {token}"}):
            for path in ("/metrics", "/openapi.json"):
                assert client.get(path, headers=headers).status_code == 401
            refused = post(client, '{"inputs": ["a"]}', **headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert token not in refused.text
        good = {"authorization": f"Bearer {token}"}
        assert post(client, '{"inputs": ["a"]}', **good).status_code == 200
        assert client.get("/metrics", headers=good).status_code == 200
        assert client.get("/openapi.json", headers=good).json()["security"] == [{"token": []}]
        odd = {b"authorization": "Bearer ü".encode("latin-1")}
        assert client.get("/metrics", headers=odd).status_code == 401  # type: ignore[arg-type]


def test_probes(client: TestClient) -> None:
    assert client.get("/live").json() == {"status": "live"}
    assert client.get("/ready").json() == {"status": "ready", "task": "text-classification"}


def test_while_draining_only_live_is_200(client: TestClient) -> None:
    client.app.state.service.draining = True  # type: ignore[attr-defined]
    refused = post(client, '{"inputs": ["a"]}')
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert client.get("/ready").status_code == 503
    assert client.get("/live").status_code == 200


def test_figures_count_what_happened_and_hold_no_text(client: TestClient) -> None:
    post(client, '{"inputs": ["private words", "dull"]}')
    post(client, '{"inputs": 3}')
    client.get("/private-path")
    page = client.get("/metrics")
    lines = page.text.splitlines()
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'tutelage_requests_total{path="/v1/predict",status="200"} 1' in lines
    assert 'tutelage_requests_total{path="/v1/predict",status="422"} 1' in lines
    assert 'tutelage_requests_total{path="other",status="404"} 1' in lines
    assert 'tutelage_inputs_total{outcome="answered"} 2' in lines
    assert 'tutelage_predict_seconds_bucket{le="+Inf"} 2' in lines
    assert "tutelage_predict_seconds_count 2" in lines
    assert "tutelage_ready 1" in lines
    assert "private" not in page.text


def test_an_unexpected_failure_is_a_clean_500_and_logs_no_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(texts: list[str]) -> Any:
        raise RuntimeError(f"cannot answer {texts}")

    monkeypatch.setattr(client.app.state.service.batcher, "answer", fail)  # type: ignore[attr-defined]
    with caplog.at_level(logging.DEBUG):
        answer = post(client, '{"inputs": ["private words"]}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "RuntimeError" in caplog.text
    assert "private" not in caplog.text + answer.text


def test_the_page_stands_alone(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert page.status_code == 200
    assert f'<script nonce="{nonce}">' in page.text
    assert f'<style nonce="{nonce}">' in page.text
    assert "default-src 'none'" in policy
    assert "text-classification" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "{{" not in page.text
    assert nonce not in client.get("/").text


def resolve(page: dict[str, Any], reference: str) -> Any:
    found: Any = page
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_openapi_describes_this_task_and_these_limits(client: TestClient) -> None:
    page = client.get("/openapi.json").json()
    assert page["openapi"].startswith("3.1")
    for reference in references(page):
        assert resolve(page, reference)
    schemas = page["components"]["schemas"]
    assert schemas["PredictRequest"]["properties"]["inputs"]["maxItems"] == 4
    prediction = schemas["Prediction"]
    assert prediction["required"] == ["label", "score", "scores"]
    assert prediction["properties"]["scores"]["required"] == ["neg", "pos"]
    assert set(page["paths"]) == {"/v1/predict", "/live", "/ready", "/metrics"}
    for operations in page["paths"].values():
        for operation in operations.values():
            assert operation["operationId"]
            assert all(response["description"] for response in operation["responses"].values())
