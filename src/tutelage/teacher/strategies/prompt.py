"""Vectors in front of every text learn, the model stays. Lester, Al-Rfou and Constant 2021, arXiv 2104.08691."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.artifacts import prompt
from tutelage.artifacts.averaging import averages
from tutelage.artifacts.prompt import Prompt
from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

VECTORS = 20


def _obstacle(model: Any) -> str:
    if averages(model.config):
        return "its last layer would average the vectors with a text's own tokens"
    missing = anatomy.missing_layers(model)
    return missing or ("" if prompt.fits(model) else f"prompts are for {', '.join(prompt.KNOWN)}")


def _prepare(model: Any, plan: Plan) -> Prepared:
    """The vectors begin as words of chance, which the paper found better than numbers of chance."""
    found = anatomy.found(model)
    random = torch.Generator().manual_seed(plan.seed)
    # Each as the first of a text of its own: all begin with the same position.
    words = torch.randint(int(model.config.vocab_size), (VECTORS, 1), generator=random)
    with torch.no_grad():
        begin = model.base_model.embeddings(words.to(model.device))[:, 0]
    prompt.attach(model, Prompt(begin))
    learning = [name for name, _ in model.named_parameters() if name.endswith(".prompt.vectors")]
    anatomy.train_only(model, [*learning, *found.above])
    return Prepared()


STRATEGY = Strategy(
    name="prompt",
    title="Prompt tuning",
    trains=f"{VECTORS} vectors in every text, behind its first token, and the head",
    reason="It adds the fewest weights of all: for large models, for it moves small ones little.",
    source="arXiv 2104.08691",
    merges="",
    obstacle=_obstacle,
    prepare=_prepare,
    in_front=VECTORS,
)
