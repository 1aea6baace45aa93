"""A recipe is read strictly, every problem is told at once, and what is written is what is read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tutelage import yaml_text
from tutelage.errors import RecipeError
from tutelage.recipe import Recipe, differences, dump, load
from tutelage.recipe_data import label_key
from tutelage.recipe_matching import Growth, Stage

PARTS = ["data", "teacher", "student", "compress", "evaluate"]


def recipe(**changes: Any) -> dict[str, Any]:
    """A small valid recipe; changes of a part are merged into it."""
    value: dict[str, Any] = {"task": "text-classification", "data": {"train": "a.csv"}, "output": "runs/a"}
    for key, change in changes.items():
        value[key] = {**value.get(key, {}), **change} if isinstance(change, dict) else change
    return value


def problems(value: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(value)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# --- what a valid recipe becomes ---------------------------------------------------------------------------------


def test_three_keys_suffice_and_everything_else_has_a_default() -> None:
    made = load(recipe())
    assert made.data.train == ["a.csv"]
    assert (made.data.text, made.data.label, made.data.validation) == ("text", "label", None)
    assert (made.teacher.model, made.student.size, made.seed, made.threads) == ("minilm", "auto", 0, None)


def test_a_strategy_brings_its_own_learning_rate_unless_one_is_given() -> None:
    assert load(recipe()).teacher.learning_rate == 1e-4
    assert load(recipe(teacher={"strategy": "last-n", "layers": 1})).teacher.learning_rate == 1e-4
    assert load(recipe(teacher={"strategy": "head"})).teacher.learning_rate == 1e-3
    assert load(recipe(teacher={"strategy": "head", "learning_rate": 0.5})).teacher.learning_rate == 0.5


@pytest.mark.parametrize("value", ["Lora", ["lora"], 3, None])
def test_a_strategy_that_is_none_is_told_with_those_there_are(value: Any) -> None:
    (problem,) = problems(recipe(teacher={"strategy": value}))
    assert problem.startswith("teacher.strategy: ")
    assert "'last-n'" in problem


@pytest.mark.parametrize(
    ("part", "given", "told"),
    [
        ("student", {"r_drop": 1.0}, "with `r_drop`, give `dropout` above 0"),
        ("student", {"fgm": 0.1, "freelb": 0.1}, "`fgm` and `freelb` were given; they cannot be combined"),
        ("teacher", {"ema": 0.9, "swa": 0.5}, "`ema` and `swa` were given; they cannot be combined"),
        ("teacher", {"label_smoothing": 0.1, "focal": 2.0}, "`label_smoothing` and `focal` were given"),
        ("teacher", {"mixup": 0.2, "fgm": 0.1}, "`mixup` and `fgm` were given"),
        ("teacher", {"strategy": "adalora", "ema": 0.9}, "an average would switch them on again"),
        ("student", {"mixup": 0.2}, "unknown key; it belongs under teacher"),
        ("teacher", {"until": {}}, "it must not be empty"),
        ("teacher", {"until": {"accuracy": "90 %"}}, "it must be a valid number"),
    ],
)
def test_what_cannot_be_combined_is_told(part: str, given: dict[str, Any], told: str) -> None:
    (problem,) = problems(recipe(**{part: given}))
    assert problem.startswith(part)
    assert told in problem


def test_one_source_or_several() -> None:
    assert load(recipe(data={"train": ["a.csv", "b.csv"], "test": "c.csv"})).data.test == ["c.csv"]


def test_a_recipe_cannot_be_changed_behind_the_pipelines_back() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(recipe()).seed = 3  # type: ignore[misc]


def test_the_recipe_of_the_documentation_is_valid(tmp_path: Path) -> None:
    text = """
task: text-classification
data: {train: train.csv, validation: null, test: test.csv, text: text, label: label, unlabelled: null}
teacher: {model: minilm}
student: {size: auto}
output: runs/reviews
seed: 0
"""
    assert load(write(tmp_path, "recipe.yaml", text)).output == "runs/reviews"


YAML = """
task: text-regression            # a comment
data:
  train: [a.csv, b.csv]
  text: 评论
  max_characters: 5000
