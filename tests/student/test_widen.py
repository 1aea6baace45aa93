"""A wide part helps where words decide, stays away where it does not, and answers in the user's unit."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from splits import split
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.progress import Silent
from tutelage.student import linear, widen
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load

LABELS = TextClassification(("negative", "positive"))
# What decides is the pair: "not good" and "good", "not bad" and "bad".
FILLERS = ("the film", "this plot", "her acting", "the music", "his voice", "an ending", "the cast", "a scene")
PHRASES = {"is good": 1.0, "is not good": 0.0, "is bad": 0.0, "is not bad": 1.0}
TEXTS = [f"{a} {phrase} and {b}" for a, b in itertools.permutations(FILLERS, 2) for phrase in PHRASES]
TARGETS = [PHRASES[phrase] for _ in itertools.permutations(FILLERS, 2) for phrase in PHRASES]


def network_of(bert: Path, task: Task = LABELS) -> Network:
    """An untrained network: it knows nothing of the task."""
    return load.load(str(bert), task, Reading(48))[0]


def halves(targets: list[float]) -> tuple[Split, Split]:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    parts = [([TEXTS[i] for i in some], [targets[i] for i in some]) for some in (order[60:], order[:60])]
    return split(*parts[0]), split(*parts[1], "validation")


def widened(network: Network, targets: list[float], **settings: object) -> tuple[Network, dict, Split]:
    train, validation = halves(targets)
    given = {"wanted": "auto", "progress": Silent(), **settings}
    wide, choice = widen.widen(network, network.tokenize(train.texts()), train.targets, validation, **given)  # type: ignore[arg-type]
    return wide, choice or {}, validation


def test_pairs_of_words_are_learned_beside_a_network_that_knows_nothing(bert: Path) -> None:
    network = network_of(bert)
    wide, choice, validation = widened(network, TARGETS)
    answers = wide.outputs(wide.tokenize(validation.texts())).argmax(1)
    assert (answers == validation.targets).mean() == 1.0
    assert choice["figures"]["score_with"] == 1.0
    assert choice["figures"]["loss_with"] < choice["figures"]["loss_without"]
    assert network.wide is None


def test_what_is_judged_is_what_is_kept(bert: Path, tmp_path: Path) -> None:
    """Half precision, share and temperature folded in: the saved network has the loss that it was chosen for."""
    wide, choice, validation = widened(network_of(bert), TARGETS)
    wide.save(tmp_path / "student")
    again = Network.load(tmp_path / "student", LABELS, Reading(48))
    probabilities = again.predictions(validation.texts())
    loss = -np.log(probabilities[np.arange(len(validation)), validation.targets.astype(int)]).mean()
    assert loss == pytest.approx(choice["figures"]["loss_with"], abs=2e-3)


def test_noise_is_left_alone_unless_asked_for(bert: Path) -> None:
    network = network_of(bert)
    noise = np.random.default_rng(0).integers(0, 2, len(TEXTS)).astype(float).tolist()
    with torch.no_grad():
        network.model.classifier.weight.zero_()  # always undecided: nothing better can be said of noise
    same, choice, _ = widened(network, noise)
    assert same.wide is None
    assert choice["taken"] == "none"
    forced, _, _ = widened(network, noise, wanted=True)
    assert forced.wide is not None
    untouched, nothing, _ = widened(network, TARGETS, wanted=False)
    assert untouched is network
    assert nothing == {}


@pytest.mark.parametrize("unit", [1.0, 250_000.0])
def test_quantities_come_in_the_user_s_unit(bert: Path, unit: float) -> None:
    """The table is kept in half precision, which ends at 65,504: prices must not overflow it."""
    targets = [unit * (1 + target) for target in TARGETS]
    task = TextRegression.fit(targets)
    wide, _, validation = widened(network_of(bert, task), targets, wanted=True)
    values = wide.predictions(validation.texts())
    assert np.abs(values - validation.targets).max() < 0.4 * unit


def test_without_labels_the_teacher_is_followed(bert: Path) -> None:
    train, validation = halves(TARGETS)
    network = network_of(bert)
    unlabelled = np.full(len(train), np.nan)
    sure = np.stack([1 - train.targets, train.targets], axis=1) * 8
    wide, choice = widen.widen(
        network,
        network.tokenize(train.texts()),
        unlabelled,
        validation,
        said=lambda rows: sure[rows],
        wanted="auto",
        progress=Silent(),
    )
    assert choice is not None
    assert "teacher" in choice["taken"]
    assert (wide.outputs(wide.tokenize(validation.texts())).argmax(1) == validation.targets).all()


def test_the_fit_is_that_of_logistic_regression() -> None:
    from scipy.sparse import random as sparse

    rows = sparse(120, 30, density=0.2, format="csr", random_state=0)
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, 120))

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, labels, reduction="none")

    weights, bias = linear.fit(rows, loss, 3, 2.0)
    expected = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(rows, labels.numpy())
    mine, theirs = rows @ weights + bias, expected.decision_function(rows)
    # The same up to a constant for each row.
    np.testing.assert_allclose(mine - mine.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=2e-3)


def test_a_table_that_would_outgrow_the_student_is_left_out_and_said_so(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widen, "_LARGEST_TABLE", 1000)
    network = network_of(bert)
    same, choice, _ = widened(network, TARGETS)
    assert same is network
    assert "outgrow" in choice["why"]
    forced, _, _ = widened(network, TARGETS, wanted=True)
    assert forced.wide is not None


def test_a_student_with_a_wide_part_is_no_teacher(bert: Path, tmp_path: Path) -> None:
    wide, _, _ = widened(network_of(bert), TARGETS)
    wide.save(tmp_path / "student")
    with pytest.raises(ModelError, match="cannot teach"):
        load.load(str(tmp_path / "student"), LABELS, Reading(48))


def test_many_classes_make_fewer_buckets_and_never_none() -> None:
    sizes = {outputs: linear.buckets(outputs) for outputs in (1, 2, 8, 77, 5000)}
    assert sizes[1] == sizes[2] == sizes[8] == 2**17
    assert sizes[77] == 2**13
    assert sizes[5000] == 2**10
