"""A batch's way through a model, to be taken as often as a regulariser wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import nn

from tutelage.artifacts.batch import Batch
from tutelage.artifacts.network import Network
from tutelage.errors import ModelError

Answer = Any
"""What a model says of a batch; only whoever asked it knows the form."""


@dataclass(frozen=True)
class Turn:
    """B rows of a batch, as S sequences of T tokens."""

    network: Network
    batch: Batch
    answer: Callable[[], Answer]
    """One pass forward; each draws its own dropout."""
    judge: Callable[[Answer], torch.Tensor]
    """Sum of the losses of all rows, a scalar."""
    outputs: Callable[[Answer], torch.Tensor] = itemgetter(0)
    """The outputs (B, K) of an answer; `forward` gives them first."""

    @property
    def mask(self) -> torch.Tensor:
        """(S, T, 1), 1 on real tokens."""
        return self.batch.attention_mask.unsqueeze(-1)

    def once(self) -> torch.Tensor:
        """The loss of one pass: what there is without any regulariser."""
        return self.judge(self.answer())

    @contextmanager
    def shifted(self, shift: torch.Tensor | None = None) -> Iterator[list[torch.Tensor]]:
        """Within the context embedded tokens (S, T, D) are moved by `shift`; no weight is touched.

        Yields a list that holds, after a pass, the embedded tokens as the model read them: what has a gradient even
        where embeddings are frozen. Raises `ModelError` when the model did not ask its embeddings.
        """
        seen: list[torch.Tensor] = []

        def move(module: nn.Module, given: object, embedded: torch.Tensor) -> torch.Tensor | None:
            del module, given
            # The decoder of an encoder-decoder reads the same text from the same table again.
            if seen:
                return None
            moved = embedded if shift is None else embedded + shift
            seen.append(moved if moved.requires_grad else moved.detach().requires_grad_())
            return seen[0]

        hooks = [table.register_forward_hook(move) for table in self._tables()]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise ModelError(
                f"{type(self.network.model).__name__} does not read its texts through its input embeddings",
                expected="a model whose embedded tokens can be moved",
                cure="leave out `fgm` and `freelb`",
            )

    def _tables(self) -> list[nn.Module]:
        """The input embeddings, under every name that the model has for them."""
        model = self.network.model
        first = model.get_input_embeddings()
        others = (m for m in model.modules() if isinstance(m, nn.Embedding) and m.weight is first.weight)
        return [first, *(module for module in others if module is not first)]

    def uphill(self, loss: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
        """(S, T, D): the direction in which a loss rises most, of length 1 for each sequence, 0 where it is flat.

        No loss reads padding, so that nothing moves there.
        """
        slope: torch.Tensor = torch.autograd.grad(loss, seen[0], retain_graph=True)[0]
        return slope / length(slope).clamp_min(torch.finfo(slope.dtype).tiny)


def length(moves: torch.Tensor) -> torch.Tensor:
    """The Euclidean length of what each sequence is moved by, (S, T, D) -> (S, 1, 1)."""
    found: torch.Tensor = torch.linalg.vector_norm(moves, dim=(1, 2), keepdim=True)
    return found
