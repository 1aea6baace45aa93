"""Start a student from its teacher: whole layers where the widths agree, projected embeddings where not.

Why: without it DistilBERT lost 3.7 points (arXiv 1910.01108), and on QNLI up to 17.8 were measured (arXiv 2305.15032).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tutelage.artifacts import convolution
from tutelage.artifacts.coded import Codes
from tutelage.artifacts.convolution import Convolution
from tutelage.artifacts.network import Network
from tutelage.artifacts.positions import FROM_PADDING
from tutelage.student import build
from tutelage.student.build import Shape
from tutelage.training import supervised

# Settings with an entry a layer: which see everything, which their surroundings, and how much of those.
_BY_LAYER = ("layer_types", "attention_window")


def create(teacher: Network, shape: Shape, *, tokenizer: Any, kept: Sequence[int], seed: int) -> Network:
    """A student of some shape; `kept` are the teacher's token ids behind the student's, in order."""
    import transformers

    torch.manual_seed(seed)
    auto = getattr(transformers, teacher.task.auto_model)
    config = teacher.model.config
    full = build.shape_of(config)
    ids, positions = torch.tensor(kept, dtype=torch.long), teacher.reading.max_tokens
    if shape.width == full.width:
        smaller = build.same_width(config, shape, vocabulary=len(kept), positions=positions)
        for name in _BY_LAYER:
            if isinstance(each := getattr(config, name, None), list):
                setattr(smaller, name, [each[layer] for layer in uniform(full.layers, shape.layers)])
        _name_tokens(smaller, config, tokenizer)
        model = auto.from_config(smaller)
        model.load_state_dict(_taken(teacher.model, model, full, shape, ids))
    else:
        pad = int(tokenizer.pad_token_id or 0)
        head = teacher.task.model_config()
        narrow = build.narrower(config, shape, vocabulary=len(kept), positions=positions, pad=pad, head=head)
        _name_tokens(narrow, config, tokenizer)
        model = auto.from_config(narrow)
        _project_embeddings(teacher.model, model, ids)
    _convolve(teacher.model, model, shape)
    student = Network(model.float().eval(), tokenizer, teacher.task, teacher.reading)
    if shape.width == full.width:
        # The head came from a finished teacher, which answers in the user's unit.
        supervised.begin_again(student)
    return student


def _name_tokens(smaller: Any, config: Any, tokenizer: Any) -> None:
    """Ids kept in the configuration name the student's tokens, before a table is made that goes by them."""
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        # Positions that are counted from the padding are the teacher's.
        counted = name == "pad_token_id" and smaller.model_type in FROM_PADDING
        if getattr(config, name, None) is not None and not counted:
            setattr(smaller, name, getattr(tokenizer, name, None))


def _convolve(teacher: Any, student: Any, shape: Shape) -> None:
    """Put the convolution of a shape between embeddings and layers: the teacher's, where it has such a one."""
    if not shape.kernel:
        return
    width = student.get_input_embeddings().weight.shape[1]
    made = Convolution(width, shape.channels, shape.kernel, heads=shape.asking)
    theirs = convolution.of(teacher)
    if theirs is not None and _alike(theirs, made):
        made.load_state_dict(theirs.state_dict())
    convolution.attach(student, made)


def _alike(one: Convolution, other: Convolution) -> bool:
    kinds = [(part.kernel, part.heads, part.down.shape) for part in (one, other)]
    return kinds[0] == kinds[1]


def code_embeddings(student: Network, codes: Codes | None) -> Network:
    """The student with a table that can be put together from codes; without any it stays as it is."""
    if codes is None:
        return student
    weight = student.model.get_input_embeddings().weight
    with torch.no_grad():
        weight.copy_(codes.table(weight))
    return replace(student, codes=codes)


def uniform(teacher_layers: int, student_layers: int) -> list[int]:
    """Which teacher layers (from 0) a student takes: evenly spread, first and last included.

    Uniform maps beat bottom and top ones in TinyBERT's ablation (75.6 against 71.3 and 70.9, arXiv 1909.10351).
    One layer alone is the last, which feeds the head.
    """
    if student_layers == 1:
        return [teacher_layers - 1]
    step = (teacher_layers - 1) / (student_layers - 1)
    return [round(number * step) for number in range(student_layers)]


