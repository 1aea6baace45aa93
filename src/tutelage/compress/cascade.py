"""Let the wide part answer alone where it is sure, and run the layers only for the rest: one graph, one answer.

The graph first computes the wide part's scores. Rows whose confidence reaches a threshold keep them; the others are
gathered, go through the whole student, and are put back in place. The idea is that of classifier cascades (Viola and
Jones 2001); for Transformers see "FrugalGPT", Chen et al. 2023, arXiv 2305.05176.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

from tutelage import storage
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import Wide
from tutelage.compress.compare import Choice, Judge
from tutelage.compress.export import trace
from tutelage.recipe import CompressRecipe
from tutelage.tasks import Task

# Fewer sure rows are not worth a second path through the graph.
_LEAST_SHARE = 0.05
_STEPS = 40
# A small gain is within the noise of its measurement.
_LEAST_GAIN = 1.1
_ROUNDING = 1e-9
_ROUNDS, _AGREED = 10, 0.01
_INSIDE = "layers_"


@dataclass(frozen=True)
class Gate:
    """From which confidence on the wide part answers alone."""

    threshold: float
    temperature: float
    """What the wide part's scores are divided by when they stand alone."""
    share: float
    """Of the validation rows that it answers."""
    cost: float
    """What that is expected to cost of the headline score, if the student's own probabilities are right."""


def choose(whole: Path, file: Path, judge: Judge, settings: CompressRecipe) -> tuple[Path, list[Choice]]:
    """Write a cascade before the graph `whole` if that pays, and say which graph to deploy.

    It must be measured faster here and cost no more of the validation score than `cascade_loss`; when it is asked for,
    only the cost matters. Nothing is said where the task knows no confidence or the student has no wide part.
    """
    found = gate(judge, whole, allowed=settings.cascade_loss) if settings.cascade else None
    if found is None:
        return whole, []
    write(judge.network, whole, found, file)
    before, after = (judge.score(judge.outputs(graph)) for graph in (whole, file))
    lost, ratio = judge.lost(before, after), judge.speed_ratio(whole, file)
    figures = {
        "share_answered_alone": found.share,
        "confidence_needed": found.threshold,
        "expected_cost": found.cost,
        "score_without": before,
        "score_with": after,
        "speed_with_over_without": ratio,
    }
    measured = judge.measured(ratio, lost)
    taken, why = f"the wide part alone for {found.share:.0%} of the rows", measured
    if lost > settings.cascade_loss + _ROUNDING:
        taken, why = "none", f"it costs more than the allowed {settings.cascade_loss:g}: {measured}"
    elif ratio < _LEAST_GAIN and settings.cascade == "auto":
        taken, why = "none", f"it is hardly faster: {measured}"
    return whole if taken == "none" else file, [Choice("cascade", taken, why, figures)]


def gate(judge: Judge, whole: Path, *, allowed: float) -> Gate | None:
    """The lowest threshold that costs at most `allowed` of the headline score, expected and on the labels.

    `whole` is the graph of the student that answers the rest. None where the task knows no confidence, too few rows
    could be answered, or rows are read in windows: the graph decides for each window, the labels are of the row.
    """
    if len(judge.tokens.start) != len(judge.tokens.first):
        return None
    task, scores = judge.network.task, _scores(judge.network, judge.tokens)
    if scores is None or task.confidence(torch.from_numpy(scores)) is None:
        return None
    temperature = _temperature(task, scores, judge.targets)
    alone, said = scores / temperature, judge.outputs(whole)
    before = judge.score(said)
    sure = np.asarray(task.confidence(torch.from_numpy(alone)))
    price = task.expected_cost(task.predict(said), task.predict(alone))
    order = np.argsort(-sure, kind="stable")
    for answered in np.unique(np.linspace(_LEAST_SHARE * len(order), len(order), _STEPS).astype(int))[::-1]:
        threshold = float(sure[order[max(answered, 1) - 1]])
        taken = sure >= threshold
        cost = float(price[taken].sum() / len(price))
        lost = judge.lost(before, judge.score(np.where(taken[:, None], alone, said)))
        if max(cost, lost) <= allowed + _ROUNDING:
            return Gate(threshold, temperature, float(taken.mean()), cost)
    return None


def _temperature(task: Task, scores: NDArray[np.float32], targets: NDArray[np.float64]) -> float:
    """The best temperature of scores of any scale: a task bounds what it finds, so that it is asked until it agrees."""
    total = 1.0
    for _ in range(_ROUNDS):
        found = task.temperature(scores / total, targets)
        total *= found
        if abs(found - 1) < _AGREED:
            break
    return total


