"""Several students in one graph, the cheapest first: each answers where it is sure and hands on the other rows.

Rows whose confidence reaches a level's threshold keep its answer; the others are gathered, go through the next level,
and are put back in place. The second output, `level`, says who answered each row, from 0; nothing computes it unless it
is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from tutelage import storage

_INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class Level:
    """A graph with outputs `alone` (B, K) and `confidence` (B,), and from which confidence on it answers."""

    graph: Any
    threshold: float


def write(levels: Sequence[Level], last: Any, *, outputs: int, file: Path) -> None:
    """Write the graph: input_ids and attention_mask (B, T), int64 -> logits (B, K), and level (B,), int64.

    `last` is the graph whose `logits` stand for the rows of which no level is sure. Tensors that several graphs have in
    common are in the file once.
    """
    models = [level.graph for level in levels] + [last]
    assert not any(model.functions for model in models)
    models = [_prefixed(model, depth) for depth, model in enumerate(models)]
    _share([model.graph for model in models])
    nodes, tensors, (logits, level) = _answer(models, [level.threshold for level in levels], 0)
    nodes += [helper.make_node("Identity", [logits], ["logits"]), helper.make_node("Identity", [level], ["level"])]
    graph = helper.make_graph(
        nodes,
        "cascade",
        list(models[0].graph.input),
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs]),
            helper.make_tensor_value_info("level", TensorProto.INT64, ["batch"]),
        ],
        initializer=tensors,
    )
    domains = {entry.domain: entry.version for model in models for entry in model.opset_import}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*pair) for pair in domains.items()],
        ir_version=max(model.ir_version for model in models),
    )
    with storage.whole_file(file) as partial:
        onnx.save(model, str(partial))


def with_confidence(model: Any, sure: Any) -> Any:
    """A graph with `logits` as a level: `sure` is a graph from outputs (B, K) to `confidence` (B,)."""
    found, judge = onnx.ModelProto(), onnx.compose.add_prefix(sure, "sure_")
    found.CopyFrom(model)
    (given,) = judge.graph.input
    found.graph.node.extend(
        [
            helper.make_node("Identity", ["logits"], ["alone"]),
            helper.make_node("Identity", ["logits"], [given.name]),
            *judge.graph.node,
            helper.make_node("Identity", ["sure_confidence"], ["confidence"]),
        ]
    )
    found.graph.initializer.extend(judge.graph.initializer)
    return found


def _prefixed(model: Any, depth: int) -> Any:
    """All names but the outermost inputs say at which level they are."""
    given = onnx.compose.add_prefix(model, _at(depth), rename_inputs=depth > 0)
    assert {value.name for value in given.graph.input} == set(_fed(depth))
    return given


def _at(depth: int) -> str:
    return f"level{depth}_"


def _fed(depth: int) -> list[str]:
    return [f"{_at(depth)}{name}" if depth else name for name in _INPUTS]


def _answer(models: Sequence[Any], thresholds: Sequence[float], depth: int) -> tuple[list[Any], list[Any], list[str]]:
    """Nodes and tensors of a level and all that follow, and the names of their answers and of who gave them."""
    graph, at = models[depth].graph, _at(depth)
    nodes, tensors = list(graph.node), list(graph.initializer)
    nodes += [
        helper.make_node("Shape", [_fed(depth)[0]], [f"{at}rows_in"], start=0, end=1),
        helper.make_node(
            "ConstantOfShape",
            [f"{at}rows_in"],
            [f"{at}here"],
            value=helper.make_tensor("value", TensorProto.INT64, [1], [depth]),
        ),
    ]
    if depth == len(thresholds):
        return nodes, tensors, [f"{at}logits", f"{at}here"]
    tensors += [
        helper.make_tensor(f"{at}threshold", TensorProto.FLOAT, [], [thresholds[depth]]),
        helper.make_tensor(f"{at}second_axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor(f"{at}none", TensorProto.INT64, [], [0]),
    ]
    answers = [f"{at}answered", f"{at}by"]
    nodes += [
        helper.make_node("Less", [f"{at}confidence", f"{at}threshold"], [f"{at}unsure"]),
        helper.make_node("NonZero", [f"{at}unsure"], [f"{at}found"]),
        helper.make_node("Transpose", [f"{at}found"], [f"{at}places"]),
        helper.make_node("Size", [f"{at}places"], [f"{at}count"]),
        helper.make_node("Greater", [f"{at}count", f"{at}none"], [f"{at}any"]),
        helper.make_node(
            "If",
            [f"{at}any"],
            answers,
            then_branch=_rest(models, thresholds, depth),
            else_branch=_nothing(depth),
        ),
    ]
    return nodes, tensors, answers


def _rest(models: Sequence[Any], thresholds: Sequence[float], depth: int) -> Any:
    """The branch that sends the unsure rows through the next level and puts its answers in place."""
    at = _at(depth)
    inner, tensors, (logits, level) = _answer(models, thresholds, depth + 1)
    outputs = [f"{at}rest_logits", f"{at}rest_level"]
    nodes = [
        helper.make_node("Squeeze", [f"{at}places", f"{at}second_axis"], [f"{at}rows"]),
        *(
            helper.make_node("Gather", [ours, f"{at}rows"], [theirs], axis=0)
            for ours, theirs in zip(_fed(depth), _fed(depth + 1), strict=True)
        ),
        *inner,
        helper.make_node("ScatterND", [f"{at}alone", f"{at}places", logits], outputs[:1]),
        helper.make_node("ScatterND", [f"{at}here", f"{at}places", level], outputs[1:]),
    ]
    return helper.make_graph(nodes, "rest", [], _infos(outputs), initializer=tensors)


def _nothing(depth: int) -> Any:
    """The branch of a batch whose rows are all sure."""
    at = _at(depth)
    outputs = [f"{at}kept_logits", f"{at}kept_level"]
    nodes = [
        helper.make_node("Identity", [f"{at}alone"], outputs[:1]),
        helper.make_node("Identity", [f"{at}here"], outputs[1:]),
    ]
    return helper.make_graph(nodes, "nothing", [], _infos(outputs))


def _infos(names: Sequence[str]) -> list[Any]:
    kinds = (TensorProto.FLOAT, TensorProto.INT64)
    return [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)]


def _share(graphs: Sequence[Any]) -> None:
    """Keep equal tensors once, in the outermost graph that has them: later ones lie inside it and see what it has."""
    held: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    for graph in graphs:
        same, kept = {}, []
        for value in graph.initializer:
            key = (value.data_type, tuple(value.dims), value.raw_data)
            if value.raw_data and key in held:
                same[value.name] = held[key]
            else:
                held[key] = value.name
                kept.append(value)
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for node in graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = same.get(name, name)
