"""Every kind of source gives the same rows; what is wrong with a source is said with its cure."""

import codecs
import csv
import json
import time
from pathlib import Path

import pytest

from tutelage.data.read import Columns, read
from tutelage.data.sources import text_file
from tutelage.data.sources.locate import locate
from tutelage.errors import DataError

LABELLED = Columns("text", "label")
ROWS = [("It was fine,\nreally", "good"), ('She said "no"', "bad"), ("Straße 你好", "good")]


def rows(source, columns=LABELLED, role="train", **settings):
    return list(read([str(source)], columns, role=role, **settings))


def pairs(source, **settings):
    return [(row.text, row.label) for row in rows(source, **settings)]


def write_csv(path, header, body, encoding="utf-8", delimiter=","):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(body)
    return path


def test_every_kind_of_table_gives_the_same_rows(tmp_path):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_csv(tmp_path / "a.csv", ["text", "label"], ROWS)
    write_csv(tmp_path / "b.tsv", ["text", "label"], ROWS, delimiter="\t")
    write_csv(tmp_path / "c.csv", ["text", "label"], ROWS, delimiter=";")
    write_csv(tmp_path / "bom.csv", ["text", "label"], ROWS, encoding="utf-8-sig")
    objects = [{"text": text, "label": label} for text, label in ROWS]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(value) + "\n" for value in objects))
    pq.write_table(pa.Table.from_pylist(objects), tmp_path / "e.parquet")
    datasets.Dataset.from_list(objects).save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(objects)}).save_to_disk(tmp_path / "dict")
    names = ["a.csv", "b.tsv", "c.csv", "bom.csv", "d.jsonl", "e.parquet", "saved", "dict", "dict:train"]
    for name in names:
        found = rows(tmp_path / name)
        assert [(row.text, row.label) for row in found] == ROWS, name
        assert [row.number for row in found] == [1, 2, 3], name
        assert {row.source for row in found} == {str(tmp_path / name)}


def test_class_folders_label_each_file_by_its_folder(tmp_path):
    for label, text in (("neg", "poor"), ("pos", "fine"), ("pos", "great")):
        folder = tmp_path / "reviews" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{text}.txt").write_text(text)
    found = rows(tmp_path / "reviews", Columns("whatever", "named"))
    expected = [("poor", "neg", "neg/poor.txt"), ("fine", "pos", "pos/fine.txt"), ("great", "pos", "pos/great.txt")]
    assert [(row.text, row.label, row.place) for row in found] == expected


def test_plain_lines_are_texts_without_labels(tmp_path):
    (tmp_path / "more.txt").write_text("one\n\ntwo\n")
    found = rows(tmp_path / "more.txt", Columns("text"), role="unlabelled")
    assert [(row.number, row.text) for row in found] == [(1, "one"), (3, "two")]
    with pytest.raises(DataError, match="plain text, which has no labels"):
        rows(tmp_path / "more.txt")


def test_values_keep_their_type_and_class_labels_become_names(tmp_path):
    import datasets

    (tmp_path / "a.jsonl").write_text('{"text": 1, "label": true}\n{"text": null, "label": 2.5}\n{"label": null}\n')
    assert pairs(tmp_path / "a.jsonl") == [(1, True), (None, 2.5), (None, None)]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    data.save_to_disk(tmp_path / "saved")
    assert pairs(tmp_path / "saved") == [("a", "yes"), ("b", "no"), ("c", None)]


def test_several_sources_follow_each_other(tmp_path):
    one = write_csv(tmp_path / "1.csv", ["text", "label"], ROWS[:1])
    two = write_csv(tmp_path / "2.csv", ["label", "text"], [("x", "y")])
    found = list(read([str(one), str(two)], LABELLED, role="train"))
    assert [(row.text, row.label, row.number) for row in found] == [(*ROWS[0], 1), ("y", "x", 1)]


