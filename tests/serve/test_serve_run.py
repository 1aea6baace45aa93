from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tutelage.errors import BundleError, UserError
from tutelage.serve.limits import ServeLimits
from tutelage.serve.run import bind, is_loopback, read_token, serve

# The model takes a while, so that requests are still in flight when the signal comes.
SLOW = """
import sys, time
from tutelage.bundle.predict import Bundle
from tutelage.serve.limits import ServeLimits
from tutelage.serve.run import serve
real, delay = Bundle.outputs, float(sys.argv[2])
def outputs(self, texts, **settings):
    time.sleep(delay)
    return real(self, texts, **settings)
Bundle.outputs = outputs
limits = ServeLimits(batch_tokens=30, deadline_seconds=float(sys.argv[3]))
serve(sys.argv[1], port=0, threads=1, limits=limits)
print("ended", flush=True)
"""


@contextmanager
def server(folder: Path, delay: float = 0.0, deadline: float = 30.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder), str(delay), str(deadline)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "TUTELAGE_TOKEN"},
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert "http://127.0.0.1:" in said, said
        yield process, said.split(" on ")[1].split()[0]
    finally:
        process.kill()
        process.wait()


def test_sigterm_answers_what_is_in_flight_refuses_what_is_new_and_ends(served_folder: Path) -> None:
    with (
        server(served_folder, delay=0.45) as (process, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        ThreadPoolExecutor(50) as pool,
    ):
        asked = [pool.submit(client.post, "/v1/predict", json={"inputs": ["a fine film"]}) for _ in range(50)]
        until = time.monotonic() + 10
        while "tutelage_in_flight_requests 50" not in client.get("/metrics").text:
            assert time.monotonic() < until, "50 requests were never in flight together"
        process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        while client.get("/ready").status_code != 503:
            assert time.monotonic() - start < 2
        assert client.get("/live").status_code == 200
        late = client.post("/v1/predict", json={"inputs": ["a fine film"]})
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert [answer.result().status_code for answer in asked] == [200] * 50
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - start < 30
        assert (process.returncode, out.strip(), err) == (0, "ended", "")


def connected(url: str, said: bytes) -> socket.socket:
    """A connection on which something was said."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(said)
    return connection


def test_connections_that_never_ask_are_closed(served_folder: Path) -> None:
    with server(served_folder, deadline=1.0) as (_, url):
        silent = [connected(url, said) for said in (b"", b"POST /v1/predict HTTP/1.1\r\nHost: ")]
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            began = time.monotonic()
            while time.monotonic() - began < 2.5:  # whoever asks again and again is not closed on
                assert client.post("/v1/predict", json={"inputs": ["a fine film"]}).status_code == 200
        for connection in silent:
            assert connection.recv(1) == b""
            connection.close()


def test_nothing_is_done_for_clients_that_have_gone(served_folder: Path) -> None:
    body = b'{"inputs": ["' + b"a fine film " * 20 + b'"]}'
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    asked = head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    with (
        server(served_folder, delay=0.6) as (_, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        gone = [connected(url, asked) for _ in range(8)]
        until = time.monotonic() + 10
        while "tutelage_in_flight_requests 8" not in client.get("/metrics").text:
            assert time.monotonic() < until, "8 requests were never in flight together"
        for connection in gone:
            connection.close()
        began = time.monotonic()
        assert client.post("/v1/predict", json={"inputs": ["a fine film"]}).status_code == 200
        assert time.monotonic() - began < 4 * 0.6


def test_an_idle_server_ends_soon_and_leaks_no_text(served_folder: Path) -> None:
    with server(served_folder) as (process, url):
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            assert client.post("/v1/predict", json={"inputs": ["private words"]}).status_code == 200
            assert client.post("/v1/predict", json={"inputs": "private words"}).status_code == 422
            large = client.post("/v1/predict", content=b"x" * 3_000_000, headers={"content-type": "application/json"})
            assert large.status_code == 413
            assert "server" not in large.headers
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=5)
        assert (process.returncode, out.strip(), err) == (0, "ended", "")


def test_a_port_in_use_names_the_cure(served_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            serve(served_folder, port=port)
    assert f"--port {port + 1}" in caught.value.cure


@pytest.mark.parametrize(("host", "port"), [("no host", 80), ("127.0.0.1", 99_999), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_used_is_refused(host: str, port: int) -> None:
    with pytest.raises(UserError):
        bind(host, port).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_others_may_come_in_only_with_a_token(served_folder: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUTELAGE_TOKEN", raising=False)
    assert not is_loopback(host)
    with pytest.raises(UserError, match="no token") as caught:
        serve(served_folder, host=host)
    assert "TUTELAGE_TOKEN" in caught.value.cure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_addresses_of_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("token", ["", "  ", "tökén", "two\nlines"])
def test_a_token_that_cannot_be_sent_is_refused(served_folder: Path, tmp_path: Path, token: str) -> None:
    with pytest.raises(UserError, match="token"):
        serve(served_folder, token=token)
    (tmp_path / "token").write_text(token)
    with pytest.raises(UserError, match="token"):
        read_token(tmp_path / "token")


def test_a_token_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc-123\n")
    assert read_token(tmp_path / "token") == "abc-123"
    with pytest.raises(UserError, match="cannot be read"):
        read_token(tmp_path / "nothing")


def test_a_broken_bundle_leaves_the_port_free(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(BundleError):
        serve(tmp_path, port=port)
    bind("127.0.0.1", port).close()


def test_limits_are_checked() -> None:
    assert ServeLimits().max_inputs == 32
    for wrong in ({"max_queue": 0}, {"deadline_seconds": 0}, {"surprise": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ServeLimits(**wrong)  # type: ignore[arg-type]
