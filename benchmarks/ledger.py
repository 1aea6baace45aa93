"""Where results go: one section of RESULTS.md a claim, with date, machine and versions."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path

from tutelage import storage
from tutelage.evaluate import machine

RESULTS = Path(__file__).parent / "RESULTS.md"


def record(title: str, command: str, lines: list[str]) -> None:
    """Put a section into RESULTS.md, in place of an earlier one of the same title, and print it."""
    facts = machine.describe(threads=len(os.sched_getaffinity(0)))
    where = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, torch {facts['torch']}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    body = "\n".join([f"## {title}", "", f"`{command}` on {today}: {where}.", "", *lines, ""])
    print(body)
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n\n"
    section = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = section.sub(lambda _: body + "\n", text) if section.search(text) else text.rstrip() + "\n\n" + body
    storage.write_text(RESULTS, text.rstrip() + "\n")


def spread(values: list[float], digits: int = 3) -> str:
    """Median and range."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2
    return f"{middle:.{digits}g} ({ordered[0]:.{digits}g} to {ordered[-1]:.{digits}g})"
