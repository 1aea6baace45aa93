"""A model as one ONNX graph, checked against the model it came from."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch import nn

from tutelage import storage
from tutelage.artifacts.coded import in_pieces
from tutelage.artifacts.convolution import looked_up
from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.network import Network
from tutelage.artifacts.no_layers import NoLayers
from tutelage.compress.attention import operator as attention_operator
from tutelage.compress.run import outputs
from tutelage.errors import ExportError

# Largest difference of any output between PyTorch and ONNX Runtime in fp32, in the unit that a head is trained in,
# where outputs are about 1 to 10; and as many steps between neighbouring numbers of the largest output.
TOLERANCE = 1e-3
_STEPS = 8
# The first that has attention as one operator: faster in ONNX Runtime than its parts (docs/decisions/0014).
OPSET = 23
# Numbers. What is computed from weights alone stays in parts, which are smaller: embeddings put together from pieces.
# ONNX Runtime computes it when it loads the graph.
_FOLDED = 1024
# Bytes of a graph's weights: above, torch writes them into a file of their own, and no graph holds more than 2 GB.
_LARGEST = 1.6e9
# Tokens. Below, torch's tracer takes the lengths of an encoder-decoder for special cases, and refuses to generalise.
_SHORTEST = 3
# Of terminals, in torch's messages; and what those begin with that says nothing about the model.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OF_TORCH = ("Failed to export", "This is step", "## ", "Next steps", "#")
# Architectures of which students were exported, in tests or by hand; of any other, one layer is tried before a student
# is trained.
_KNOWN = frozenset(
    {
        *("albert", "bart", "bert", "deberta-v2", "distilbert", "electra", "gpt2", "llama", "modernbert", "mpnet"),
        *("roberta", "t5", "xlm-roberta"),
    }
)


@dataclass(frozen=True)
class Export:
    """An ONNX file and how far its outputs are from PyTorch's on real rows."""

    file: Path
    difference: float
    first_token_only: bool
    """Whether the last layer was reduced to the one position that the head reads."""


def fits(network: Network) -> bool:
    """Whether a network can be one ONNX file."""
    return holds(network.parameters)


def holds(weights: int) -> bool:
    """Whether so many weights can be in one ONNX file, before they are quantised."""
    return 4 * weights <= _LARGEST


def export(network: Network, file: Path, *, texts: list[str]) -> Export:
    """Write `file`: input_ids (B, T) and attention_mask (B, T), both int64 -> logits (B, K).

    Numerical parity is checked on `texts`. Where the head reads the first token only, the last layer computes nothing
    else; this is kept when the outputs are the same. Raises `ExportError` when they are not even without it.
    """
    if not fits(network):
        raise ExportError(
            f"a student of {network.parameters:,} weights is too large for one ONNX file",
            expected=f"at most {int(_LARGEST / 4):,}",
            cure="choose a smaller `student.size`",
        )
    tokens = network.tokenize(texts)
    expected = network.outputs(tokens)
    rounding = _STEPS * float(np.finfo(np.float32).eps) * float(np.abs(expected).max(initial=0.0))
    allowed = TOLERANCE * network.task.scale()[1] + rounding
    differences = []
    for first_token in (True, False):
        with (
            only_first_token(network.model, wanted=first_token) as applied,
            in_pieces(network.model, network.codes),
            looked_up(network.model),
        ):
            if first_token and not applied:
                continue
            _write(network, file)
        difference = float(np.abs(outputs(file, network, tokens) - expected).max(initial=0.0))
        if difference <= allowed:
            return Export(file, difference, first_token)
        differences.append(difference)
    raise ExportError(
        f"the exported graph differs from the model by up to {min(differences):.2g}",
        expected=f"at most {allowed:.2g} on {len(texts)} real rows",
        cure="this architecture is not exported faithfully; choose another `teacher.model`",
    )


def known(architecture: str) -> bool:
    """Whether models of an architecture are known to be exported."""
    return architecture in _KNOWN


