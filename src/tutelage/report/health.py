"""Data health as the page shows it, read leniently: what the corpus does not tell is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.report import number, panels


@dataclass(frozen=True)
class SplitHealth:
    """A split: its rows, its other figures by name, and how its targets are spread."""

    name: str
    rows: str
    figures: dict[str, str]
    title: str
    kind: str
    spread: Any


@dataclass(frozen=True)
class Health:
    """What is known of the data of a run."""

    splits: list[SplitHealth]
    columns: list[str]
    findings: list[tuple[str, str]]
    warnings: list[str]


_FINDINGS = {
    "duplicates": "duplicate texts",
    "conflicts": "equal texts with different labels",
    "overlap": "texts shared by training and test",
}


def health(data: Mapping[str, Any]) -> Health:
    """Of the `data` part of the measurements; see `data.health`."""
    splits = [
        _split(str(name), split) for name, split in _mapping(data.get("splits")).items() if _mapping(split)
    ]
    findings = [
        (caption, _amount(data[key])) for key, caption in _FINDINGS.items() if data.get(key) is not None
    ]
    bad = _mapping(data.get("bad_rows"))
    findings += [(f"bad rows: {reason}", _amount(count)) for reason, count in bad.items()]
    if "bad_rows" in data and not bad:
        findings.append(("bad rows", "0"))
    warnings = data.get("warnings")
    return Health(
        splits,
        list(dict.fromkeys(name for split in splits for name in split.figures)),
        findings,
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
        f"characters, {str(key).replace('_', ' ')}": number.count(value)
        for key, value in _mapping(split.get("characters")).items()
        if isinstance(value, int | float)
    }
    rows = split.get("rows")
    return SplitHealth(name, _amount(rows), figures, str(spread.get("title", "")), kind, content)


def _amount(value: Any) -> str:
    """A count, a list of what was counted, or counts by something."""
    if isinstance(value, list | tuple):
        return f"{len(value):,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_amount(count)} {str(name).replace('_', ' ')}" for name, count in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value) if value else number.NONE


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
