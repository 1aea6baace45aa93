"""Bad rows: each to a file with its place and reason, and too many of them stop the run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tutelage import storage
from tutelage.data.read import Row
from tutelage.data.sources.table import EXCERPT, Problem
from tutelage.errors import DataError

FILE = "quarantine.jsonl"
_EXAMPLES = 3


class Quarantine:
    """Writes bad rows to an open file, one JSON object a line: split, source, row, reason, text."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.bad: dict[str, Counter[str]] = {}
        self.read: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        """Rows whose label the recipe maps to null: not bad, and not wanted."""
        self.examples: dict[str, list[str]] = {}

    def add(self, role: str, row: Row, problem: Problem) -> None:
        """One row of a role (train, validation, test, unlabelled) cannot be used."""
        self.bad.setdefault(role, Counter())[problem.kind] += 1
        source = f"{row.source}/{row.place}" if row.place else row.source
        text = "" if row.text is None else str(row.text)[:EXCERPT]
        entry = {
            "split": role,
            "source": source,
            "row": row.number,
            "reason": str(problem),
            "text": text.encode(errors="backslashreplace").decode(),
        }
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        examples = self.examples.setdefault(role, [])
        if len(examples) < _EXAMPLES:
            examples.append(f"{source}, row {row.number:,}: {problem}")

    def refuse(self, limit: float, left_at: Path) -> None:
        """Raise `DataError` when in any role more than the share `limit` of the rows read is bad."""
        for role, kinds in self.bad.items():
            bad, total = kinds.total(), self.read[role]
            if bad <= limit * total:
                continue
            reasons = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
            examples = "".join(f"\n    {example}" for example in self.examples[role])
            raise DataError(
                f"{bad:,} of {total:,} rows of {role} cannot be used ({reasons}):{examples}",
                expected=f"at most {limit:.2%} bad rows (`data.max_bad_rows`)",
                cure=f"mend the rows listed in {left_at}, or raise `data.max_bad_rows` to go on without them",
            )

    def by_reason(self, role: str) -> Mapping[str, int]:
        """How many rows of a role are bad, by kind, the most frequent first."""
        return dict(self.bad.get(role, Counter[str]()).most_common())


@contextmanager
def quarantine(path: Path, left_at: Path) -> Iterator[Quarantine]:
    """Write to `path`; when the block fails with `DataError`, what was written is also left at `left_at`."""
    found: Any = None
    try:
        with path.open("w", encoding="utf-8") as file:
            found = Quarantine(file)
            yield found
    except DataError:
        if found.bad:
            storage.write_text(left_at, path.read_text(encoding="utf-8"))
        raise
