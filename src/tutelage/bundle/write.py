"""Writing a bundle, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from tutelage.bundle.limits import Limits
from tutelage.bundle.onnx_file import has_external_data
from tutelage.errors import BundleError
from tutelage.storage import whole_folder, write_json, write_text
from tutelage.tasks import Task

MODEL, TOKENIZER, TASK, LIMITS, CARD = "model.onnx", "tokenizer.json", "task.json", "limits.json", "README.md"
FILES = (MODEL, TOKENIZER, TASK, LIMITS, CARD)


def write(folder: Path, *, onnx_file: Path, tokenizer: str, task: Task, limits: Limits, card: str) -> None:
    """Write the folder that `read.open_bundle` verifies; a bundle already there is replaced in one step.

    The graph takes int64 `input_ids` and `attention_mask` (B, T) and gives float32 `logits` (B, K), already
    calibrated and in the user's unit. `card` is the Markdown model card.

    Raises `BundleError` when the graph keeps numbers in another file, `StorageError` when the disk refuses.
    """
    _must_stand_alone(onnx_file)
    with whole_folder(folder) as partial:
        shutil.copyfile(onnx_file, partial / MODEL)
        write_text(partial / TOKENIZER, tokenizer)
        write_json(partial / TASK, task.to_dict())
        write_json(partial / LIMITS, limits.model_dump(mode="json"))
        write_text(partial / CARD, card)


def _must_stand_alone(onnx_file: Path) -> None:
    try:
        external = has_external_data(onnx_file.read_bytes())
    except ValueError as error:
        raise BundleError(f"{onnx_file} is not an ONNX file: {error}", expected="an exported graph") from error
    if external:
        raise BundleError(
            f"{onnx_file} keeps its weights in another file",
            expected="one file that holds everything",
            cure="export with `external_data=False`",
        )
