"""From files to a corpus: nothing is lost silently, and whatever is wrong is said."""

import csv
import json
import random
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tutelage import storage
from tutelage.artifacts.corpus import SCHEMA, Corpus
from tutelage.data.health import describe
from tutelage.data.prepare import fingerprint_sources, prepare
from tutelage.errors import DataError, StorageError
from tutelage.progress import Silent
from tutelage.recipe import load


def texts(count, start=0, labels="ab"):
    return [(f"text number {index}", labels[index % len(labels)]) for index in range(start, start + count)]


def write(path, rows, header=("text", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


def recipe(task="text-classification", seed=0, **data):
    return load({"task": task, "data": data, "output": "runs/x", "seed": seed})


def make(folder, task="text-classification", seed=0, **data):
    return prepare(recipe(task, seed, **data), folder / "corpus", Silent())


def rows_of(split):
    return list(zip(split.texts(), split.targets.tolist(), strict=True))


def test_missing_splits_are_made_and_every_row_is_somewhere(tmp_path):
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", texts(200)))
    assert {name: len(corpus[name]) for name in corpus.splits} == {"train": 140, "validation": 20, "test": 40}
    everything = [row for name in corpus.splits for row in rows_of(corpus[name])]
    assert sorted(everything) == sorted((text, float("ab".index(label))) for text, label in texts(200))
    for split in corpus.splits.values():
        assert split.table.schema.equals(SCHEMA)
        for text, row in zip(split.texts(), split.table["row"].to_pylist(), strict=True):
            assert text == f"text number {row - 1}"
    assert not storage.broken_files(corpus.folder)
    names = ["corpus.json", "manifest.json", "quarantine.jsonl", "test.arrow", "train.arrow", "validation.arrow"]
    assert sorted(file.name for file in corpus.folder.iterdir()) == names
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "corpus"]


def test_given_splits_are_taken_as_they_are(tmp_path):
    corpus = make(
        tmp_path,
        train=write(tmp_path / "train.csv", texts(50)),
        validation=write(tmp_path / "val.csv", texts(20, 100)),
        test=write(tmp_path / "test.csv", texts(30, 200)),
        unlabelled=write(tmp_path / "more.csv", [(f"free {n}",) for n in range(7)], header=("text",)),
    )
    assert [text for text, _ in rows_of(corpus["test"])] == [text for text, _ in texts(30, 200)]
    assert len(corpus["validation"]) == 20
    assert len(corpus["unlabelled"]) == 7
    assert np.isnan(corpus["unlabelled"].targets).all()
    assert corpus["unlabelled"].table["target"].null_count == 7


def test_equal_input_gives_equal_fingerprints_and_any_change_another(tmp_path):
    rows = texts(120)
    path = write(tmp_path / "a.csv", rows)
    first = make(tmp_path, train=path).fingerprint
    assert make(tmp_path, train=path).fingerprint == first
    assert make(tmp_path, train=path, seed=1).fingerprint != first
    assert make(tmp_path, train=write(tmp_path / "a.csv", rows[::-1])).fingerprint != first
    changed = [(rows[0][0], "b"), *rows[1:]]
    assert make(tmp_path, train=write(tmp_path / "a.csv", changed)).fingerprint != first


def test_splits_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = texts(150)
    one = make(tmp_path, train=write(tmp_path / "a.csv", rows))
    one_test = set(one["test"].texts())
    random.Random(0).shuffle(rows)
    other = make(tmp_path, train=write(tmp_path / "a.csv", rows))
    assert set(other["test"].texts()) == one_test


def test_bad_rows_are_quarantined_with_row_and_reason(tmp_path):
    rows = [*texts(600), ("", "a"), ("x" * 300, "a"), ("no label", ""), ("too", "many", "fields"), *texts(9, 900)]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows), max_characters=250)
    lines = (corpus.folder / "quarantine.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(entry["row"], entry["reason"].partition(":")[0]) for entry in found] == [
        (601, "empty text"),
        (602, "too long"),
        (603, "missing label"),
        (604, "wrong number of fields"),
    ]
    assert found[1]["text"] == "x" * 200
    assert found[0]["source"] == str(tmp_path / "a.csv")
    assert sum(len(split) for split in corpus.splits.values()) == 609
    assert corpus.health["roles"]["train"]["bad"]["too long"] == 1
    assert corpus.health["roles"]["train"]["read"] == 613


