from __future__ import annotations

import builtins
import csv
import errno
import gzip
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiny_bundle import sentences
from tutelage.bundle.files import predict_file, predict_rows
from tutelage.bundle.predict import Bundle
from tutelage.bundle.rows import blocks
from tutelage.data.sources import delimited
from tutelage.data.sources.locate import Place
from tutelage.errors import DataError, OutputError, UserError

TEXTS = [*sentences(30), "", "  ", 'a "fine", film', "über\tgut"]


def as_csv(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        rows.writerow(["id", "text"])
        rows.writerows([index, text] for index, text in enumerate(TEXTS))


def as_jsonl(path: Path) -> None:
    path.write_text("\n".join(json.dumps({"text": text, "n": 1}) for text in TEXTS), encoding="utf-8")


def as_strings(path: Path) -> None:
    path.write_text("".join(json.dumps(text) + "\n\n" for text in TEXTS), encoding="utf-8")


def as_parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS, "n": range(len(TEXTS))}), path)


def as_lines(path: Path) -> None:
    path.write_text("\r\n".join(TEXTS) + "\r\n", encoding="utf-8")


def packed(path: Path, write: Callable[[Path], None]) -> None:
    plain = path.with_suffix("")
    write(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))


FORMATS: dict[str, Callable[[Path], None]] = {
    "rows.csv": as_csv,
    "rows.tsv": lambda path: as_csv(path, "\t"),
    "rows.jsonl": as_jsonl,
    "strings.ndjson": as_strings,
    "rows.parquet": as_parquet,
    "rows.txt": as_lines,
    "rows.csv.gz": lambda path: packed(path, as_csv),
    "rows.jsonl.gz": lambda path: packed(path, as_jsonl),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_every_row_in_order(tmp_path: Path, bundle: Bundle, name: str) -> None:
    source, target = tmp_path / name, tmp_path / "out" / "answers.jsonl"
    FORMATS[name](source)
    assert [text for block in blocks(source, size=7) for text in block] == TEXTS
    assert predict_file(bundle, source, target) == len(TEXTS)
    records = [json.loads(line) for line in target.read_text().splitlines()]
    for record, expected in zip(records, bundle.predict(TEXTS), strict=True):
        assert record["label"] == expected["label"]
        assert record["score"] == pytest.approx(expected["score"], abs=1e-5)


def test_blocks_are_bounded_and_read_as_they_are_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('"good"\n' * 10 + "broken\n")
    found = blocks(source, size=4)
    assert [len(next(found)), len(next(found))] == [4, 4]
    with pytest.raises(DataError, match="line 11"):
        next(found)


def test_the_column_is_the_one_named_else_text_else_the_only_one(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("review,other\nfine,1\n")
    assert list(blocks(source, column="review")) == [["fine"]]
    with pytest.raises(DataError, match="'text'") as caught:
        list(blocks(source))
    assert "review, other" in caught.value.expected
    source.write_text("review\nfine\n")
    assert list(blocks(source)) == [["fine"]]


def test_a_missing_cell_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1\n2,fine\n")
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": "fine"}\n')
    assert list(blocks(tmp_path / "a.csv")) == list(blocks(tmp_path / "a.jsonl")) == [["", "fine"]]


def test_a_file_is_read_as_it_would_be_to_learn_from(tmp_path: Path) -> None:
    """Delimiters are found, an unquoted TSV with a stray quote stays whole, and spaces around names do not count."""
    (tmp_path / "a.csv").write_text("text;label\nA fine, fine film;positive\n")
    (tmp_path / "a.tsv").write_text('text\tid\n"open quote\t1\nBad one\t2\nlast\t3\n')
    (tmp_path / "b.csv").write_text("id, text\n1,fine\n")
    (tmp_path / "c.csv").write_text('id,"good; bad; missing?"\n1,fine\n')
    (tmp_path / "d.tsv").write_text('text\n"line one\nline two"\nother\n')
    assert list(blocks(tmp_path / "c.csv", column="good; bad; missing?")) == [["fine"]]
    assert list(blocks(tmp_path / "d.tsv")) == [["line one\nline two", "other"]]
    assert list(blocks(tmp_path / "a.csv")) == [["A fine, fine film"]]
    assert list(blocks(tmp_path / "a.tsv")) == [['"open quote', "Bad one", "last"]]
    assert list(blocks(tmp_path / "b.csv")) == [["fine"]]
    for name in ("a.csv", "a.tsv"):
        table = delimited.open_table(Place(name, "delimited", tmp_path / name), encoding="utf-8", tolerance=0.0)
        learned = [record.fields["text"] for record in table.records(["text"])]
        assert [learned] == list(blocks(tmp_path / name))


def test_devices_pipes_and_links_stay_what_they_are(tmp_path: Path, bundle: Bundle) -> None:
    source, pipe, link, real = (tmp_path / name for name in ("a.txt", "pipe", "link.jsonl", "real.jsonl"))
    source.write_text("fine\ndull\n")
    assert predict_file(bundle, source, Path("/dev/null")) == 2
    assert Path("/dev/null").is_char_device()
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(pipe.read_text)
        predict_file(bundle, source, pipe)
        assert len(heard.result(timeout=30).splitlines()) == 2
    assert pipe.is_fifo()
    real.write_text("earlier")
    link.symlink_to(real)
    predict_file(bundle, source, link)
    assert link.is_symlink()
    assert len(real.read_text().splitlines()) == 2


@pytest.mark.parametrize("mode", ["w", "a"])
def test_what_a_shell_has_opened_is_written_behind_what_is_there(tmp_path: Path, bundle: Bundle, mode: str) -> None:
    """`-o /dev/stdout >> all.jsonl`, also in a loop: `/dev/stdout` then names a regular file."""
    source, goal = tmp_path / "a.txt", tmp_path / "all.jsonl"
    source.write_text("fine\n")
    goal.write_text("earlier\n")
    with goal.open(mode) as opened:
        link = tmp_path / "link"
        link.symlink_to(f"/proc/self/fd/{opened.fileno()}")
        for place in (Path(f"/dev/fd/{opened.fileno()}"), link):
            predict_file(bundle, source, place)
        opened.write("later\n")
    lines = goal.read_text().splitlines()
    assert len(lines) == 3 + (mode == "a")
    assert lines[-1] == "later"
    assert link.is_symlink()
    assert {file.name for file in tmp_path.iterdir()} == {"a.txt", "all.jsonl", "link"}


def test_what_nobody_has_open_any_more_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    source = tmp_path / "a.txt"
    source.write_text("fine\n")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for number in (writing, 10_000):  # a pipe without a reader, and nothing at all
            with pytest.raises(OutputError, match="cannot be written: B"):
                predict_file(bundle, source, Path(f"/dev/fd/{number}"))
    finally:
        os.close(writing)


def test_links_that_lead_nowhere_are_refused_and_what_lies_in_memory_is_a_file(tmp_path: Path, bundle: Bundle) -> None:
    source, one, other = (tmp_path / name for name in ("a.txt", "one", "other"))
    source.write_text("fine\n")
    one.symlink_to(other)
    other.symlink_to("one")
    with pytest.raises(OutputError, match="leads back to itself"):
        predict_file(bundle, source, one)
    if Path("/dev/shm").is_dir():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            for _ in range(2):
                predict_file(bundle, source, Path(name) / "new" / "out.jsonl")
            assert len((Path(name) / "new" / "out.jsonl").read_text().splitlines()) == 1


def test_a_place_that_may_not_be_written_to_is_the_users_to_mend(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.txt"
    source.write_text("fine\n")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tutelage.storage.tempfile.mkstemp", refused)
    with pytest.raises(OutputError, match="Permission denied"):
        predict_file(bundle, source, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"", "no rows"),
        ("a.csv", b"text,id\ngreat, really,1\n", "row 1 has 3 fields, the header 2"),
        ("a.csv", b'text,id\n"open quote,1\nBad one,2\n', "cannot be parsed from line 2"),
        ("a.csv", b"text\n", "no rows"),
        ("a.txt", b"", "no rows"),
        ("a.csv", b"text\n\xff\xfe\n", "not utf-8"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": 3}\n', "line 2: the text is of type int"),
        ("a.jsonl", b'{"text": "fine"}\n{"txt": "fine"}\n', "line 2 has no column 'text'"),
        ("a.jsonl", b"{\n", "line 1 is not JSON"),
        ("a.parquet", b"PAR1 not really", "not a Parquet file"),
        ("a.xlsx", b"x", "xlsx"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_nothing(
    tmp_path: Path, bundle: Bundle, name: str, content: bytes, match: str
) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    with pytest.raises(DataError, match=match):
        predict_file(bundle, source, tmp_path / "out.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_an_answer_that_is_there_is_no_reason_to_complain_of_it(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(DataError, match=r"typo\.csv is not there"):
        predict_file(bundle, tmp_path / "typo.csv", tmp_path / "out.jsonl")
    as_csv(tmp_path / "rows.csv")
    with pytest.raises(OutputError, match="cannot be written"):
        predict_file(bundle, tmp_path / "rows.csv", tmp_path / "out.jsonl" / "answers.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        predict_file(bundle, tmp_path, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_torn_archive_is_told_of(tmp_path: Path, bundle: Bundle) -> None:
    packed(tmp_path / "rows.csv.gz", as_csv)
    (tmp_path / "rows.csv.gz").write_bytes((tmp_path / "rows.csv.gz").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.csv\.gz cannot be read"):
        predict_file(bundle, tmp_path / "rows.csv.gz", tmp_path / "out.jsonl")


def test_what_was_there_survives_a_failure(tmp_path: Path, bundle: Bundle) -> None:
    source, target = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    target.write_text("earlier")
    source.write_text('"fine"\n' * 3000 + "broken")
    with pytest.raises(DataError, match="line 3001"):
        predict_file(bundle, source, target)
    assert target.read_text() == "earlier"


def test_files_that_must_not_be_written_to(tmp_path: Path, bundle: Bundle) -> None:
    source = tmp_path / "a.txt"
    source.write_text("fine\n")
    with pytest.raises(OutputError, match="that is read"):
        predict_file(bundle, source, source)
    with pytest.raises(OutputError, match="folder"):
        predict_file(bundle, source, tmp_path)
    assert source.read_text() == "fine\n"
    with pytest.raises(DataError, match="not there"):
        predict_file(bundle, tmp_path / "nowhere.csv", tmp_path / "out.jsonl")


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes("text\nüber\n".encode("latin-1"))
    with pytest.raises(DataError, match="utf-8"):
        list(blocks(source))
    assert list(blocks(source, encoding="latin-1")) == [["über"]]
    with pytest.raises(DataError, match="utf-16"):
        list(blocks(source, encoding="utf-16"))
    with pytest.raises(DataError, match="klingon"):
        list(blocks(source, encoding="klingon"))


def test_a_large_cell_is_read_and_the_csv_module_is_left_as_it_was(tmp_path: Path, bundle: Bundle) -> None:
    before = csv.field_size_limit()
    source = tmp_path / "a.csv"
    source.write_text("text\n" + "fine " * 1_000_000 + "\ndull\n")
    assert len(list(predict_rows(bundle, source))) == 2
    assert csv.field_size_limit() == before


def test_a_parquet_column_of_numbers_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="int64"):
        list(blocks(tmp_path / "a.parquet"))


def test_parquet_without_pyarrow_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_parquet(tmp_path / "a.parquet")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="Parquet") as caught:
        list(blocks(tmp_path / "a.parquet"))
    assert "pip install pyarrow" in caught.value.cure
