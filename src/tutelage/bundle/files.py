"""Answering for a whole file: rows in, JSON lines out, a block at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tutelage.bundle.predict import Bundle
from tutelage.bundle.rows import blocks
from tutelage.errors import OutputError, StorageError
from tutelage.progress import Progress, Silent
from tutelage.storage import whole_file

_ROWS = 1024
_MOST_LINKS = 40
_CURE = "give `-o predictions.jsonl`"
# No permission; something in the path is a file and no folder.
_NO_PLACE = (PermissionError, NotADirectoryError, FileExistsError)


def predict_file(
    bundle: Bundle,
    source: Path,
    target: Path,
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    progress: Progress | None = None,
) -> int:
    """Answer every row of `source`, write a JSON record a row to `target`, in order; returns how many.

    `target` appears whole at the end, or not at all; a pipe or a device is written to as it is. Raises `DataError` for
    a file or row that cannot be read, `OutputError` when `target` cannot be written there.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target} is the file that is read", expected="another file", cure=_CURE)
    with (progress or Silent()).bar(f"answering {source.name}", 0) as bar:

        def counted() -> Iterator[dict[str, Any]]:
            for record in predict_rows(bundle, source, column=column, encoding=encoding, progress=progress):
                yield record
                bar.advance(1)

        return write(counted(), target)


def write(records: Iterable[dict[str, Any]], target: Path) -> int:
    """Write each as a line of JSON to `target`, whole or not at all; returns how many. See `predict_file`."""
    if target.is_dir():
        raise OutputError(f"{target} is a folder", expected="a file", cure=_CURE)
    written = 0
    try:
        with _opened(target) as output:
            for record in records:
                output.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
                written += 1
    except (OSError, StorageError) as error:
        # A full disk is nobody's mistake; a place that may not be written to, or that nobody reads any more, is.
        refused = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refused, OSError) or not (refused is error or isinstance(refused, _NO_PLACE)):
            raise
        raise OutputError(
            f"{target} cannot be written: {refused.strerror}", expected="a place you may write to"
        ) from error
    return written


@contextmanager
def _opened(target: Path) -> Iterator[IO[str]]:
    """What takes the place of a file in the end; what a link names is written, and links stay.

    What this process has open (`/dev/stdout`) is written where it stands, whoever else writes there; a pipe or a device
    as it is.
    """
    place = _followed(target)
    if _is_open(place):
        with os.fdopen(os.dup(int(place.name)), "w", encoding="utf-8") as output:
            yield output
    elif place.exists() and not place.is_file():
        with place.open("w", encoding="utf-8") as output:
            yield output
    else:
        with whole_file(place) as partial, partial.open("w", encoding="utf-8") as output:
            yield output


def _followed(target: Path) -> Path:
    """What a link names, and what that names, up to what is open or no link."""
    place = target.absolute()
    for _ in range(_MOST_LINKS):
        if _is_open(place) or not place.is_symlink():
            return place
        place = place.parent / place.readlink()
    raise OutputError(f"{target} is a link that leads back to itself", expected="a file", cure="give another `-o`")


def _is_open(place: Path) -> bool:
    return place.parent in {Path("/dev/fd"), Path("/proc/self/fd")} and place.name.isdigit()


def predict_rows(
    bundle: Bundle,
    source: Path,
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """The records of a file's rows, one by one; at most a block of rows is in memory."""
    cut = 0
    for texts in blocks(source, column=column, encoding=encoding, size=_ROWS):
        most = bundle.limits.max_characters
        cut += sum(len(text) > most and len(bundle.clean(text)) > most for text in texts)
        yield from bundle.predict(texts)
    if cut and progress:
        many = "1 text is" if cut == 1 else f"{cut:,} texts are"
        progress.warn(f"{many} longer than {bundle.limits.max_characters:,} characters: only the beginning was read")
