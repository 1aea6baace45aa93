"""The student as the graph that will be deployed: exported, quantised if that pays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.compress import quantize
from tutelage.compress.export import export
from tutelage.progress import Progress
from tutelage.recipe import CompressRecipe, Precision

_CHECKED_ROWS = 64
_JUDGED_ROWS = 4096


@dataclass(frozen=True)
class Graph:
    """Which file to deploy, and what was decided on the way to it."""

    file: str
    precision: Precision
    choices: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return asdict(self)


def make(
    network: Network,
    validation: Split,
    settings: CompressRecipe,
    *,
    folder: Path,
    threads: int,
    progress: Progress,
) -> Graph:
    """Write `fp32.onnx`, and `int8.onnx` unless quantisation is off, into a folder; say which is to be deployed."""
    with progress.bar("Exporting the student", 3) as bar:
        full = export(network, folder / "fp32.onnx", texts=validation.texts()[:_CHECKED_ROWS])
        bar.advance()
        checked = min(len(validation), _CHECKED_ROWS)
        exported = {
            "what": "export",
            "taken": "first token only in the last layer" if full.first_token_only else "whole graph",
            "why": f"largest difference to PyTorch on {checked} rows: {full.difference:.1g}",
            "figures": {"difference": full.difference},
        }
        if settings.quantize == "none":
            bar.advance(2)
            return Graph("fp32.onnx", "fp32", (exported,))
        quantize.int8(folder / "fp32.onnx", folder / "int8.onnx")
        bar.advance()
        choice = quantize.choose(
            folder / "fp32.onnx",
            folder / "int8.onnx",
            network,
            tokens=network.tokenize(validation.texts()[:_JUDGED_ROWS]),
            targets=validation.targets[:_JUDGED_ROWS],
            settings=settings,
            threads=threads,
        )
        bar.advance()
    return Graph(f"{choice.taken}.onnx", choice.taken, (exported, {"what": "precision", **asdict(choice)}))