def test_a_cell_of_five_megabytes_is_quarantined(tmp_path):
    rows = [*texts(300), ("x" * 5_000_000, "a")]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows))
    entry = json.loads((corpus.folder / "quarantine.jsonl").read_text())
    assert entry["row"] == 301
    assert entry["reason"] == "too long: 5,000,000 characters, at most 100,000"
    assert len(entry["text"]) == 200


def test_a_stray_byte_costs_one_row(tmp_path):
    path = Path(write(tmp_path / "a.csv", texts(300)))
    path.write_bytes(path.read_bytes() + b"caf\xe9,a\r\n")
    corpus = make(tmp_path, train=str(path))
    entry = json.loads((corpus.folder / "quarantine.jsonl").read_text())
    assert entry["reason"] == "not valid Unicode: byte 0xe9 at character 4"


def test_too_many_bad_rows_stop_and_leave_the_list(tmp_path):
    rows = [*texts(100), ("", "a"), ("", "b"), ("no label", "")]
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(DataError) as error:
        make(tmp_path, train=path)
    left = tmp_path / "quarantine.jsonl"
    assert error.value.given.startswith("3 of 103 rows of train cannot be used (2 empty text, 1 missing label)")
    assert f"{path}, row 101: empty text" in error.value.given
    assert str(left) in error.value.cure
    assert [json.loads(line)["row"] for line in left.read_text().splitlines()] == [101, 102, 103]
    assert not (tmp_path / "corpus").exists()
    assert len(make(tmp_path, train=path, max_bad_rows=0.05)["train"]) > 0
    assert not left.exists()


def test_duplicates_keep_the_majority(tmp_path):
    rows = [*texts(100), *[("twice", "a")] * 2, ("odd", "a"), ("odd", "b"), ("odd", "b"), (" odd ", "b")]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows))
    everything = dict(row for name in corpus.splits for row in rows_of(corpus[name]))
    assert everything["odd"] == 1.0
    assert sum(len(split) for split in corpus.splits.values()) == 102
    role = corpus.health["roles"]["train"]
    assert (role["duplicates"], role["conflicts"], role["overlap"]) == (4, 1, 0)


def test_overlap_stays_in_the_most_precious_split(tmp_path):
    files = {
        "train": texts(100),
        "validation": [*texts(20, 200), *texts(5, 50)],
        "test": [*texts(20, 300), *texts(4, 0), *texts(2, 200)],
        "unlabelled": [*texts(30, 400), *texts(3, 300), *texts(2, 60)],
    }
    corpus = make(tmp_path, **{name: write(tmp_path / f"{name}.csv", rows) for name, rows in files.items()})
    seen = [set(corpus[name].texts()) for name in ("train", "validation", "test", "unlabelled")]
    assert sum(map(len, seen)) == len(set.union(*seen))
    sizes = {name: len(split) for name, split in corpus.splits.items()}
    assert sizes == {"train": 91, "validation": 23, "test": 26, "unlabelled": 30}
    assert {name: role["overlap"] for name, role in corpus.health["roles"].items()} == {
        "train": 9,
        "validation": 2,
        "test": 0,
        "unlabelled": 5,
    }


def test_without_deduplication_copies_stay_but_never_straddle(tmp_path):
    rows = [row for row in texts(60) for _ in range(3)]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows), deduplicate=False)
    assert sum(len(split) for split in corpus.splits.values()) == 180
    seen = [set(split.texts()) for split in corpus.splits.values()]
    assert sum(map(len, seen)) == 60


@pytest.mark.parametrize("copied", [True, False])
def test_a_train_file_used_as_test_is_refused(tmp_path, copied):
    train = write(tmp_path / "train.csv", texts(100))
    test = write(tmp_path / "test.csv", [*texts(60), *texts(20, 500)]) if copied else train
    with pytest.raises(DataError, match=r"a train file used as test|a train file was used as test"):
        make(tmp_path, train=train, test=test)


