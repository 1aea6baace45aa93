"""Eight-bit weights and activations, taken only when they are measured to be worth it.

Per-channel scales with a reduced range: on processors without VNNI the full range overflows inside the 16-bit sums
(cosine to fp32 0.993, against 0.967 and 0.883 for the other settings, measured on a 6-layer encoder). Of embeddings
and of weights that heads use one by one, only the file holds eight bits: they are made fp32 when it is loaded.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tutelage import storage
from tutelage.compress.compare import Choice, Judge
from tutelage.recipe import CompressRecipe, Precision

_LARGEST = 127
# Numbers: smaller matrices are not worth two more nodes.
_LARGE = 1024
_SCALES = 4096
# Numbers: larger tables stay in eight bits in memory too, and are turned into floating point row by row, anew for each
# batch, which takes an eighth of the time of a small student.
_ENDLESS = 50_000_000
# Times as fast as fp32, at least: what is as fast but for chance is taken for its bytes.
_AS_FAST = 0.95


def int8(source: Path, goal: Path) -> None:
    """Quantise the weights to int8 ahead of time, the activations when they are known (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(source)).graph
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with storage.whole_file(goal) as partial:
            quantize_dynamic(
                source,
                partial,
                # Not `Attention`: the quantiser takes it for another operator of that name.
                op_types_to_quantize=["MatMul", *(["Gather"] if _endless(graph) else [])],
                nodes_to_exclude=_stacked(graph),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                # Of what the library's own inference of types does not reach.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
            model = onnx.load(str(partial))
            _kept(model.graph)
            onnx.save(model, str(partial))
    finally:
        log.setLevel(level)


def _endless(graph: Any) -> bool:
    return any(np.prod(value.dims) > _ENDLESS for value in graph.initializer)


def _stacked(graph: Any) -> list[str]:
    """Products with a stack of matrices, which the exporter makes of small ones: ONNX Runtime has none in integers."""
    stacks = {value.name for value in graph.initializer if len(value.dims) > 2}
    return [node.name for node in graph.node if node.op_type == "MatMul" and not stacks.isdisjoint(node.input)]


def _kept(graph: Any) -> None:
    """Put eight bits and scales in place of every large matrix that is still in floating point."""
    nodes = []
    for weight in [value for value in graph.initializer if value.data_type == onnx.TensorProto.FLOAT]:
        if len(weight.dims) != 2 or np.prod(weight.dims) < _LARGE:
            continue
        rows = numpy_helper.to_array(weight)
        # A scale for each of the tokens of an embedding would be more than the rest saves.
        largest = np.abs(rows).max(axis=1, keepdims=True) if len(rows) <= _SCALES else np.abs(rows).max()
        scale = np.maximum(np.asarray(largest, dtype=np.float32) / _LARGEST, np.finfo(np.float32).tiny)
        names = [f"{weight.name}_quantized", f"{weight.name}_scale"]
        whole = np.rint(rows / scale).astype(np.int8)
        graph.initializer.remove(weight)
        graph.initializer.extend(numpy_helper.from_array(*pair) for pair in zip((whole, scale), names, strict=True))
        # Not a DequantizeLinear, which would be computed for every batch.
        floats = f"{weight.name}_float"
        nodes += [
            helper.make_node("Cast", names[:1], [floats], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [floats, names[1]], [weight.name]),
        ]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def choose(
    fp32: Path, quantised: Path, judge: Judge, settings: CompressRecipe, *, most_bytes: float | None = None
) -> tuple[Precision, Choice]:
    """Measure both graphs on validation rows: int8 must be as fast here and lose no more than allowed.

    The score lost is absolute, on the headline metric. How fast it is does not matter where fp32 is more than
    `most_bytes`. With `int8` asked for, it is only measured.
    """
    scores = [judge.score(judge.outputs(file)) for file in (fp32, quantised)]
    lost = judge.lost(*scores)
    ratio = judge.speed_ratio(fp32, quantised)
    figures = {
        "score_fp32": scores[0],
        "score_int8": scores[1],
        "speed_int8_over_fp32": ratio,
        "bytes_fp32": float(fp32.stat().st_size),
        "bytes_int8": float(quantised.stat().st_size),
    }
    fits = most_bytes is None or figures["bytes_fp32"] <= most_bytes
    taken, why = _decided(ratio, lost, judge.measured(ratio, lost), settings, fits=fits)
    return taken, Choice("precision", taken, why, figures)


def _decided(
    ratio: float, lost: float, measured: str, settings: CompressRecipe, *, fits: bool
) -> tuple[Precision, str]:
    if settings.quantize == "int8":
        return "int8", f"asked for; {measured}"
    if ratio < _AS_FAST and fits:
        return "fp32", f"int8 is slower on this machine: {measured}"
    if lost > settings.allowed_loss:
        return "fp32", f"int8 costs more than the allowed {settings.allowed_loss:g}: {measured}"
    return "int8", measured if fits else f"fp32 is too large; {measured}"
