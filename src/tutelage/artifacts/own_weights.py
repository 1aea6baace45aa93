"""Folders of models with a part that `transformers` does not know: all weights are in a file of that part's own.

`from_pretrained` then finds no weights and says so. With a `model.safetensors` it would leave the part out without a
word, and the rest alone would answer, wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class OwnWeights:
    """How models with one kind of part are kept."""

    file: str
    what: str
    """Such a model, in a phrase."""
    told: Callable[[Any], dict[str, str] | None]
    """What a file says of a model's part besides its weights; None where a model has none."""
    attach: Callable[[Any, Mapping[str, torch.Tensor], Mapping[str, str]], None]
    """Give a model such a part, with weights of any kind: (model, all weights of the file, what it says)."""

    def save(self, model: Any, folder: Path) -> bool:
        """Write configuration and weights of a model that has the part; tells whether it has."""
        from safetensors.torch import save_file

        said = self.told(model)
        if said is None:
            return False
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        weights = {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}
        save_file(weights, folder / self.file, metadata=said)
        return True

    def load(self, folder: Path, auto: Any) -> Any | None:
        """What `save` wrote, as a model of an Auto class of `transformers`; None where a folder holds another."""
        import transformers
        from safetensors import safe_open

        if not self.there(folder):
            return None
        model = auto.from_config(transformers.AutoConfig.from_pretrained(folder, local_files_only=True)).float()
        with safe_open(folder / self.file, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            said = file.metadata()
        self.attach(model, weights, said)
        model.load_state_dict(weights)
        return model

    def there(self, folder: Path) -> bool:
        """Whether a folder holds a model with the part."""
        return (folder / self.file).is_file()
