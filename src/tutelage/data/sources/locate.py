"""Which kind of source a string of the recipe names, and where it is."""

from __future__ import annotations

import difflib
import re
from os.path import expanduser
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import DataError

KINDS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".json": "json_lines",
    ".parquet": "parquet",
    ".txt": "plain_lines",
}
"""Extension of a file -> module of `data.sources` that reads it."""
GZIP = ".gz"
_PACKABLE = ("delimited", "json_lines", "plain_lines")
_KNOWN = ".csv, .tsv, .jsonl, .parquet (or .txt for texts without labels); .gz behind any but .parquet"
_CURES = {
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".zip": "unpack it first",
    ".zst": "unpack it first",
    ".arrow": "give the folder that `datasets` saved, not the file in it",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,7}$")
_SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")


class Place(NamedTuple):
    """Where a source is: `kind` is the module of `data.sources` that reads it."""

    source: str
    """As the recipe has it."""
    kind: str
    path: Path
    """Of a hub id: the id as a relative path that does not exist."""
    split: str | None = None


def locate(source: str) -> Place:
    """Find a source: what exists or has an extension is a path, else `owner/name[:split]` is a hub id.

    Raises `DataError` when there is no such file or its kind is unknown.
    """
    path = Path(expanduser(source))  # noqa: PTH111 - Path's raises for users that there are not
    if path.exists():
        return _existing(source, path, None)
    head, _, split = source.rpartition(":")
    if head and (folder := Path(expanduser(head))).is_dir():  # noqa: PTH111 - as above
        return _existing(source, folder, split)
    name = head or source
    if _HUB_ID.fullmatch(name) and not _EXTENSION.search(name):
        return Place(source, "hub", Path(name), split if head else None)
    raise _missing(path)


def suffix_of(path: Path) -> str:
    """The extension that tells the kind, in small letters: `.csv` of `a.CSV` and of `a.csv.gz`."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() if last == GZIP else last


def near_names(path: Path) -> list[str]:
    """Entries of the folder that `path` should be in, the most similar names first, at most three."""
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)


def _existing(source: str, path: Path, split: str | None) -> Place:
    if path.is_dir():
        return Place(source, _kind_of_folder(path), path, split)
    kind = KINDS.get(suffix_of(path))
    if kind is not None and kind not in _PACKABLE and path.suffix.lower() == GZIP:
        raise DataError(f"{path} is packed twice", expected="Parquet, which is packed itself", cure="unpack it first")
    if kind is None:
        extension = f"the unknown extension {suffix_of(path)!r}" if suffix_of(path) else "no extension"
        raise DataError(
            f"{path} has {extension}",
            expected=_KNOWN,
            cure=_CURES.get(suffix_of(path), "rename the file if it is one of these, or convert it"),
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", expected="at least a header and rows")
    return Place(source, kind, path, split)


def _kind_of_folder(path: Path) -> str:
    if any((path / name).is_file() for name in _SAVED):
        return "saved"
    if any(path.glob("*/*.txt")):
        return "class_folders"
    files = [file.name for file in sorted(path.iterdir()) if file.suffix.lower() in KINDS][:3]
    raise DataError(
        f"{path} is a folder of another kind",
        expected=f"{path.name}/<class>/*.txt, or a folder that `datasets` saved",
        cure=f"name its files, e.g. {', '.join(str(path / name) for name in files)}" if files else "",
    )


def _missing(path: Path) -> DataError:
    near = near_names(path)
    if near:
        meant = f"did you mean {' or '.join(str(path.parent / name) for name in near)}?"
        cure = meant if path.is_absolute() else f"{meant} Relative paths start at {Path.cwd()}"
    elif not path.parent.is_dir():
        cure = f"the folder {path.parent} does not exist either; relative paths start at {Path.cwd()}"
    else:
        cure = f"check the name; relative paths start at {Path.cwd()}"
    return DataError(f"{path} does not exist", expected="a file, a folder or a hub id `owner/name`", cure=cure)
