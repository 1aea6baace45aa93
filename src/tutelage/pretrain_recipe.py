"""The recipe of a pre-training: which texts, which model, which objective. Strict like `recipe`, and read the same way.

The descriptions below are the reference: docs/reference/pretrain.md is written from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tutelage import recipe_file
from tutelage.recipe_parts import Count, Folder, Name, Part, Positive, Seed, Share
from tutelage.recipe_training import TrainingRecipe

Objective = Literal["masked", "causal", "span"]
Architecture = Literal["encoder", "decoder", "encoder-decoder"]
Positions = Literal["auto", "learned", "sinusoidal", "rotary", "relative"]

TRAINS: dict[str, Architecture] = {"masked": "encoder", "causal": "decoder", "span": "encoder-decoder"}
"""Objective -> the one architecture it is for."""
MADE_AS: dict[str, dict[str, str]] = {
    "encoder": {"learned": "BERT", "sinusoidal": "DistilBERT", "rotary": "ModernBERT"},
    "decoder": {"learned": "GPT-2", "rotary": "Llama"},
    "encoder-decoder": {"relative": "T5", "learned": "BART"},
}
"""Architecture -> positions -> the model type of `transformers` that has them; the first is taken by `auto`. Only types
that `transformers` can also put a classification head on: a model that no recipe could use is not offered."""
_SMALLEST = {"wordpiece": 64, "bpe": 300, "unigram": 64}
"""Tokens below which no tokenizer of a kind is worth training; a byte-level BPE starts with 256."""


def _sources(value: Any) -> Any:
    """'a.txt', {source: a.txt} or a list of both."""
    listed = value if isinstance(value, list) else [value]
    return [{"source": entry} if isinstance(entry, str) else entry for entry in listed]


class TextSource(Part):
    """One source of texts. Where its name says it all, the name alone will do."""

    source: Name = Field(
        description="plain text (.txt, a text a line), JSON Lines, CSV or TSV, also with .gz; Parquet; a saved "
        "`datasets` folder or a hub id"
    )
    column: Name = Field("text", description="column of the text; plain text has none")
    weight: Positive | None = Field(
        None, description="its part of the training, against the others' weights; null: by its number of tokens"
    )


class TextRecipe(Part):
    """Where the texts are, and how they are made ready."""

    text: Annotated[list[TextSource], BeforeValidator(_sources), Field(min_length=1)] = Field(
        description="one source or several, each a name or a mapping"
    )
    encoding: str = Field("utf-8", description="encoding of text files")
    normalise: bool = Field(True, description="mend broken Unicode, unify spaces, drop control characters")
    max_bad_rows: Share = Field(0.01, description="stop when a larger share of a source's texts cannot be used")
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.02,
        description="share of the texts, chosen by their content, that is never trained on and measures perplexity",
    )

    @field_validator("text")
    @classmethod
    def _weighs_all_or_none(cls, value: list[TextSource]) -> list[TextSource]:
        given = [source.weight is not None for source in value]
        if any(given) and not all(given):
            raise ValueError("some sources have a `weight` and some have none; give it to all of them, or to none")
        names = [(source.source, source.column) for source in value]
        if len({*names}) < len(names):
            raise ValueError("a source occurs twice; give it once, with more `weight`")
        return value


class ModelRecipe(Part):
    """A checkpoint to go on from, or the shape of a new model."""

    checkpoint: Name | None = Field(
        None, description="go on from 'minilm' (packaged), a local folder or a hub id; null: a new model"
    )
    architecture: Architecture | None = Field(None, description="null: the one that the objective is for")
    layers: Count = Field(4, description="Transformer layers; of an encoder-decoder, in each of the two")
    width: Count = Field(256, description="hidden size")
    heads: Count = Field(4, description="attention heads")
    feed_forward: Count | None = Field(None, description="inner size of the feed-forward blocks; null: 4 x width")
    positions: Positions = Field(
        "auto",
        description="how positions are told: learned (BERT, GPT-2, BART), sinusoidal (DistilBERT), rotary (ModernBERT, "
        "Llama), relative (T5); auto: learned, and relative for an encoder-decoder",
    )

    @model_validator(mode="after")
    def _can_be_built(self) -> ModelRecipe:
        if self.checkpoint is not None:
            new = ModelRecipe.model_construct()
            given = [key for key in ModelRecipe.model_fields if getattr(self, key) != getattr(new, key)]
            given.remove("checkpoint")
            if given:
                raise ValueError(f"a checkpoint brings its own shape; leave out {', '.join(given)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(
                f"rotary positions turn pairs of numbers: width / heads is {self.width // self.heads}, odd"
            )
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions are pairs of sine and cosine: the width {self.width} is odd")
        return self


class TokenizerRecipe(Part):
    """The tokenizer of a new model, trained on the texts."""

    kind: Literal["wordpiece", "bpe", "unigram"] = Field(
        "wordpiece", description="WordPiece (BERT), byte-level BPE (GPT-2) or Unigram (T5)"
    )
    vocabulary: Annotated[int, Field(ge=64)] = Field(8000, description="tokens, special ones included")
    lowercase: bool = Field(False, description="read capitals as small letters")
    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the texts, chosen by their content, that it is trained on; lower it to save memory"
    )

    @model_validator(mode="after")
    def _has_room(self) -> TokenizerRecipe:
        least = _SMALLEST[self.kind]
        if self.vocabulary < least:
            raise ValueError(f"a {self.kind} tokenizer needs a vocabulary of at least {least}")
        return self


class PretrainTraining(Part):
    """How long and how the model learns."""

    steps: Count | None = Field(None, description="optimizer steps, rounded up to a multiple of `looks`")
    minutes: Positive | None = Field(
        None, description="instead of steps: as many as take so long here, found once by timing a few"
    )
    batch_tokens: Count = Field(
        4096, description="tokens behind each step; when memory does not suffice they are taken in parts"
    )
    length: Annotated[int, Field(ge=16)] = Field(128, description="tokens that the model reads at once")
    hidden_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.15, description="share of the tokens that `masked` hides and `span` cuts out"
    )
    learning_rate: Positive = Field(5e-4, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of AdamW")
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises")
    dropout: Share = Field(0.0, description="0 is faster; more where the texts are read many times")
    clip: Positive = Field(1.0, description="largest gradient norm")
    on_nan: Literal["stop", "skip"] = Field("stop", description="what to do with a loss that is not finite")
    checkpoint_minutes: Positive = Field(5.0, description="time between checkpoints")
    looks: Count = Field(10, description="how often held-out perplexity is measured; the best weights are kept")
    heldout_tokens: Count = Field(50_000, description="at most so many held-out tokens are read each time")

    @model_validator(mode="after")
    def _ends(self) -> PretrainTraining:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either `steps` or `minutes`")
        if self.batch_tokens < self.length:
            raise ValueError(f"`batch_tokens` {self.batch_tokens} is less than one sequence of `length` {self.length}")
        return self

    @property
    def rows(self) -> int:
        """Sequences behind each step."""
        return self.batch_tokens // self.length

    def loop(self) -> TrainingRecipe:
        """The same in the words of the loop: a look is an epoch."""
        shared = ("learning_rate", "weight_decay", "warmup", "dropout", "clip", "on_nan", "checkpoint_minutes")
        return TrainingRecipe(
            epochs=self.looks, batch_size=self.rows, patience=None, **{key: getattr(self, key) for key in shared}
        )


class PretrainRecipe(Part):
    """The whole recipe of a pre-training."""

    data: TextRecipe = Field(description="where the texts are, and how they are made ready")
    objective: Objective = Field(
        description="masked: guess hidden words (encoder); causal: guess the next token (decoder); span: fill in what "
        "was cut out (encoder-decoder)"
    )
    model: ModelRecipe = Field(
        default_factory=ModelRecipe, description="a checkpoint to go on from, or the shape of a new model"
    )
    tokenizer: TokenizerRecipe = Field(
        default_factory=TokenizerRecipe, description="the tokenizer of a new model, trained on the texts"
    )
    training: PretrainTraining = Field(description="how long and how the model learns")
    output: Folder = Field(description="folder of the run; the model is in `model/` there")
    seed: Seed = Field(0, description="every random choice derives from it")
    threads: Count | None = Field(None, description="CPU threads; null: all cores")

    @model_validator(mode="after")
    def _fits_together(self) -> PretrainRecipe:
        found = []
        fitting = TRAINS[self.objective]
        if self.model.architecture not in (None, fitting):
            other = next(goal for goal, kind in TRAINS.items() if kind == self.model.architecture)
            found.append(
                f"`objective: {self.objective}` trains the architecture {fitting}, and `model.architecture` is "
                f"{self.model.architecture}; for that one, set `objective: {other}`"
            )
        elif self.positions not in MADE_AS[fitting]:
            there = ", ".join(f"{name} ({kind})" for name, kind in MADE_AS[fitting].items())
            found.append(
                f"`transformers` has no {fitting} with {self.positions} positions that could be fine-tuned; it has: "
                f"{there}"
            )
        if self.model.checkpoint is not None and self.tokenizer != TokenizerRecipe():
            found.append("a checkpoint brings its own tokenizer; leave out `tokenizer`")
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def models(self) -> list[tuple[str, str]]:
        """The model to go on from, if any, and the key that names it."""
        return [("model.checkpoint", self.model.checkpoint)] if self.model.checkpoint else []

    @property
    def positions(self) -> str:
        """How positions are told, `auto` resolved."""
        given = self.model.positions
        return next(iter(MADE_AS[TRAINS[self.objective]])) if given == "auto" else given


def load(source: str | Path | Mapping[str, Any]) -> PretrainRecipe:
    """Read a recipe from a YAML or TOML file, or from a mapping. Paths inside stay as written.

    Raises `RecipeError` with every problem at once.
    """
    return recipe_file.read(source, PretrainRecipe, hint="docs/guide/pretraining.md shows one")
