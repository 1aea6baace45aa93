"""Memory of recording signals, from ten thousand to a million texts: it stays flat.

python benchmarks/memory.py [--rows 10000 100000 1000000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ledger

HERE = Path(__file__).parent


def child(rows: int, folder: Path) -> None:
    """Record that many texts with a tiny teacher; print the memory before and the peak, in MB, and the seconds."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import hashlib

    import pyarrow as pa

    import tiny_models
    from tutelage.artifacts.corpus import SCHEMA, Split
    from tutelage.artifacts.signals import Recording
    from tutelage.encoding import Reading
    from tutelage.progress import Silent
    from tutelage.tasks import TextClassification
    from tutelage.teacher import load, signals

    model = tiny_models.write_bert(folder / "bert", layers=1, width=16)
    teacher, _ = load.load(str(model), TextClassification(("no", "yes")), Reading(32))
    file = folder / "train.arrow"
    words = ["film", "plot", "dull", "fine", "story", "actor"]
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for begin in range(0, rows, 10_000):
            numbers = range(begin, min(begin + 10_000, rows))
            texts = [f"{words[n % 6]} {words[n // 6 % 6]} {n}" for n in numbers]
            columns = [
                pa.array(texts, pa.large_string()),
                pa.array([0.0] * len(texts)),
                pa.array([hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts], pa.binary(16)),
                pa.DictionaryArray.from_arrays(pa.array([0] * len(texts), pa.int32()), ["x"]),
                pa.array(numbers, pa.int64()),
            ]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    with pa.memory_map(str(file)) as source:
        split = Split("train", pa.ipc.open_file(source).read_all())
    before, start = _anonymous(), time.perf_counter()
    recorded = signals.record(teacher, [split], Recording(2, (1,), 16), folder=folder / "signals", progress=Silent())
    assert len(recorded) == rows
    print(before, _peak_anonymous, time.perf_counter() - start)


_peak_anonymous = 0.0


def _anonymous() -> float:
    """Resident memory that no file backs, in MB: mapped files can be dropped at any time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e6


def _watch() -> None:
    import threading

    def look() -> None:
        global _peak_anonymous  # noqa: PLW0603 - one number, one writer
        while True:
            _peak_anonymous = max(_peak_anonymous, _anonymous())
            time.sleep(0.05)

    threading.Thread(target=look, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    lines = []
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as name:
            command = [sys.executable, __file__, "--child", str(rows), name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        before, peak, seconds = map(float, output)
        lines.append(f"| {rows:,} | {before:.0f} | {peak:.0f} | {peak - before:.0f} | {seconds:.0f} |")
    ledger.record(
        "Memory of recording",
        "python benchmarks/memory.py",
        [
            "A one-layer teacher, texts of about eight tokens, outputs and one pooled layer recorded. Anonymous",
            "resident memory in MB (mapped files left out), before recording and at its peak.",
            "",
            "| texts | before | peak | grew by | seconds |",
            "|---|---|---|---|---|",
            *lines,
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _watch()
        child(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
