"""Recorded once, found by content, never stale."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts import signals as artifact
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.encoding import Reading
from tutelage.errors import TrainingError, TutelageError
from tutelage.progress import Silent
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals

TASK = TextClassification(("negative", "positive"))
WANTED = Recording(2, (2, 4), 32)


@pytest.fixture
def teacher(bert: Path) -> Network:
    torch.manual_seed(0)
    return load.load(str(bert), TASK, Reading(32))[0]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SHARD_ROWS", 16)


TEXTS = [row["text"] for row in tiny_models.reviews()][:100]


def record(network: Network, texts: list[str], folder: Path, wanted: Recording = WANTED) -> Any:
    return signals.record(network, [split(texts)], wanted, folder=folder, progress=Silent())


def counted(network: Network, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    original = Network.tokenize

    def tokenize(self: Network, texts: Any) -> Any:
        seen.append(len(texts))
        return original(self, texts)

    monkeypatch.setattr(Network, "tokenize", tokenize)
    return seen


def test_they_are_what_the_teacher_says(teacher: Network, tmp_path: Path) -> None:
    recorded = record(teacher, TEXTS, tmp_path)
    keys = split(TEXTS).keys
    rows = np.random.default_rng(0).permutation(len(TEXTS))[:37]
    found = recorded.take(recorded.find(keys)[rows], keys[rows])
    tokens = teacher.tokenize(TEXTS)
    np.testing.assert_allclose(found["outputs"], teacher.outputs(tokens)[rows], atol=1e-5)
    with torch.inference_mode():
        batch = teacher.collate(tokens, rows[:1])
        states = teacher.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True
        ).hidden_states
    expected = np.stack([states[layer].mean(1)[0].numpy() for layer in (2, 4)])
    np.testing.assert_allclose(found["hidden"][0], expected, atol=2e-3)


def test_outputs_alone_are_the_same_with_less_work(teacher: Network, tmp_path: Path) -> None:
    """The last layer is computed where the head reads it, and nothing of that stays with the teacher."""
    layer = teacher.model.base_model.encoder.layer[-1]
    widths: list[int] = []
    hook = layer.intermediate.register_forward_hook(lambda _, given, __: widths.append(given[0].shape[1]))
    recorded = record(teacher, TEXTS, tmp_path, Recording(2))
    # The first pass of each shard only compares.
    assert widths.count(1) == len(widths) - -(-len(TEXTS) // 16)
    widths.clear()
    keys = split(TEXTS).keys
    found = recorded.outputs(recorded.find(keys), keys)
    np.testing.assert_allclose(found, teacher.outputs(teacher.tokenize(TEXTS)), rtol=0, atol=1e-5)
    assert min(widths) > 1
    hook.remove()


def test_a_text_is_read_once(teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(teacher, TEXTS, tmp_path)
    seen = counted(teacher, monkeypatch)
    record(teacher, TEXTS, tmp_path)
    assert seen == []
    record(teacher, [*TEXTS[::-1], "one more text"], tmp_path)
    assert sum(seen) == 1


def test_a_changed_teacher_text_or_recording_never_reads_a_stale_one(teacher: Network, tmp_path: Path) -> None:
    first = record(teacher, TEXTS, tmp_path)
    with torch.no_grad():
        teacher.model.classifier.bias.add_(1e-3)
    second = record(teacher, TEXTS, tmp_path)
    assert second.folder != first.folder
    keys = split(TEXTS).keys
    np.testing.assert_allclose(
        second.take(second.find(keys), keys)["outputs"], teacher.outputs(teacher.tokenize(TEXTS)), atol=1e-5
    )
    assert record(teacher, TEXTS, tmp_path, Recording(2, (4,), 32)).folder != second.folder
    shorter = Network(teacher.model, teacher.tokenizer, TASK, Reading(8))
    assert record(shorter, TEXTS, tmp_path).folder != second.folder
    changed = ["not " + text for text in TEXTS]
    assert (second.find(split(changed).keys) == -1).all()


def test_signals_of_other_teachers_do_not_pile_up(teacher: Network, tmp_path: Path) -> None:
    record(teacher, TEXTS, tmp_path)
    with torch.no_grad():
        teacher.model.classifier.bias.add_(1.0)
    record(teacher, TEXTS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_killed_half_way_it_goes_on(teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class Killed(BaseException):
        pass

    def dying(folder: Path, number: int, *records: Any) -> None:
        if len(written) == 3:
            raise Killed
        written.append(number)
        artifact.write_shard(folder, number, *records)

    with monkeypatch.context() as patched:
        patched.setattr(signals, "write_shard", dying)
        with pytest.raises(Killed):
            record(teacher, TEXTS, tmp_path)
    seen = counted(teacher, monkeypatch)
    recorded = record(teacher, TEXTS, tmp_path)
    assert sum(seen) == len(TEXTS) - 3 * 16
    assert (recorded.find(split(TEXTS).keys) >= 0).all()


def test_a_recording_counts_with_what_it_took_before_it_was_killed(
    teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may take so many times as long as a teacher that needed no training takes to be recorded."""
    clock, left = [1000.0], [3]

    class Killed(BaseException):
        pass

    def slow(folder: Path, number: int, *records: Any) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        clock[0] += 10
        artifact.write_shard(folder, number, *records)

    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(signals, "write_shard", slow)
    with pytest.raises(Killed):
        record(teacher, TEXTS, tmp_path)
    clock[0], left[0] = 5.0, 2  # another process, whose clock began elsewhere
    with pytest.raises(Killed):
        record(teacher, TEXTS, tmp_path)
    clock[0], left[0] = 7000.0, 99
    recorded = record(teacher, TEXTS, tmp_path)
    assert recorded.earlier == 50
    assert clock[0] == 7020
    # It is complete: what is recorded later has nothing to do with it, and nothing of this stays.
    assert record(teacher, TEXTS, tmp_path).earlier == 0
    more = record(teacher, [*TEXTS, "one more text"], tmp_path)
    assert (more.earlier, more.written) == (0, 1)
    assert not list(recorded.folder.glob("*.json"))