teacher: {model: /models/big, learning_rate: 2e-5, weight_decay: 0}
student:
  size: null
  layers: 2
  width: 128
  heads: 4
  alpha: 0.5
  freeze_embeddings: true
output: runs/a
seed: 7
"""
TOML = """
task = "text-regression"         # a comment
output = "runs/a"
seed = 7
[data]
train = ["a.csv", "b.csv"]
text = "评论"
max_characters = 5_000
[teacher]
model = "/models/big"
learning_rate = 2e-5
weight_decay = 0
[student]
layers = 2
width = 128
heads = 4
alpha = 0.5
freeze_embeddings = true
"""


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "ending"), [("recipe.toml", "toml"), ("RECIPE.TOML", "toml"), ("r", "yaml")])
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, ending: str, mark: str) -> None:
    # TOML has no null: a size is left out by a mapping instead.
    text = TOML if ending == "toml" else YAML.replace("size: null", "size: auto")
    expected = load(write(tmp_path, "recipe.yaml", YAML.replace("size: null", "size: auto")))
    assert load(write(tmp_path, name, mark + text)) == expected
    assert expected.teacher.learning_rate == 2e-5
    assert load(write(tmp_path, "null.yaml", YAML)).student.size is None


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "1.e-4", "0.0001", "+1e-4"])
def test_a_number_may_be_written_with_an_exponent(tmp_path: Path, text: str) -> None:
    content = yaml_text.write(recipe()) + f"student: {{learning_rate: {text}}}\n"
    assert load(write(tmp_path, "recipe.yaml", content)).student.learning_rate == 1e-4


def test_yes_and_no_are_labels_where_they_are_keys(tmp_path: Path) -> None:
    content = yaml_text.write(recipe()) + "teacher: {zero_shot: {model: nli, labels: {yes: good, no: bad}}}\n"
    content = content.replace("data:\n", "data:\n  validation: v.csv\n  test: t.csv\n", 1)
    asked = load(write(tmp_path, "recipe.yaml", content)).teacher.zero_shot
    assert asked is not None
    assert asked.labels == {"yes": "good", "no": "bad"}
    assert label_key("True") == label_key(True) == "true"
    assert label_key("cafe\u0301") == "caf\u00e9"


def test_the_home_of_the_user_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(recipe(output="~/runs/a")).output == "/home/somebody/runs/a"


def test_a_seed_that_no_library_takes_is_refused() -> None:
    assert any(problem.startswith("seed: ") for problem in problems(recipe(seed=20261129123456)))


def test_what_is_no_recipe_of_this_kind_is_told(tmp_path: Path) -> None:
    other = write(tmp_path, "pretrain.yaml", "objective: masked\ndata: {text: a.txt}\noutput: runs/p\n")
    assert "`tutelage pretrain" in problems(other)[0]
    data = write(tmp_path, "a.csv", "text,label\n")
    assert "tutelage init" in problems(data)[0]
    write(tmp_path, "recipe.yaml", YAML)
    assert str(tmp_path / "pretrain.yaml") in problems(tmp_path)[0]


def test_getting_over_trouble_changes_no_name() -> None:
    changed = {"on_nan": "skip", "checkpoint_minutes": 1.0}
    for part in ("teacher", "student"):
        one, other = (getattr(load(recipe(**{part: given})), part) for given in ({}, changed))
        assert one.identity() == other.identity()
        assert one != other


def test_groups_without_a_split_to_make_are_refused() -> None:
    data = {"train": "a.csv", "test": "b.csv", "validation": "c.csv", "group": "author"}
    assert any("`data.group` would do nothing" in problem for problem in problems(recipe(data=data)))
    assert load(recipe(data=data, student={"keep": 0.97})).data.group == "author"


# --- there and back ----------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1) | st.sampled_from(
    ["1e-4", "1", "no", "null", "~", "2024-01-01", "a: b", "#x", "- a", "'", '"', "=", "<<", "1:30", "0x1F", "true"]
)
RECIPES = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["text-classification", "text-regression"]),
        "data": st.fixed_dictionaries(
            {"train": st.lists(NAMES, min_size=1, max_size=3)},
            optional={"text": NAMES, "label": NAMES, "test": NAMES, "max_bad_rows": st.floats(0, 0.99)},
        ),
        "student": st.fixed_dictionaries({}, optional={"learning_rate": st.floats(1e-12, 1e12), "hidden": st.just(3)}),
        "output": NAMES,
        "seed": st.integers(0, 2**31),
    }
)


@settings(deadline=None)
@given(RECIPES)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    made = load(value)
    text = dump(made)
    assert load(yaml_text.read(text)) == made
    assert load(yaml.safe_load(text)) == made  # as any other program reads it
    assert differences(yaml_text.read(text), made.model_dump(mode="json")) == []
    assert load(json.loads(made.model_dump_json())) == made


def test_a_written_recipe_has_every_key_in_the_order_of_the_reference() -> None:
    written = yaml_text.read(dump(load(recipe())))
    assert list(written) == list(Recipe.model_fields)
    assert list(written["student"]) == list(Recipe.model_fields["student"].annotation.model_fields)  # type: ignore[union-attr]


def test_differences_are_dotted_with_both_values() -> None:
    old = load(recipe()).model_dump(mode="json")
    new = load(recipe(seed=3, student={"epochs": 9}, data={"test": "t.csv"})).model_dump(mode="json")
    assert differences(old, old) == []
    assert differences(old, new) == ["data.test: None -> ['t.csv']", "student.epochs: 4 -> 9", "seed: 0 -> 3"]
    assert differences({}, {"a": 1}) == ["a: None -> 1"]
    assert differences({"a": {"b": 1}}, {"a": 2}) == ["a: {'b': 1} -> 2"]


# --- problems ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (recipe(student={"sise": "auto"}), "student.sise: unknown key; did you mean size?"),
        (recipe(data={"lable": "y"}), "data.lable: unknown key; did you mean label?"),
        (recipe(ouput="x"), "ouput: unknown key; did you mean output?"),
        (recipe(epochs=3), "epochs: unknown key; it belongs under teacher or student"),
        (recipe(max_tokens=64), "max_tokens: unknown key; it belongs under data"),
        (recipe(data={"temperature": 2}), "data.temperature: unknown key; it belongs under student"),
        (
            recipe(compress={"zzzz": 1}),
            "compress.zzzz: unknown key; known here: quantize, allowed_loss, cascade, cascade_loss, cascade_levels",
        ),
    ],
)
def test_an_unknown_key_is_told_with_the_near_one(value: dict[str, Any], problem: str) -> None:
    assert problems(value) == [problem]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (recipe(seed="3"), 'seed: "3" was given; it must be a valid integer'),
        (recipe(seed=3.0), "seed: 3.0 was given; it must be a valid integer"),
        (recipe(seed=True), "seed: true was given; it must be a valid integer"),
        (recipe(seed=-1), "seed: -1 was given; it must be greater than or equal to 0"),
        (recipe(threads=0), "threads: 0 was given; it must be greater than or equal to 1"),
        (recipe(output=None), "output: null was given; it must be a valid string"),
        (recipe(output=""), 'output: "" was given; it must not be empty'),
        (recipe(output=5), "output: 5 was given; it must be a valid string"),
        (recipe(task="nlp"), "task: \"nlp\" was given; it must be 'text-classification' or 'text-regression'"),
        (recipe(data=5), "data: 5 was given; it must be a mapping of keys to values"),
        (recipe(student=None), "student: null was given; it must be a mapping of keys to values"),
        (recipe(data={"train": []}), "data.train: [] was given; it must not be empty"),
        (recipe(data={"train": ""}), 'data.train.0: "" was given; it must not be empty'),
        (recipe(data={"train": ["a", 5]}), "data.train.1: 5 was given; it must be a valid string"),
        (recipe(data={"test": 5}), "data.test: 5 was given; it must be a valid list"),
        (recipe(data={"deduplicate": "yes"}), 'data.deduplicate: "yes" was given; it must be true or false'),
        (recipe(data={"deduplicate": 1}), "data.deduplicate: 1 was given; it must be true or false"),
        (recipe(data={"max_bad_rows": 1.0}), "data.max_bad_rows: 1.0 was given; it must be less than 1"),
        (recipe(teacher={"learning_rate": True}), "teacher.learning_rate: true was given; it must be a valid number"),
        (recipe(teacher={"learning_rate": 0}), "teacher.learning_rate: 0 was given; it must be greater than 0"),
        (
            recipe(teacher={"fine_tune": "no"}),
            "teacher.fine_tune: \"no\" was given; it must be 'auto' or it must be true or false",
        ),
        (
            recipe(teacher={"strategy": "last-n"}),
            "teacher: with `strategy: last-n`, give `layers`: how many of the last layers learn",
        ),
        (
            recipe(teacher={"strategy": "head", "layers": 2}),
            "teacher: `layers` belongs to `strategy: last-n`; the strategy is head",
        ),
        (recipe(teacher={"layers": 2}), "teacher: `layers` belongs to `strategy: last-n`; the strategy is full"),
        (recipe(student={"size": None}), "student: with `size: null`, give at least `layers`"),
        (
            recipe(student={"size": "small", "layers": 2}),
            "student: give either a `size` or a shape (layers, width ...), not both",
        ),
        (
            recipe(student={"size": None, "layers": 2, "width": 100, "heads": 3}),
            "student: width 100 cannot be divided into 3 heads",
        ),
        ({"data": {"train": "a"}, "output": "o"}, "task: missing"),
        (recipe(data={"train": "a", 3: 4}), "data.3: 3 was given; keys should be strings"),
    ],
)
def test_a_wrong_value_is_told_as_it_was_written_with_what_was_expected(value: dict[str, Any], problem: str) -> None:
    assert problems(value) == [problem]


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
@pytest.mark.parametrize(("part", "key"), [("teacher", "learning_rate"), ("student", "hidden"), ("student", "clip")])
def test_a_number_must_be_finite(part: str, key: str, number: float) -> None:
    (problem,) = problems(recipe(**{part: {key: number}}))
    assert problem.startswith(f"{part}.{key}: ")


def test_a_shape_may_refine_the_automatic_size_or_stand_alone() -> None:
    assert load(recipe(student={"layers": 2})).student.size == "auto"
    assert load(recipe(student={"size": None, "layers": 2, "width": 96, "heads": 3})).student.width == 96


def test_a_huge_value_is_not_repeated_in_full() -> None:
    (problem,) = problems(recipe(output=["y" * 10_000]))
    assert len(problem) < 150


def test_all_problems_are_told_at_once() -> None:
    bad = recipe(
        task="nlp",
        seed="x",
        data={"train": [], "lable": "y"},
        teacher={"epochs": 0},
        student={"size": None},
        evaluate={"resamples": 5},
        surprise=1,
    )
    del bad["output"]
    found = problems(bad)
    starts = ["task:", "data.train:", "data.lable:", "teacher.epochs:", "student:", "evaluate.resamples:", "output:"]
    assert [problem.split(" ")[0] for problem in found] == [*starts, "seed:", "surprise:"]
    with pytest.raises(RecipeError, match="the recipe has 9 problems:\n  - task: "):
        load(bad)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_strict(part: str) -> None:
    (problem,) = problems(recipe(**{part: {"no_such_key": 1}}))
    assert problem.startswith(f"{part}.no_such_key: unknown key")


# --- files that cannot be read -----------------------------------------------------------------------------------


def test_a_missing_file_names_the_recipes_that_are_there(tmp_path: Path) -> None:
    missing = tmp_path / "recipe.yaml"
    assert problems(missing) == ["the file does not exist; `tutelage init DATA` writes one"]
    assert problems(tmp_path / "no" / "folder.yaml") == ["the file does not exist; `tutelage init DATA` writes one"]
    write(tmp_path, "reviews.yaml", "")
    write(tmp_path, "other.yml", "")
    assert problems(missing) == ["the file does not exist; there is other.yml, reviews.yaml"]
    with pytest.raises(RecipeError, match=str(missing)):
        load(missing)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("r.yaml", b"", "must be a mapping"),
        ("r.yaml", b"- a\n- b\n", "must be a mapping"),
        ("r.yaml", b"text-classification", "must be a mapping"),
        ("r.yaml", b"task: [a", "not valid YAML"),
        ("r.yaml", b"output: 2026-02-30", "not valid YAML: .*day"),
        ("r.yaml", b"task: a\ntask: b\n", "the key 'task' occurs twice"),
        ("r.yaml", b"data:\n  train: a\n  train: b\n", "the key 'train' occurs twice"),
        ("r.yaml", b"task: !!python/object/apply:os.system ['touch pwned']", "not valid YAML"),
        ("r.yaml", b"[" * 5000, "not valid YAML: it is nested too deeply"),
        ("r.toml", b"task = ", "not valid TOML"),
        ("r.toml", b'task = "a"\ntask = "b"\n', "not valid TOML"),
        ("r.yaml", b"task: \xff\xfe", "cannot be read as UTF-8"),
    ],
)
def test_what_is_no_recipe_is_told(
    tmp_path: Path, name: str, content: bytes, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=match):
        load(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_one_rung_needs_no_list() -> None:
    assert load(recipe(student={"keep": 0.9, "rungs": "two"})).student.rungs == ["two"]


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="it is a folder and no recipe"):
        load(tmp_path)


# --- the reference is written from the models --------------------------------------------------------------------


def fields(part: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in part.model_fields.items():
        yield f"{prefix}{name}", field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{name}.")


@pytest.mark.parametrize(
    ("name", "field"), [*fields(), *fields(Stage, "student.stages."), *fields(Growth, "student.growth.")]
)
def test_every_key_is_described(name: str, field: Any) -> None:
    assert field.description, name
    assert not field.description.endswith(".")
    assert "\n" not in field.description


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"curriculum_start": 0.5}, "curriculum_start would do nothing without `curriculum`"),
        ({"relation_heads": 4, "relation_layer": 2}, "relation_heads and relation_layer would do nothing without"),
        ({"attention_loss": "maps"}, "attention_loss would do nothing without `attention`"),
        ({"keep_confidence": 0.9}, "keep_confidence would do nothing without a goal"),
        ({"alpha": 0, "alpha_schedule": "linear"}, "`alpha_schedule` lets alpha fall to 0, and it begins there"),
    ],
)
def test_a_key_without_what_it_belongs_to_is_refused(student: dict[str, object], said: str) -> None:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": student}
    with pytest.raises(RecipeError, match=said):
        load(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"student": {"wide": False}}, "a cascade needs a wide part"),
        ({"data": {"train": "x.csv", "long_text": "window"}}, "a cascade needs texts that are read in one piece"),
        ({"task": "text-regression"}, "a cascade needs a task whose answers are more or less sure"),
    ],
)
def test_a_cascade_that_cannot_be_is_refused_where_it_is_asked_for(given: dict[str, Any], said: str) -> None:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", **given}
    assert load(value).compress.cascade == "auto"
    with pytest.raises(RecipeError, match=said):
        load({**value, "compress": {"cascade": True}})
    keeping = {**value, "student": {**given.get("student", {}), "keep": 0.9}}
    with pytest.raises(RecipeError, match=said):
        load({**keeping, "compress": {"cascade_levels": 3}})


def test_trials_of_a_student_that_hears_no_teacher_are_refused() -> None:
    teacher = {"models": ["a", "b"], "choose_by": "pilots"}
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "teacher": teacher}
    load({**value, "student": {"alpha": 0}})
    with pytest.raises(RecipeError, match=r"`teacher.choose_by: pilots` compares what the student learns"):
        load({**value, "student": {"alpha": 0, "hidden": 0}})


def test_a_key_may_belong_to_a_single_stage() -> None:
    stages = [{"epochs": 1, "relations": 1.0, "prediction": 0.0}, {"epochs": 1}]
    student = {"relation_heads": 4, "stages": stages}
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": student}
    assert load(value).student.relation_heads == 4
