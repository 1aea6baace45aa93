"""The texts of a file, in blocks: CSV, TSV, JSON lines, Parquet, plain lines."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from tutelage import separated
from tutelage.errors import DataError, UserError
from tutelage.separated import Dialect

_DEFAULT = "text"
_GZIP = ".gz"


def blocks(path: Path, *, column: str | None = None, encoding: str = "utf-8", size: int = 1024) -> Iterator[list[str]]:
    """Lists of at most `size` texts, one a row, in the file's order; a missing text is an empty one.

    The format follows the suffix: .csv, .tsv, .jsonl / .ndjson, .txt, each also packed as .gz, or .parquet. The column
    is `column`, else `text`, else the only one. Blank lines are rows in .txt and skipped in the other text formats.

    Raises `DataError` with what the file holds instead.
    """
    reader = _READERS.get(_suffix(path))
    if not path.is_file():
        given = "is a folder" if path.is_dir() else "is not there"
        raise DataError(f"{path} {given}", expected="a file", cure="check the path")
    if reader is None or (_packed(path) and reader is _parquet):
        raise DataError(
            f"{path} ends in {path.suffix or 'nothing'}",
            expected=f"{', '.join(_READERS)}; all but the last also with {_GZIP}",
            cure="convert or rename the file",
        )
    found = False
    try:
        texts = reader(path, column, encoding)
        while block := list(itertools.islice(texts, size)):
            found = True
            yield block
    except (UnicodeError, LookupError) as error:  # of a missing byte order mark Python says no more than the first
        raise DataError(
            f"{path} is not {encoding} text: {error}",
            expected=f"a file in {encoding}",
            cure="name its encoding: `--encoding latin-1`, `--encoding utf-16` ...",
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="a whole file that you may read",
        ) from error
    if not found:
        raise DataError(f"{path} holds no rows", expected="at least one row", cure="check the file")


def _suffix(path: Path) -> str:
    """What tells the format."""
    return Path(path.stem).suffix.lower() if _packed(path) else path.suffix.lower()


def _packed(path: Path) -> bool:
    return path.suffix.lower() == _GZIP


def _open(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    unpacked = cast(IO[bytes], gzip.GzipFile(path)) if _packed(path) else path.open("rb")
    return io.TextIOWrapper(unpacked, encoding=_with_mark(encoding), newline=newline)


def _separated(path: Path, column: str | None, encoding: str) -> Iterator[str]:
    opened = partial(_open, path, encoding, newline="")
    before = csv.field_size_limit()
    try:
        dialect = separated.dialect(opened, tabs=_suffix(path) == ".tsv")
        with opened() as file:
            yield from _cells(path, (row for row in separated.rows(path, file, dialect) if row), column, dialect)
    finally:
        csv.field_size_limit(before)  # of the whole module, and so of whoever uses this package


def _cells(path: Path, rows: Iterator[list[str]], column: str | None, dialect: Dialect) -> Iterator[str]:
    header = [name.strip() for name in next(rows, [])]
    if not header:
        return
    place = header.index(_choose(path, header, column))
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header):
            # One of them was cut in two, and it may be the text.
            raise DataError(
                f"{path}: row {number:,} has {len(row)} fields, the header {len(header)}",
                expected=f"a text that holds {dialect.delimiter!r} to be quoted",
                cure=f'put such texts between quotes ("a{dialect.delimiter} b"), or give a .txt with a text a line',
            )
        yield row[place] if place < len(row) else ""


def _jsonl(path: Path, column: str | None, encoding: str) -> Iterator[str]:
    with _open(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            value = _parsed(path, number, line)
            if isinstance(value, dict):
                column = column or _choose(path, list(value), None)
                if column not in value:
                    raise _no_column(f"{path}, line {number}", column, list(value))
                value = value[column]
            if value is not None and not isinstance(value, str):
                raise DataError(
                    f"{path}, line {number}: the text is of type {type(value).__name__}",
                    expected="a string, or an object that holds one",
                    cure="check the line, or name another column",
                )
            yield value or ""


def _parsed(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}, line {number} is not JSON", expected="one JSON value a line", cure="check the line"
        ) from error


def _parquet(path: Path, column: str | None, encoding: str) -> Iterator[str]:  # noqa: ARG001 - siblings' shape
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{path} is a Parquet file", expected="pyarrow", cure="`pip install pyarrow`") from error
    try:
        with pq.ParquetFile(path) as file:
            name = _choose(path, list(file.schema_arrow.names), column)
            kind = file.schema_arrow.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DataError(f"{path}: column {name!r} holds {kind}", expected="strings")
            for batch in file.iter_batches(batch_size=1024, columns=[name]):
                yield from (text or "" for text in batch.column(0).to_pylist())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file: {error}", cure="check the file") from error


def _lines(path: Path, column: str | None, encoding: str) -> Iterator[str]:
    if column is not None:
        raise DataError(f"{path} has no columns", expected="plain lines", cure="leave `--column` out")
    with _open(path, encoding) as file:
        yield from (line.removesuffix("\n") for line in file)


def _choose(path: Path, names: Sequence[str], column: str | None) -> str:
    if column is None and _DEFAULT not in names and len(names) == 1:
        return names[0]
    wanted = column or _DEFAULT
    if wanted not in names:
        raise _no_column(str(path), wanted, names)
    return wanted


def _no_column(place: str, column: str, names: Iterable[str]) -> DataError:
    return DataError(
        f"{place} has no column {column!r}",
        expected=f"one of: {', '.join(names) or 'none there'}",
        cure="name the column of the texts: `--column NAME`",
    )


def _with_mark(encoding: str) -> str:
    """UTF-8 from a spreadsheet begins with a byte order mark, no part of the first column's name."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


_READERS: dict[str, Callable[[Path, str | None, str], Iterator[str]]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".txt": _lines,
    ".parquet": _parquet,
}
