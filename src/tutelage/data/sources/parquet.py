"""Parquet, streamed in small batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import Record, Table
from tutelage.errors import DataError

_ROWS = 256  # at a time: few, because one cell may hold megabytes


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:  # noqa: ARG001 - Parquet is UTF-8
    """Read the schema and prepare to stream the rows. Raises `DataError` for a broken file."""
    with _open(place.path) as file:
        columns = tuple(file.schema_arrow.names)
    return Table(place.source, columns, partial(_records, place.path))


def _records(path: Path, names: Sequence[str]) -> Iterator[Record]:
    import pyarrow as pa

    with _open(path) as file:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(names)):
                for fields in _rows(batch):
                    number += 1
                    yield Record(number, fields)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _broken(path, f"after row {number:,}", error) from error


def _rows(batch: Any) -> list[dict[str, Any]]:
    return list(batch.to_pylist())


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "at its footer", error) from error


def _broken(path: Path, where: str, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as Parquet {where}: {str(error).splitlines()[0]}",
        expected="a whole Parquet file",
        cure="write or download it again",
    )
