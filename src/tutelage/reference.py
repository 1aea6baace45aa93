"""The reference in docs/reference, written from the code: `python -m tutelage.reference`.

    recipe.md                   every key of a recipe, from the models and their descriptions
    pretrain.md                 every key of the recipe of a pre-training
    cli.md                      every command and option, from the command line itself
    measurements.schema.json    the JSON schema of `measurements.json`

A test fails when what is committed is not what this writes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tutelage.artifacts import measurements
from tutelage.pretrain_recipe import PretrainRecipe
from tutelage.recipe import Recipe
from tutelage.storage import write_text

FOLDER = Path("docs/reference")
_MARK = "<!-- Written by `python -m tutelage.reference`; do not edit. -->"
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
}
_BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
}


def write(folder: Path) -> list[Path]:
    """Write every page into a folder and return their paths."""
    recipe, pretrain = folder / "recipe.md", folder / "pretrain.md"
    commands, schema = folder / "cli.md", folder / "measurements.schema.json"
    write_text(recipe, recipe_page(Recipe, "The recipe"))
    write_text(pretrain, recipe_page(PretrainRecipe, "The recipe of a pre-training"))
    write_text(commands, commands_page())
    measurements.publish(schema)
    return [recipe, pretrain, commands, schema]


def recipe_page(kind: type[BaseModel], title: str) -> str:
    """Every key of a kind of recipe in Markdown, a table for each part."""
    schema = kind.model_json_schema()
    parts = {name: _part(value, schema) for name, value in schema["properties"].items()}
    top = {name: value for name, value in schema["properties"].items() if parts[name] is None}
    lines = [
        f"# {title}",
        "",
        _MARK,
        "",
        "A YAML or TOML file. Unknown keys and wrong values are reported all at once; then what contradicts itself;",
        "then files. Relative paths start where `tutelage` is called. Keys with the default *required* must be given;",
        "all others may be left out.",
        "",
        *_table(top, schema.get("required", [])),
    ]
    for name, part in parts.items():
        if part is not None:
            lines += ["", f"## `{name}`", "", part["description"], ""]
            lines += _table(part["properties"], part.get("required", []))
            for key, inner in _inner(part, schema).items():
                lines += ["", f"### {key.format(name)}", "", inner["description"], ""]
                lines += _table(inner["properties"], inner.get("required", []))
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Every command in Markdown, as typer's own generator writes it."""
    command = [sys.executable, "-m", "typer", "tutelage.cli", "utils", "docs", "--name", "tutelage"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Its list of commands cuts their descriptions short; the sections below it have them in full.
    text = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", "", text)
    title, _, rest = text.partition("\n")
    return f"{title.replace('`', '')}\n\n{_MARK}\n{rest.rstrip()}\n"


def _part(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a part of the recipe, None for a plain value."""
    name = str(value.get("$ref", "")).rpartition("/")[2]
    part: dict[str, Any] | None = schema["$defs"].get(name)
    return part


def _inner(part: Mapping[str, Any], schema: Mapping[str, Any], above: str = "{}") -> dict[str, dict[str, Any]]:
    """The schemas of parts that are mappings or lists of them, by their titles with a place for the part's name.

    One that is meant twice is shown once.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in part["properties"].items():
        for branch in value.get("anyOf", [value]):
            for end, place in (("", branch), (", each", branch.get("items", {}))):
                inner = _part(place, schema)
                if inner is not None and inner not in found.values():
                    found[f"`{above}.{name}`{end}"] = inner
                    found |= _inner(inner, schema, f"{above}.{name}")
    return found


def _table(keys: Mapping[str, Mapping[str, Any]], required: list[str]) -> list[str]:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, value in keys.items():
        default = "*required*" if name in required else f"`{_scalar(value.get('default'))}`"
        rows.append(f"| `{name}` | {_in_words(value)} | {default} | {value['description']} |")
    return rows


def _in_words(value: Mapping[str, Any]) -> str:
    """What a key takes: 'number > 0', '`a`, `b` or `null`' ..."""
    if "anyOf" in value:
        return " or ".join(map(_in_words, value["anyOf"]))
    choices = value.get("enum", [value["const"]] if "const" in value else [])
    if choices:
        return ", ".join(f"`{_scalar(choice)}`" for choice in choices)
    if "$ref" in value:
        return "mapping, below"
    if value["type"] == "array":
        return _list_in_words(value["items"], least=value.get("minItems", 0))
    if value["type"] == "object":
        return f"mapping of {_WORDS['string']} to {_in_words(value['additionalProperties'])}"
    bounds = [f"{words} {value[key]:,.10g}" for key, words in _BOUNDS.items() if key in value]
    return f"{_WORDS[value['type']]} {' and '.join(bounds)}".rstrip()


def _list_in_words(items: Mapping[str, Any], *, least: int) -> str:
    if "$ref" in items:
        return "list of mappings, below"
    one = _in_words(items)
    if least > 1:
        return f"list of {one}s"
    return f"{one} or list of {'these' if 'enum' in items else f'{one}s'}"


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    for page in write(FOLDER):
        sys.stdout.write(f"{page}\n")
