from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from tiny_bundle import sentences
from tutelage.bundle.predict import Bundle
from tutelage.serve.app import create_app
from tutelage.serve.limits import ServeLimits

POISON = "poison"


@contextmanager
def slowed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The model answers nothing until the event is set."""
    gate, real = threading.Event(), bundle.outputs

    def outputs(*given: Any, **settings: Any) -> Any:
        assert gate.wait(20)
        return real(*given, **settings)

    monkeypatch.setattr(bundle, "outputs", outputs)
    yield gate
    gate.set()


def poisoned(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    real = bundle.outputs

    def outputs(texts: list[str], **settings: Any) -> Any:
        if how == "raises" and POISON in texts:
            raise RuntimeError("cannot")
        found = real(texts, **settings)
        found[[text == POISON for text in texts]] = np.nan
        return found

    monkeypatch.setattr(bundle, "outputs", outputs)


def client_of(bundle: Bundle, limits: ServeLimits | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(bundle, limits))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30)


async def ask(client: httpx.AsyncClient, texts: list[str]) -> httpx.Response:
    return await client.post("/v1/predict", json={"inputs": texts})


def test_a_thousand_mixed_requests_equal_the_one_by_one_answers(served: Bundle) -> None:
    texts = sentences(1_500)
    sizes = np.random.default_rng(3).integers(1, 5, size=1_000)
    requests = [[texts[(i * 7 + j) % len(texts)] for j in range(size)] for i, size in enumerate(sizes)]

    async def run() -> list[httpx.Response]:
        gate = asyncio.Semaphore(64)
        async with client_of(served) as client:

            async def one(request: list[str]) -> httpx.Response:
                async with gate:
                    return await ask(client, request)

            return await asyncio.gather(*map(one, requests))

    known = dict(zip(texts, served.predictions(texts), strict=True))
    for request, answer in zip(requests, asyncio.run(run()), strict=True):
        assert answer.status_code == 200
        given = np.array([list(record["scores"].values()) for record in answer.json()["predictions"]])
        expected = np.stack([known[text] for text in request])
        assert np.allclose(given, expected, atol=1e-5)
        assert np.array_equal(given.argmax(1), expected.argmax(1))


def test_requests_that_gather_are_answered_together(served: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = served.outputs

    def outputs(texts: list[str], **settings: Any) -> Any:
        sizes.append(len(texts))
        time.sleep(0.02)
        return real(texts, **settings)

    monkeypatch.setattr(served, "outputs", outputs)

    async def run(limits: ServeLimits) -> None:
        sizes.clear()
        async with client_of(served, limits) as client:
            await asyncio.gather(*(ask(client, ["a fine film"]) for _ in range(40)))

    asyncio.run(run(ServeLimits()))
    assert sum(sizes) == 40
    assert max(sizes) > 10
    asyncio.run(run(ServeLimits(batch_tokens=12)))
    assert sum(sizes) == 40
    assert max(sizes) <= 3


def test_a_full_queue_refuses_at_once_and_recovers(served: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with slowed(served, monkeypatch) as gate:
            async with client_of(served, ServeLimits(max_queue=8)) as client:
                start = time.perf_counter()
                tasks = [asyncio.create_task(ask(client, ["a fine film"])) for _ in range(100)]
                done: set[asyncio.Task[httpx.Response]] = set()
                while len(done) < 85:
                    done, _ = await asyncio.wait(tasks, timeout=0.05)
                    assert time.perf_counter() - start < 5
                assert all(task.result().status_code == 429 for task in done)
                assert all(task.result().headers["retry-after"] == "1" for task in done)
                gate.set()
                answers = Counter(answer.status_code for answer in await asyncio.gather(*tasks))
                assert set(answers) == {200, 429}
                assert 8 <= answers[200] <= 15
                assert (await ask(client, ["a fine film"])).status_code == 200

    asyncio.run(run())


def test_the_deadline_ends_a_wait_and_shows_in_ready(served: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with slowed(served, monkeypatch) as gate:
            async with client_of(served, ServeLimits(deadline_seconds=0.2, max_queue=4)) as client:
                start = time.perf_counter()
                answers = await asyncio.gather(*(ask(client, ["a fine film"]) for _ in range(5)))
                assert time.perf_counter() - start < 3
                assert {answer.status_code for answer in answers} <= {503, 429}
                late = next(answer for answer in answers if answer.status_code == 503)
                assert late.json()["error"]["code"] == "deadline"
                assert late.headers["retry-after"] == "1"
                assert (await client.get("/live")).status_code == 200
                assert (await client.get("/ready")).status_code == 503
                gate.set()
                for _ in range(100):
                    if (await client.get("/ready")).status_code == 200:
                        break
                    await asyncio.sleep(0.02)
                assert (await ask(client, ["a fine film"])).status_code == 200

    asyncio.run(run())


def test_the_loop_is_not_blocked_while_the_model_works(served: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with slowed(served, monkeypatch) as gate:
            async with client_of(served) as client:
                waiting = asyncio.create_task(ask(client, ["a fine film"]))
                await asyncio.sleep(0.05)
                start = time.perf_counter()
                assert (await client.get("/live")).status_code == 200
                assert time.perf_counter() - start < 0.5
                assert not waiting.done()
                gate.set()
                assert (await waiting).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize("how", ["raises", "is not finite"])
def test_one_poison_input_fails_alone(served: Bundle, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    texts = sentences(32)
    expected = served.predict(texts)
    poisoned(served, monkeypatch, how)

    async def run() -> None:
        async with client_of(served) as client:
            inside = await ask(client, [*texts[:12], POISON, *texts[13:]])
            assert inside.status_code == 200
            given = inside.json()["predictions"]
            assert [index for index, record in enumerate(given) if "error" in record] == [12]
            for index in (0, 11, 13, 31):
                assert given[index]["label"] == expected[index]["label"]
            apart = await asyncio.gather(*(ask(client, [text]) for text in [*texts[:31], POISON]))
            assert [answer.status_code for answer in apart] == [200] * 31 + [500]
            assert apart[-1].json()["error"]["code"] == "prediction_failed"
            figures = (await client.get("/metrics")).text
            assert 'tutelage_inputs_total{outcome="failed"} 2' in figures

    asyncio.run(run())


def test_the_worker_outlives_what_one_batch_does_to_it(
    served: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = served.outputs

    def outputs(texts: list[str], **settings: Any) -> Any:
        if POISON in texts:
            raise SystemExit("private words")
        return real(texts, **settings)

    monkeypatch.setattr(served, "outputs", outputs)

    async def run() -> None:
        async with client_of(served) as client:
            assert (await ask(client, [POISON])).status_code == 500
            assert (await ask(client, ["a fine film"])).status_code == 200
            assert (await client.get("/ready")).status_code == 200

    asyncio.run(run())
    assert "private" not in caplog.text


def test_many_at_once_get_only_answers_or_refusals(served: Bundle) -> None:
    async def run() -> list[httpx.Response]:
        async with client_of(served, ServeLimits(max_queue=64)) as client:
            return await asyncio.gather(*(ask(client, ["a fine film"]) for _ in range(1_000)))

    found = Counter(answer.status_code for answer in asyncio.run(run()))
    assert set(found) <= {200, 429, 503}
    assert found[200] >= 64
