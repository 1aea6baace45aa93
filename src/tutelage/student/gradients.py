"""How well a teacher suits a student, told by the student's gradients before it has learned anything: GRACE.

After Panigrahi et al. 2025 (arXiv 2511.02833). With h (d,) the gradient of the loss of one text, projected at random,
and the texts dealt into C folds,

    GRACE(D) = 1/C sum_i Tr((S(D_-i) + v/d I)^-1 C(D_i))

where C is the second moment of the gradients of one fold, and S that of the others' directions h / |h|. It is large
where gradients are large, for then there is much to change, and where they point to where those of other texts do not,
for then a step depends on which texts were drawn. The less, the better. Its variance is the same of gradients less
their mean; it bounds what learning from one text more can change. The norm is E |h|^2 (G-Norm there).

Of the paper: the formula, ten folds, random projection, and four gradients for each dimension. v is what its authors'
program takes. Ours, since there are no generated tokens here: the loss is that of the task's default way to follow
the teacher's outputs, scores or quantities (the paper takes the likelihood of texts that the teacher wrote, and weighs
gradients by the logarithm of their length); the projection is a sketch that adds every weight's gradient to one of d
numbers with a random sign (Weinberger et al. 2009, arXiv 0902.2206), which takes as long as reading the gradient; and
the student begins from each teacher in turn, so that what differs is more than what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tutelage.artifacts.corpus import Split, evenly
from tutelage.artifacts.network import Network, forward
from tutelage.recipe import StudentRecipe
from tutelage.student import balance, losses
from tutelage.student.linear import Array
from tutelage.training.lean import needed_positions, used_embeddings

_TEXTS = 512
_A_DIMENSION = 4  # texts for each number of a projection, so that the directions of the others fill the space
_FOLDS = 10
_SMOOTHING = 1e-3  # v, of a sum of eigenvalues that is 1


@dataclass(frozen=True)
class Spread:
    """How far apart gradients are; all three grow with the square of their scale."""

    grace: float
    variance: float
    """That part of it which is not the mean gradient."""
    norm: float


def spread(gradients: Array) -> Spread:
    """The figures of gradients (N, d), a row a text; N is two at least. The same for rotated gradients."""
    folds = np.arange(len(gradients)) % min(_FOLDS, len(gradients))
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    directions = gradients / np.maximum(lengths, np.finfo(np.float64).tiny)
    centred = gradients - gradients.mean(0)
    found = []
    for fold in range(folds.max() + 1):
        others = directions[folds != fold]
        moment = others.T @ others / len(others) + _SMOOTHING / gradients.shape[1] * np.eye(gradients.shape[1])
        # Tr(M^-1 H'H / n) is the mean square of the rows of H over the inverse root of M.
        root = np.linalg.cholesky(moment)
        both = (np.linalg.solve(root, rows[folds == fold].T) for rows in (gradients, centred))
        found.append([float(np.square(rows).sum(0).mean()) for rows in both])
    grace, variance = np.mean(found, axis=0)
    return Spread(float(grace), float(variance), float(np.square(lengths).mean()))


def measure(student: Network, teacher: Network, splits: Sequence[Split], *, seed: int) -> Spread:
    """The figures of a student that has not learned yet, on what a teacher says of 512 texts of `splits` at most."""
    texts = [text for part in evenly(splits, _TEXTS) for text in part.texts()]
    said = balance.spoken(student, teacher.outputs(teacher.tokenize(texts)))
    return spread(project(student, texts, said, dimensions=max(1, len(texts) // _A_DIMENSION), seed=seed))


def project(student: Network, texts: Sequence[str], said: torch.Tensor, *, dimensions: int, seed: int) -> Array:
    """Gradients (N, dimensions) of the loss of N texts by the student's weights that learn, projected at random.

    `said` (N, K) is what the teacher says of them, in training units. One text is computed at a time, without dropout.
    """
    compute = losses.choose(StudentRecipe().loss, student.task).compute
    unknown = torch.full((1,), torch.nan)
    found = np.empty((len(texts), dimensions))
    with (
        used_embeddings(student, [student.tokenize(texts)]) as (tokens,),
        needed_positions(student, tokens, dropout=0.0),
    ):
        student.model.eval()
        weights = [weight for weight in student.model.parameters() if weight.requires_grad]
        sketch = _Sketch(weights, dimensions, seed)
        for row in range(len(texts)):
            outputs, _ = forward(student.model, student.collate(tokens, np.array([row])))
            loss = compute(outputs, said[row : row + 1].to(outputs), unknown.to(outputs), 1.0).sum()
            found[row] = sketch(torch.autograd.grad(loss, weights, allow_unused=True))
    return found


class _Sketch:
    """Adds each of many numbers to one of a few, with a sign: lengths and angles stay, but for chance."""

    def __init__(self, weights: Sequence[nn.Parameter], dimensions: int, seed: int) -> None:
        chance = torch.Generator().manual_seed(seed)
        self.dimensions = dimensions
        self.places = [torch.randint(dimensions, (weight.numel(),), generator=chance) for weight in weights]
        self.signs = [2.0 * torch.randint(2, (weight.numel(),), generator=chance) - 1 for weight in weights]

    def __call__(self, gradients: Sequence[torch.Tensor | None]) -> Array:
        total = torch.zeros(self.dimensions)
        for gradient, places, signs in zip(gradients, self.places, self.signs, strict=True):
            if gradient is not None:
                total.index_add_(0, places, gradient.detach().float().cpu().flatten() * signs)
        return total.double().numpy()
