"""Sure rows get the wide part's answer, all others the whole student's, whatever batch they come in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage import session
from tutelage.artifacts.network import Network
from tutelage.artifacts.wide import Wide
from tutelage.bundle.onnx_file import has_external_data
from tutelage.compress import cascade, graph
from tutelage.compress.cascade import Gate
from tutelage.compress.compare import Judge
from tutelage.compress.export import Export, export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import CompressRecipe
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load

TASK = TextClassification(("negative", "positive"))
REVIEWS = tiny_models.reviews()[:160]
TEXTS = [row["text"] for row in REVIEWS]


def student(bert: Path, task: Task = TASK, *, wide: bool = True) -> Network:
    """Layers and a wide part that disagree often."""
    torch.manual_seed(0)
    network = load.load(str(bert), task, Reading(48))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(50)
    table = torch.randn(network.model.config.vocab_size + 256, task.width) * 2
    return replace(network, wide=Wide(table, torch.zeros(task.width), deep=0.7, buckets=256)) if wide else network


def judge_of(network: Network, targets: np.ndarray | None = None) -> Judge:
    tokens = network.tokenize(TEXTS)
    return Judge(network, tokens, np.zeros(len(TEXTS)) if targets is None else targets, 1)


@pytest.fixture(scope="module")
def written(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path, Path, Gate]:
    """A student, its whole graph and its cascade, with a gate that lets through about half."""
    network, folder = student(bert), tmp_path_factory.mktemp("cascade")
    export(network, folder / "whole.onnx", texts=TEXTS[:8])
    scores = cascade._scores(network, network.tokenize(TEXTS))
    assert scores is not None
    sure = TASK.confidence(torch.from_numpy(scores / 1.5)).numpy()
    gate = Gate(float(np.median(sure)) + 1e-4, 1.5, 0.5, 0.0)
    cascade.write(network, folder / "whole.onnx", gate, folder / "cascade.onnx")
    return network, folder / "whole.onnx", folder / "cascade.onnx", gate


def test_each_row_is_answered_by_whom_it_should(written: tuple[Network, Path, Path, Gate]) -> None:
    network, whole, file, gate = written
    tokens = network.tokenize(TEXTS)
    alone = cascade._scores(network, tokens) / gate.temperature  # type: ignore[operator]
    sure = TASK.confidence(torch.from_numpy(alone)).numpy() >= gate.threshold
    assert 0.3 < sure.mean() < 0.7
    expected = np.where(sure[:, None], alone, outputs(whole, network, tokens))
    np.testing.assert_allclose(outputs(file, network, tokens), expected, atol=1e-4)


def test_batches_of_one_of_sure_and_of_unsure_rows_answer_alike(written: tuple[Network, Path, Path, Gate]) -> None:
    network, _, file, gate = written
    tokens = network.tokenize(TEXTS)
    alone = cascade._scores(network, tokens) / gate.temperature  # type: ignore[operator]
    sure = TASK.confidence(torch.from_numpy(alone)).numpy() >= gate.threshold
    together, running = outputs(file, network, tokens), session.start(str(file), threads=1)
    for rows in (np.flatnonzero(sure)[:9], np.flatnonzero(~sure)[:9], np.array([0]), np.array([1]), np.arange(33)):
        batch = network.collate(tokens, rows)
        feed = {"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()}
        np.testing.assert_allclose(running.run(None, feed)[0], together[rows], atol=1e-4)


def test_the_file_stands_alone_and_leaves_no_other(written: tuple[Network, Path, Path, Gate]) -> None:
    _, whole, file, _ = written
    assert {entry.name for entry in file.parent.iterdir()} == {whole.name, file.name}
    assert not has_external_data(file.read_bytes())


def test_the_table_is_in_the_file_once(written: tuple[Network, Path, Path, Gate]) -> None:
    network, _, file, _ = written
    assert network.wide is not None
    table = network.wide.table.numpy().tobytes()
    assert file.read_bytes().count(table) == 1


def test_rows_answered_alone_are_calibrated_whatever_the_wide_part_s_scale(written: tuple) -> None:  # type: ignore[type-arg]
    random = np.random.default_rng(0)
    right = random.integers(0, 2, 4000)
    margin = np.where(random.random(4000) < 0.8, 1.0, -1.0) * np.where(right == 1, 1, -1)
    scores = np.stack([-margin, margin], axis=1).astype(np.float32)
    for scale in (1e-3, 1.0, 1e3):
        temperature = cascade._temperature(TASK, scores * np.float32(scale), right.astype(float))
        assert TASK.predict(scores * scale / temperature).max(1).mean() == pytest.approx(0.8, abs=0.02)


def test_windows_have_no_gate(bert: Path, tmp_path: Path) -> None:
    network = replace(student(bert), reading=Reading(16, "window", 4))
    given = Judge(network, network.tokenize([" ".join(TEXTS[:5])]), np.zeros(1), 1)
    assert cascade.gate(given, tmp_path / "never.onnx", allowed=1.0) is None


def test_the_gate_costs_no_more_than_allowed(written: tuple[Network, Path, Path, Gate]) -> None:
    network, whole, _, _ = written
    said = outputs(whole, network, network.tokenize(TEXTS)).argmax(1).astype(float)
    judge = judge_of(network, said)  # the whole student is always right: every other answer costs
    shares = {}
    for allowed in (0.0, 0.05, 0.6):
        found = cascade.gate(judge, whole, allowed=allowed)
        shares[allowed] = 0.0 if found is None else found.share
        assert found is None or found.cost <= allowed + 1e-9
    assert shares[0.0] < shares[0.05] < shares[0.6] == 1.0


def test_no_wide_part_or_no_confidence_makes_no_cascade(bert: Path, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole.onnx", tmp_path / "cascade.onnx"
    for network in (student(bert, wide=False), student(bert, TextRegression.fit([1.0, 2.0, 3.5]))):
        assert cascade.choose(whole, file, judge_of(network), CompressRecipe()) == (whole, [])
    given = judge_of(student(bert))
    assert cascade.choose(whole, file, given, CompressRecipe(cascade=False)) == (whole, [])


@pytest.mark.parametrize(("ratio", "taken"), [(1.05, "none"), (2.0, "the wide part alone")])
def test_it_is_taken_only_when_measured_faster(
    written: tuple[Network, Path, Path, Gate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    taken: str,
) -> None:
    monkeypatch.setattr(Judge, "speed_ratio", lambda *_: ratio)
    exported = Export(tmp_path / "fp32.onnx", 0.0, first_token_only=True)
    network, whole, _, _ = written
    monkeypatch.setattr(graph, "export", lambda *_, **__: shutil.copy(whole, exported.file) and exported)
    labels = [float(row["label"] == "positive") for row in REVIEWS]
    made = graph.make(
        network,
        split(TEXTS, labels),
        CompressRecipe(cascade_loss=0.6),
        folder=tmp_path,
        threads=1,
        progress=Silent(),
    )
    assert made.choices[-1]["what"] == "cascade"
    assert made.choices[-1]["taken"].startswith(taken)
    assert (made.file == "cascade.onnx") == (taken != "none")
