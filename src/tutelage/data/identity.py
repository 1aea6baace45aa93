"""What the data stage depends on, named cheaply: the input files as they are, the data recipe, the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.data.given import OWN, given
from tutelage.data.sources.locate import locate
from tutelage.errors import DataError
from tutelage.recipe import Recipe

# Up to so many bytes, half a second's reading, a file is known by its content; else by size and time.
_SMALL = 256 << 20
_LATER = ("more", "sampling_temperature", "also_test")


def fingerprint_sources(recipe: Recipe) -> str:
    """32 hexadecimal digits that change when the corpus could; nothing is parsed, large files are not read.

    Raises `DataError` when a source does not exist or may not be read. A hub id counts by its name alone.
    """
    data, named = recipe.data, given(recipe.data)
    classes = [list(recipe.teacher.zero_shot.labels)] if recipe.teacher.zero_shot else []
    sources: dict[str, list[Any]] = {role: [] for role in OWN}
    sources |= {role: [identity_of(source) for source in one.sources] for role, one in named.items()}
    settings = data.model_dump(mode="json")
    # Left out, they change nothing, and what was prepared before there were such keys stays.
    for key in _LATER:
        if settings[key] == type(data).model_fields[key].default:
            del settings[key]
    parts = [recipe.task, recipe.seed, recipe.student.searches, settings, sources, *classes]
    return storage.fingerprint_of("sources 2", *parts)


def identity_of(source: str) -> Any:
    """What tells a source from another and from itself changed, cheaply; JSON-serialisable."""
    place = locate(source)
    if place.kind == "hub":
        return source
    if place.path.is_file():
        try:
            return _of_file(place.path)
        except PermissionError as error:
            raise DataError(f"{place.path} cannot be read: permission denied", cure="change its mode") from error
    files = sorted(file for file in place.path.rglob("*") if file.is_file())
    # A folder of many files is known by sizes and times: opening each would take longer than preparing it.
    return [(file.relative_to(place.path).as_posix(), *_changed(file)) for file in files]


def _of_file(path: Path) -> Any:
    if path.stat().st_size <= _SMALL:
        return storage.sha256_of(path)
    return (str(path.resolve()), *_changed(path))


def _changed(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
