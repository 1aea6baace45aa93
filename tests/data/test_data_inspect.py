"""`tutelage init` guesses columns, task and siblings, and writes a recipe that loads."""

import csv
import json

import pytest

from tutelage import recipe
from tutelage.data.draft import recipe_text
from tutelage.data.inspect import inspect
from tutelage.errors import DataError


def write(path, header, rows, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


def reviews(count=60):
    return [(n, "shop", f"this is the text of review {n}", ("bad", "good")[n * 2 // count]) for n in range(count)]


HEADER = ("id", "origin", "review: body", "sentiment")


def test_classes_are_found_and_the_recipe_loads(tmp_path):
    guess = inspect(write(tmp_path / "reviews.csv", HEADER, reviews()))
    assert (guess.task, guess.text, guess.label) == ("text-classification", "review: body", "sentiment")
    assert guess.labels == ("bad", "good")
    assert (guess.validation, guess.test) == (None, None)
    (tmp_path / "recipe.yaml").write_text(recipe_text(guess, "runs/mine"))
    loaded = recipe.load(tmp_path / "recipe.yaml")
    expected = {"task": guess.task, "data": {"train": guess.train, "text": guess.text, "label": guess.label}}
    assert loaded == recipe.load(expected | {"output": "runs/mine"})
    assert recipe.DataRecipe.model_fields["text"].description in recipe_text(guess)
    assert all(len(line) < 200 for line in recipe_text(guess).splitlines())


def test_siblings_are_found_if_they_have_the_columns(tmp_path):
    train = write(tmp_path / "my-train.csv", HEADER, reviews())
    write(tmp_path / "my-test.csv", HEADER, reviews())
    write(tmp_path / "my-dev.csv", ("other", "columns"), [(1, 2)])
    for given in (train, str(tmp_path / "my-train.csv")):
        guess = inspect(given)
        assert (guess.validation, guess.test) == (None, str(tmp_path / "my-test.csv"))
    write(tmp_path / "train.csv", HEADER, reviews())
    assert inspect(str(tmp_path)).train == str(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([n / 7 for n in range(60)], "text-regression"),
        ([n * 13 % 1000 for n in range(60)], "text-regression"),
        ([(n % 17) / 4 for n in range(60)], "text-regression"),
        ([n % 5 + 1 for n in range(60)], "text-classification"),
        ([n % 2 == 0 for n in range(60)], "text-classification"),
    ],
)
def test_the_task_follows_from_the_labels(tmp_path, labels, task):
    rows = [(f"a text about {n}", label) for n, label in enumerate(labels)]
    assert inspect(write(tmp_path / "a.csv", ("t", "label"), rows)).task == task


def test_an_id_is_no_label_and_json_keys_are_columns(tmp_path):
    lines = [{"n": n, "body": f"what was said {n}", "kind": n % 3} for n in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    guess = inspect(str(tmp_path / "a.jsonl"))
    assert (guess.text, guess.label) == ("body", "kind")


def test_the_encoding_is_guessed(tmp_path):
    rows = [(f"Größe und Maß {n}", "ab"[n % 2]) for n in range(40)]
    guess = inspect(write(tmp_path / "a.csv", ("text", "label"), rows, encoding="latin-1"))
    assert guess.encoding == "latin-1"
    (tmp_path / "recipe.yaml").write_text(recipe_text(guess))
    assert recipe.load(tmp_path / "recipe.yaml").data.encoding == "latin-1"


def test_class_folders_are_understood(tmp_path):
    for n in range(8):
        folder = tmp_path / "mail" / ("spam" if n % 2 else "ham")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.txt").write_text(f"letter {n}")
    guess = inspect(str(tmp_path / "mail"))
    assert (guess.task, guess.text, guess.label) == ("text-classification", "text", "label")
    assert guess.labels == ("ham", "spam")


def test_nothing_to_predict_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no column .* looks like a label"):
        inspect(write(tmp_path / "a.csv", ("n", "text"), [(n, f"text {n}") for n in range(50)]))
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match="looks like a label"):
        inspect(str(tmp_path / "lines.txt"))


@pytest.mark.parametrize("name", ["yes.csv", "it's: odd #1.csv", "ünï 1.csv"])
def test_odd_names_survive_yaml(tmp_path, name):
    guess = inspect(write(tmp_path / name, ("null", "on"), [(f"the text {n}", n % 2) for n in range(40)]))
    (tmp_path / "recipe.yaml").write_text(recipe_text(guess), encoding="utf-8")
    loaded = recipe.load(tmp_path / "recipe.yaml")
    assert (loaded.data.train, loaded.data.text, loaded.data.label) == ([str(tmp_path / name)], "null", "on")
