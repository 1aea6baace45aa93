"""A recipe of any kind out of a file, every problem at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tutelage import yaml_text
from tutelage.errors import RecipeError
from tutelage.recipe_problems import problems

# What only one kind of recipe has, and who reads it.
_TELLING = {"objective": "pretrain", "task": "run"}
_DATA = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz")
Model = TypeVar("Model", bound=BaseModel)


def read(source: str | Path | Mapping[str, Any], kind: type[Model], *, hint: str) -> Model:
    """A recipe from a YAML or TOML file, or from a mapping. Paths inside stay as written.

    `hint` says where a recipe can be had when the file is not there. Raises `RecipeError` with every problem at once.
    """
    if isinstance(source, Mapping):
        return _validate(dict(source), "the recipe", kind)
    path = Path(source)
    value = _parse(path, kind, hint)
    ours = all(field in value for field, known in kind.model_fields.items() if known.is_required())
    for field, command in _TELLING.items():
        if field in value and field not in kind.model_fields and not ours:
            raise RecipeError(str(path), [f"it is a recipe for `tutelage {command}`: `tutelage {command} {path}`"])
    return _validate(value, str(path), kind)


def _parse(path: Path, kind: type[BaseModel], hint: str) -> dict[str, Any]:
    if path.suffix.lower() in _DATA and path.is_file():
        raise RecipeError(str(path), [f"it is data and no recipe; {hint.replace('DATA', str(path))}"])
    if path.is_dir():
        inside = sorted(path.glob("*.yaml"))
        cure = f"give {inside[0]}" if inside else hint
        raise RecipeError(str(path), [f"it is a folder and no recipe; {cure}"])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = f"there is {', '.join(sorted(near)[:5])}" if near else hint
        raise RecipeError(str(path), [f"the file does not exist; {hint}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(str(path), [f"the file cannot be read as UTF-8 text: {error}"]) from error
    try:
        value = tomllib.loads(text) if path.suffix.lower() == ".toml" else yaml_text.read(text)
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(str(path), [f"it is not valid {path.suffix[1:].upper() or 'YAML'}: {error}"]) from error
    if not isinstance(value, dict):
        required = [name for name, field in kind.model_fields.items() if field.is_required()]
        raise RecipeError(str(path), [f"it must be a mapping with the keys {', '.join(required)} ..."])
    return value


def _validate(value: dict[str, Any], source: str, kind: type[Model]) -> Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise RecipeError(source, problems(error, kind)) from error