def test_bad_rows_are_given_with_their_number_and_reason(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nfine,a\nno label\nthis,has,three\n\nalso fine,b\n")
    found = rows(tmp_path / "a.csv")
    assert [row.number for row in found] == [1, 2, 3, 4]
    assert [str(row.problem) for row in found[1:3]] == [
        "wrong number of fields: 1 instead of 2",
        "wrong number of fields: 3 instead of 2",
    ]
    assert found[2].text == "this,has,three"
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": 1}\n{"text": \n[1]\n\n{"text": "b", "label": 2}\n')
    found = rows(tmp_path / "b.jsonl")
    assert [(row.number, row.problem and row.problem.kind) for row in found] == [
        (1, None),
        (2, "not valid JSON"),
        (3, "not a JSON object"),
        (5, None),
    ]


def test_a_cell_of_megabytes_is_read(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["text", "label"], [("x" * 5_000_000, "a"), ("y", "b")])
    assert [len(row.text) for row in rows(path)] == [5_000_000, 1]


@pytest.mark.parametrize("rest", ["ok,b\n" * 5, "x" * 40 + "\n", "long line " * 2_000_000])
def test_a_quote_that_is_never_closed_swallows_nothing_silently(tmp_path, rest):
    (tmp_path / "a.csv").write_text('text,label\nok,a\n"never closed,b\n' + rest)
    with pytest.raises(DataError, match=r"cannot be parsed from line 3 on"):
        rows(tmp_path / "a.csv")


def test_an_unquoted_tsv_keeps_rows_after_a_stray_quote(tmp_path):
    (tmp_path / "a.tsv").write_text('label\ttext\na\t"half a quote\nb\tnext\nc\tlast"\n')
    assert pairs(tmp_path / "a.tsv") == [('"half a quote', "a"), ("next", "b"), ('last"', "c")]


def test_a_torn_line_does_not_turn_quotes_on(tmp_path):
    lines = [f"a\ttext {number}" for number in range(50)]
    lines[3], lines[40], lines[20] = 'a\t"half a quote', 'a\t"another', "a\ttoo\tmany"
    (tmp_path / "a.tsv").write_text("label\ttext\n" + "\n".join(lines) + "\n")
    found = rows(tmp_path / "a.tsv")
    assert len(found) == 50
    assert [row.number for row in found if row.problem] == [21]
    assert found[3].text == '"half a quote'


def test_a_quoted_tsv_keeps_lines_in_its_cells(tmp_path):
    body = [("a", "one\ntwo"), ("b", "three"), ("c", 'she said "no"\tand left')] * 5
    path = write_csv(tmp_path / "a.tsv", ["label", "text"], body, delimiter="\t")
    with path.open("a") as file:
        file.write("torn\n")
    assert pairs(path)[:-1] == [(text, label) for label, text in body]


def test_a_table_in_a_quoted_cell_turns_no_quotes_off(tmp_path):
    body = [('he said "no"', "neg"), ("prices:\napples\t3\npears\t4\nthanks", "pos"), ('"so so"', "neg")]
    path = write_csv(tmp_path / "a.tsv", ["text", "label"], body, delimiter="\t")
    assert pairs(path) == body


def test_a_quote_behind_a_blank_is_text_where_quotes_are_not_meant(tmp_path):
    (tmp_path / "a.csv").write_text('text;label\nhe was; "x\nfine;a\n')
    assert pairs(tmp_path / "a.csv") == [("he was", ' "x'), ("fine", "a")]


@pytest.mark.parametrize("before", ["\n", "\r\n\n", "sep=;\n", '"sep=;"\r\n'])
def test_what_comes_before_the_header_is_no_header(tmp_path, before):
    (tmp_path / "a.csv").write_text(before + "text;label\nfine, really;a\nbad;b\n", newline="")
    assert pairs(tmp_path / "a.csv") == [("fine, really", "a"), ("bad", "b")]
    assert [row.number for row in rows(tmp_path / "a.csv")] == [1, 2]


def test_a_blank_before_a_quote_is_no_part_of_the_field(tmp_path):
    (tmp_path / "a.csv").write_text('"text", "label"\n"fine, really", "a"\n"bad", "b"\n')
    assert pairs(tmp_path / "a.csv") == [("fine, really", "a"), ("bad", "b")]


def test_a_missing_file_names_what_is_near(tmp_path):
    write_csv(tmp_path / "reviews.csv", ["text", "label"], ROWS)
    with pytest.raises(DataError) as error:
        rows(tmp_path / "review.csv")
    assert "does not exist" in error.value.given
    assert "reviews.csv" in error.value.cure
    with pytest.raises(DataError, match="does not exist either"):
        rows(tmp_path / "nowhere" / "review.csv")


def test_a_missing_column_names_those_there_are(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["Text", "sentiment", "stars"], [("a", "b", "c")])
    with pytest.raises(DataError) as error:
        rows(path)
    assert "no column 'text'" in error.value.given
    assert "'Text', 'sentiment', 'stars'" in error.value.expected
    assert "data.text: Text" in error.value.cure
    twice = write_csv(tmp_path / "b.csv", ["text", "text", "label"], [("a", "b", "c")])
    with pytest.raises(DataError, match="twice"):
        rows(twice)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"text,label\n", "has no rows"),
        ("book.xlsx", b"PK", "unknown extension '.xlsx'"),
        ("plain", b"text", "no extension"),
        ("array.json", b'[{"text": "a"}]', "JSON array"),
        ("broken.parquet", b"PAR1 nothing", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / name)


