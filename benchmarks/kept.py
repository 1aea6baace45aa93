"""What a benchmark has measured, remembered as it comes, so that it can be done piecewise: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Kept(dict[str, dict[str, Any]]):
    """Records by their key, those of `file` first; without a file they are remembered in this process alone."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file and file.exists() else []
        super().__init__({record["key"]: record for record in map(json.loads, lines)})

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Remember a record."""
        self[key] = {"key": key, **record}
        if self._file:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(self[key]) + "\n")
