"""The weights after every epoch, as they were judged: each may be what a training leaves, not only the best.

A finished training is asked again, with an epoch named: nothing is learned, and that epoch's weights are left in the
model, from where everything that follows a training goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_model, save_model
from torch import nn

from tutelage import storage

_FILE = "model.safetensors"


@dataclass(frozen=True)
class Epochs:
    """Where they are, and which of them is wanted."""

    folder: Path
    wanted: int | None = None
    """From 1; None: the best."""

    def keep(self, epoch: int, model: nn.Module) -> None:
        """Write the weights of an epoch, from 1, whole or not at all."""
        with storage.whole_folder(self._of(epoch)) as partial:
            save_model(model, str(partial / _FILE))

    def load(self, model: nn.Module) -> None:
        """Put the weights of the epoch that is wanted, if any, into a model."""
        if self.wanted is not None:
            load_model(model, str(self._of(self.wanted) / _FILE))

    def _of(self, epoch: int) -> Path:
        return self.folder / f"{epoch:04d}"
