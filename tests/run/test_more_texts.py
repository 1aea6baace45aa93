"""A run that changes texts and chooses among them: what is read, what is told, and what is done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from tiny_recipe import recipe
from tutelage import pipeline, storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.signals import Recording, Signals, write_shard
from tutelage.check import check
from tutelage.errors import ModelError, RecipeError
from tutelage.folder import RunFolder
from tutelage.gather import Gathering
from tutelage.progress import Logged, Silent
from tutelage.recipe import StudentRecipe

AUGMENT = {"ways": ["swap", "synonym", "recombine"], "rate": 0.3}


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("more") / "more.csv"
    words = tiny_models.reviews()[0]["text"].split()
    file.write_text("text\n" + "\n".join(f"{' '.join(words)} number {n}" for n in range(40)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(reviews: Path, bert: Path, unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    given = recipe(
        reviews,
        bert,
        tmp_path_factory.mktemp("texts") / "run",
        data={"unlabelled": str(unlabelled)},
        student={"augment": AUGMENT, "select": {"share": 0.5}, "control": False, "epochs": 1, "hidden": 0.0},
        teacher={"epochs": 1},
        evaluate={"speed_rows": 4},
    )
    with pytest.MonkeyPatch.context() as patch:
        # A process a model takes longer than everything else here.
        patch.setattr("tutelage.evaluate.memory._measure", lambda *_, **__: None)
        return pipeline.run({**given, "compress": {"quantize": "none"}})


def more(run: pipeline.Run) -> Split:
    return Split.load("more", run.path / ".tutelage" / "texts" / "more.arrow")


def test_what_is_read_is_chosen_new_and_agrees_with_its_original(run: pipeline.Run) -> None:
    read, corpus = more(run), Corpus.load(run.path / ".tutelage" / "corpus")
    known = {name: set(split.texts()) for name, split in corpus.splits.items()}
    copies = np.array([source.startswith("copy: ") for source in read.table["source"].to_pylist()])
    assert copies.any()
    texts = np.array(read.texts())
    assert not set(texts[copies]) & set.union(*known.values())
    assert set(texts[~copies]) <= known["unlabelled"]
    teacher = run.teacher
    rows = read.table["row"].to_numpy()
    for way in ("copy: swap", "copy: synonym"):
        mine = np.array([source == way for source in read.table["source"].to_pylist()])
        originals = [corpus["train"].texts()[row - 1] for row in rows[mine]]
        said = [teacher.predictions(some).argmax(1) for some in (list(texts[mine]), originals)]
        assert (said[0] == said[1]).all()


def test_the_report_says_what_became_of_the_copies(run: pipeline.Run) -> None:
    told = {choice.what: choice for choice in run.measurements.choices}
    copies, share = told["changed copies"], told["share of the unlabelled texts and copies"]
    kept, made = (sum(copies.figures[key].values()) for key in ("kept", "made"))
    assert copies.taken == f"{kept:,} of {made:,}"
    assert share.figures["taken"] == round(0.5 * share.figures["of"]) > 0
    assert share.figures["of"] == made + 40
    page = (run.path / "report.html").read_text()
    assert "changed copies" in page
    assert "Would more text help?" in page


def test_the_curve_is_measured_and_drawn(run: pipeline.Run) -> None:
    curve = run.measurements.learning_curve
    assert curve is not None
    assert curve.doubled is not None
    assert curve.beside is not None
    train = len(Corpus.load(run.path / ".tutelage" / "corpus")["train"])
    sizes = {
        name: [point.texts for point in curve.points if point.of == name] for name in ("training texts", "all texts")
    }
    assert sizes["training texts"] == [train // 4, train // 2, train]
    assert sizes["all texts"][-1] == train + len(more(run))
    for point in curve.points:
        assert point.loss.low <= point.loss.value <= point.loss.high  # type: ignore[operator]
    ends = [point.loss.value for point in curve.points if point.of == "all texts"]
    assert curve.doubled.value == pytest.approx(ends[1] - ends[2])  # type: ignore[operator]
    assert curve.sentence.startswith("Twice as many texts changed the loss by ")


def gathered(run: pipeline.Run, folder: Path, record: Any, **student: Any) -> list[Split]:
    """What students read, gathered in a folder of its own."""
    student = {"augment": AUGMENT, "select": None, **student}
    asked = run.recipe.model_copy(update={"student": StudentRecipe(**student)})
    corpus = Corpus.load(run.path / ".tutelage" / "corpus")
    progress = Logged(Silent(), folder / "log.jsonl")
    place = RunFolder(folder)
    place.inside.mkdir(exist_ok=True)
    return Gathering(asked, place, corpus, run.teacher, "teacher", progress).splits(record)


def _sides(keys: np.ndarray) -> np.ndarray:
    """1 or -1, by the content of a text."""
    return np.array([1.0 if key.tobytes()[0] % 2 else -1.0 for key in keys])


def test_nothing_is_made_twice_and_everything_again_when_asked_otherwise(run: pipeline.Run, tmp_path: Path) -> None:
    heard: list[list[str]] = []

    def record(splits: list[Split]) -> Signals:
        """A teacher whose answers have nothing to do with what a text says."""
        heard.append([split.name for split in splits])
        folder = tmp_path / f"signals{len(heard)}"
        folder.mkdir()
        keys = np.concatenate([split.keys for split in splits])
        records = np.zeros(len(keys), dtype=Recording(2, ()).dtype)
        records["key"], records["outputs"][:, 1] = keys, _sides(keys)
        write_shard(folder, 0, records)
        return Signals.open(folder, Recording(2, ()))[0]

    first = gathered(run, tmp_path, record)
    assert heard == [["train", "more"]]
    again = gathered(run, tmp_path, record)
    assert [split.fingerprint for split in again] == [split.fingerprint for split in first]
    assert len(heard) == 1
    # Whoever keeps all need not ask; whoever chooses asks for the training texts first, and for no more than it takes.
    every = gathered(run, tmp_path, record, augment={**AUGMENT, "keep": "all"})
    assert set(first[1].texts()) < set(every[1].texts())
    for split, agrees in ((first[1], True), (every[1], False)):
        bound = np.isin(split.table["source"].to_pylist(), ["copy: swap", "copy: synonym"])
        origins = split.table["row"].to_numpy()[bound] - 1
        assert (_sides(split.keys[bound]) == _sides(first[0].keys[origins])).all() == agrees
    assert len(heard) == 1
    few = gathered(run, tmp_path, record, select={"share": 0.1})
    assert heard[1:] == [["train"], ["train", "more"]]
    assert len(few[1]) <= round(0.1 * len(every[1]))
    # Without copies and choice the texts are the corpus' own, and nothing is kept.
    assert [split.name for split in gathered(run, tmp_path, record, augment=None)] == ["train", "unlabelled"]


def test_keys_that_are_not_given_leave_the_names_of_students_as_they_were() -> None:
    assert not {"augment", "select", "learning_curve"} & set(StudentRecipe().identity())
    assert StudentRecipe(learning_curve=True).identity() == StudentRecipe().identity()
    assert "augment" in StudentRecipe(augment={"ways": ["swap"]}).identity()  # type: ignore[arg-type]


def test_copies_have_the_name_that_they_had_before_there_were_translators(run: pipeline.Run, tmp_path: Path) -> None:
    student = StudentRecipe(augment=AUGMENT)  # type: ignore[arg-type]
    assert student.augment is not None
    asked = run.recipe.model_copy(update={"student": student})
    corpus = Corpus.load(run.path / ".tutelage" / "corpus")
    made = Gathering(asked, RunFolder(tmp_path), corpus, run.teacher, "t", Logged(Silent(), tmp_path / "log"))
    settings = {key: value for key, value in student.augment.model_dump().items() if key != "translators"}
    assert made.name == storage.fingerprint_of("texts", "t", asked.seed, [settings, None], None)
    assert student.identity()["augment"] == settings


REFUSED = [
    (RecipeError, {"select": {"share": 0.5}}, "give `data.unlabelled` or `student.augment`"),
    (RecipeError, {"augment": {**AUGMENT, "unlabelled": True}}, "would do nothing without `data.unlabelled`"),
    (RecipeError, {"augment": {"ways": ["swap", "swap"]}}, "names a way twice"),
    (RecipeError, {"augment": {"ways": "mask"}}, "`mask` and `masked_model` belong together"),
    (RecipeError, {"augment": {"ways": "recombine", "rate": 0.2}}, "rate would do nothing"),
    (RecipeError, {"augment": {**AUGMENT, "keep": "all", "tolerance": 1.0}}, "do nothing with `keep: all`"),
    (RecipeError, {"augment": {**AUGMENT, "tolerance": 1.0}}, "classes, which stay or change"),
    (ModelError, {"augment": {"ways": "mask", "masked_model": "./nowhere"}}, "`student.augment.masked_model`"),
    (
        RecipeError,
        {"augment": AUGMENT, "vocabulary_size": 300, "attention": 1.0},
        "small vocabulary cuts up",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_cannot_be_is_refused_before_a_teacher_is_trained(
    reviews: Path, bert: Path, tmp_path: Path, case: tuple[type[Exception], dict[str, Any], str]
) -> None:
    kind, student, words = case
    asked = recipe(reviews, bert, tmp_path / "run", student=student)
    with pytest.raises(kind, match=words):
        pipeline.run(asked)
    assert not (tmp_path / "run" / "teacher").exists()


def test_values_have_no_uncertainty(reviews: Path, bert: Path, tmp_path: Path) -> None:
    student = {"augment": {**AUGMENT, "tolerance": 0.2}, "select": {"share": 0.5}}
    asked = recipe(reviews, bert, tmp_path / "r", task="text-regression", data={"label": "rating"}, student=student)
    with pytest.raises(RecipeError, match="'uncertainty' does not fit text-regression"):
        check(asked)
