"""What slow models said, on disk by content: texts that came back from a translation, scores of hypotheses.

A folder of JSON files, each written whole, so that a killed run loses one at most. Values are JSON: numbers come back
as they were, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage import storage


@dataclass
class Answers:
    """Answers by the name of what was asked."""

    folder: Path
    _known: dict[str, Any] = field(default_factory=dict)
    _files: int = 0

    @classmethod
    def open(cls, folder: Path) -> Answers:
        """All that a folder holds. A file that cannot be read counts as not there: it is asked again."""
        answers = cls(folder)
        storage.mend(folder)
        for file in sorted(folder.glob("*.json")):
            answers._files = max(answers._files, int(file.stem) + 1)
            try:
                answers._known |= json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, TypeError):
                continue
        return answers

    def add(self, more: Mapping[str, Any]) -> None:
        """Keep further answers, in one file."""
        storage.write_json(self.folder / f"{self._files:06d}.json", dict(more))
        self._files += 1
        self._known |= more

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Any:
        return self._known[name]
