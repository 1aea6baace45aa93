"""Which of a student's layers follow which of the teacher's, and what must be recorded for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tutelage.artifacts import projections
from tutelage.artifacts.projections import PROJECTIONS
from tutelage.artifacts.signals import Channel, Recording
from tutelage.artifacts.token_states import HIDDEN
from tutelage.errors import ModelError
from tutelage.recipe import StudentRecipe
from tutelage.student import build, stages
from tutelage.student.build import Shape

Pair = tuple[int, int]
"""A student's layer and a teacher's; 1 is the first."""
# Of queries and keys alone the attention is made.
_ATTENTION = PROJECTIONS[:2]


@dataclass(frozen=True)
class Plan:
    """What of its teacher's layers a student follows. Hidden states are numbered from 0, the embeddings."""

    ours: tuple[int, ...] = ()
    """The student's hidden states that are matched."""
    theirs: tuple[int, ...] = ()
    """The teacher's: one for each of `ours`, or all of those that are mixed."""
    learned: bool = False
    """Whether each of `ours` follows a learned mixture of `theirs`."""
    by_token: bool = False
    """Whether hidden states are matched token by token, not averaged over a text."""
    attention: tuple[Pair, ...] = ()
    heads: int = 0
    """Attention heads, the same on both sides."""
    relations: Pair | None = None
    parts: int = 0
    """Relation heads."""
    depth: int = 0
    """The student's layers."""

    def __bool__(self) -> bool:
        return bool(self.ours or self.attention or self.relations)

    @property
    def everywhere(self) -> bool:
        """Whether the student's last layer is needed at every position, not only where its head reads it."""
        return bool(self.depth in self.ours or self.attention or self.relations)

    def of(self, stage: StudentRecipe) -> Plan:
        """What is left of it in a stage that does not weigh everything."""
        kept = self if stage.hidden else replace(self, ours=(), theirs=(), learned=False, by_token=False)
        kept = kept if stage.attention else replace(kept, attention=(), heads=0)
        return kept if stage.relations else replace(kept, relations=None, parts=0)

    def up_to(self, layers: int | None) -> Plan:
        """What is left of it while a student has its lowest layers only; None leaves all."""
        if layers is None:
            return self
        ours = tuple(layer for layer in self.ours if layer <= layers)
        return replace(
            self,
            ours=ours,
            theirs=self.theirs if self.learned else self.theirs[: len(ours)],
            attention=tuple(pair for pair in self.attention if pair[0] <= layers),
            # The topmost layer, whichever it is, has the relations to follow.
            relations=self.relations and (layers, self.relations[1]),
            depth=layers,
        )

    def channels(self, side: Literal[0, 1]) -> tuple[Channel, ...]:
        """What is needed of every token: 0 of the student, 1 of the teacher."""
        hidden = (self.ours, self.theirs)[side] if self.by_token else ()
        found: list[Channel] = [(HIDDEN, layer) for layer in hidden]
        found += [(name, pair[side]) for pair in self.attention for name in _ATTENTION]
        found += [(name, self.relations[side]) for name in PROJECTIONS if self.relations]
        return tuple(sorted(set(found)))

    def recording(self, outputs: int, width: int) -> Recording:
        """What to record of a teacher with so many outputs and of some width."""
        layers = () if self.by_token else self.theirs
        channels = self.channels(1)
        return Recording(outputs, layers, width if layers else 0, channels, width if channels else 0)


def of_recorded(recording: Recording) -> Plan:
    """The student's layers 1, 2 ... with what was recorded, in order."""
    depth = len(recording.layers)
    return Plan(tuple(range(1, depth + 1)), recording.layers, depth=depth)


def together(recordings: Sequence[Recording]) -> Recording:
    """One recording that holds what several ask for, of the same teacher."""
    if len(recordings) == 1:
        return recordings[0]
    layers = tuple(sorted({layer for one in recordings for layer in one.layers}))
    channels = tuple(sorted({channel for one in recordings for channel in one.channels}))
    width, token_width = max(one.width for one in recordings), max(one.token_width for one in recordings)
    return Recording(recordings[0].outputs, layers, width, channels, token_width)


def plan(settings: StudentRecipe, shape: Shape, full: Shape) -> Plan:
    """What a student of some shape follows in any stage; `full` is the teacher's shape.

    Raises `ModelError` when the shapes do not allow it.
    """
    made = _hidden(settings, shape, full) if settings.weighs("hidden") else Plan()
    made = replace(made, depth=shape.layers)
    if settings.weighs("attention"):
        made = replace(made, attention=_attention(settings, shape, full), heads=full.heads)
    if settings.weighs("relations"):
        made = replace(made, **_relations(settings, shape, full))
    return made