def write(network: Network, whole: Path, gate: Gate, file: Path) -> None:
    """Write the graph: input_ids (B, T) and attention_mask (B, T), both int64 -> logits (B, K)."""
    assert network.wide is not None
    first = file.with_name("first.onnx")
    trace(
        _First(network.wide, network.task, gate.temperature),
        first,
        names=["alone", "confidence"],
        max_tokens=network.reading.max_tokens,
    )
    cheap, dear = onnx.load(str(first)), onnx.compose.add_prefix(onnx.load(str(whole)), _INSIDE)
    first.unlink()
    assert not cheap.functions
    assert not dear.functions
    _share(cheap.graph, dear.graph)
    wanted = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", network.task.width])
    constants = [
        helper.make_tensor("threshold", TensorProto.FLOAT, [], [gate.threshold]),
        helper.make_tensor("second_axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("none", TensorProto.INT64, [], [0]),
    ]
    nodes = [
        helper.make_node("Less", ["confidence", "threshold"], ["unsure"]),
        helper.make_node("NonZero", ["unsure"], ["found"]),
        helper.make_node("Transpose", ["found"], ["places"]),
        helper.make_node("Size", ["places"], ["count"]),
        helper.make_node("Greater", ["count", "none"], ["any"]),
        helper.make_node("If", ["any"], ["logits"], then_branch=_rest(dear), else_branch=_nothing()),
    ]
    graph = helper.make_graph(
        [*cheap.graph.node, *nodes],
        "cascade",
        list(cheap.graph.input),
        [wanted],
        initializer=[*cheap.graph.initializer, *constants],
    )
    domains = {entry.domain: entry.version for model in (cheap, dear) for entry in model.opset_import}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*pair) for pair in domains.items()],
        ir_version=max(cheap.ir_version, dear.ir_version),
    )
    with storage.whole_file(file) as partial:
        onnx.save(model, str(partial))


def _share(outer: Any, inner: Any) -> None:
    """Keep equal tensors once, in the outer graph: else the wide part's table would be there three times."""
    held: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    for graph in (outer, inner):
        same, kept = {}, []
        for value in graph.initializer:
            key = (value.data_type, tuple(value.dims), value.raw_data)
            if not value.raw_data or (key not in held and graph is inner):
                kept.append(value)
            elif key in held:
                same[value.name] = held[key]
            else:
                held[key] = value.name
                kept.append(value)
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for node in graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = same.get(name, name)


def _rest(dear: Any) -> Any:
    """The branch that sends the unsure rows through the whole student and puts their answers in place."""
    given = [value.name for value in dear.graph.input]
    taken = {f"{_INSIDE}input_ids": "input_ids", f"{_INSIDE}attention_mask": "attention_mask"}
    assert set(given) == set(taken)
    before = [
        helper.make_node("Squeeze", ["places", "second_axis"], ["rows"]),
        *(helper.make_node("Gather", [outer, "rows"], [inner], axis=0) for inner, outer in taken.items()),
    ]
    after = helper.make_node("ScatterND", ["alone", "places", f"{_INSIDE}logits"], ["answered"])
    result = helper.make_tensor_value_info("answered", TensorProto.FLOAT, None)
    nodes = [*before, *dear.graph.node, after]
    return helper.make_graph(nodes, "rest", [], [result], initializer=list(dear.graph.initializer))


def _nothing() -> Any:
    """The branch of a batch whose rows are all sure."""
    result = helper.make_tensor_value_info("kept", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Identity", ["alone"], ["kept"])], "nothing", [], [result])


class _First(nn.Module):
    """The wide part alone: its calibrated scores (S, K), and how sure it is (S,)."""

    def __init__(self, wide: Wide, task: Task, temperature: float) -> None:
        super().__init__()
        self.wide, self.task, self.temperature = wide, task, temperature

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        alone = self.wide(input_ids, attention_mask) / self.temperature
        return alone, self.task.confidence(alone)


def _scores(network: Network, tokens: Tokens) -> NDArray[np.float32] | None:
    """What the wide part says alone (N, K), not calibrated."""
    if network.wide is None:
        return None
    result = np.empty((len(tokens), network.task.width), dtype=np.float32)
    for begin in range(0, len(tokens), 256):
        rows = np.arange(begin, min(begin + 256, len(tokens)))
        batch = network.collate(tokens, rows)
        result[rows] = batch.pool(network.wide(batch.input_ids, batch.attention_mask)).cpu().numpy()
    return result
