"""How healthy the data is: what was read, kept and left out, and what is worth knowing before training.

The health of a corpus is JSON: {"splits": {name: {...}}, "roles": {role: {...}}, "warnings": [sentence]}.
A split has `rows`, `made_from_train`, `distribution` (a panel, null without labels) and `characters`
(median, p95, max), and where not each of its rows is drawn once an epoch, `drawn`. A role, that is what the recipe
named, has `read`, `bad` (by reason), `duplicates`, `conflicts`, `overlap`, and `left_out` where a label map leaves out
rows. Further data sets to train on are roles and splits of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import MORE, SPLITS
from tutelage.artifacts.mixture import Mixture
from tutelage.data.arrange import Part
from tutelage.data.quarantine import Quarantine
from tutelage.recipe_data import DataRecipe
from tutelage.tasks import Task

_SMALL_TRAIN = 500
_SMALL_TEST = 200
_MANY_CUT = 0.05
_MANY_CONFLICTS = 0.01


def measure(
    task: Task, parts: Mapping[str, Part], bad: Quarantine, data: DataRecipe, mixture: Mixture | None = None
) -> dict[str, Any]:
    """The health of what is about to be written."""
    splits: dict[str, Any] = {}
    roles: dict[str, Any] = {}
    warnings = []
    for role, part in parts.items():
        roles[role] = {"read": bad.read[role], "bad": bad.by_reason(role), **part.counts}
        if bad.left_out[role]:
            roles[role]["left_out"] = bad.left_out[role]
        for name in dict.fromkeys([*SPLITS, role]):
            rows = np.flatnonzero(part.split == name)
            if len(rows):
                splits[name] = _split(task, part, rows, name)
                if name == "train" and splits[name]["distribution"]:
                    warnings += task.warnings(part.targets[rows])
    more = [role for role in parts if role.startswith(MORE)]
    for role, drawn in zip(more, mixture.drawn[1:] if mixture else [], strict=bool(mixture)):
        splits[role]["drawn"] = drawn
    order = dict.fromkeys(["train", *more, *SPLITS, *parts])
    ordered = {name: splits[name] for name in order if name in splits}
    warnings += _warnings(ordered, roles, parts, data)
    return {"splits": ordered, "roles": roles, "warnings": warnings}


def describe(health: Mapping[str, Any]) -> list[str]:
    """Lines of plain text for a terminal: one a split, then what was left out, then the warnings."""
    lines = []
    for name, split in health["splits"].items():
        length = split["characters"]
        made = ", a share of train" if split["made_from_train"] else ""
        made += f", {split['drawn']:,} of them drawn an epoch" if "drawn" in split else ""
        lines.append(
            f"{name}: {split['rows']:,} rows{made}; characters: median {length['median']:,}, "
            f"95 % up to {length['p95']:,}, longest {length['max']:,}"
        )
        if split["distribution"] and split["distribution"]["kind"] == "histogram":
            lines.append(f"  {_bars(split['distribution']['data'])}")
    for name, role in health["roles"].items():
        out = [f"{count:,} {reason}" for reason, count in role["bad"].items()]
        out += [f"{role[key]:,} {title}" for key, title in _LEFT_OUT.items() if role.get(key)]
        if out:
            lines.append(f"left out of {role['read']:,} rows of {name}: {', '.join(out)}")
    return lines + [f"warning: {warning}" for warning in health["warnings"]]


_LEFT_OUT = {
    "duplicates": "duplicates",
    "overlap": "that another split holds",
    "left_out": "whose label is mapped to null",
}
_BARS = 12


def _bars(data: Mapping[str, Any]) -> str:
    pairs = [f"{label} {count:,}" for label, count in zip(data["labels"], data["counts"], strict=True)]
    more = f", and {len(pairs) - _BARS} more" if len(pairs) > _BARS else ""
    return ", ".join(pairs[:_BARS]) + more


def _split(task: Task, part: Part, rows: NDArray[np.int64], name: str) -> dict[str, Any]:
    lengths = part.spool.lengths[rows]
    labelled = not np.isnan(part.targets[rows]).any()
    return {
        "rows": len(rows),
        "made_from_train": part.spool.role == "train" and name != "train",
        "distribution": asdict(task.distribution(part.targets[rows])) if labelled else None,
        "characters": {
            "median": int(np.median(lengths)),
            "p95": int(np.quantile(lengths, 0.95)),
            "max": int(lengths.max()),
        },
    }


def _warnings(
    splits: Mapping[str, Any], roles: Mapping[str, Any], parts: Mapping[str, Part], data: DataRecipe
) -> list[str]:
    found = []
    train = sum(split["rows"] for name, split in splits.items() if name == "train" or name.startswith(MORE))
    test = splits["test"]["rows"] if "test" in splits else _SMALL_TEST
    if train < _SMALL_TRAIN:
        found.append(f"only {train:,} training rows: more labelled rows will help more than any setting")
    if test < _SMALL_TEST:
        found.append(f"only {test:,} test rows: the intervals of all figures will be wide")
    conflicts = roles["train"]["conflicts"]
    if conflicts > _MANY_CONFLICTS * train:
        found.append(f"{conflicts:,} texts of train occur with different labels; the most frequent one was kept")
    cut = float((parts["train"].spool.tokens > data.max_tokens).mean())
    if cut > _MANY_CUT and data.long_text == "truncate":
        found.append(
            f"about {cut:.0%} of the texts are longer than {data.max_tokens} tokens and will be cut: "
            "consider `data.long_text: window` or a larger `data.max_tokens`"
        )
    bad = sum(sum(role["bad"].values()) for role in roles.values())
    if bad:
        found.append(f"{bad:,} bad rows were left out; a run lists them in a quarantine.jsonl under .tutelage")
    return found
