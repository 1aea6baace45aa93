"""Data health as the page shows it, read leniently: what the corpus does not tell is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.report import number, panels


@dataclass(frozen=True)
class SplitHealth:
    """A split: where it is from, its rows, its other figures by name, and how its targets are spread."""

    name: str
    origin: str
    rows: str
    figures: dict[str, str]
    title: str
    kind: str
    spread: Any


@dataclass(frozen=True)
class Health:
    """What is known of the data of a run; `sources` has counts by reason for each thing the recipe named."""

    splits: list[SplitHealth]
    columns: list[str]
    sources: dict[str, dict[str, str]]
    reasons: list[str]
    warnings: list[str]


_COUNTS = {
    "read": "rows read",
    "duplicates": "duplicates",
    "conflicts": "equal texts, other labels",
    "overlap": "also in another split",
    "left_out": "label mapped to null",
}


def health(data: Mapping[str, Any]) -> Health:
    """Of the `data` part of the measurements; see `data.health`."""
    splits = [_split(str(name), split) for name, split in _mapping(data.get("splits")).items() if _mapping(split)]
    sources = {str(name): _counts(role) for name, role in _mapping(data.get("roles")).items() if _mapping(role)}
    warnings = data.get("warnings")
    return Health(
        splits,
        list(dict.fromkeys(name for split in splits for name in split.figures)),
        sources,
        list(dict.fromkeys(reason for counts in sources.values() for reason in counts)),
        [str(warning) for warning in warnings] if isinstance(warnings, list) else [],
    )


def rows_of(data: Mapping[str, Any], split: str) -> int | None:
    """How many rows a split has, if it is told."""
    rows = _mapping(_mapping(data.get("splits")).get(split)).get("rows")
    return rows if isinstance(rows, int) else None


def _split(name: str, split: Mapping[str, Any]) -> SplitHealth:
    spread = _mapping(split.get("distribution"))
    kind, content = "", None
    if spread:
        kind, content = panels.view(str(spread.get("kind")), _mapping(spread.get("data")), name=name)
    figures = {
        f"characters, {str(key).replace('_', ' ')}": _amount(value)
        for key, value in _mapping(split.get("characters")).items()
    }
    origin = "a share of train" if split.get("made_from_train") else ""
    if "drawn" in split:
        origin = f"{_amount(split['drawn'])} drawn an epoch"
    return SplitHealth(name, origin, _amount(split.get("rows")), figures, str(spread.get("title", "")), kind, content)


def _counts(role: Mapping[str, Any]) -> dict[str, str]:
    counts = {caption: _amount(role[key]) for key, caption in _COUNTS.items() if key in role}
    return counts | {str(reason): _amount(count) for reason, count in _mapping(role.get("bad")).items()}


def _amount(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else number.NONE


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
