"""Checkpoints that are whole, verified, and free of pickle.

A checkpoint is a sealed folder (see `storage.whole_folder`): weights and optimizer state as safetensors, the rest as
JSON. The newest one that verifies is resumed from; an older one is deleted only after a newer one was read back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from tutelage import storage
from tutelage.errors import StorageError

_STEP = "step-"
_BEST = "best-"
_MORE = "regime.safetensors"
_KEEP = 2


@dataclass
class State:
    """Where a training stands; JSON-serialisable."""

    fingerprint: str
    epoch: int = 0
    step: int = 0
    """Optimizer steps done, over all epochs."""
    parts: int = 1
    """Pieces each batch is cut into so that it fits into memory."""
    best_score: float | None = None
    best_step: int | None = None
    since_best: int = 0
    finished: bool = False
    skipped: int = 0
    running: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Sum of losses and number of targets so far in this epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)
    """What the training took, in all processes that worked on it."""


def save(
    folder: Path,
    state: State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    more: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the checkpoint of this step, read it back, then drop all but the newest two.

    `more` is whatever else the training goes by, given back by `resume`.
    """
    goal = folder / f"{_STEP}{state.step:09d}"
    with storage.whole_folder(goal) as partial:
        save_model(model, str(partial / "model.safetensors"))
        save_file(_optimizer_tensors(optimizer), str(partial / "optimizer.safetensors"))
        if more:
            save_file(more, str(partial / _MORE))
        storage.write_json(partial / "state.json", asdict(state))
    broken = storage.broken_files(goal)
    if broken:
        raise StorageError(
            f"the checkpoint {goal} was written but reads back differently: {'; '.join(broken)}",
            cure="check the disk; the earlier checkpoints were kept",
        )
    for old in _newest_first(folder, _STEP)[_KEEP:]:
        shutil.rmtree(old)
    # An older checkpoint is of no use without the weights that were best by then.
    wanted = {_best_of(kept) for kept in _newest_first(folder, _STEP)}
    for old in _newest_first(folder, _BEST):
        step = int(old.name.removeprefix(_BEST))
        if step not in wanted and step < (state.best_step or 0):
            shutil.rmtree(old)


def save_best(folder: Path, state: State, model: nn.Module) -> None:
    """Keep the weights of the best validation score so far, beside the checkpoints."""
    with storage.whole_folder(_best(folder, state)) as partial:
        save_model(model, str(partial / "model.safetensors"))


def load_best(folder: Path, state: State, model: nn.Module) -> None:
    """Put the best weights into the model."""
    load_model(model, str(_best(folder, state) / "model.safetensors"))


def resume(
    folder: Path,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    restore: Callable[[dict[str, torch.Tensor]], None] | None = None,
) -> tuple[State, list[str]]:
    """Load the newest intact checkpoint of the same work into model and optimizer.

    `restore` is given what `save` kept besides.
    Returns its state (a fresh one when there is none) and what was found broken on the way, one sentence each.
    Checkpoints of other work (another fingerprint) are never read and are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    storage.mend(folder)
    warnings: list[str] = []
    for candidate in _newest_first(folder, _STEP):
        state = _read_state(candidate, folder, fingerprint, warnings)
        if state is not None:
            load_model(model, str(candidate / "model.safetensors"))
            _restore_optimizer(optimizer, load_file(str(candidate / "optimizer.safetensors")))
            if restore is not None and (candidate / _MORE).is_file():
                restore(load_file(str(candidate / _MORE)))
            if warnings:
                warnings.append(f"went back to the checkpoint of step {state.step}")
            return state, warnings
        shutil.rmtree(candidate)
    if warnings:
        warnings.append("no intact checkpoint is left: starting over")
    return State(fingerprint), warnings


def _read_state(candidate: Path, folder: Path, fingerprint: str, warnings: list[str]) -> State | None:
    broken = storage.broken_files(candidate)
    if broken:
        warnings.append(f"the checkpoint {candidate.name} is damaged ({'; '.join(broken)})")
        return None
    value: dict[str, Any] = json.loads((candidate / "state.json").read_text(encoding="utf-8"))
    if value["fingerprint"] != fingerprint:
        return None
    state = State(**value)
    if state.best_step is not None and (broken := storage.broken_files(_best(folder, state))):
        warnings.append(f"the best weights of {candidate.name} are damaged ({'; '.join(broken)})")
        return None
    return state


def _best_of(checkpoint: Path) -> int | None:
    """The step of the weights that were best by then; None where that cannot be read."""
    try:
        found: int | None = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["best_step"]
    except (OSError, ValueError, KeyError):
        return None
    return found


def _best(folder: Path, state: State) -> Path:
    return folder / f"{_BEST}{state.best_step:09d}"


def _newest_first(folder: Path, prefix: str) -> list[Path]:
    return sorted(folder.glob(f"{prefix}*"), reverse=True)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Every tensor of the optimizer's state, named `<parameter>.<name>`; parameters numbered in group order."""
    return {
        f"{index}.{name}": value.detach().contiguous().cpu()
        for index, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    parameters = list(_parameters(optimizer))
    for name, value in tensors.items():
        index, field_name = name.split(".", 1)
        parameter = parameters[int(index)]
        # The step counter of a fused optimizer lives beside the parameter; the moments do too.
        optimizer.state[parameter][field_name] = value.to(parameter.device)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]
