"""Pairs of texts first, then a linear head: SetFit. Tunstall et al. 2022, arXiv 2209.11055.

From N labels many more pairs can be made: two texts of one class should point the same way (cosine 1), two of
different classes should be at right angles (cosine 0). What is compared is exactly what the classifier reads, so that
the logistic regression, fitted to it afterwards, is the classifier: its weights are written into the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.batch import Batch, by_length
from tutelage.artifacts.network import TOKENS_AT_ONCE, Network, full, run
from tutelage.artifacts.tokens import Tokens
from tutelage.errors import DataError, ModelError
from tutelage.teacher.strategies.base import History, Plan, Prepared, Strategy, Study
from tutelage.training import supervised
from tutelage.training.head import has_bias, last_linear
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Loss, Work, train

PAIRS = 800
"""Pairs in an epoch, half of them of one class; more epochs compare more."""
# Padded tokens that go through the model at once: the texts of a batch differ in length.
_TOKENS_AT_ONCE = 512


def pairs(labels: NDArray[np.int64], *, count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row numbers (count, 2), a function of labels, seed and epoch alone: in turns of one class and of two.

    The first of each pair comes from every class equally often over the epochs and, within it, from every text.
    """
    random = np.random.default_rng([seed, epoch])
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    order = [np.empty(0, dtype=np.int64) for _ in members]
    found = np.empty((count, 2), dtype=np.int64)
    for number in range(count):
        mine = (epoch * (count // 2) + number // 2) % len(members)
        if not len(order[mine]):
            order[mine] = random.permutation(members[mine])
        first, order[mine] = order[mine][0], order[mine][1:]
        if number % 2 == 0:
            others = members[mine][members[mine] != first]
        else:
            others = members[(mine + 1 + random.integers(len(members) - 1)) % len(members)]
        found[number] = first, random.choice(others)
    return found


def read_by_head(model: Any, batch: Batch, width: int) -> torch.Tensor:
    """What the classifier with `width` outputs is given for a batch (B, D); windows of one text are averaged."""
    seen: list[torch.Tensor] = []
    hook = last_linear(model, width).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        run(model, batch, states=False)
    finally:
        hook.remove()
    return batch.pool(full(seen[0]))


def _obstacle(model: Any) -> str:
    width = int(model.config.num_labels)
    # A T5 reads its head at the end of the text; a configuration may name one that its vocabulary does not have.
    end = int(getattr(model.config, "eos_token_id", None) or 0)
    ids = torch.full((2, 1), end if end < model.config.vocab_size else 0, device=model.device)
    try:
        with torch.inference_mode():
            seen = read_by_head(model, Batch(ids, torch.ones_like(ids), None, 2), width)
    except (ModelError, IndexError):
        return "its classifier is no linear layer at the end"
    return "" if seen.ndim == 2 else "its classifier reads every token, and a text has no vector of its own"


def _prepare(model: Any, plan: Plan) -> Prepared:  # noqa: ARG001 - siblings use it
    labels, counts = np.unique(plan.targets, return_counts=True)
    few = [plan.task.show_target(label) for label in range(plan.task.width) if counts[labels == label].sum() < 2]
    if few:
        raise DataError(
            f"`teacher.strategy: few-shot` was given, and fewer than two training texts are of: {', '.join(few[:5])}",
            expected="at least two texts of every class, so that there is a pair",
            cure="label more texts of these classes, or choose another `teacher.strategy`",
        )
    return Prepared()


def _learn(study: Study) -> History:
    network, settings, split = study.network, study.settings, study.train
    # Of several data sets, what the first epoch draws, as linear models do.
    split = split.take(split.epoch(0)) if split.mixture else split
    tokens = network.tokenize(split.texts())
    labels = split.targets.astype(np.int64)
    epochs = range(settings.epochs)
    table = np.concatenate([pairs(labels, count=PAIRS, seed=study.seed, epoch=epoch) for epoch in epochs])
    name = supervised.fingerprint(network, settings, study.seed, split.fingerprint)

    def plan(epoch: int) -> list[NDArray[np.int64]]:
        begins = range(PAIRS * epoch, PAIRS * (epoch + 1), settings.batch_size)
        return [np.arange(at, min(at + settings.batch_size, begins.stop)) for at in begins]

    with (
        used_embeddings(network, [tokens]) as (used,),
        needed_positions(network, used, dropout=settings.dropout),
    ):
        loss = _loss(network, used, table, labels)
        work = Work("Comparing pairs of texts", storage.fingerprint_of(name, PAIRS), plan, loss)
        state = train(network.model, work, settings, seed=study.seed, folder=study.folder, progress=study.progress)
    with study.progress.bar("Fitting the head", len(split)) as bar:
        _fit_head(network, _vectors(network, tokens, bar.advance), labels, settings.class_weights)
    supervised.finish(network, study.validation)
    last = {**state.history[-1], "score": supervised.score(network, study.validation)}
    return [*state.history[:-1], last]


def _loss(network: Network, tokens: Tokens, table: NDArray[np.int64], labels: NDArray[np.int64]) -> Loss:
    """Squared distance of each pair's cosine from 1 or 0; every text of a batch is read once."""

    def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
        del done
        texts, places = np.unique(table[rows], return_inverse=True)
        parts = by_length(tokens.lengths[texts], tokens=_TOKENS_AT_ONCE)
        read = [read_by_head(model, network.collate(tokens, texts[part]), network.task.width) for part in parts]
        back = np.argsort(np.concatenate(parts))
        vectors = F.normalize(torch.cat(read)[torch.from_numpy(back).to(read[0].device)], dim=1)
        one, other = vectors[places.reshape(-1, 2)].unbind(1)
        same = labels[table[rows, 0]] == labels[table[rows, 1]]
        return ((one * other).sum(1) - torch.from_numpy(same).to(one)).square().sum()

    return loss


def _vectors(network: Network, tokens: Tokens, advance: Callable[[int], None]) -> NDArray[np.float64]:
    """What the classifier reads of every text (N, D)."""
    found = np.empty((len(tokens), last_linear(network.model, network.task.width).in_features))
    network.model.eval()
    for rows in by_length(tokens.lengths, tokens=TOKENS_AT_ONCE):
        with torch.inference_mode():
            found[rows] = read_by_head(network.model, network.collate(tokens, rows), network.task.width).cpu().numpy()
        advance(len(rows))
    return found


def _fit_head(network: Network, vectors: NDArray[np.float64], labels: NDArray[np.int64], weights: str | None) -> None:
    """Make the classifier the logistic regression of some vectors (N, D), as scikit-learn fits it by default."""
    from sklearn.linear_model import LogisticRegression

    model, width = network.model, network.task.width
    bias = has_bias(model, width)
    fitted = LogisticRegression(max_iter=1000, class_weight=weights, fit_intercept=bias).fit(vectors, labels)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(coefficients) == 1:
        # One score for the second of two classes; a softmax over half of it, with both signs, says the same.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    head = last_linear(model, width)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(coefficients))
        if bias:
            head.bias.copy_(torch.from_numpy(intercepts))


def _reads(rows: int, batch_size: int) -> int:
    return min(rows, 2 * batch_size) * -(-PAIRS // batch_size)


STRATEGY = Strategy(
    name="few-shot",
    title="Comparing pairs",
    trains="all weights, from pairs of texts of one class or of two; then a logistic regression becomes the head",
    reason="It makes the most of a few dozen labels: from each it learns many times, in pairs.",
    source="arXiv 2209.11055",
    merges="",
    obstacle=_obstacle,
    prepare=_prepare,
    learn=_learn,
    reads=_reads,
    only_classes=True,
    averages=True,
)
