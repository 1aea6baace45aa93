"""What shape a student has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from tutelage.artifacts import convolution, prefix
from tutelage.artifacts.averaging import averages, mark
from tutelage.artifacts.positions import most_tokens
from tutelage.errors import ModelError
from tutelage.recipe import StudentRecipe

# Names under which architectures keep the inner size of their feed-forward blocks.
_FEED_FORWARD = ("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "encoder_ffn_dim", "n_inner", "d_inner")
# Architectures with one row for each position, from 0 on.
_COUNTED = ("bert", "distilbert", "electra")
# Those that answer embeddings as they answer ids.
_ENCODERS = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert")
_KERNEL, _HEADS = 5, 4
# Times the width: the feed-forward block of a single layer. The teacher's four keep no more (docs/decisions/0016).
_INNER = 2


@dataclass(frozen=True)
class Shape:
    """A Transformer by its numbers. With the teacher's width its layers can be taken over, else only its embeddings."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    averages: bool = False
    """Whether one more layer, which `layers` does not count, gives the head the mean of all tokens."""
    kernel: int = 0
    """How many tokens a convolution over the embeddings sees at once; 0 without one."""
    static: bool = False
    """Whether layers read one vector of a text: means of its embeddings and of what its convolution hears."""

    def identity(self) -> dict[str, int]:
        """What names a student of this shape; those without the rarer parts have the names that they always had."""
        # Of a static one, how many heads weigh its tokens.
        rare = {"averages": self.averages, "kernel": self.kernel, "static": self.asking}
        return {name: rare.get(name, value) for name, value in vars(self).items() if rare.get(name, True)}

    @property
    def size(self) -> tuple[bool, int]:
        """Orders students: whether they read tokens or one vector of a text comes before how many weights there are."""
        return not self.static, self.inner

    def describe(self) -> str:
        """Its numbers in words."""
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        layers += " and one that averages" if self.averages else ""
        below = f"{'static, ' if self.static else ''}convolution of {self.kernel}, " if self.kernel else ""
        return f"{below}{layers} x {self.width}, feed-forward {self.feed_forward}"

    @property
    def channels(self) -> int:
        """Of its convolution: a quarter of the width."""
        return max(1, self.width // 4)

    @property
    def asking(self) -> int:
        """Heads of its convolution that weigh tokens: none where layers read every token."""
        return _HEADS if self.static else 0

    @property
    def inner(self) -> int:
        """About how many weights its layers have: four square matrices and a feed-forward block each."""
        layers = (self.layers + self.averages) * self.width * (4 * self.width + 2 * self.feed_forward)
        return layers + (self.kernel + max(self.asking, 1)) * self.width * self.channels * bool(self.kernel)


NOTHING = Shape(0, 0, 0, 0)
"""No layers: a wide part alone."""


def choose(settings: StudentRecipe, teacher: Any) -> Shape:
    """The shape a recipe asks for, next to a teacher's configuration. Raises `ModelError` when it cannot be.

    - `small` (and `auto`): 2 layers as wide as the teacher, feed-forward as wide as the layer; what it keeps is in
      benchmarks/RESULTS.md, how it was chosen in docs/decisions/0002, and why it is not one layer in 0016.
    - `static`: static embeddings: one layer over the mean of a text's embeddings and of its phrases.
    - `tiny`: 2 layers a third as wide, embeddings projected.
    - `medium`: half the layers, unchanged.

    The layer of a teacher that reads the mean takes about as long as any other (benchmarks/averaging.py), so where the
    recipe does not count layers, it is one of them; where it does, it comes on top.
    """
    chosen = _chosen(settings, teacher)
    # What the first layer would then read is not what the teacher's reads.
    alike = settings.hidden_embeddings and settings.weighs("hidden") and not chosen.static
    return chosen if alike and settings.convolution == "auto" else with_convolution(chosen, settings, teacher)


def with_convolution(shape: Shape, settings: StudentRecipe, teacher: Any) -> Shape:
    """The shape with the convolution that a recipe asks for.

    `auto` gives one to a single layer, which keeps up to 2.5 points more for it (docs/decisions/0016), and nothing
    else of a text but single words reaches layers over static embeddings.
    """
    if settings.convolution == "none" or not shape.layers:
        return replace(shape, static=False)
    if settings.convolution != "auto":
        return replace(shape, kernel=settings.convolution)
    # A narrower student is a BERT, whatever its teacher is.
    takes = shape.static or shape.width != int(teacher.hidden_size) or hears(teacher)
    return replace(shape, kernel=_KERNEL) if takes and shape.layers == 1 and not shape.averages else shape


def hears(teacher: Any) -> bool:
    """Whether layers of a teacher's configuration are known to read embeddings in place of tokens."""
    return teacher.model_type in _ENCODERS


def check_convolution(shape: Shape, teacher: Any) -> None:
    """Raise `ModelError` where a student of a teacher's architecture cannot have the convolution of its shape."""
    if shape.kernel and shape.width == int(teacher.config.hidden_size) and not convolution.fits(teacher):
        asked = "`student.size: static`" if shape.static else "`student.convolution`"
        other = "take another `student.size`" if shape.static else "set `student.convolution: none`"
        raise ModelError(
            f"a {teacher.config.model_type} model cannot read embeddings in place of tokens",
            expected=f"an encoder of the BERT family for {asked}",
            cure=f"{other}, or choose another `teacher.model`",
        )


def check_coded(settings: StudentRecipe, shape: Shape, teacher: Any) -> None:
    """Raise `ModelError` where embeddings are to be put together from pieces, which stay, and learn all the same."""
    full = shape_of(teacher)
    if settings.embeddings == "coded" and not frozen_embeddings(settings, shape, full):
        raise ModelError(
            f"embeddings projected from {full.width} to {shape.width} numbers learn, and coded ones stay as they are",
            expected=f"`student.width: {full.width}`, or embeddings that do not learn",
            cure="set `freeze_embeddings: true`, or leave out `embeddings: coded`",
        )


def _chosen(settings: StudentRecipe, teacher: Any) -> Shape:
    full = shape_of(teacher)
    head_width = full.width // full.heads
    if settings.size == "medium":
        return replace(full, layers=max(1, (full.layers + full.averages) // 2 - full.averages))
    if settings.size == "static":
        return static(full)
    if settings.size == "tiny":
        heads = max(1, full.heads // 3)
        return Shape(min(2, full.layers), heads * head_width, heads, 4 * heads * head_width)
    width = settings.width or full.width
    heads = settings.heads or (full.heads if width == full.width else max(1, width // head_width))
    # Only with the teacher's width can its layers be taken, this one among them.
    averaged = full.averages and width == full.width
    # A list names a layer of the teacher for each of two.
    counted = averaged and not isinstance(settings.layer_map, list)
    layers = settings.layers or max(1, min(2, full.layers) - counted)
    default_inner = width if width == full.width else 4 * width
    shape = Shape(layers, width, heads, settings.feed_forward or default_inner, averaged)
    _check(shape, full)
    return shape


def frozen_embeddings(settings: StudentRecipe, shape: Shape, teacher: Shape) -> bool:
    """Whether a student's embeddings stay as they are while it learns: `auto` lets those learn that were projected.

    They are most of a small student's weights: a step without them in the optimizer is faster, and on 8,000 sentences
    the student was better for it (docs/decisions/0002).
    """
    return shape.width == teacher.width if settings.freeze_embeddings == "auto" else settings.freeze_embeddings


def shape_of(config: Any) -> Shape:
    """The shape of any `transformers` configuration that names its layers, width and heads."""
    try:
        return Shape(
            int(config.num_hidden_layers) - averages(config),
            int(config.hidden_size),
            int(config.num_attention_heads),
            int(getattr(config, _feed_forward_name(config)) or 4 * config.hidden_size),
            averages(config),
        )
    except AttributeError as error:
        raise ModelError(
            f"the architecture {config.model_type!r} does not say its shape: {error}",
            expected="a Transformer with layers, width, heads and feed-forward blocks in its configuration",
            cure="choose another `teacher.model`",
        ) from error


def same_width(teacher: Any, shape: Shape, *, vocabulary: int, positions: int) -> Any:
    """The teacher's configuration with fewer layers, thinner feed-forward blocks, another vocabulary, and no more
    positions than are ever read."""
    config = copy.deepcopy(teacher)
    config.num_hidden_layers = shape.layers + shape.averages
    mark(config, shape.averages)
    prefix.forget(config)
    for name in ("num_decoder_layers", "decoder_layers"):  # of T5, of BART
        if hasattr(config, name) and shape.layers < teacher.num_hidden_layers:
            setattr(config, name, min(shape.layers, getattr(config, name)))
    inner = _feed_forward_name(config)
    if getattr(config, "decoder_ffn_dim", None) == getattr(config, inner):
        config.decoder_ffn_dim = shape.feed_forward
    setattr(config, inner, shape.feed_forward)
    config.vocab_size = vocabulary
    if config.model_type in _COUNTED:
        config.max_position_embeddings = min(config.max_position_embeddings, positions)
    return config


def narrower(teacher: Any, shape: Shape, *, vocabulary: int, positions: int, pad: int, head: dict[str, Any]) -> Any:
    """A BERT configuration of any width, for teachers of any architecture."""
    from transformers import BertConfig

    limit = most_tokens(teacher)
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=min(limit, positions) if limit else positions,
        type_vocab_size=1,
        pad_token_id=pad,
        architectures=["BertForSequenceClassification"],
        **head,
    )


def single(full: Shape) -> Shape:
    """One layer, computed where the head reads it: its feed-forward block takes bytes, and hardly any time."""
    return Shape(1, full.width, full.heads, min(full.feed_forward, _INNER * full.width))


def static(full: Shape) -> Shape:
    """The same layer over one vector of a text."""
    return replace(single(full), static=True)


def _check(shape: Shape, full: Shape) -> None:
    if shape.width > full.width:
        raise ModelError(
            f"the student's width {shape.width} is larger than the teacher's {full.width}",
            expected=f"at most {full.width}",
            cure="lower `student.width`",
        )
    if shape.width == full.width and shape.layers > full.layers:
        raise ModelError(
            f"the student has {shape.layers} layers, the teacher {full.layers}",
            expected=f"at most {full.layers}",
            cure="lower `student.layers`",
        )
    if shape.width % shape.heads:
        raise ModelError(
            f"a width of {shape.width} cannot be divided into {shape.heads} heads",
            expected="a multiple",
            cure="set `student.heads`",
        )
    if shape.width == full.width and (shape.heads != full.heads or shape.feed_forward > full.feed_forward):
        raise ModelError(
            f"{shape.heads} heads and feed-forward {shape.feed_forward} cannot be taken from the teacher's "
            f"{full.heads} and {full.feed_forward}",
            expected="the teacher's heads, and at most its feed-forward",
            cure="leave out `student.heads`, or choose a smaller `student.width`",
        )


def _feed_forward_name(config: Any) -> str:
    found = [name for name in _FEED_FORWARD if hasattr(config, name)]
    if not found:
        raise ModelError(
            f"the architecture {config.model_type!r} does not name its feed-forward size",
            expected=f"one of {', '.join(_FEED_FORWARD)}",
            cure="choose another `teacher.model`",
        )
    return found[0]
