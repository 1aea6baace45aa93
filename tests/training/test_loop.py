"""The loop's promises, on a small model with dropout and windows of uneven size."""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tiny_training import Killed, Y, accuracy, fit, gradients, killed_at, loss, model, same, settings, work
from tutelage.errors import TrainingError
from tutelage.folder import RunFolder
from tutelage.progress import Silent
from tutelage.training import checkpoint, loop
from tutelage.training.loop import train


def test_it_learns(tmp_path: Path) -> None:
    network, state = fit(tmp_path, epochs=30, dropout=0.0)
    assert accuracy(network) > 0.95
    assert state.history[-1]["loss"] < state.history[0]["loss"] / 2
    assert [record["epoch"] for record in state.history] == list(range(1, 31))


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    assert same(fit(tmp_path / "a")[0], fit(tmp_path / "b")[0])


@pytest.mark.parametrize("step", [0, 1, 3, 4, 5, 8, 11])
def test_killed_at_any_step_it_resumes_to_the_same_weights(tmp_path: Path, step: int) -> None:
    whole, expected = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "cut", work(loss=killed_at(step, loss)), checkpoint_minutes=1e-9)
    again, state = fit(tmp_path / "cut", checkpoint_minutes=1e-9)
    assert same(whole, again)
    assert state.history == expected.history


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 16])
def test_the_gradient_is_the_same_under_any_split(tmp_path: Path, parts: int) -> None:
    """Rows of uneven weight: an average of averages would differ."""
    rows = np.arange(13)

    def count(some: np.ndarray) -> int:
        return int(Y[some].sum()) + len(some)

    network = model()
    (loss(network, rows, 0.0) / count(rows)).backward()
    found = gradients(tmp_path, parts=parts, plan=lambda _: [rows], count=count)
    for value, gradient in zip(network.parameters(), found, strict=True):
        torch.testing.assert_close(gradient, value.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_out_of_memory_cuts_the_batch_and_changes_nothing(tmp_path: Path, failures: int) -> None:
    failed = []

    def scarce(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        value = loss(network, rows, done)
        if len(rows) > 16 // 2**failures and len(failed) < failures:
            failed.append(len(rows))
            raise torch.OutOfMemoryError("CPU: out of memory")
        return value

    plenty, _ = fit(tmp_path / "plenty", dropout=0.0)
    tight, state = fit(tmp_path / "tight", work(loss=scarce), dropout=0.0)
    assert state.parts == 2**failures
    for one, other in zip(plenty.parameters(), tight.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("compares_rows", "told"), [(False, "same result"), (True, "compared with fewer others")])
def test_what_a_cut_batch_means_is_said_as_it_is(tmp_path: Path, compares_rows: bool, told: str) -> None:
    heard: list[str] = []

    class Listener(Silent):
        def warn(self, text: str) -> None:
            heard.append(text)

    def scarce(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        if len(rows) > 8:
            raise torch.OutOfMemoryError("CPU: out of memory")
        return loss(network, rows, done)

    given = work(loss=scarce, compares_rows=compares_rows)
    train(model(), given, settings(epochs=1), seed=0, folder=tmp_path, progress=Listener())
    assert len(heard) == 1
    assert told in heard[0]


def test_a_loss_is_told_how_much_is_done_whatever_the_interruptions(tmp_path: Path) -> None:
    told: list[float] = []

    def noting(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        told.append(done)
        return loss(network, rows, done)

    with pytest.raises(Killed):
        fit(tmp_path, work(loss=killed_at(5, noting)), checkpoint_minutes=1e-9)
    fit(tmp_path, work(loss=noting), checkpoint_minutes=1e-9)
    assert told == [step / 12 for step in range(12)]  # 3 epochs of 4 batches


def test_a_training_counts_with_what_it_took_before_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may take so many times as long as the teacher's training, however often that was interrupted."""
    clock, run = itertools.count(step=10.0), RunFolder(tmp_path)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(Killed):
        fit(run.training / "teacher", work(loss=killed_at(9, loss)), checkpoint_minutes=1e-9)
    before = run.trained("teacher")
    assert before > 0
    _, state = fit(run.training / "teacher", checkpoint_minutes=1e-9)
    assert run.trained("teacher") == state.seconds > before + 10
    run.finish("teacher", "name", started=time.monotonic(), history=state.history)
    assert run.times()["teacher"] == state.seconds
    assert run.trained("teacher") == 0


def test_memory_that_does_not_suffice_for_one_row_is_an_error(tmp_path: Path) -> None:
    def never(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(TrainingError, match="single example does not fit"):
        fit(tmp_path, work(loss=never))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_and_leaves_the_checkpoint(tmp_path: Path, bad: float, where: str) -> None:
    calls = iter(range(100))

    def poisoned(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        value = loss(network, rows, done)
        if next(calls) == 5:
            if where == "loss":
                return value * bad
            value.register_hook(lambda gradient: gradient * bad)
        return value

    with pytest.raises(TrainingError, match=r"(loss|gradient norm) is (nan|inf) at step 5 of epoch 2"):
        fit(tmp_path, work(loss=poisoned))
    network, _ = fit(tmp_path)
    assert same(network, fit(tmp_path / "other")[0])


def test_skipping_leaves_a_bad_batch_out(tmp_path: Path) -> None:
    calls = iter(range(100))

    def poisoned(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
        return loss(network, rows, done) * (float("nan") if next(calls) in (2, 3, 7) else 1.0)

    network, state = fit(tmp_path, work(loss=poisoned), on_nan="skip")
    assert state.skipped == 3
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_skipping_gives_up_when_everything_is_bad(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is nan"):
        fit(tmp_path, work(loss=lambda network, rows, done: loss(network, rows, done) * float("nan")), on_nan="skip")


def test_the_best_weights_are_kept_and_patience_ends_it(tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.3, 0.2, 0.8])
    seen: list[nn.Module] = []

    def validate(network: nn.Module) -> float:
        seen.append(copy.deepcopy(network))
        return next(scores)

    network, state = fit(tmp_path, work(validate=validate), epochs=5, patience=2)
    assert len(state.history) == 4
    assert state.best_score == 0.9
    assert same(network, seen[1])


def test_a_score_that_is_not_a_number_is_never_best(tmp_path: Path) -> None:
    scores = iter([float("nan"), 0.5, float("nan")])
    _, state = fit(tmp_path, work(validate=lambda _: next(scores)))
    assert state.best_score == 0.5


@pytest.mark.parametrize("harm", ["truncate", "zero", "delete", "flip"])
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_is_used(tmp_path: Path, harm: str, file: str) -> None:
    whole, _ = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "cut", work(loss=killed_at(7, loss)), checkpoint_minutes=1e-9)
    newest = max((tmp_path / "cut").glob("step-*")) / file
    content = newest.read_bytes()
    if harm == "delete":
        newest.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        newest.write_bytes({"truncate": content[:middle], "zero": bytes(len(content)), "flip": flipped}[harm])
    heard: list[str] = []

    class Listener(Silent):
        def warn(self, text: str) -> None:
            heard.append(text)

    network = model()
    train(network, work(), settings(), seed=0, folder=tmp_path / "cut", progress=Listener())
    assert same(whole, network)
    if not (file == "manifest.json" and harm == "flip" and not heard):
        assert any("damaged" in sentence for sentence in heard)
        assert any("went back to the checkpoint of step 6" in sentence for sentence in heard)


def test_checkpoints_of_other_work_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, work(loss=killed_at(7, loss)), checkpoint_minutes=1e-9)
    network, _ = fit(tmp_path, work(fingerprint="b"))
    assert same(network, fit(tmp_path / "fresh")[0])


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, work(loss=killed_at(7, loss)), checkpoint_minutes=1e-9)
    files = {file.suffix for folder in tmp_path.glob("step-*") for file in folder.iterdir()}
    assert files == {".safetensors", ".json"}
    state = json.loads((max(tmp_path.glob("step-*")) / "state.json").read_text())
    assert state["step"] == 7


def test_killed_inside_a_save_the_last_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = fit(tmp_path / "whole")
    for place in ("save_file", "save_model"):
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, place, killed_at(5, getattr(checkpoint, place)))
            with pytest.raises(Killed):
                fit(tmp_path / place, checkpoint_minutes=1e-9)
        assert same(whole, fit(tmp_path / place, checkpoint_minutes=1e-9)[0])
    assert not list(tmp_path.rglob(".partial-*"))


def test_an_interruption_in_the_last_epoch_is_not_lost(tmp_path: Path) -> None:
    def interrupted(network: nn.Module) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return accuracy(network)

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, work(validate=interrupted), epochs=1)
    network, state = fit(tmp_path, epochs=1)
    assert state.finished
    assert same(network, fit(tmp_path / "whole", epochs=1)[0])


def test_a_best_checkpoint_that_is_gone_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, work(loss=killed_at(7, loss)), checkpoint_minutes=1e-9)
    for best in tmp_path.glob("best-*"):
        shutil.rmtree(best)
    assert same(fit(tmp_path)[0], fit(tmp_path / "fresh")[0])