def check(settings: StudentRecipe, shape: Shape, teacher: Any) -> None:
    """Raise `ModelError` when a student of some shape cannot follow this model as the recipe asks."""
    made = plan(settings, shape, build.shape_of(teacher.config))
    if settings.weighs("hidden") and not made.ours and settings.hidden_last is False:
        raise ModelError(
            "`student.hidden_last: false` leaves a student of one layer no hidden states to match",
            expected="2 layers or more, or `student.hidden: 0`",
            cure="leave out `student.hidden_last`, or set `student.hidden: 0`",
        )
    for number, stage in enumerate(stages.of(settings), start=1):
        if not stage.prediction and not made.of(stage):
            raise ModelError(
                f"in stage {number} of `student.stages` nothing would be learned: a single layer's states are not "
                "matched by default",
                expected="a term that the student has something to match with",
                cure="set `student.hidden_last: true`, give the stage `prediction`, or leave it out",
            )
    if shape.kernel and 0 in made.ours:
        cure = "" if shape.static else "set `student.convolution: none`, or "
        raise ModelError(
            "`student.hidden_embeddings: true` matches embeddings, which a convolution has changed before any layer",
            expected="a student without a convolution, or `hidden_embeddings: false`",
            cure=f"{cure}leave out `student.hidden_embeddings`",
        )
    if shape.static and (made.by_token or made.attention or made.relations):
        raise ModelError(
            "`student.size: static` reads a text as one vector, and has no tokens whose states could be matched",
            expected="`hidden_of: text`, and neither `attention` nor `relations`",
            cure="leave them out, or take `student.layers: 1`",
        )
    if made.attention or made.relations:
        projections.find(teacher)


def matched_layers(
    teacher_layers: int, student_layers: int, layer_map: Literal["uniform", "last"] | list[int] = "uniform"
) -> list[int]:
    """The teacher's hidden state (0 is the embedding, L the last) behind each of the student's, after layer 1, 2 ...

    - uniform: after student layer i of n comes what the teacher has after layer i * L / n, never its embeddings.
    - last: the teacher's last n, in order.
    - a list: as it stands.

    Raises `ModelError` when the teacher has no such layers, or the list is not as long as the student is deep.
    """
    if layer_map == "uniform":
        return [max(1, round(number * teacher_layers / student_layers)) for number in range(1, student_layers + 1)]
    if layer_map == "last":
        if student_layers > teacher_layers:
            raise ModelError(
                f"`student.layer_map: last` was given for a student of {student_layers} layers",
                expected=f"at most as many as the teacher's {teacher_layers}",
                cure="lower `student.layers`, or take `student.layer_map: uniform`",
            )
        return list(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    if len(layer_map) != student_layers or not all(0 <= layer <= teacher_layers for layer in layer_map):
        raise ModelError(
            f"`student.layer_map: {layer_map}` was given for a student of {student_layers} layers",
            expected=f"{student_layers} numbers from 0 (the teacher's embeddings) to {teacher_layers} (its last layer)",
            cure="correct the list, or take `student.layer_map: uniform`",
        )
    return list(layer_map)


def relation_heads(wanted: int | None, ours: int, theirs: int, heads: int) -> int:
    """Into how many parts vectors of two widths are cut: as asked, or as near below the teacher's heads as can be.

    Raises `ModelError` when a width cannot be divided.
    """
    if wanted is None:
        return next(parts for parts in range(heads, 0, -1) if not ours % parts and not theirs % parts)
    if ours % wanted or theirs % wanted:
        raise ModelError(
            f"`student.relation_heads: {wanted}` does not divide the widths {ours} (student) and {theirs} (teacher)",
            expected="a number that divides both",
            cure="leave `student.relation_heads` out, or change it or `student.width`",
        )
    return wanted


def _hidden(settings: StudentRecipe, shape: Shape, full: Shape) -> Plan:
    learned, first = settings.layer_map == "learned", 0 if settings.hidden_embeddings else 1
    # A single layer has nothing in between, and is much faster where only its answer is followed.
    alone = shape.layers == 1 and not shape.averages
    matched = not alone if settings.hidden_last == "auto" else settings.hidden_last
    last = shape.layers if matched else shape.layers - 1
    theirs = matched_layers(full.layers, shape.layers, _map(settings))[:last]
    if learned:
        theirs = list(range(1, full.layers + 1))
    if first > last:
        return Plan()
    return Plan(
        tuple(range(first, last + 1)),
        (0, *theirs) if settings.hidden_embeddings else tuple(theirs),
        learned=learned,
        by_token=settings.hidden_of == "token",
    )


def _attention(settings: StudentRecipe, shape: Shape, full: Shape) -> tuple[Pair, ...]:
    if shape.heads != full.heads:
        raise ModelError(
            f"`student.attention` compares head with head, but the student has {shape.heads} and the teacher "
            f"{full.heads}",
            expected=f"{full.heads} attention heads",
            cure=f"set `student.heads: {full.heads}` (with a width that it divides), or take `student.relations`, "
            "which need no equal heads",
        )
    theirs = matched_layers(full.layers, shape.layers, _map(settings))
    if 0 in theirs:
        raise ModelError(
            f"`student.attention` has no layer 0, which `student.layer_map: {settings.layer_map}` names",
            expected=f"numbers from 1 to {full.layers}: embeddings do not attend",
            cure="correct the list; `student.hidden_embeddings: true` matches the embeddings besides",
        )
    return tuple(enumerate(theirs, start=1))


def _relations(settings: StudentRecipe, shape: Shape, full: Shape) -> dict[str, Any]:
    theirs = settings.relation_layer or full.layers
    if theirs > full.layers:
        raise ModelError(
            f"`student.relation_layer: {theirs}` was given for a teacher of {full.layers} layers",
            expected=f"a number from 1 to {full.layers}",
            cure="correct it, or leave it out for the last",
        )
    parts = relation_heads(settings.relation_heads, shape.width, full.width, full.heads)
    return {"relations": (shape.layers, theirs), "parts": parts}


def _map(settings: StudentRecipe) -> Literal["uniform", "last"] | list[int]:
    """The map of single layers; where a mixture is learned, what cannot be mixed follows the uniform one."""
    return "uniform" if settings.layer_map == "learned" else settings.layer_map
