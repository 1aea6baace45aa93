"""The whole pipeline, tiny: what it leaves, what it does again, what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import tiny_models
import tutelage
from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.artifacts.measurements import Measurements
from tutelage.check import check
from tutelage.compress import graph
from tutelage.errors import DataError, Interrupted, OutputError, StorageError
from tutelage.evaluate import machine
from tutelage.folder import RunFolder
from tutelage.recipe import load


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_it_leaves_exactly_what_was_promised(finished: pipeline.Run) -> None:
    assert {entry.name for entry in finished.path.iterdir()} == {
        ".tutelage",
        "bundle",
        "log.jsonl",
        "measurements.json",
        "recipe.yaml",
        "report.html",
        "signals",
        "student",
        "teacher",
    }
    assert {file.name for file in (finished.path / "bundle").iterdir()} == {
        "README.md",
        "limits.json",
        "manifest.json",
        "model.onnx",
        "task.json",
        "tokenizer.json",
    }
    assert not list(finished.path.rglob(".partial-*"))


def test_the_measurements_keep_their_contract(finished: pipeline.Run) -> None:
    found = json.loads((finished.path / "measurements.json").read_text())
    assert found["task"] == "text-classification"
    assert found["headline"] == "accuracy"
    assert set(found["models"]) == {"teacher", "student", "control", "baseline"}
    for model in found["models"].values():
        for score in model["scores"].values():
            assert score["low"] <= score["value"] <= score["high"]
        assert model["parameters"] > 0
        assert model["bytes"] > 0
        assert min(model["rows_per_second"].values()) > 0
        assert 0 < model["latency_ms"]["p50"] <= model["latency_ms"]["p95"]
    for comparison in ("retention", "against_control"):
        assert found[comparison]["low"] <= found[comparison]["value"] <= found[comparison]["high"]
    student, teacher = (found["models"][name]["scores"]["accuracy"]["value"] for name in ("student", "teacher"))
    assert found["retention"]["value"] == pytest.approx(student / teacher)
    assert {"pytorch", "onnxruntime"} <= set(found["models"]["teacher"]["rows_per_second"])


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_teacher_and_student_load_without_this_package(finished: pipeline.Run, name: str) -> None:
    script = """
import sys, torch
from transformers import AutoModelForSequenceClassification as Model, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), Model.from_pretrained(sys.argv[1])
assert not any(module.startswith("tutelage") for module in sys.modules)
with torch.inference_mode():
    probabilities = model(**tokenizer("a fine film", return_tensors="pt")).logits.softmax(-1)