def test_a_label_unseen_in_training_is_refused_with_counts(tmp_path):
    train = write(tmp_path / "train.csv", texts(100))
    test = write(tmp_path / "test.csv", [*texts(30, 500), ("x", "c"), ("y", "c"), ("z", "d")])
    with pytest.raises(DataError) as error:
        make(tmp_path, train=train, test=test)
    assert error.value.given == "labels of test that never occur in train: 'c' (2 rows), 'd' (1 rows)"


def test_one_class_only_is_refused(tmp_path):
    with pytest.raises(DataError, match="only the class 'a' occurs"):
        make(tmp_path, train=write(tmp_path / "a.csv", texts(100, labels="a")))


def test_one_class_that_is_left_to_train_on_is_refused(tmp_path):
    # Three authors of one label each, three splits.
    rows = [(f"text number {number}", "ab"[number >= 20], "xyz"[number // 20]) for number in range(60)]
    path = write(tmp_path / "a.csv", rows, header=("text", "label", "author"))
    with pytest.raises(DataError, match=r"have the label '[ab]'") as error:
        make(tmp_path, train=path, group="author")
    assert error.value.cure.startswith("`data.group` keeps each group in one split")
    # Every text of the other class is kept for test.
    train = write(tmp_path / "train.csv", texts(60))
    test = write(tmp_path / "test.csv", [*(row for row in texts(60) if row[1] == "a"), *texts(40, 500)])
    with pytest.raises(DataError, match="not every text of the others is in validation or test"):
        make(tmp_path, train=train, test=test)


@pytest.mark.parametrize("count", [1, 29])
def test_too_few_rows_are_refused(tmp_path, count):
    with pytest.raises(DataError, match=r"usable rows|only the class"):
        make(tmp_path, train=write(tmp_path / "a.csv", texts(count)))


def test_few_rows_still_make_splits_of_ten(tmp_path):
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", texts(30)))
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": 10,
        "validation": 10,
        "test": 10,
    }
    assert any("only 10 training rows" in warning for warning in corpus.health["warnings"])


def test_groups_stay_in_one_split(tmp_path):
    rows = [(text, label, index % 30) for index, (text, label) in enumerate(texts(300))]
    path = write(tmp_path / "a.csv", rows, header=("text", "label", "author"))
    corpus = make(tmp_path, train=path, group="author")
    authors = [{(row - 1) % 30 for row in split.table["row"].to_pylist()} for split in corpus.splits.values()]
    assert sum(map(len, authors)) == 30


def test_a_row_without_a_group_is_its_own(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"text": [text for text, _ in texts(300)], "label": [label for _, label in texts(300)]}
    groups = [float("nan") if number % 4 else float(number) for number in range(300)]
    pq.write_table(pa.table({**columns, "author": groups}), tmp_path / "a.parquet")
    corpus = make(tmp_path, train=str(tmp_path / "a.parquet"), group="author")
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": 210,
        "validation": 30,
        "test": 60,
    }


def test_examples_are_those_of_the_split_that_is_refused(tmp_path):
    train = write(tmp_path / "train.csv", [("", "a"), ("", "b"), ("", "a"), *texts(400)])
    test = write(tmp_path / "test.csv", [*texts(20, 500), *[(f"without {n}", "") for n in range(20)]])
    with pytest.raises(DataError) as error:
        make(tmp_path, train=train, test=test)
    assert "20 of 40 rows of test" in error.value.given
    assert "test.csv, row 21: missing label" in error.value.given
    assert "train.csv" not in error.value.given


def test_scripts_without_spaces_are_cut_sooner(tmp_path):
    rows = [(f"这部电影很好看{number}" * 12, "ab"[number % 2]) for number in range(60)]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows), max_tokens=64)
    assert any("longer than 64 tokens" in warning for warning in corpus.health["warnings"])
    rows = [(f"a film {number} " * 12, "ab"[number % 2]) for number in range(60)]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows), max_tokens=64)
    assert not any("longer than" in warning for warning in corpus.health["warnings"])


