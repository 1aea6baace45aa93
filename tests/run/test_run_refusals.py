"""What a recipe asks of its losses and layers is refused before anything is trained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import tiny_models
import tiny_recipe
import tutelage
from tutelage import assistant, pipeline
from tutelage.check import check
from tutelage.errors import DataError, ModelError, OutputError, RecipeError
from tutelage.folder import RunFolder
from tutelage.recipe import Recipe, StudentRecipe, load
from tutelage.teacher import load as teacher_load


def refused(kind: type[Exception], words: str, given: dict[str, Any]) -> None:
    """By the run, and by the look before it."""
    for action in (tutelage.run, check):
        with pytest.raises(kind, match=words):
            action(given)


def test_a_loss_of_other_outputs_leaves_nothing_behind(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student={"loss": "huber"})
    refused(RecipeError, "'huber' does not fit text-classification", given)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_needs_more_classes_is_refused_when_they_are_counted(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student={"loss": "standardised"})
    refused(RecipeError, "'standardised' does not fit", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_layer_map_that_cannot_be_is_refused_before_the_teacher_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student={"layer_map": [2, 9]})
    refused(ModelError, r"`student.layer_map: \[2, 9\]`", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_model_that_the_run_would_write_over_is_refused(reviews: Path, bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "run" / ".tutelage" / "model")
    given = tiny_recipe.recipe(reviews, tmp_path / "run" / ".tutelage" / "model", tmp_path / "run")
    refused(OutputError, "which this run writes over", given)


def test_a_place_that_no_folder_can_be_made_in_is_refused(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    refused(OutputError, "file is a file", tiny_recipe.recipe(reviews, bert, tmp_path / "file" / "run"))
    monkeypatch.setattr("tutelage.folder.os.access", lambda *_: False)  # root may write everywhere
    refused(OutputError, "may not be written to", tiny_recipe.recipe(reviews, bert, tmp_path / "run"))


def test_a_run_of_many_processes_is_refused(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OutputError, match="one of 2 processes"):
        tutelage.run(tiny_recipe.recipe(reviews, bert, tmp_path / "run"))


def test_what_a_killed_process_left_anywhere_in_the_folder_goes(reviews: Path, bert: Path, tmp_path: Path) -> None:
    folder = RunFolder.claim(load(tiny_recipe.recipe(reviews, bert, tmp_path / "run")), resume=False)
    left = folder.teachers / ".partial-abc"
    left.mkdir(parents=True)
    with folder.locked():
        assert not left.exists()


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (
            "Longformer",
            {
                "hidden_size": 32,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "intermediate_size": 64,
                "attention_window": 8,
                "pad_token_id": 0,
            },
        ),
        ("XLNet", {"d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 64}),
    ],
)
def test_an_architecture_that_torch_cannot_export_is_refused_before_the_teacher_is_trained(
    kind: str, sizes: dict[str, int], reviews: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = tiny_models.word_piece()
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    given = tiny_recipe.recipe(reviews, tmp_path / "model", tmp_path / "run", student={"layers": 2})
    refused(ModelError, "torch cannot export", given)
    assert "def forward" not in capfd.readouterr().err
    assert not (tmp_path / "run" / "teacher").exists()
    given["student"] = {"layers": 2, "width": 16, "heads": 4}
    check(given)


def test_everything_that_does_not_fit_the_task_is_told_at_once(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = tiny_recipe.recipe(
        reviews,
        bert,
        tmp_path / "run",
        task="text-regression",
        data={"label": "rating"},
        student={"loss": "kl", "curriculum": "confidence"},
    )
    refused(RecipeError, r"(?s)2 problems.*student.loss.*student.curriculum: 'confidence' does not fit", given)
    given["student"] = {"temperature": 4}
    refused(RecipeError, "student.temperature: 4 softens probabilities", given)
    assert not (tmp_path / "run").exists()


def test_a_level_of_a_metric_that_there_is_not_is_refused_before_the_teacher_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", teacher={"until": {"bleu": 0.3}})
    refused(RecipeError, r"teacher.until: 'bleu' is no metric of text-classification; these are: accuracy", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_regulariser_of_classes_is_refused_for_values(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = tiny_recipe.recipe(
        reviews,
        bert,
        tmp_path / "run",
        task="text-regression",
        data={"label": "rating"},
        teacher={"focal": 2.0, "label_smoothing": 0.0},
    )
    refused(RecipeError, r"teacher.focal: it needs probabilities of classes", given)
    assert not (tmp_path / "run").exists()


def test_attention_of_other_heads_is_refused_before_the_teacher_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = tiny_recipe.recipe(
        reviews, bert, tmp_path / "run", student={"attention": 1, "width": 24, "heads": 3, "size": None, "layers": 2}
    )
    refused(ModelError, "the student has 3 and the teacher 4", given)
    assert not (tmp_path / "run" / "teacher").exists()


@pytest.mark.parametrize(
    ("student", "said"), [({"convolution": 5}, "convolution"), ({"growth": {"start": 1}}, "growth|stacks")]
)
def test_an_assistant_that_cannot_be_is_refused(student: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A narrower student is a BERT, whatever its teacher is; an assistant as wide as the teacher is not."""
    teacher = transformers.T5ForSequenceClassification.from_pretrained(tiny_models.write_t5(tmp_path))
    shape = {"size": None, "layers": 2, "width": 16, "heads": 4, "hidden": 0}
    given = StudentRecipe(**shape, **student, assistant={"layers": 2})
    with pytest.raises(ModelError, match=said):
        assistant.check(given, teacher)
    assert assistant.check(StudentRecipe(**shape, assistant={"layers": 2}), teacher)


