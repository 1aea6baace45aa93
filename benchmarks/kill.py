"""Claim 5: kill -9 at 25 random points of a tiny run, half inside a save; every one resumes to identical hashes.

python benchmarks/kill.py [--points 25]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ledger

HERE = Path(__file__).parent
REVIEWS = HERE.parent / "tests" / "material" / "reviews.csv"


def child(output: str, model: str, die_in_save: int, within: str) -> None:
    """Train teacher, student and control; with `die_in_save`, kill this process at that flush to the disk.

    Only flushes of paths that contain `within` count.
    """
    from tutelage import pipeline, recipe, storage
    from tutelage.folder import RunFolder
    from tutelage.made import Bench
    from tutelage.progress import Logged, Silent
    from tutelage.student import build

    if die_in_save:
        flush, calls = storage._flush, iter(range(1, 1_000_000))

        def dying(path: Path) -> None:
            if within in str(path) and next(calls) == die_in_save:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(path)

        storage._flush = dying
    given = recipe.load(
        {
            "task": "text-classification",
            "data": {"train": str(REVIEWS), "max_tokens": 48},
            "teacher": {"model": model, "epochs": 3, "learning_rate": 3e-3, "dropout": 0.1, "checkpoint_minutes": 1e-3},
            "student": {"epochs": 3, "learning_rate": 3e-3, "dropout": 0.1, "checkpoint_minutes": 1e-3},
            "output": output,
        }
    )
    folder = RunFolder.claim(given, resume=True)
    with folder.locked():
        story = pipeline._Story(given, folder, Logged(Silent(), folder.path / "log.jsonl"))
        workshop = story._workshop(story._data())
        shape = build.choose(given.student, workshop.teacher.model.config)
        learned = workshop.learn(given.student, shape, Bench(folder.student, folder.export))
        story._control(workshop, learned)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of everything that a run leaves, apart from times."""
    wanted = [*folder.glob("teacher/*"), *folder.glob("student/*"), *folder.glob(".tutelage/control/*")]
    wanted += [*folder.glob("signals/**/*.npy"), *folder.glob(".tutelage/corpus/*")]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(wanted)
        if file.is_file()
    }


def start(output: Path, model: Path, die_in_save: int = 0, within: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--child", str(output), str(model), str(die_in_save), within]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "tests"))
    import tiny_models

    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        model = tiny_models.write_bert(base / "bert")
        begun = time.perf_counter()
        assert start(base / "whole", model).wait() == 0
        whole = time.perf_counter() - begun
        expected = hashes(base / "whole")
        # A run flushes a few hundred files; which of them is the random point inside a save.
        same, killed, inside = 0, 0, 0
        for point in range(given.points):
            output = base / f"run-{point}"
            in_save = point % 2 == 0
            process = start(output, model, chance.randrange(20, 260) if in_save else 0)
            try:
                # The first seconds are imports; the rest is the run.
                process.wait(None if in_save else chance.uniform(0.55 * whole, 0.98 * whole))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            died = process.wait() == -signal.SIGKILL
            killed += died
            inside += died and in_save
            assert start(output, model).wait() == 0
            same += hashes(output) == expected
            print(f"{point + 1}/{given.points}: {'killed' if died else 'ended before'}, {same} identical", flush=True)
    ledger.record(
        "5. Killed and resumed",
        f"python benchmarks/kill.py --points {given.points} --seed {given.seed}",
        [
            f"{killed} of {given.points} runs were killed with SIGKILL, {inside} inside a save. Resumed, {same} "
            f"of {given.points} ended with identical SHA-256 of corpus, teacher, signals, student and control",
            f"({len(expected)} files). Dropout was on. Bar: all 25.",
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()