@pytest.mark.parametrize(
    ("encoding", "text", "cure"),
    [
        ("latin-1", "naïve café à Zürich", "latin-1"),
        ("cp1252", "naïve “café”", "cp1252"),
        ("gb18030", "这部电影非常好看，我很喜欢", "gb18030"),
        ("utf-16", "plain words", "utf-16"),
        ("utf-16-le", "plain words and more", "utf-16-le"),
    ],
)
def test_a_wrong_encoding_names_the_place_and_the_cure(tmp_path, encoding, text, cure):
    path = write_csv(tmp_path / "a.csv", ["text", "label"], [(text, "a"), (text, "b")], encoding=encoding)
    with pytest.raises(DataError) as error:
        rows(path, tolerance=0.01)
    assert "utf-8" in error.value.given
    assert f"data.encoding: {cure}`" in error.value.cure
    assert [row.text for row in rows(path, encoding=cure)] == [text, text]


def test_the_position_of_the_first_wrong_byte_is_exact(tmp_path):
    content = b"text,label\n" + b"fine,a\n" * 200_000 + b"caf\xe9,b\n" * 9000
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        rows(tmp_path / "a.csv", tolerance=0.01)
    assert f"byte 0xe9 at position {content.index(0xE9):,} (line 200,002)" in error.value.given
    assert "9,000 of 209,001 lines" in error.value.given


def test_a_few_stray_bytes_are_left_to_be_bad_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"fine,a\n" * 500 + b"caf\xe9,b\n")
    assert rows(tmp_path / "a.csv", tolerance=0.01)[-1].text == "caf\udce9"


def test_the_name_of_an_encoding_is_checked(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["text", "label"], ROWS)
    with pytest.raises(DataError, match="encoding 'utf-88' is unknown"):
        rows(path, encoding="utf-88")


def test_the_guess_knows_byte_order_marks():
    assert text_file.guess(codecs.BOM_UTF8 + b"a") == "utf-8"
    assert text_file.guess("hello".encode("utf-16")) == "utf-16"
    assert text_file.guess(b"PK\x03\x04" + bytes(20)) is None


def test_what_is_a_path_and_what_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("owner/name")[1:] == ("hub", Path("owner/name"), None)
    assert locate("owner/name:dev")[1:] == ("hub", Path("owner/name"), "dev")
    for missing in ("owner/name.csv", "./owner/name", "name", "a/b/c"):
        with pytest.raises(DataError, match="does not exist"):
            locate(missing)
    (tmp_path / "owner" / "name" / "pos").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "pos" / "1.txt").write_text("x")
    assert locate("owner/name").kind == "class_folders"


def test_a_hub_id_without_network_is_a_clear_error_at_once(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(DataError) as error:
        rows("nobody/nothing-of-this-name")
    assert time.monotonic() - start < 10
    assert "neither a file nor a folder here" in error.value.given
    assert "cannot be reached" in error.value.given


def test_a_dead_network_is_noticed_without_retries(tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    def refuse(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HfApi, "dataset_info", refuse)
    start = time.monotonic()
    with pytest.raises(DataError, match="cannot be reached"):
        rows("nobody/nothing-of-this-name")
    assert time.monotonic() - start < 10


def test_a_split_that_is_not_there_lists_those_that_are(tmp_path):
    import datasets

    data = datasets.Dataset.from_list([{"text": "a", "label": "b"}])
    datasets.DatasetDict({"train": data, "dev": data}).save_to_disk(tmp_path / "dict")
    assert len(rows(tmp_path / "dict", role="validation")) == 1
    with pytest.raises(DataError) as error:
        rows(tmp_path / "dict", role="test")
    assert "it has train, dev" in error.value.given
    assert f"{tmp_path / 'dict'}:train" in error.value.cure