@pytest.mark.parametrize("teacher", [{"reads": "mean"}, {"strategy": "few-shot"}])
def test_a_shape_is_refused_before_the_teacher_gets_a_layer_that_averages(
    teacher: dict[str, str], reviews: Path, bert: Path, tmp_path: Path
) -> None:
    # One of the student's two layers becomes the one that averages, so that there is nothing to grow by.
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", teacher=teacher, student={"growth": {"start": 1}})
    refused(ModelError, "begins with 1 layers, and the student has 1", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_neighbour_that_cannot_be_is_refused_before_the_teacher_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    # Twice the student's layers are more than the assistant has, whose last ones they are to follow.
    student = {"layers": 2, "layer_map": "last", "assistant": {"layers": 3}}
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student=student, evaluate={"neighbours": True})
    refused(ModelError, "one size larger.*for a student of 4 layers", given)
    assert not (tmp_path / "run" / "teacher").exists()


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_a_model_of_copies_that_is_not_there_is_named_by_its_key(
    who: str, reviews: Path, bert: Path, tmp_path: Path
) -> None:
    augment = {"augment": {"ways": "mask", "masked_model": "./nowhere"}}
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", **{who: augment})
    refused(ModelError, f"`{who}.augment.masked_model`", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_windows_leave_nothing_behind_where_tokens_are_matched(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student={"relations": 1}, data={"long_text": "window"})
    refused(RecipeError, "reads a text more than once", given)
    assert not (tmp_path / "run").exists()


def test_a_small_vocabulary_is_refused_before_the_teacher_is_trained_where_tokens_are_matched(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", student={"attention": 1, "vocabulary_size": 150})
    refused(ModelError, "are not the same tokens to student and teacher", given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_run_that_left_nothing_gives_its_folder_up(reviews: Path, bert: Path, tmp_path: Path) -> None:
    def given(**data: Any) -> Recipe:
        return load(tiny_recipe.recipe(reviews, bert, tmp_path / "run", data=data))

    with pytest.raises(DataError, match="no such column"):
        tutelage.run(given(text="no such column"))
    folder = RunFolder.claim(given(), resume=False)
    folder.finish("data", "some rows", started=0.0)
    with pytest.raises(OutputError, match="belongs to another recipe"):
        RunFolder.claim(given(text="other"), resume=False)
    for broken in (b"task: [a", b"- a", b"\xff"):
        folder.recipe_file.write_bytes(broken)
        with pytest.raises(OutputError, match="is no recipe any more"):
            RunFolder.claim(given(), resume=True)


def test_a_run_leaves_the_threads_of_the_process_as_they_were(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    bound: list[str] = []

    def tell(_: object) -> None:
        seen.append(torch.get_num_threads())
        bound.append(os.environ["RAYON_NUM_THREADS"])

    monkeypatch.setattr(pipeline._Story, "tell", tell)
    before = torch.get_num_threads()
    tutelage.run(tiny_recipe.recipe(reviews, bert, tmp_path / "run", threads=before + 1))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
    # So many for tokenizers, too.
    assert bound == [str(before + 1)]
    assert "RAYON_NUM_THREADS" not in os.environ


def test_a_user_that_there_is_not_is_a_file_that_there_is_not(tmp_path: Path) -> None:
    given = tiny_recipe.recipe(
        Path("~nobody-of-this-name/data.csv"), Path("~nobody-of-this-name/model"), tmp_path / "run"
    )
    refused(DataError, "~nobody-of-this-name/data.csv", given)
    with pytest.raises(ModelError, match="~nobody-of-this-name/model does not exist"):
        teacher_load.locate("~nobody-of-this-name/model")
