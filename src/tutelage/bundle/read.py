"""Opening a bundle: every byte is verified before anything is read from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutelage import tasks
from tutelage.bundle.limits import FORMAT, Limits
from tutelage.bundle.onnx_file import has_external_data
from tutelage.bundle.write import CARD, FILES, LIMITS, MODEL, TASK, TOKENIZER
from tutelage.errors import BundleError
from tutelage.storage import MANIFEST, broken_files
from tutelage.tasks import Task

_INTACT = "the folder exactly as `tutelage run` wrote it"
_BUNDLE = "the folder `bundle/` of a finished run"
_COPY_AGAIN = "copy the bundle again from where it was made; to change it, change the recipe and run it again"


@dataclass(frozen=True)
class Contents:
    """What a verified folder holds."""

    path: Path
    model: bytes
    tokenizer: str
    task: Task
    limits: Limits
    card: str


def open_bundle(path: str | Path, *, expect_task: str | None = None) -> Contents:
    """Verify and read a bundle folder.

    Raises `BundleError` when a file is missing, altered, not in the manifest or a link, when the format or
    the task is unknown, when the task is not `expect_task`, and when the graph keeps data in another file.
    """
    folder = Path(path)
    _must_be_bundle(folder)
    try:
        _must_be_intact(folder)
        model = (folder / MODEL).read_bytes()
        tokenizer = (folder / TOKENIZER).read_text(encoding="utf-8")
        card = (folder / CARD).read_text(encoding="utf-8")
        limits, task = _limits(folder), _task(folder)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}", expected="files you may read") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"a text in {folder} is not UTF-8", expected=_INTACT, cure=_COPY_AGAIN) from error
    if expect_task is not None and task.name != expect_task:
        raise BundleError(
            f"{folder} is a model of another task: {task.name}",
            expected=expect_task,
            cure=f"give a bundle made with `task: {expect_task}`",
        )
    _must_stand_alone(folder, model)
    return Contents(folder, model, tokenizer, task, limits, card)


def _must_be_bundle(folder: Path) -> None:
    if not folder.is_dir():
        given = "is a file" if folder.is_file() else "does not exist"
        raise BundleError(
            f"{folder} {given}",
            expected=_BUNDLE,
            cure="`tutelage run` writes it as `bundle/` in its output folder",
        )
    if not (folder / MANIFEST).is_file() and (folder / "bundle" / MANIFEST).is_file():
        raise BundleError(
            f"{folder} is the folder of a run",
            expected="the bundle inside it",
            cure=f"give {folder / 'bundle'}",
        )
    if not any((folder / name).is_file() for name in (MODEL, LIMITS)):
        beside = folder.parent / "bundle"
        found = (beside / MANIFEST).is_file() and folder.name != beside.name
        unfinished = (folder / ".tutelage").is_dir()
        raise BundleError(
            f"{folder} is no bundle",
            expected=_BUNDLE,
            cure="finish the run first" if unfinished else f"give {beside}" if found else "give that folder",
        )


def _must_be_intact(folder: Path) -> None:
    # Links are looked for first, so that nothing below ever follows one.
    problems = [
        f"{entry.relative_to(folder).as_posix()} is a symbolic link"
        for entry in sorted(folder.rglob("*"))
        if entry.is_symlink()
    ]
    if not problems:
        problems = _differences(folder)
    if problems:
        shown = "\n".join(f"  - {problem}" for problem in problems[:10])
        raise BundleError(f"{folder} is not intact:\n{shown}", expected=_INTACT, cure=_COPY_AGAIN)


def _differences(folder: Path) -> list[str]:
    try:
        problems = broken_files(folder)
        listed = set(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except FileNotFoundError:
        return problems
    except (ValueError, KeyError, TypeError, RecursionError):
        return [f"{MANIFEST} cannot be read"]
    problems += [f"{name} is not in {MANIFEST}" for name in FILES if name not in listed]
    found = (entry for entry in sorted(folder.rglob("*")) if not entry.is_dir())
    names = (entry.relative_to(folder).as_posix() for entry in found)
    return problems + [
        f"{name} does not belong to the bundle: delete it" for name in names if name not in listed and name != MANIFEST
    ]


def _limits(folder: Path) -> Limits:
    value = _json(folder, LIMITS)
    if value.get("format") != FORMAT:
        raise BundleError(
            f"{folder / LIMITS} has format {value.get('format')!r}",
            expected=f"format {FORMAT}",
            cure="a newer version of tutelage wrote it: `pip install --upgrade tutelage`",
        )
    try:
        return Limits.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{folder / LIMITS}: {place or 'limits'}: {first['msg']}", expected=_INTACT, cure=_COPY_AGAIN
        ) from error


def _task(folder: Path) -> Task:
    try:
        return tasks.from_dict(_json(folder, TASK))
    except ValueError as error:
        raise BundleError(
            f"{folder / TASK}: {error}",
            expected="a task this version knows",
            cure="`pip install --upgrade tutelage`, or copy the bundle again",
        ) from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"{folder / name} is not JSON", expected=_INTACT, cure=_COPY_AGAIN) from error
    if not isinstance(value, dict):
        raise BundleError(f"{folder / name} is not a mapping", expected=_INTACT, cure=_COPY_AGAIN)
    return value


def _must_stand_alone(folder: Path, model: bytes) -> None:
    try:
        external = has_external_data(model)
    except ValueError as error:
        raise BundleError(
            f"{folder / MODEL} is not an ONNX file: {error}", expected=_INTACT, cure=_COPY_AGAIN
        ) from error
    if external:
        raise BundleError(
            f"{folder / MODEL} points at data in another file",
            expected="a graph that holds all its weights",
            cure="do not use this bundle; make it anew with `tutelage run`",
        )
