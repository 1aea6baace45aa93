"""The student as the graph that will be deployed: exported, quantised if that pays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.artifacts.corpus import Split, evenly
from tutelage.artifacts.network import Network
from tutelage.compress import cascade, quantize
from tutelage.compress.compare import Choice, Judge
from tutelage.compress.export import Export, export
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
    most_bytes: float | None = None,
) -> Graph:
    """Write `fp32.onnx`, what quantisation and a cascade make of it, and say which file is to be deployed.

    `most_bytes` is what may be deployed, where that is limited.
    """
    judge = _judge(network, validation, threads)
    precision: Precision = "fp32"
    with progress.bar("Exporting the student", 3) as bar:
        whole = export(network, folder / "fp32.onnx", texts=validation.texts()[:_CHECKED_ROWS])
        choices = [_exported(whole, min(len(validation), _CHECKED_ROWS))]
        bar.advance()
        # A table alone is kept in half precision, and there is no product to compute in eight bits.
        if settings.quantize != "none" and network.layers:
            quantize.int8(folder / "fp32.onnx", folder / "int8.onnx")
            files = folder / "fp32.onnx", folder / "int8.onnx"
            precision, choice = quantize.choose(*files, judge, settings, most_bytes=most_bytes)
            choices.append(choice)
        bar.advance()
        file, gated = cascade.choose(folder / f"{precision}.onnx", folder / "cascade.onnx", judge, settings)
        choices += gated
        bar.advance()
    return Graph(file.name, precision, tuple(asdict(choice) for choice in choices))


def gated(
    given: Graph,
    source: Path,
    network: Network,
    validation: Split,
    settings: CompressRecipe,
    *,
    folder: Path,
    threads: int,
    middle: Path | None = None,
) -> Graph | None:
    """What `make` wrote into `source` with the cascade that other settings allow, in `folder`; None where none pays.

    `middle` is the graph of a cheaper student that stands between the wide part and this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    judge = _judge(network, validation, threads)
    whole, goal = source / f"{given.precision}.onnx", folder / "cascade.onnx"
    file, made = cascade.choose(whole, goal, judge, settings, middle=middle)
    if file.parent != folder:
        return None
    others = (choice for choice in given.choices if choice["what"] != "cascade")
    return Graph(file.name, given.precision, (*others, *(asdict(choice) for choice in made)))


def _judge(network: Network, validation: Split, threads: int) -> Judge:
    # Evenly spread, for they may be sorted by class.
    (some,) = evenly([validation], _JUDGED_ROWS)
    return Judge(network, network.tokenize(some.texts()), some.targets, threads)


def _exported(whole: Export, rows: int) -> Choice:
    return Choice(
        "export",
        "first token only in the last layer" if whole.first_token_only else "whole graph",
        f"largest difference to PyTorch on {rows} rows: {whole.difference:.1g}",
        {"difference": whole.difference},
    )