def attempt(network: Network) -> None:
    """Raise `ExportError` when torch cannot write a network like this one: a layer of it tells."""
    # torch prints the whole graph where it cannot go on.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        _write(network, Path(folder) / "graph.onnx")


class _Logits(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.model = network.model
        self.wide = network.wide

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        if isinstance(self.model, NoLayers) and self.wide is not None:
            return self.wide(input_ids, attention_mask)
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits if self.wide is None else self.wide.deep * logits + self.wide(input_ids, attention_mask)


def trace(module: nn.Module, file: Path, *, names: Sequence[str], max_tokens: int, shortest: int = 0) -> None:
    """Write `module(input_ids, attention_mask)` -> outputs of these names, for any batch and length.

    `shortest` is the length from which on tracing may reason; the graph itself takes shorter texts too.
    """
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=min(shortest, max_tokens), max=max_tokens)}
    _traced(module, (ids, mask), {"input_ids": axes, "attention_mask": axes}, file, names)


def trace_rows(module: nn.Module, file: Path, *, width: int, names: Sequence[str]) -> None:
    """Write `module(outputs)` for outputs (B, width) of any batch; `names` are of its argument and its results."""
    axes = {0: torch.export.Dim("batch")}
    _traced(module, (torch.zeros((2, width)),), {names[0]: axes}, file, names[1:])


def _traced(
    module: nn.Module, given: tuple[torch.Tensor, ...], shapes: dict[str, Any], file: Path, names: Sequence[str]
) -> None:
    with warnings.catch_warnings(), _quiet("torch.onnx", "torch.export", "torch.fx", "onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            given,
            input_names=list(shapes),
            output_names=list(names),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=False,
        )
        assert program is not None
        optimizer.optimize_ir(program.model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    with storage.whole_file(file) as partial:
        program.save(str(partial), external_data=False)
        model = onnx.load(str(partial))
        # Shapes that the exporter noted while tracing contradict the quantised graph (ShapeInferenceError).
        del model.graph.value_info[:]
        # Where in Python each node came from: half a megabyte, with paths of this machine.
        for noted in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
            del noted.metadata_props[:]
            noted.doc_string = ""
        onnx.save(model, str(partial))


def _write(network: Network, file: Path) -> None:
    """Fused attention of some architectures cannot be written; plain attention can.

    Every attempt costs seconds, so that what is known to fail comes last: the fused attention of encoder-decoders, and
    a trace of theirs that is to hold below `_SHORTEST` tokens, which torch finds out at its end and begins again.
    """
    model, two_stacks = network.model, network.model.config.is_encoder_decoder
    if not network.layers:
        trace(_Logits(network), file, names=["logits"], max_tokens=network.reading.max_tokens)
        return
    fused = model.config._attn_implementation
    # What an architecture without the usual kernel adds to its scores, the operator does not know.
    operator = [attention_operator()] if fused == "sdpa" else []
    for attention in dict.fromkeys(("eager", fused) if two_stacks else (*operator, fused, "eager")):
        model.set_attn_implementation(attention)
        try:
            trace(
                _Logits(network),
                file,
                names=["logits"],
                max_tokens=network.reading.max_tokens,
                shortest=_SHORTEST if two_stacks else 0,
            )
        except torch.onnx.OnnxExporterError as error:
            problem = error
        else:
            return
        finally:
            model.set_attn_implementation(fused)
    raise ExportError(
        f"torch cannot export a {model.config.model_type} model to ONNX: {_first_line(problem)}",
        expected="an architecture that torch's exporter understands",
        cure="choose another `teacher.model`, or a student with `width` below the teacher's (it is a BERT)",
    ) from problem


def _first_line(problem: BaseException) -> str:
    """What torch says first, without colours and without the steps that it would have its own developers take."""
    causes = [problem, *([problem.__cause__] if problem.__cause__ else [])]
    lines = [_COLOUR.sub("", line).strip() for cause in reversed(causes) for line in str(cause).splitlines()]
    return next((line for line in lines if line and not line.startswith(_OF_TORCH)), type(problem).__name__)


class _quiet:  # noqa: N801 - a context manager, used as a verb
    """Raise the level of some loggers for a while."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
