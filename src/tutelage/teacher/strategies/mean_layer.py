"""One more layer, of weights that are set and not learned, by which a head at the first token reads the mean of all.

The head of the BERT family reads the first token. Where nobody trained that token to stand for the text (MLM alone, or
sentence encoders that average), the mean of all tokens says far more of it, but no configuration of the family asks
for a mean. A layer can take one: with queries of zero every token is attended to alike, and with values and output of
the identity the mean arrives at the first token. Its own state, which the residual adds, is outweighed by `_WEIGHT`.
The feed-forward block adds nothing, both normalisations are neutral. What arrives is the mean, centred and of variance
1, within 1 / `_WEIGHT`; the folder stays one that `from_pretrained` loads.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from tutelage.artifacts.averaging import averages, mark

# The mean's weight against the first token's own state. 30 and 1000 gave the same scores (docs/decisions/0009).
_WEIGHT = 30.0
# Of the matrix between that layer and the classifier: the tanh behind it is nearly a line for values of variance 1.
_SLOPE = 0.3
KNOWN = ("bert", "roberta", "xlm-roberta", "camembert")


def fits(model: Any) -> bool:
    """Whether the architecture can have such a layer."""
    return model.config.model_type in KNOWN and len(_stacks(model)) == 1


def add(model: Any, *, fitted: bool = False) -> None:
    """Put the layer on top, in place, unless it is there: then a `fitted` head was learned through it and stays."""
    there = averages(model.config)
    if there and fitted:
        return
    with torch.no_grad():
        if not there:
            ((_, layers),) = _stacks(model)
            layers.append(_averaging(copy.deepcopy(layers[-1])))
            model.config.num_hidden_layers = len(layers)
            mark(model.config, True)
        for matrix in _between(model):
            _be(matrix, _SLOPE)


def freeze(model: Any) -> None:
    """Keep the layer, where there is one, from learning."""
    if averages(model.config):
        ((_, layers),) = _stacks(model)
        layers[-1].requires_grad_(False)


def _averaging(layer: Any) -> nn.Module:
    attention = layer.attention
    _be(attention.self.query, 0.0)
    for matrix in (attention.self.value, attention.output.dense):
        _be(matrix, math.sqrt(_WEIGHT))
    _be(layer.output.dense, 0.0)
    for norm in (attention.output.LayerNorm, layer.output.LayerNorm):
        norm.weight.fill_(1.0)
        norm.bias.zero_()
    found: nn.Module = layer
    return found


def _be(matrix: nn.Linear, factor: float) -> None:
    """Make a matrix a multiple of the identity, and its bias nothing."""
    matrix.weight.zero_()
    if factor:
        matrix.weight.fill_diagonal_(factor)
    matrix.bias.zero_()


def _between(model: Any) -> list[nn.Linear]:
    """What stands between the last layer and the classifier: the pooler, or the head's own first matrix."""
    width = model.config.hidden_size
    ((name, _),) = _stacks(model)
    return [
        module
        for other, module in model.named_modules()
        if isinstance(module, nn.Linear) and not other.startswith(f"{name}.")
        if (module.in_features, module.out_features) == (width, width)
    ]


def _stacks(model: Any) -> list[tuple[str, nn.ModuleList]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and name.endswith("encoder.layer")
    ]