print(model.config.id2label[int(probabilities.argmax())], float(probabilities.max()))
"""
    command = [sys.executable, "-c", script, str(finished.path / name)]
    label, score = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    expected = replace(getattr(finished, name), wide=None).predict(["a fine film"])[0]
    assert label == expected["label"]
    assert float(score) == pytest.approx(expected["score"], abs=1e-5)


def test_the_bundle_answers_as_the_student_does(finished: pipeline.Run) -> None:
    texts = [row["text"] for row in tiny_models.reviews()[:50]]
    bundle = tutelage.load(finished.path / "bundle")
    for one, other in zip(bundle.predict(texts), finished.student.predict(texts), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=0.02)  # int8 where it was taken


def test_a_wide_part_reaches_the_bundle(copy: Path, reviews: Path, bert: Path) -> None:
    pipeline.run(recipe(reviews, bert, copy), resume=True)
    run = pipeline.run(recipe(reviews, bert, copy, student={"wide": True, "control": False}), resume=True)
    assert run.student.wide is not None
    alone = replace(run.student, wide=None)
    texts = [row["text"] for row in tiny_models.reviews()[:50]]
    bundle = run.bundle.predictions(texts)
    assert np.abs(bundle - run.student.predictions(texts)).max() < 0.02
    assert np.abs(bundle - alone.predictions(texts)).max() > 0.05
    assert [choice.what for choice in run.measurements.choices][:1] == ["wide part"]


def test_running_again_does_nothing(finished: pipeline.Run) -> None:
    listener = Listener()
    before = content(finished.path / "student")
    again = pipeline.run(finished.path / "recipe.yaml", progress=listener)
    assert listener.done == []
    assert content(finished.path / "student") == before
    assert again.measurements == finished.measurements


def test_a_run_that_was_moved_tells_where_it_is(copy: Path, reviews: Path, bert: Path) -> None:
    moved = copy.rename(copy.with_name("elsewhere"))
    listener = Listener()
    run = pipeline.run(recipe(reviews, bert, moved), resume=True, progress=listener)
    assert not listener.done
    assert run.measurements.recipe["output"] == str(moved)
    for page in ("report.html", "bundle/README.md"):
        assert "elsewhere/bundle" in (moved / page).read_text(encoding="utf-8")
    assert Measurements.load(moved / "measurements.json") == run.measurements


def test_the_recipe_is_kept_with_every_default(finished: pipeline.Run) -> None:
    kept = yaml.safe_load((finished.path / "recipe.yaml").read_text())
    assert kept["student"]["temperature"] == 1.0
    assert kept["data"]["long_text"] == "truncate"


def test_the_log_is_json_lines(finished: pipeline.Run) -> None:
    events = [json.loads(line) for line in (finished.path / "log.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "run"
    assert events[-1]["event"] == "finished"


@pytest.fixture
def copy(finished: pipeline.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.path, tmp_path / "copy"))


def test_a_changed_student_keeps_teacher_and_signals(copy: Path, reviews: Path, bert: Path) -> None:
    teacher = content(copy / "teacher")
    signals = content(copy / "signals")
    # The copied folder has another name, so its recipe differs by it: first settle that.
    pipeline.run(recipe(reviews, bert, copy), resume=True)
    changed = recipe(reviews, bert, copy, student={"epochs": 1, "control": False})
    with pytest.raises(OutputError, match=r"student.epochs: 2 -> 1"):
        pipeline.run(changed)
    listener = Listener()
    run = pipeline.run(changed, resume=True, progress=listener)
    assert "Fine-tuning the teacher" not in listener.done
    assert "Distilling the student" in listener.done
    assert content(copy / "teacher") == teacher
    assert content(copy / "signals") == signals
    assert set(run.measurements.models) == {"teacher", "student", "baseline"}
    assert run.measurements.against_control is None


def test_a_folder_of_someone_else_is_left_alone(reviews: Path, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no run has written"):
        pipeline.run(recipe(reviews, bert, tmp_path))
    assert content(tmp_path) == {"thesis.txt": b"mine"}


def test_a_folder_with_a_recipe_of_the_users_own_is_left_alone(reviews: Path, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("# mine\ntask: text-classification\n")
    for resume in (False, True):
        with pytest.raises(OutputError, match="no run has written"):
            pipeline.run(recipe(reviews, bert, tmp_path), resume=resume)
    assert content(tmp_path) == {"recipe.yaml": b"# mine\ntask: text-classification\n"}


def test_a_run_that_died_before_it_wrote_its_recipe_is_begun_again(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = load(recipe(reviews, bert, tmp_path / "run"))

    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("tutelage.storage.write_text", full)
        with pytest.raises(StorageError):
            RunFolder.claim(given, resume=False)
    assert RunFolder.claim(given, resume=False).recipe_file.is_file()


def test_the_bad_rows_that_a_check_found_are_nobody_elses_to_read(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,label\n" + "fine,\n" * 40 + "good,positive\ndull,negative\n" * 20)
    with pytest.raises(DataError, match="quarantine") as refused:
        check(recipe(tmp_path / "bad.csv", bert, tmp_path / "run"))
    (left,) = re.findall(r"\S+quarantine\.jsonl", str(refused.value))
    try:
        assert len(Path(left).read_text().splitlines()) == 40
        assert Path(left).parent.stat().st_mode & 0o077 == 0
    finally:
        shutil.rmtree(Path(left).parent)


def test_two_runs_in_one_folder_are_refused(copy: Path, reviews: Path, bert: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.flock(f,fcntl.LOCK_EX)\n"
         "print('held',flush=True)\nsys.stdin.read()", str(copy / ".tutelage" / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = (copy / "recipe.yaml").read_bytes()
        with pytest.raises(OutputError, match="another process"):
            pipeline.run(recipe(reviews, bert, copy), resume=True)
        # The other one's recipe stays what it was.
        assert (copy / "recipe.yaml").read_bytes() == before
    finally:
        holder.kill()
        holder.communicate()


def test_a_graph_of_another_recipe_is_never_deployed(
    copy: Path, reviews: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed, stopped while the other graph lay where the first had been, and changed back."""
    mine, make = recipe(reviews, bert, copy), graph.make
    pipeline.run(mine, resume=True)
    before = (copy / "bundle" / "model.onnx").read_bytes()

    def stopped(*given: Any, folder: Path, **more: Any) -> None:
        made = make(*given, folder=folder, **more)
        assert (folder / made.file).read_bytes() != before
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(graph, "make", stopped)
        with pytest.raises(Interrupted):
            pipeline.run(recipe(reviews, bert, copy, student={"learning_rate": 1e-3}), resume=True)
    pipeline.run(mine, resume=True)
    assert (copy / "bundle" / "model.onnx").read_bytes() == before