def _taken(
    teacher: nn.Module, student: nn.Module, full: Shape, shape: Shape, ids: torch.Tensor
) -> dict[str, torch.Tensor]:
    source = teacher.state_dict()
    # The layer that averages comes on top of all, whatever is between.
    layers = [*uniform(full.layers, shape.layers), *([full.layers] if shape.averages else [])]
    embedding = teacher.get_input_embeddings().weight  # type: ignore[operator]
    theirs = _stacks(source)
    # A decoder may have fewer layers than the encoder.
    maps = {
        stack: layers
        if (theirs.get(stack), depth) == (full.layers + full.averages, len(layers))
        else uniform(theirs.get(stack, depth), depth)
        for stack, depth in _stacks(student.state_dict()).items()
    }
    origins = {name: _origin(name, maps, source) for name in student.state_dict()}
    shorter = _shorter(source, student, origins)
    blocks = {block for block, _ in origins.values() if block is not None}
    kept_neurons = {
        block: _strongest(source, [name for name in source if name.startswith(block)], shorter, full, shape)
        for block in blocks
    }
    result = {}
    for name, value in student.state_dict().items():
        block, origin = origins[name]
        taken = source[origin]
        if taken.shape[:1] == embedding.shape[:1] and taken.shape[1:] == embedding.shape[1:] and taken.ndim == 2:
            taken = taken[ids]
        elif name.endswith("position_embeddings.weight"):
            taken = taken[: len(value)]
        elif taken.shape != value.shape and block is not None:
            taken = _cut(taken, kept_neurons[block], shorter[origin], full.feed_forward)
        result[name] = taken.clone()
    return result


_NUMBERED = re.compile(r"\.(\d+)\.")
# ModernBERT keeps what goes into a neuron and into its gate in one matrix.
_WITH_GATE = re.compile(r"mlp\.Wi\.weight$")


def _stacks(names: Iterable[str]) -> dict[str, int]:
    """How many layers stand in each stack, by how the names of its parameters begin."""
    found: dict[str, int] = {}
    for name in names:
        if match := _NUMBERED.search(name):
            stack = name[: match.start(1)]
            found[stack] = max(found.get(stack, 0), int(match.group(1)) + 1)
    return found


def _origin(name: str, maps: Mapping[str, Sequence[int]], source: Container[str]) -> tuple[str | None, str]:
    """The teacher's layer and parameter behind a student's; the first number in a name counts layers.

    `maps`: for each stack, which of the teacher's layers the student's are.

    A layer is told by how its parameters' names begin: encoder and decoder may both have one of that number. Of layers
    that share their weights (ALBERT's) there is one, and it is the student's.
    """
    match = _NUMBERED.search(name)
    if match is None:
        return None, name
    number = maps[name[: match.start(1)]][int(match.group(1))]
    origin = f"{name[: match.start(1)]}{number}{name[match.end(1) :]}"
    taken = origin if origin in source else name
    found = _NUMBERED.search(taken)
    assert found is not None
    return taken[: found.end()], taken


def _shorter(
    source: dict[str, torch.Tensor], student: nn.Module, origins: dict[str, tuple[str | None, str]]
) -> dict[str, int]:
    """The dimension in which a parameter of the teacher's layers is longer than the student's, where one is.

    Told by what the student has: a block as wide as its layer has inner neurons on either side, by their number.
    """
    found = {}
    for name, value in student.state_dict().items():
        block, origin = origins[name]
        if block is not None and source[origin].shape != value.shape:
            sizes = zip(source[origin].shape, value.shape, strict=True)
            found[origin] = next(dim for dim, (theirs, ours) in enumerate(sizes) if theirs != ours)
    return found


def _strongest(
    source: dict[str, torch.Tensor], names: list[str], shorter: dict[str, int], full: Shape, shape: Shape
) -> torch.Tensor:
    """The inner neurons to keep of one layer: largest product of the norms of what goes in and what comes out."""
    inner = full.feed_forward
    strength = torch.ones(inner)
    for name in names:
        weight = source[name]
        if weight.ndim != 2 or name not in shorter:
            continue
        norms = weight.float().norm(dim=1 - shorter[name])
        if len(norms) == inner:
            strength = strength * norms
        elif len(norms) == 2 * inner and _WITH_GATE.search(name):
            strength = strength * norms.view(2, inner).prod(dim=0)
    return strength.topk(min(shape.feed_forward, inner)).indices.sort().values


def _cut(value: torch.Tensor, kept: torch.Tensor, dim: int, inner: int) -> torch.Tensor:
    """Keep some inner neurons of a feed-forward weight or bias, or of both halves where a gate is stored with it."""
    if value.shape[dim] == 2 * inner:
        kept = torch.cat([kept, kept + inner])
    return value.index_select(dim, kept)


def _project_embeddings(teacher: nn.Module, student: nn.Module, ids: torch.Tensor) -> None:
    """Principal components of the teacher's embeddings, scaled as the student's own start is."""
    source = teacher.get_input_embeddings().weight.detach()[ids].float()  # type: ignore[operator]
    goal = student.get_input_embeddings().weight  # type: ignore[operator]
    centred = source - source.mean(0)
    _, _, components = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ components[: goal.shape[1]].T
    with torch.no_grad():
        # A vocabulary smaller than the width has fewer components; the rest of the random start stays.
        goal[:, : projected.shape[1]] = projected * (goal.std() / projected.std())
