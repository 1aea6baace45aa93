"""A whole pre-training, tiny: what it leaves, that it learns, resumes exactly, and refuses in time."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import tiny_models
from tiny_recipe import recipe as tiny_run
from tutelage import pipeline, pretrain_recipe, pretraining, storage
from tutelage.data.stream import streams
from tutelage.errors import DataError, ModelError, OutputError, RecipeError, TutelageError
from tutelage.pretrain_recipe import MADE_AS, TRAINS
from tutelage.progress import Silent
from tutelage.teacher.pretrain import learn

ROOT = Path(__file__).parents[2]
TEXTS = [row["text"] for row in tiny_models.reviews()]
ENCODER = {"layers": 2, "width": 32, "heads": 4, "feed_forward": 64}


def given(output: Path, text: Any, **changes: Any) -> dict[str, Any]:
    """Everything tiny; `changes` are merged one level deep."""
    base: dict[str, Any] = {
        "data": {"text": text, "heldout_share": 0.1},
        "objective": "masked",
        "model": ENCODER,
        "tokenizer": {"vocabulary": 400},
        "training": {"steps": 20, "looks": 2, "batch_tokens": 256, "length": 32, "learning_rate": 3e-3},
        "output": str(output),
        "threads": 1,
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and key in base else value
    return base


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "corpus.txt"
    file.write_text("\n".join(TEXTS), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> pretraining.Pretrained:
    """One that learned long enough to be better than chance."""
    output = tmp_path_factory.mktemp("pretrained") / "run"
    return pretraining.pretrain(given(output, str(corpus), training={"steps": 120, "looks": 3}))


def hashes(folder: Path) -> dict[str, str]:
    """Of the weights and the tokenizer."""
    return {file.name: storage.sha256_of(file) for file in sorted((folder / "model").iterdir())}


# --- the result --------------------------------------------------------------------------------------------------


def test_it_learns_and_says_by_how_much(pretrained: pretraining.Pretrained) -> None:
    results = json.loads((pretrained.path / "pretraining.json").read_text("utf-8"))
    assert results == pretrained.results
    assert [look["step"] for look in results["looks"]] == [40, 80, 120]
    assert results["unit"] == "hidden token"
    assert results["before"]["perplexity"] == pytest.approx(400, rel=0.1)
    assert results["best"]["perplexity"] < 0.75 * results["before"]["perplexity"]
    assert results["best"] == min(results["looks"], key=lambda look: look["loss"])


def test_the_folder_is_plain_and_a_recipe_takes_it_as_its_teacher(
    pretrained: pretraining.Pretrained, reviews: Path, tmp_path: Path
) -> None:
    import transformers

    model = transformers.AutoModel.from_pretrained(pretrained.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(pretrained.model)
    assert (model.config.model_type, len(tokenizer), tokenizer.model_max_length) == ("bert", 400, 32)
    run = pipeline.run(
        tiny_run(
            reviews,
            pretrained.model,
            tmp_path / "run",
            data={"max_tokens": 32},
            teacher={"epochs": 1},
            student={"epochs": 1, "control": False},
        )
    )
    assert run.teacher.model.config.hidden_size == 32
    assert run.bundle.predict(["a fine film"])


@pytest.mark.parametrize(
    ("objective", "positions", "kind"),
    [
        ("masked", "sinusoidal", "unigram"),
        ("masked", "rotary", "bpe"),
        ("causal", "learned", "bpe"),
        ("causal", "rotary", "wordpiece"),
        ("span", "relative", "unigram"),
        ("span", "learned", "bpe"),
    ],
)
def test_every_architecture_learns_and_can_be_fine_tuned(
    objective: str, positions: str, kind: str, corpus: Path, tmp_path: Path
) -> None:
    from tutelage.encoding import Reading
    from tutelage.tasks import TASKS
    from tutelage.teacher import load

    done = pretraining.pretrain(
        given(
            tmp_path / "run",
            str(corpus),
            objective=objective,
            model={"positions": positions},
            tokenizer={"kind": kind, "vocabulary": 600},
        )
    )
    assert done.results["best"]["loss"] < done.results["before"]["loss"]
    task = TASKS["text-classification"].fit(["a", "b"])
    network, fitted = load.load(str(done.model), task, Reading(32))
    assert not fitted
    assert network.predictions(["a fine film", "dull"]).shape == (2, 2)


def test_every_architecture_that_is_offered_is_tried_above() -> None:
    tried = {("masked", "learned"), *(mark[:2] for mark in _cases())}
    assert tried == {(goal, name) for goal, kind in TRAINS.items() for name in MADE_AS[kind]}


def _cases() -> list[tuple[str, str, str]]:
    marks = test_every_architecture_learns_and_can_be_fine_tuned.pytestmark  # type: ignore[attr-defined]
    cases: list[tuple[str, str, str]] = marks[0].args[1]
    return cases


# --- going on from a checkpoint ----------------------------------------------------------------------------------


def test_going_on_from_a_checkpoint_begins_where_it_ended(
    pretrained: pretraining.Pretrained, corpus: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = given(tmp_path / "run", str(corpus))
    changes["model"] = {"checkpoint": str(pretrained.model)}
    del changes["tokenizer"]
    more = pretraining.pretrain(changes)
    assert more.results["before"]["loss"] == pytest.approx(pretrained.results["best"]["loss"], rel=1e-5)
    assert (more.model / "tokenizer.json").read_text() == (pretrained.model / "tokenizer.json").read_text()


@pytest.mark.parametrize(
    ("write", "fitting"), [("write_gpt2", "causal"), ("write_t5", "span"), ("write_bert", "masked")]
)
def test_an_objective_that_does_not_fit_a_checkpoint_is_refused_before_anything_is_read(
    write: str, fitting: str, corpus: Path, tmp_path: Path
) -> None:
    folder = getattr(tiny_models, write)(tmp_path / "model")
    for objective in {*TRAINS} - {fitting}:
        changes = given(tmp_path / objective, str(corpus), objective=objective)
        changes["model"] = {"checkpoint": str(folder)}
        del changes["tokenizer"]
        with pytest.raises(ModelError, match=f"set `objective: {fitting}`"):
            pretraining.pretrain(changes)
        assert not (tmp_path / objective / ".tutelage" / "stages.json").exists()


def test_a_checkpoint_without_what_the_objective_needs_is_refused(corpus: Path, tmp_path: Path, bert: Path) -> None:
    for checkpoint, objective, missing in ((bert, "masked", "mask token"), (None, "span", "extra_id")):
        folder = checkpoint or tiny_models.write_t5(tmp_path / "t5")
        changes = given(tmp_path / objective, str(corpus), objective=objective)
        changes["model"] = {"checkpoint": str(folder)}
        del changes["tokenizer"]
        with pytest.raises(ModelError, match=missing):
            pretraining.pretrain(changes)


# --- sources -----------------------------------------------------------------------------------------------------


def test_the_same_texts_from_any_kind_of_file_give_the_same_model(corpus: Path, tmp_path: Path) -> None:
    import datasets

    with gzip.open(tmp_path / "a.txt.gz", "wt", encoding="utf-8") as packed:
        packed.write("\n".join(TEXTS))
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["review", "n"], *([text, 1] for text in TEXTS)])
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as packed:
        packed.writelines(json.dumps({"review": text}) + "\n" for text in TEXTS)
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": TEXTS})}).save_to_disk(tmp_path / "saved")
    sources: list[Any] = [
        str(corpus),
        str(tmp_path / "a.txt.gz"),
        {"source": str(tmp_path / "b.csv"), "column": "review"},
        {"source": str(tmp_path / "c.jsonl.gz"), "column": "review"},
        str(tmp_path / "saved"),
    ]
    found = [
        hashes(pretraining.pretrain(given(tmp_path / str(number), source, training={"steps": 4})).path)
        for number, source in enumerate(sources)
    ]
    assert all(one == found[0] for one in found[1:])


def test_sources_are_mixed_by_weight(corpus: Path, reviews: Path, tmp_path: Path) -> None:
    text = [{"source": str(corpus), "weight": 3.0}, {"source": str(reviews), "weight": 1.0}]
    done = pretraining.pretrain(given(tmp_path / "run", text, training={"steps": 2}))
    assert [source["weight"] for source in done.results["sources"]] == [0.75, 0.25]


def test_held_out_texts_are_the_same_whatever_file_they_are_in(corpus: Path, reviews: Path, tmp_path: Path) -> None:
    made = pretrain_recipe.load(given(tmp_path, [str(corpus), str(reviews)]))
    apart = [{text.text for text in one if text.heldout} for one in streams(made.data, Silent())]
    kept = [{text.text for text in one if not text.heldout} for one in streams(made.data, Silent())]
    assert apart[0] == apart[1]
    assert 0.05 * len(TEXTS) < len(apart[0]) < 0.15 * len(TEXTS)
    assert not apart[0] & kept[0]


# --- interruptions -----------------------------------------------------------------------------------------------


def test_killed_inside_the_training_it_resumes_to_the_same_files(corpus: Path, tmp_path: Path) -> None:
    """In other processes: a kill is SIGKILL, inside the flush of a file."""
    code = (
        "import json, os, signal, sys\n"
        "from tutelage import pretraining, storage\n"
        "recipe, flushes = json.loads(sys.argv[1]), int(sys.argv[2])\n"
        "real, seen = storage._flush, []\n"
        "def flush(path):\n"
        "    seen.append(path)\n"
        "    if 'training' in str(path) and sum('training' in str(p) for p in seen) == flushes:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(path)\n"
        "storage._flush = flush\n"
        "pretraining.pretrain(recipe)\n"
    )

    def start(output: Path, flushes: int) -> int:
        recipe = given(output, str(corpus), training={"checkpoint_minutes": 1e-6, "dropout": 0.1})
        command = [sys.executable, "-c", code, json.dumps(recipe), str(flushes)]
        return subprocess.run(command, check=False, env=os.environ).returncode

    assert start(tmp_path / "whole", 0) == 0
    expected = hashes(tmp_path / "whole")
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= {*expected}
    assert start(tmp_path / "cut", 40) == -signal.SIGKILL
    assert start(tmp_path / "cut", 0) == 0
    assert hashes(tmp_path / "cut") == expected
    kept = [json.loads((tmp_path / name / "pretraining.json").read_text()) for name in ("whole", "cut")]
    assert kept[0] == kept[1]


def test_control_c_leaves_a_run_that_can_be_resumed_and_says_how(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(given(tmp_path / "run", str(corpus))))
    whole = pretraining.pretrain(given(tmp_path / "whole", str(corpus)))
    real, calls = learn.Reader.read, []

    def read(self: learn.Reader, rows: np.ndarray) -> Any:
        calls.append(rows)
        if len(calls) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(learn.Reader, "read", read)
        with pytest.raises(TutelageError, match=f"go on with: tutelage pretrain {recipe} --resume") as stopped:
            pretraining.pretrain(recipe)
    assert stopped.value.exit_code == 130
    assert hashes(pretraining.pretrain(recipe, resume=True).path) == hashes(whole.path)


def test_minutes_become_steps_once(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = given(tmp_path / "run", str(corpus))
    recipe["training"] |= {"minutes": 0.02}
    del recipe["training"]["steps"]
    first = pretraining.pretrain(recipe)
    assert first.results["steps"] % 2 == 0
    (first.path / "pretraining.json").unlink()
    monkeypatch.setattr(learn, "steps_within", None)  # not timed a second time
    assert pretraining.pretrain(recipe).results == first.results


def test_a_finished_one_is_not_done_again_and_a_longer_one_reads_no_text(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = given(tmp_path / "run", str(corpus), training={"steps": 4})
    first = pretraining.pretrain(recipe)
    monkeypatch.setattr(pretraining, "Writer", None)
    assert pretraining.pretrain(recipe).results == first.results
    longer = given(tmp_path / "run", str(corpus), training={"steps": 8})
    with pytest.raises(OutputError, match=r"training\.steps: 4 -> 8"):
        pretraining.pretrain(longer)
    assert pretraining.pretrain(longer, resume=True).results["steps"] == 8


def test_the_gradient_is_the_same_however_a_batch_is_split(corpus: Path, tmp_path: Path) -> None:
    """Rows have different numbers of hidden tokens: an average of averages would differ."""
    import torch

    from tutelage.teacher.pretrain.learn import Reader

    seen: list[tuple[int, int]] = []
    real = Reader.count

    def count(self: Reader, rows: np.ndarray) -> int:
        whole, parts = real(self, rows), [real(self, part) for part in np.array_split(rows, 3)]
        read = torch.cat([self.read(part)[1] for part in np.array_split(rows, 3)])
        assert torch.equal(read, self.read(rows)[1])
        seen.append((whole, sum(parts)))
        return whole

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Reader, "count", count)
        pretraining.pretrain(given(tmp_path / "run", str(corpus), training={"steps": 4}))
    assert seen
    assert all(whole == parts > 0 for whole, parts in seen)


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"objective": "causal", "model": {"architecture": "encoder"}}, "set `objective: masked`"),
        ({"objective": "causal", "model": {"positions": "relative"}}, "learned (GPT-2), rotary (Llama)"),
        ({"objective": "span", "model": {"positions": "sinusoidal"}}, "relative (T5), learned (BART)"),
        ({"model": {"width": 30}}, "width 30 cannot be divided into 4 heads"),
        ({"model": {"positions": "rotary", "width": 36, "heads": 4}}, "width / heads is 9, odd"),
        ({"model": {"checkpoint": "minilm"}}, "a checkpoint brings its own shape; leave out layers, width"),
        ({"tokenizer": {"kind": "bpe", "vocabulary": 200}}, "at least 300"),
        ({"training": {"minutes": 1.0}}, "either `steps` or `minutes`"),
        ({"training": {"batch_tokens": 20}}, "less than one sequence"),
        ({"data": {"text": [{"source": "a.txt", "weight": 1.0}, "b.txt"]}}, "some sources have a `weight`"),
        ({"data": {"text": ["a.txt", "a.txt"]}}, "occurs twice"),
        (
            {"data": {"text": [{"source": "a.txt", "colum": "x"}]}},
            "data.text.0.colum: unknown key; did you mean column?",
        ),
        ({"data": {"text": []}}, "data.text: [] was given; it must not be empty"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_the_reason(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        pretrain_recipe.load(given(tmp_path, "a.txt", **changes))
    assert told in str(caught.value)


def test_a_checkpoint_brings_its_tokenizer(tmp_path: Path) -> None:
    changes = given(tmp_path, "a.txt")
    changes["model"] = {"checkpoint": "minilm"}
    with pytest.raises(RecipeError, match="brings its own tokenizer"):
        pretrain_recipe.load(changes)


def test_the_recipe_that_a_run_keeps_can_be_given_again(tmp_path: Path) -> None:
    from tutelage import recipe as recipes

    for changes in (given(tmp_path, ["a.txt", "b.csv"]), {**given(tmp_path, "a"), "model": {"checkpoint": "minilm"}}):
        if "checkpoint" in changes["model"]:
            del changes["tokenizer"]
        made = pretrain_recipe.load(changes)
        (tmp_path / "kept.yaml").write_text(recipes.dump(made))
        assert pretrain_recipe.load(tmp_path / "kept.yaml") == made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nowhere.txt", "does not exist"),
        ("{reviews}", "has no column 'review'"),
        ("{empty}", "is empty"),
        ("{cut}", "cannot be unpacked"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_before_anything_is_trained(
    text: str, told: str, corpus: Path, reviews: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(("a fine film\n" * 900).encode())[:-20])
    places = {"reviews": reviews, "empty": tmp_path / "empty.txt", "cut": tmp_path / "cut.txt.gz"}
    source = {"source": text.format(**places), "column": "review"}
    with pytest.raises(DataError, match=told) as caught:
        pretraining.pretrain(given(tmp_path / "run", [str(corpus), source]))
    assert caught.value.exit_code == 2
    if "column" in told:
        assert "data.text.1.column" in str(caught.value)
    assert not (tmp_path / "run" / ".tutelage" / "stages.json").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokenizer": {"vocabulary": 20_000}}, "too small for the vocabulary"),
        ({"data": {"heldout_share": 1e-9}}, "0 are held out"),
        ({"training": {"length": 4000, "batch_tokens": 4000}}, "the texts held out are"),
        ({"training": {"length": 400_000, "batch_tokens": 400_000}}, "that are trained on are"),
    ],
)
def test_a_corpus_that_is_too_small_is_told_before_anything_is_trained(
    changes: dict[str, Any], told: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        pretraining.pretrain(given(tmp_path / "run", str(corpus), **changes))
    assert not (tmp_path / "run" / ".tutelage" / "training").exists()


def test_texts_that_are_mostly_broken_are_refused_and_a_few_are_left_out(tmp_path: Path) -> None:
    good = [text.encode() for text in TEXTS]
    (tmp_path / "few.txt").write_bytes(b"\n".join([*good, b"caf\xe9"]))
    (tmp_path / "many.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in [*TEXTS, *[7] * 60]))
    made = pretrain_recipe.load(given(tmp_path / "run", [str(tmp_path / "few.txt")]))
    assert sum(1 for _ in streams(made.data, Silent())[0]) == len(TEXTS)
    with pytest.raises(DataError, match=r"60 of 540 texts cannot be used; the first is row 481: not text"):
        pretraining.pretrain(given(tmp_path / "other", str(tmp_path / "many.jsonl")))


def test_a_folder_of_another_kind_of_run_is_not_written_to(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("task: text-classification\n")
    with pytest.raises(OutputError, match="no run has written"):
        pretraining.pretrain(given(tmp_path / "run", str(corpus)), resume=True)


def test_texts_stream_through_and_are_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    from tutelage.data.sources import text_file
    from tutelage.teacher.pretrain import blocks

    monkeypatch.setattr(blocks, "_AT_ONCE", 10_000)
    monkeypatch.setattr(text_file, "_BLOCK", 10_000)
    tokenizer = tiny_models.word_piece()

    def peak(times: int) -> float:
        """Bytes of memory for each byte of the file."""
        file = tmp_path / f"{times}.txt"
        file.write_text("\n".join(f"{number} {text}" for number in range(times) for text in TEXTS))
        made = pretrain_recipe.load(given(tmp_path, str(file)))
        tracemalloc.start()
        writer = blocks.Writer(tmp_path / "out", tokenizer, 3)
        for text in streams(made.data, Silent())[0]:
            writer.add(text.text)
        writer.close()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most / file.stat().st_size

    peak(1)  # loads what cleaning needs
    assert peak(30) < 1 / 3


# --- the command -------------------------------------------------------------------------------------------------


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = pretrain_recipe.load(ROOT / "examples" / "pretrain.yaml")
    short = made.training.model_copy(update={"minutes": None, "steps": 2, "looks": 1})
    done = pretraining.pretrain(
        made.model_copy(update={"output": str(tmp_path / "run"), "training": short}), progress=Silent()
    )
    assert done.model.is_dir()


def test_the_command_says_what_to_do_next(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tutelage import cli

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(given(tmp_path / "run", str(corpus), training={"steps": 2})))

    def type_in(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["tutelage", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, *capfd.readouterr()

    code, out, err = type_in("pretrain", str(recipe))
    assert code == 0, err
    assert "per hidden token" in out
    assert "bits per byte" in out
    assert f"teacher: {{model: {tmp_path / 'run' / 'model'}}}" in out
    assert "held-out perplexity before" in err
    recipe.write_text(yaml.safe_dump({**given(tmp_path / "run", str(corpus)), "objektive": 1}))
    code, _, err = type_in("pretrain", str(recipe))
    assert (code, "did you mean objective?" in err) == (2, True)