def test_seconds_that_cannot_be_read_are_none(teacher: Network, tmp_path: Path) -> None:
    place = record(teacher, TEXTS, tmp_path).folder
    for content in ("", "[]", '{"seconds": "many"}'):
        (place / "unfinished.json").write_text(content)
        assert record(teacher, TEXTS, tmp_path).earlier == 0


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_damaged_shard_is_recorded_again(teacher: Network, tmp_path: Path, harm: str) -> None:
    whole = record(teacher, TEXTS, tmp_path)
    keys = split(TEXTS).keys
    expected = whole.take(whole.find(keys), keys)["outputs"].copy()
    shard = sorted(whole.folder.glob("*.npy"))[2]
    content = shard.read_bytes()
    if harm == "delete":
        shard.unlink()
    else:
        shard.write_bytes(content[:-10] if harm == "truncate" else content[:-1] + bytes([content[-1] ^ 1]))
    again = record(teacher, TEXTS, tmp_path)
    np.testing.assert_array_equal(again.take(again.find(keys), keys)["outputs"], expected)


def test_a_record_of_another_text_is_refused(teacher: Network, tmp_path: Path) -> None:
    recorded = record(teacher, TEXTS, tmp_path)
    keys = split(TEXTS).keys
    rows = recorded.find(keys)
    with pytest.raises(TutelageError, match="do not belong to these texts"):
        recorded.take(rows[[1]], keys[[0]])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_teacher_that_gives_no_finite_numbers_is_stopped(teacher: Network, tmp_path: Path, bad: float) -> None:
    with torch.no_grad():
        teacher.model.classifier.bias[0] = bad
    with pytest.raises(TrainingError, match="not finite for 16 texts"):
        record(teacher, TEXTS, tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_padding_and_company_change_nothing(teacher: Network) -> None:
    """A text gets the same outputs alone, among others, and among longer ones."""
    texts = [*TEXTS[:20], " ".join(TEXTS[:3])]
    together = teacher.outputs(teacher.tokenize(texts))
    alone = np.concatenate([teacher.outputs(teacher.tokenize([text])) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
