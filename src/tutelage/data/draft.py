"""A commented recipe for data that `inspect` has looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from tutelage.data.inspect import Guess
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_data import DataRecipe
from tutelage.recipe_teacher import TeacherRecipe

_COLUMN = 42  # where comments start


def recipe_text(guess: Guess, output: str | None = None) -> str:
    """The text of recipe.yaml: what was guessed and what is often changed, each key with its description.

    `output` defaults to `runs/` and the data's name.
    """
    output = output or f"runs/{Path(guess.train.partition(':')[0]).stem or 'run'}"
    data = {
        "train": guess.train,
        "validation": guess.validation,
        "test": guess.test,
        "text": guess.text,
        "label": guess.label,
        "unlabelled": None,
    }
    if guess.encoding != "utf-8":
        data["encoding"] = guess.encoding
    shown = f" ({', '.join(guess.labels)}{' ...' if len(guess.labels) == 10 else ''})" if guess.labels else ""
    found = f"{guess.rows:,} rows were looked at; labels in {guess.label!r}{shown}"
    lines = [
        "# Written by `tutelage init`: every guess can be changed; `tutelage check` looks at the data.",
        f"# {_one_line(found)}",
        "",
        _line(Recipe, "task", guess.task),
        "",
        "data:",
        *(_line(DataRecipe, key, value, indent=2) for key, value in data.items()),
        "",
        "teacher:",
        _line(TeacherRecipe, "model", "minilm", indent=2),
        _line(TeacherRecipe, "epochs", _default(TeacherRecipe, "epochs"), indent=2),
        "",
        "student:",
        _line(StudentRecipe, "size", _default(StudentRecipe, "size"), indent=2),
        _line(StudentRecipe, "keep", _default(StudentRecipe, "keep"), indent=2),
        _line(StudentRecipe, "epochs", _default(StudentRecipe, "epochs"), indent=2),
        "",
        _line(Recipe, "output", output),
        _line(Recipe, "seed", _default(Recipe, "seed")),
    ]
    return "\n".join(lines) + "\n"


def _line(part: type[BaseModel], key: str, value: Any, *, indent: int = 0) -> str:
    setting = f"{' ' * indent}{key}: {_scalar(value)}"
    description = part.model_fields[key].description
    return f"{setting:<{_COLUMN}}  # {description}" if description else setting


def _scalar(value: Any) -> str:
    """A value as YAML reads it back, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _default(part: type[BaseModel], key: str) -> Any:
    return part.model_fields[key].default


def _one_line(text: str) -> str:
    return " ".join(text.split())[:105]
