"""Other programs that disturb a timing are seen, its own work is not taken for theirs, and nothing fails for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tutelage.evaluate import bystanders, speed
from tutelage.evaluate.bystanders import Reading, share
from tutelage.evaluate.speed import Contender
from tutelage.progress import Silent


@pytest.mark.parametrize(
    ("busy", "own", "expected"),
    [
        (12.0, 12.0, 0.0),  # all of it was its own
        (20.0, 10.0, 0.5),  # one of two cores was somebody else's
        (14.0, 10.0, 0.2),
        (9.9, 10.0, 0.0),  # the counters are not read at the same instant
        (30.0, 0.0, 1.0),
    ],
)
def test_what_is_neither_idle_nor_its_own_is_others(busy: float, own: float, expected: float) -> None:
    before, after = Reading(100.0, 5000.0, 70.0, 2), Reading(110.0, 5000.0 + busy, 70.0 + own, 2)
    assert share(before, after) == pytest.approx(expected)


def test_what_is_not_known_is_not_guessed() -> None:
    one = Reading(0.0, 0.0, 0.0, 2)
    assert share(None, one) is None
    assert share(one, None) is None
    assert share(one, Reading(0.1, 0.2, 0.0, 2)) is None  # ten ticks tell nothing


def contender() -> Contender:
    return Contender("student", "here", lambda texts, _: len(texts), (1,))


def test_the_share_is_of_the_time_in_which_speed_is_measured() -> None:
    readings, events = iter([Reading(0.0, 0.0, 0.0, 4), Reading(10.0, 22.0, 10.0, 4)]), []

    def read() -> Reading:
        events.append("read")
        return next(readings)

    one = Contender("student", "here", lambda texts, _: events.append("ran"), (1,))
    timed = speed.measure([one], ["a", "b"], progress=Silent(), read=read)
    assert timed.other_programs == pytest.approx(0.3)
    assert events[0] == events[-1] == "read"
    assert events.count("ran") > 3
    assert timed.speeds["student", "here"].rows_per_second > 0


@pytest.mark.parametrize("broken", ["cpu_times", "Process", "cpu_count"])
def test_a_platform_that_does_not_tell_breaks_nothing(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, broken, refuse)
    timed = speed.measure([contender()], ["a", "b"], progress=Silent())
    assert timed.other_programs is None
    assert timed.speeds["student", "here"].rows_per_second > 0


def test_without_the_library_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert bystanders.now() is None


def test_a_child_is_no_stranger() -> None:
    """While it lives and after it has ended."""
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before = bystanders.now()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = bystanders.now()
        child.communicate(b"\n")
    after = bystanders.now()
    assert before is not None
    assert during is not None
    assert after is not None
    assert during.own - before.own > 0.25
    assert after.own - before.own > 0.25


@pytest.fixture
def stranger() -> Iterator[None]:
    """A busy program that is nobody's child: the shell that started it has ended. It ends by itself, too."""
    code = (
        "import os, time; print(os.getpid(), flush=True); end = time.monotonic() + 20\nwhile time.monotonic() < end: 1"
    )
    shell = ["sh", "-c", '"$0" -c "$1" &', sys.executable, code]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        started.wait()
        started.stdout.close()
    yield
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("stranger")
def test_a_busy_stranger_is_seen() -> None:
    """Whoever else is busy only adds to it; on a crowded machine it waits for its turn, and so does this."""
    before = bystanders.now()
    assert before is not None
    for _ in range(20):
        time.sleep(0.3)
        after = bystanders.now()
        found = share(before, after)
        if found is not None and found * before.cores > 0.5:
            return
    pytest.fail(f"a busy program was not seen: {before}, {after}")
