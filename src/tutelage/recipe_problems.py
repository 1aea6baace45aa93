"""What is wrong with a recipe, in words for whoever wrote it: one line for each key, all at once."""

from __future__ import annotations

import difflib
import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 60  # characters of a value that was given


def problems(error: ValidationError, recipe: type[BaseModel]) -> list[str]:
    """One line a key: where it is, what was given, and what was expected."""
    found: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors():
        found.setdefault(_place(detail["loc"], recipe), []).append(detail)
    return [_line(place, details, recipe) for place, details in found.items()]


def _place(location: tuple[int | str, ...], recipe: type[BaseModel]) -> str:
    """The dotted key; steps into the branches of a type are pydantic's, not the writer's."""
    steps: list[str] = []
    part: type[BaseModel] | None = recipe
    for step in location:
        if part is not None or isinstance(step, int):
            steps.append(str(step))
        # The place in a list is no key.
        part = part if isinstance(step, int) else _part(part, step)
    return ".".join(steps)


def _part(part: type[BaseModel] | None, key: str) -> type[BaseModel] | None:
    """The model of a part of the recipe, or of each in a list of them, None for a plain value."""
    field = part.model_fields.get(key) if part is not None else None
    return _model(field.annotation) if field else None


def _model(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for inner in get_args(kind) if (found := _model(inner))), None)


def _line(place: str, details: list[ErrorDetails], recipe: type[BaseModel]) -> str:
    first = details[0]
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown key; {_hint(first['loc'], recipe)}"
    if first["type"] == "missing":
        return f"{place}: missing"
    if first["type"] == "value_error":
        # What concerns several parts has no key of its own.
        return f"{place}: {first['ctx']['error']}".removeprefix(": ")
    return f"{place}: {_shown(first['input'])} was given; {' or '.join(map(_expected, details))}"


def _hint(location: tuple[int | str, ...], recipe: type[BaseModel]) -> str:
    key, part = str(location[-1]), recipe
    for step in location[:-1]:
        part = part if isinstance(step, int) else _part(part, step) or recipe
    homes = [name for name in recipe.model_fields if key in getattr(_part(recipe, name), "model_fields", ())]
    if homes:
        return f"it belongs under {' or '.join(homes)}"
    near = difflib.get_close_matches(key, part.model_fields, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(part.model_fields)}"


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] == "model_type":
        return "it must be a mapping of keys to values"
    if detail["type"] in ("too_short", "string_too_short"):
        least = detail.get("ctx", {}).get("min_length", 1)
        return "it must not be empty" if least == 1 else f"it must have at least {least} entries"
    text = detail["msg"].replace("Input should be ", "it must be ").replace("a valid boolean", "true or false")
    return text[0].lower() + text[1:]


def _shown(value: Any) -> str:
    """As it stands in a recipe."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
