"""Text files: a wrong encoding is an error that names the byte and the cure, a stray byte is a bad row."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from tutelage.data.sources.locate import GZIP
from tutelage.errors import DataError
from tutelage.separated import LONGEST_CELL

_BLOCK = 1 << 20
_SAMPLE = 1 << 16
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8"}
# In Chinese text nearly all bytes above 127 stand beside another; in Western European text nearly none do.
_PAIRED = 0.8
_HIGH = re.compile(rb"[\x80-\xff]+")


class Line(NamedTuple):
    """One line without its end; `cut` when it was longer than `LONGEST_CELL`."""

    number: int
    text: str
    cut: bool


def open_text(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    """Open for reading; bytes that cannot be decoded become lone surrogates, which `data.clean` finds."""
    same = codecs.lookup(encoding).name
    name = "utf-8-sig" if same == "utf-8" else encoding
    return io.TextIOWrapper(open_bytes(path), encoding=name, errors="surrogateescape", newline=newline)


def open_bytes(path: Path) -> IO[bytes]:
    """Open for reading; what is packed with gzip is unpacked on the way, never as a whole."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == GZIP else path.open("rb")


def lines(path: Path, encoding: str) -> Iterator[Line]:
    """All lines, numbered from 1, never more than `LONGEST_CELL` characters of one in memory."""
    with open_text(path, encoding) as file:
        number = 0
        while text := file.readline(LONGEST_CELL):
            number += 1
            cut = len(text) == LONGEST_CELL and not text.endswith("\n")
            yield Line(number, text.rstrip("\n"), cut)
            while cut and (rest := file.readline(LONGEST_CELL)) and not rest.endswith("\n"):
                pass


def check_encoding(path: Path, encoding: str, *, tolerance: float) -> None:
    """Raise `DataError` when more than the share `tolerance` of a file's lines cannot be decoded.

    Fewer are left to be found as bad rows. One pass over the bytes; costs little beside parsing them.
    """
    check_known(encoding)
    try:
        _check(path, encoding, tolerance)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked: {error}", expected="a whole gzip file", cure="write or download it again"
        ) from error


def _check(path: Path, encoding: str, tolerance: float) -> None:
    with open_bytes(path) as file:
        head = file.read(_SAMPLE)
    wide = "\n".encode(encoding) != b"\n"
    if not wide and _looks_wide(head):
        raise _wrong(encoding, f"{path} holds zero bytes and is not {encoding} text", guess(head))
    bad, total, first = _check_wide(path, encoding) if wide else _check_lines(path, encoding)
    if first is not None and bad > tolerance * total:
        with open_bytes(path) as file:
            file.seek(first.line_start)
            sample = file.read(_SAMPLE)
        count = "" if wide else f"; {bad:,} of {total:,} lines cannot be decoded"
        where = f"byte 0x{first.byte:02x} at position {first.offset:,} (line {first.line:,})"
        raise _wrong(encoding, f"{path} is not {encoding} text: {where}{count}", guess(sample))


def check_known(encoding: str) -> None:
    """Raise `DataError` for the name of an encoding that does not exist."""
    try:
        "".encode(encoding)
    except LookupError:
        raise DataError(
            f"the encoding {encoding!r} is unknown",
            expected="a name such as utf-8, latin-1, gb18030, utf-16",
            cure="correct `data.encoding`",
        ) from None


def guess(sample: bytes) -> str | None:
    """The likely encoding of some bytes among utf-8, utf-16, gb18030, latin-1 and cp1252, or None."""
    for mark, name in _BOMS.items():
        if sample.startswith(mark):
            return name
    if _looks_wide(sample):
        name = "utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"
        return name if _decodes(sample, name) and "\0" not in sample.decode(name, "ignore") else None
    if _decodes(sample, "utf-8"):
        return "utf-8"
    runs = [len(run) for run in _HIGH.findall(sample)]
    paired = sum(length for length in runs if length > 1)
    if paired > _PAIRED * sum(runs) and _decodes(sample, "gb18030"):
        return "gb18030"
    if any(0x80 <= byte < 0xA0 for byte in sample):
        return "cp1252" if _decodes(sample, "cp1252") else None
    return "latin-1"


class _Spot(NamedTuple):
    """The first byte that cannot be decoded; offsets from the start of the file."""

    offset: int
    line: int
    byte: int
    line_start: int


def _check_lines(path: Path, encoding: str) -> tuple[int, int, _Spot | None]:
    """(bad lines, all lines, first bad spot) for encodings in which a line ends with byte 10."""
    bad, total, offset = 0, 0, 0
    first: _Spot | None = None
    with open_bytes(path) as file:
        while block := file.read(_BLOCK) + file.readline(LONGEST_CELL):
            if not _decodes(block, encoding, final=True):
                start = offset
                for place, line in enumerate(block.split(b"\n")):
                    try:
                        line.decode(encoding)
                    except UnicodeDecodeError as error:
                        bad += 1
                        byte = line[error.start]
                        first = first or _Spot(start + error.start, total + place + 1, byte, start)
                    start += len(line) + 1
            total += block.count(b"\n") + (not block.endswith(b"\n"))
            offset += len(block)
    return bad, total, first


def _check_wide(path: Path, encoding: str) -> tuple[int, int, _Spot | None]:
    """The same for utf-16 and utf-32, where one wrong byte spoils the rest: any is too many."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with open_bytes(path) as file:
        while True:
            block = file.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                spot = _Spot(offset - pending + error.start, line, error.object[error.start], 0)
                return line, line, spot
            if not block:
                return 0, line, None
            offset += len(block)


def _looks_wide(sample: bytes) -> bool:
    marked = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return marked or sample.count(0) > len(sample) // 5


def _decodes(sample: bytes, encoding: str, final: bool = False) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=final)
    except UnicodeDecodeError:
        return False
    return True


def _wrong(encoding: str, given: str, likely: str | None) -> DataError:
    if likely and codecs.lookup(likely).name != codecs.lookup(encoding).name:
        cure = f"set `data.encoding: {likely}`, which fits these bytes"
    else:
        cure = "set `data.encoding` to the encoding the file was saved in, or save it again as utf-8"
    return DataError(given, expected=f"text in `data.encoding` ({encoding})", cure=cure)
