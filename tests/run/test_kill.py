"""kill -9 inside a save, resumed in another process: the same files. benchmarks/kill.py does this at 25 points."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_killed_inside_a_save_it_resumes_to_identical_files(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kill

    assert kill.start(tmp_path / "whole", bert).wait() == 0
    expected = kill.hashes(tmp_path / "whole")
    assert len(expected) > 15
    # In the teacher's checkpoints, and again in the student's; each of three epochs flushes more than ten times.
    cut = tmp_path / "cut"
    for trained in ("teacher", "student"):
        killed = kill.start(cut, bert, die_in_save=20, within=f"training/{trained}")
        assert killed.wait() == -signal.SIGKILL
        assert list((cut / ".tutelage" / "training" / trained).glob("step-*"))
    assert kill.start(cut, bert).wait() == 0
    assert kill.hashes(cut) == expected
