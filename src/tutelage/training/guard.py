"""What stands between a bad moment and a lost training: values that are not finite, memory that does not suffice."""

from __future__ import annotations

import math

import torch

from tutelage.errors import TrainingError

# More than this many steps skipped in a row: the weights, not the data, are at fault.
MOST_SKIPPED = 10


def check_finite(loss: float, norm: float) -> str:
    """Which of the two is not finite, as a phrase; empty when both are."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(norm):
        return f"the gradient norm is {norm}"
    return ""


def not_finite(
    problem: str, *, title: str, epoch: int, step: int, learning_rate: float, skips: bool = False
) -> TrainingError:
    """The error that stops a training at a value that is not finite."""
    return TrainingError(
        f"{title}: {problem} at step {step} of epoch {epoch + 1}",
        expected="finite numbers; the weights of the last checkpoint are untouched",
        cure=f"lower `learning_rate` (it is {learning_rate:g})"
        + ("" if skips else ", or set `on_nan: skip` to leave such batches out, which goes on from there"),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