def test_numbers_are_targets_and_a_word_among_them_is_a_bad_row(tmp_path):
    rows = [(f"text {index}", index / 10) for index in range(200)]
    corpus = make(tmp_path, "text-regression", train=write(tmp_path / "a.csv", [*rows, ("word", "n/a")]))
    targets = {text: target for name in corpus.splits for text, target in rows_of(corpus[name])}
    assert targets == dict(rows)
    entry = json.loads((corpus.folder / "quarantine.jsonl").read_text())
    assert (entry["row"], entry["reason"]) == (201, "unusable label: 'n/a' is not a number")


def test_words_for_a_regression_point_at_the_task(tmp_path):
    with pytest.raises(DataError) as error:
        make(tmp_path, "text-regression", train=write(tmp_path / "a.csv", texts(100)))
    assert "text-classification" in error.value.cure


def test_a_failed_attempt_leaves_the_corpus_before_it(tmp_path):
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", texts(100)))
    with pytest.raises(DataError):
        make(tmp_path, train=write(tmp_path / "b.csv", texts(100, labels="a")))
    assert Corpus.load(corpus.folder).fingerprint == corpus.fingerprint
    assert not list(tmp_path.glob(".partial*"))


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path):
    path = write(tmp_path / "a.csv", [(f"{index} " + "long " * 300, "ab"[index % 2]) for index in range(1000)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StorageError, match="could not write"):
            make(tmp_path, train=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv"]


def test_memory_does_not_hold_the_texts(tmp_path):
    """4,000 texts of 10,000 characters are 40 MB; what is kept of each row is some hundred bytes."""
    path = write(tmp_path / "a.csv", ((f"{index} " + "word-" * 2000, "ab"[index % 2]) for index in range(4000)))
    make(tmp_path, train=write(tmp_path / "warm.csv", texts(100)))
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    corpus = make(tmp_path, train=path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(split) for split in corpus.splits.values()) == 4000
    assert peak < 20e6
    assert pa.total_allocated_bytes() - arrow < 20e6


def test_the_identity_of_sources_follows_content_and_recipe(tmp_path):
    path = write(tmp_path / "a.csv", texts(50))
    first = fingerprint_sources(recipe(train=path))
    Path(path).touch()
    assert fingerprint_sources(recipe(train=path)) == first
    assert fingerprint_sources(recipe(train=path, seed=1)) != first
    assert fingerprint_sources(recipe(train=path, normalise=False)) != first
    write(tmp_path / "a.csv", texts(51))
    assert fingerprint_sources(recipe(train=path)) != first
    with pytest.raises(DataError, match="does not exist"):
        fingerprint_sources(recipe(train=str(tmp_path / "none.csv")))


def test_what_targets_mean_names_a_corpus_too(tmp_path):
    """0 and 1 as classes, under other names, and as numbers: the same texts and the same targets."""
    rows = {name: texts(60, labels=labels) for name, labels in (("a", "01"), ("b", ["no", "yes"]))}
    corpora = [
        make(tmp_path / "a", train=write(tmp_path / "a.csv", rows["a"])),
        make(tmp_path / "b", train=write(tmp_path / "b.csv", rows["b"])),
        make(tmp_path / "c", task="text-regression", train=str(tmp_path / "a.csv")),
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 3
    assert make(tmp_path / "d", train=str(tmp_path / "a.csv")).fingerprint == corpora[0].fingerprint


def test_health_says_what_was_read_and_left_out(tmp_path):
    rows = [*texts(900), *texts(3), ("", "a"), *[(f"{n} " + "w " * 2000, "a") for n in range(90)]]
    corpus = make(tmp_path, train=write(tmp_path / "a.csv", rows))
    lines = describe(corpus.health)
    assert lines[0].startswith("train: 693 rows; characters: median 15,")
    assert "  a 378, b 315" in lines
    assert "left out of 994 rows of train: 1 empty text, 3 duplicates" in lines
    assert any(line.startswith("warning: about 9% of the texts are longer than 256 tokens") for line in lines)
    assert json.loads(json.dumps(corpus.health)) == corpus.health
