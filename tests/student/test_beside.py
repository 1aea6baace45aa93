"""What speaks beside a teacher never repeats a label, helps where words decide, and stays away where they do not."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from splits import split
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.artifacts.voice import Beside
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.student import beside, linear, widen
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load, signals

LABELS = TextClassification(("negative", "positive"))
FILLERS = ("the film", "this plot", "her acting", "the music", "his voice", "an ending")
PHRASES = {"is good": 1.0, "is not good": 0.0, "is bad": 0.0, "is not bad": 1.0}
TEXTS = [f"{a} {phrase} and {b}" for a, b in itertools.permutations(FILLERS, 2) for phrase in PHRASES]
TARGETS = np.array([PHRASES[phrase] for _ in itertools.permutations(FILLERS, 2) for phrase in PHRASES])


def network_of(bert: Path, task: Task = LABELS) -> Network:
    """An untrained network: it knows nothing of the task."""
    torch.manual_seed(0)
    return load.load(str(bert), task, Reading(48))[0]


def halves(targets: np.ndarray) -> tuple[Split, Split]:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    parts = [([TEXTS[i] for i in some], targets[some].tolist()) for some in (order[40:], order[:40])]
    return split(*parts[0]), split(*parts[1], "validation")


def chosen(network: Network, targets: np.ndarray, **given: object) -> tuple[Beside | None, dict, Split, Split]:
    train, validation = halves(targets)
    settings = {"wanted": "auto", "seed": 0, "progress": Silent(), **given}
    voice, choice = beside.choose(network, train, validation, **settings)  # type: ignore[arg-type]
    return voice, choice, train, validation


def spoken(voice: Beside, network: Network, rows: Split) -> np.ndarray:
    tokens = network.tokenize(rows.texts())
    return voice.said(rows.texts(), rows.keys, tokens, network.outputs(tokens))


def test_both_together_have_the_loss_that_they_were_taken_for(bert: Path, tmp_path: Path) -> None:
    network = network_of(bert)
    voice, choice, _, validation = chosen(network, TARGETS)
    assert voice is not None
    voice.save(tmp_path / "beside")
    answers = LABELS.predict(spoken(Beside.load(tmp_path / "beside"), network, validation))
    loss = -np.log(answers[np.arange(len(validation)), validation.targets.astype(int)]).mean()
    assert loss == pytest.approx(choice["figures"]["loss_with"], abs=1e-4)
    assert loss < choice["figures"]["loss_without"] - 0.1
    assert choice["what"] == "linear part beside the teacher"


def test_no_row_hears_its_own_label(bert: Path) -> None:
    """A label that is turned round changes what is said of other texts, and nothing of its own."""
    network, (train, _) = network_of(bert), halves(TARGETS)
    turned = train.targets.copy()
    turned[7] = 1 - turned[7]
    nothing = np.zeros(40)
    mix = widen.Mix("labels", np.zeros((1, 2)), np.zeros(2), 0.1, 0.5, 1.0, nothing, 0.0)
    trial = widen.Trial(mix, mix, np.ones(1), 2)
    rows = linear.read(network, network.tokenize(train.texts()))
    before, after = (
        beside._held_out(network, split(train.texts(), targets), rows, trial, seed=0, progress=Silent())
        for targets in (train.targets.tolist(), turned.tolist())
    )
    own = beside.folds(train.keys, seed=0) == beside.folds(train.keys, seed=0)[7]
    np.testing.assert_array_equal(after[own], before[own])
    assert (np.abs(after - before).max(axis=1)[~own] > 0).all()


def test_equal_texts_share_a_fold_whatever_stands_beside_them() -> None:
    keys = split([*TEXTS, *TEXTS[:30]]).keys
    fold = beside.folds(keys, seed=3)
    np.testing.assert_array_equal(fold[len(TEXTS) :], fold[:30])
    assert set(np.bincount(fold[: len(TEXTS)]).tolist()) == {len(TEXTS) // beside.FOLDS}
    assert (fold != beside.folds(keys, seed=4)).any()


def test_what_it_has_learned_is_answered_by_others_and_the_rest_by_itself(bert: Path) -> None:
    network = network_of(bert)
    voice, _, train, validation = chosen(network, TARGETS)
    assert voice is not None
    stranger = Beside("", voice.table, voice.bias, voice.deep, voice.buckets, 0 * voice.keys[:1], voice.answers[:1])
    ours, plain = (spoken(one, network, train) for one in (voice, stranger))
    assert (np.abs(ours - plain).max(axis=1) > 1e-3).all()
    assert LABELS.predict(plain).max() > LABELS.predict(ours).max()  # of its own rows it would be too sure
    np.testing.assert_array_equal(spoken(voice, network, validation), spoken(stranger, network, validation))


def test_noise_is_left_alone_unless_asked_for(bert: Path) -> None:
    network = network_of(bert)
    noise = np.random.default_rng(0).integers(0, 2, len(TEXTS)).astype(float)
    with torch.no_grad():
        network.model.classifier.weight.zero_()
    voice, choice, _, _ = chosen(network, noise)
    assert voice is None
    assert choice["taken"] == "none"
    assert chosen(network, noise, wanted=True)[0] is not None


def test_it_speaks_beside_whatever_answered_validation(bert: Path) -> None:
    """Beside somebody who knows every answer there is nothing to add."""
    _, validation = halves(TARGETS)
    sure = 12 * np.stack([1 - validation.targets, validation.targets], axis=1)
    assert chosen(network_of(bert), TARGETS, deep=sure)[0] is None


def test_quantities_come_in_the_user_s_unit(bert: Path) -> None:
    prices = 250_000 * (1 + TARGETS)
    network = network_of(bert, TextRegression.fit(prices.tolist()))
    voice, _, train, validation = chosen(network, prices, wanted=True)
    assert voice is not None
    for rows in (train, validation):
        assert np.abs(spoken(voice, network, rows)[:, 0] - rows.targets).max() < 0.6 * 250_000


def test_what_is_recorded_is_what_is_said_and_layers_stay_the_teacher_s(bert: Path, tmp_path: Path) -> None:
    network = network_of(bert)
    voice, _, train, validation = chosen(network, TARGETS)
    assert voice is not None
    wanted, both = Recording(2, (4,), 32), [train, validation]
    plain, mixed = (
        signals.record(network, both, wanted, folder=tmp_path / str(n), progress=Silent(), voices=voices)
        for n, voices in enumerate(([], [voice]))
    )
    assert plain.folder.name != mixed.folder.name
    for rows in both:
        said = mixed.take(mixed.find(rows.keys), rows.keys)
        np.testing.assert_allclose(said["outputs"], spoken(voice, network, rows), atol=1e-4)
        np.testing.assert_array_equal(said["hidden"], plain.take(plain.find(rows.keys), rows.keys)["hidden"])