def test_a_teacher_that_was_changed_behind_the_run_is_no_longer_its_teacher(
    copy: Path, reviews: Path, bert: Path
) -> None:
    weights = copy / "teacher" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    given = recipe(reviews, bert, copy, student={"learning_rate": 1e-3, "control": False})
    with pytest.raises(OutputError, match=r"teacher is not as the run left it: model.safetensors .*\n.*\n.*delete"):
        pipeline.run(given, resume=True)
    shutil.rmtree(copy / "teacher")
    listener = Listener()
    pipeline.run(given, resume=True, progress=listener)
    assert "Fine-tuning the teacher" in listener.done


def test_a_graph_that_is_gone_is_made_again(copy: Path, reviews: Path, bert: Path) -> None:
    for made in (copy / ".tutelage" / "export").glob("*.onnx"):
        made.unlink()
    shutil.rmtree(copy / "bundle")
    listener = Listener()
    run = pipeline.run(recipe(reviews, bert, copy), resume=True, progress=listener)
    assert not [title for title in listener.done if "Distilling" in title]
    assert len(run.bundle.predict(["a fine film"])) == 1


def test_the_student_reads_as_its_bundle_does(copy: Path, reviews: Path, bert: Path) -> None:
    run = pipeline.run(recipe(reviews, bert, copy, data={"max_characters": 600, "long_text": "window"}), resume=True)
    texts = [f"{'a fine film, ' * 50}{word}" for word in ("bad " * 50, "good " * 50)]
    theirs, ours = run.bundle.predict(texts), run.student.predict(texts)
    assert theirs[0] == theirs[1]
    for one, other in zip(theirs, ours, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=0.02)
    assert ours[0] == ours[1]


def test_what_is_decided_by_speed_is_decided_again_on_another_machine(
    copy: Path, reviews: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = machine.describe
    monkeypatch.setattr(machine, "describe", lambda **given: {**describe(**given), "cpu": "another"})
    listener = Listener()
    pipeline.run(recipe(reviews, bert, copy), resume=True, progress=listener)
    assert not [title for title in listener.done if "Distilling" in title]
    assert "Exporting the student" in listener.done


def test_a_fitted_teacher_is_used_as_it_is(finished: pipeline.Run, reviews: Path, tmp_path: Path) -> None:
    listener = Listener()
    fitted = finished.path / "teacher"
    run = pipeline.run(recipe(reviews, fitted, tmp_path / "run", student={"control": False}), progress=listener)
    assert "Fine-tuning the teacher" not in listener.done
    weights = "model.safetensors"
    assert (run.path / "teacher" / weights).read_bytes() == (fitted / weights).read_bytes()


def test_ctrl_c_prints_the_command_that_goes_on(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 500, "patience": None})
    file = tmp_path / "my recipe.yaml"
    file.write_text(yaml.safe_dump(given))
    script = """
import os, signal, sys, threading, time
from pathlib import Path
recipe, folder = sys.argv[1:]
def interrupt():
    while not list(Path(folder).rglob("step-*/manifest.json")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
sys.argv = ["tutelage", "run", recipe]
from tutelage.cli import main
main()
"""
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-c", script, str(file), str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert ended.returncode == 130
    # As a shell takes it.
    assert f"tutelage run '{file}' --resume" in ended.stderr
    assert "Traceback" not in ended.stderr
    steps = list((tmp_path / "run").rglob("step-*"))
    assert steps
    state = json.loads((max(steps) / "state.json").read_text())
    assert state["step"] > 0


def test_the_same_recipe_gives_the_same_models_in_another_process(
    finished: pipeline.Run, reviews: Path, bert: Path, tmp_path: Path
) -> None:
    """A new head, a new student and the order of the rows must not depend on the process."""
    given = recipe(reviews, bert, tmp_path / "run")
    # Everything that learns; what is made of it afterwards has no part in this.
    script = """
import json, sys
from tutelage import pipeline
from tutelage.made import Made
from tutelage.workshop import Workshop
Workshop.compress = lambda self, learned: Made(learned, None, "")
pipeline._Story._prove = pipeline._Story._publish = lambda *_: None
pipeline.run(json.loads(sys.argv[1]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", script, json.dumps(given)], check=True, env=environment, capture_output=True)
    for name in ("teacher", "student", ".tutelage/control"):
        file = f"{name}/model.safetensors"
        assert (tmp_path / "run" / file).read_bytes() == (finished.path / file).read_bytes()


def test_memory_is_measured_in_processes_of_their_own(finished: pipeline.Run) -> None:
    models = finished.measurements.models
    teacher, student = models["teacher"].peak_memory_mb, models["student"].peak_memory_mb
    assert teacher is not None
    assert student is not None
    assert 20 < student < 0.6 * teacher  # no torch in the student's process
