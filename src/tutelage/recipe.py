"""The recipe: what the user asked for, one frozen model per stage.

Strict: an unknown key is an error that names the nearest known one, and every problem is reported at once.
The descriptions below are the reference: `tutelage init` and docs/reference are written from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from tutelage import recipe_file, recipe_transfer, yaml_text
from tutelage.recipe_matching import MatchingRecipe, misfits
from tutelage.recipe_parts import Count, Name, Part, Positive, Share, Sources
from tutelage.recipe_training import LabelRecipe, TrainingRecipe
from tutelage.recipe_transfer import Portion, TransferRecipe

Precision = Literal["fp32", "int8"]
StrategyName = Literal["full", "last-n", "head", "gradual", "bitfit", "lora", "dora", "adalora", "ia3", "adapter"]
TaskName = Literal["text-classification", "text-regression"]
# The tables in student/losses/ say what each compares and which tasks it fits; a test holds the names together.
OutputLossName = Literal[
    "soft-cross-entropy", "kl", "logit-mse", "dkd", "dist", "standardised", "generalised-jsd", "huber"
]
Decline = Literal["constant", "linear", "cosine", "1/t"]
# Keys that say how something is done, by the key that turns it on.
_PARTNERS = {
    "curriculum": ("curriculum_order", "curriculum_pacing", "curriculum_start", "curriculum_end"),
    "relations": ("relation_heads", "relation_layer"),
    "attention": ("attention_loss",),
}
# What `balance: auto` decides, and what only somebody who knows their way would set.
_BALANCE = ("alpha", "alpha_schedule", "temperature", "loss", "prediction", "stages")


class DataRecipe(Part):
    """Where the texts and labels are, and how they are made ready."""

    train: Sources = Field(
        description="file, list of files, folder of class folders, saved `datasets` folder or hub id"
    )
    validation: Sources | None = Field(None, description="like train; null takes a share of train")
    test: Sources | None = Field(None, description="like train; null takes a share of train")
    text: Name = Field("text", description="column of the text")
    label: Name = Field("label", description="column of the label")
    unlabelled: Sources | None = Field(None, description="more texts without labels, for the student")
    group: str | None = Field(None, description="column whose equal values stay in one split")
    validation_share: Share = Field(0.1, description="share of train that becomes validation, if none is given")
    test_share: Share = Field(0.2, description="share of train that becomes test, if none is given")
    judge_share: Share = Field(
        0.15, description="share of train kept aside to judge the candidates of a search, if `student` has a goal"
    )
    encoding: str = Field("utf-8", description="encoding of text files")
    normalise: bool = Field(True, description="mend broken Unicode, unify spaces, drop control characters")
    deduplicate: bool = Field(True, description="keep one of rows whose text is equal, and none that is in test")
    max_bad_rows: Share = Field(0.01, description="stop when a larger share of the rows cannot be used")
    max_characters: Count = Field(100_000, description="a longer text is a bad row")
    max_tokens: int = Field(256, ge=8, description="tokens the model reads at once, special ones included")
    long_text: Literal["truncate", "window"] = Field(
        "truncate",
        description="a longer text is cut, or read in overlapping windows whose answers are averaged",
    )


# Peak learning rates where the recipe gives none: the fewer weights learn, the further each may go. Starting points
# within the ranges of the papers (docs/guide/teachers.md), not tuned.
_RATES: dict[str, float] = {
    "gradual": 3e-4,
    "head": 1e-3,
    "bitfit": 5e-4,
    "lora": 5e-4,
    "dora": 5e-4,
    "adalora": 1e-3,
    "ia3": 3e-3,
    "adapter": 5e-4,
}
# Epochs at most for a teacher that is to reach a level.
_MOST_EPOCHS = 10
# Strategies known by name that no folder could deliver.
_NOT_PLAIN = {
    "prefix": "keys and values in front of every layer",
    "prompt": "vectors in front of every text",
}


class TeacherRecipe(LabelRecipe):
    """The large model."""

    model: str = Field("minilm", description="'minilm' (packaged), a local folder, or a hub id")
    models: Annotated[list[Name], Field(min_length=2)] | None = Field(
        None, description="several of these: each is made ready, and the one that teaches most is taken; null: `model`"
    )
    fine_tune: Literal["auto"] | bool = Field(
        "auto", description="auto: train unless the model already has a head for exactly these labels"
    )
    strategy: StrategyName = Field("full", description="which weights learn: docs/guide/teachers.md")
    layers: Count | None = Field(None, description="with `strategy: last-n`: how many of the last layers learn")
    epochs: Count = Field(2, description="passes over the training data")
    learning_rate: Positive = Field(
        1e-4, description="peak learning rate; left out, the strategy's own (this one: full and last-n)"
    )

    until: Annotated[dict[Name, float], Field(min_length=1)] | None = Field(
        None,
        description="stop at the first epoch whose validation reaches these levels of the task's metrics, such as "
        "`{accuracy: 0.9}`; `epochs`, then 10 where it is left out, are the most",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_time(cls, value: Any) -> Any:
        """A level that is to be reached may take longer than what suffices otherwise."""
        if isinstance(value, dict) and value.get("until") is not None and "epochs" not in value:
            return {**value, "epochs": _MOST_EPOCHS}
        return value

    @model_validator(mode="before")
    @classmethod
    def _has_a_rate(cls, value: Any) -> Any:
        strategy = value.get("strategy") if isinstance(value, dict) else None
        if isinstance(strategy, str) and strategy in _RATES and "learning_rate" not in value:
            return {**value, "learning_rate": _RATES[strategy]}
        return value

    @field_validator("strategy", mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        if isinstance(value, str) and value in _NOT_PLAIN:
            raise ValueError(
                f"{value!r} adds {_NOT_PLAIN[value]}, which no plain model folder can hold, and the teacher must be "
                "one; lora, ia3 and adapter train few weights too and merge without a trace"
            )
        return value

    @model_validator(mode="after")
    def _has_one_list(self) -> TeacherRecipe:
        if self.models is not None and self.model != type(self).model_fields["model"].default:
            raise ValueError("give either `model` or `models`, not both")
        if self.models is not None and len(set(self.models)) < len(self.models):
            raise ValueError("`models` names a model twice")
        return self

    @model_validator(mode="after")
    def _can_be_averaged(self) -> TeacherRecipe:
        if self.strategy == "adalora" and (self.ema or self.swa):
            raise ValueError("`strategy: adalora` switches directions off, and an average would switch them on again")
        return self

    @model_validator(mode="after")
    def _says_how_many_layers(self) -> TeacherRecipe:
        if self.strategy == "last-n" and self.layers is None:
            raise ValueError("with `strategy: last-n`, give `layers`: how many of the last layers learn")
        if self.strategy != "last-n" and self.layers is not None:
            raise ValueError(f"`layers` belongs to `strategy: last-n`; the strategy is {self.strategy}")
        return self


class StudentRecipe(TransferRecipe, MatchingRecipe, TrainingRecipe):
    """The small model, and how it learns from the teacher."""

    size: Literal["auto", "tiny", "small", "medium"] | None = Field(
        "auto", description="a ready-made shape; null with layers / width given"
    )
    keep: Portion | None = Field(
        None, description="search the cheapest student that keeps this share of the teacher's score; null: no search"
    )
    keep_confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.8, description="how sure the search must be, from rows kept aside, that `keep` holds"
    )
    max_latency_ms: Positive | None = Field(
        None, description="search a student that answers one text in so many milliseconds (median)"
    )
    max_mb: Positive | None = Field(None, description="search a student whose bundle has at most so many megabytes")
    layers: Count | None = Field(None, description="Transformer layers")
    width: Count | None = Field(None, description="hidden size; the teacher's keeps its layers, less projects them")
    heads: Count | None = Field(None, description="attention heads")
    feed_forward: Count | None = Field(None, description="inner size of the feed-forward blocks")
    vocabulary: Literal["trim", "keep"] = Field("trim", description="drop tokens that the texts never use, or not")
    vocabulary_size: Literal["auto"] | Count = Field(
        "auto",
        description="when trimming: about so many tokens, those that the texts use most, filled up with the language's "
        "most common; auto: all that they use, at least 20,000",
    )
    epochs: Count = Field(4, description="passes over the transfer set")
    learning_rate: Positive = Field(1e-3, description="peak learning rate")
    balance: Literal["auto", "given"] = Field(
        "auto",
        description="auto: a linear model tells which loss, alpha and temperature teach most, or no teacher at all; "
        "given: as below, and as soon as one of them is set",
    )
    alpha: float = Field(1.0, ge=0, le=1, description="weight of the teacher; 1 - alpha is that of the labels")
    alpha_schedule: Decline = Field(
        "constant", description="how alpha falls from that value while the student learns, from teacher to labels"
    )
    temperature: Positive = Field(1.0, description="softens both sides; the teacher's term is scaled by its square")
    loss: Literal["auto"] | OutputLossName = Field(
        "auto", description="how outputs follow the teacher's; auto: soft-cross-entropy for classes, huber for values"
    )
    freeze_embeddings: Literal["auto"] | bool = Field(
        "auto", description="leave the teacher's embeddings as they are; auto: when they were not projected"
    )
    curriculum: Literal["confidence", "length", "loss"] | None = Field(
        None,
        description="begin with easy texts, by the teacher's confidence, their length, or the teacher's loss on the "
        "label; null: all texts from the start",
    )
    curriculum_order: Literal["easy-first", "hard-first"] = Field(
        "easy-first", description="hard-first is the control experiment"
    )
    curriculum_pacing: Literal["linear", "root", "step"] = Field(
        "root", description="how the share of the texts that may be drawn grows"
    )
    curriculum_start: Portion = Field(0.25, description="share of the texts that may be drawn at first")
    curriculum_end: Portion = Field(0.5, description="share of all steps after which every text may be drawn")
    wide: Literal["auto"] | bool = Field(
        "auto", description="a linear part over tokens and their pairs beside the layers; auto: where validation gains"
    )
    control: bool = Field(True, description="also train the same student on labels alone")

    @model_validator(mode="before")
    @classmethod
    def _leaves_the_balance_open(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "balance" in value:
            return value
        given = [key for key in _BALANCE if key in value and value[key] != cls.model_fields[key].default]
        return {**value, "balance": "given" if given else "auto"}

    @model_validator(mode="after")
    def _balances_what_is_open(self) -> StudentRecipe:
        given = [key for key in _BALANCE if getattr(self, key) != type(self).model_fields[key].default]
        if self.balance == "auto" and given:
            raise ValueError(
                f"`balance: auto` chooses {' and '.join(given)} itself: leave them out, or take `balance: given`"
            )
        return self

    @model_validator(mode="after")
    def _has_a_shape(self) -> StudentRecipe:
        if self.size is None and self.layers is None:
            raise ValueError("with `size: null`, give at least `layers`")
        if self.size not in (None, "auto") and any((self.layers, self.width, self.heads, self.feed_forward)):
            raise ValueError("give either a `size` or a shape (layers, width ...), not both")
        if self.width and self.heads and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads")
        if self.searches and (self.size != "auto" or self.layers or self.width or self.heads or self.feed_forward):
            raise ValueError("give either a goal (keep, max_latency_ms, max_mb) or a size or shape, not both")
        if self.searches and isinstance(self.layer_map, list):
            raise ValueError("a goal tries students of several depths: take `layer_map: uniform` or `last`")
        for partner, keys in _PARTNERS.items():
            if getattr(self, partner) or any(getattr(stage, partner, None) for stage in self.stages or []):
                continue
            alone = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
            if alone:
                raise ValueError(
                    f"{' and '.join(alone)} would do nothing without `{partner}`: give it, or leave them out"
                )
        for problem in misfits(self):
            raise ValueError(problem)
        return self

    def training(self) -> StudentRecipe:
        """What one student's training depends on: neither the goal nor whether there is a control."""
        others = ("keep", "keep_confidence", "max_latency_ms", "max_mb", "control")
        return self.model_copy(update={key: type(self).model_fields[key].default for key in others})

    @property
    def searches(self) -> bool:
        """Whether a goal is given instead of a shape."""
        return any(goal is not None for goal in (self.keep, self.max_latency_ms, self.max_mb))


class CompressRecipe(Part):
    """What happens to the student after training."""

    quantize: Literal["auto", "int8", "none"] = Field(
        "auto", description="auto: int8 only if measured faster here and within allowed_loss"
    )
    allowed_loss: Share = Field(0.01, description="largest loss of validation score that int8 may cost")
    cascade: Literal["auto"] | bool = Field(
        "auto",
        description="let a wide part answer alone where it is sure; auto: if faster here and within cascade_loss",
    )
    cascade_loss: Share = Field(0.002, description="largest loss of validation score that a cascade may cost")


class EvaluateRecipe(Part):
    """How the figures are measured."""

    resamples: Annotated[int, Field(ge=100)] = Field(1000, description="bootstrap resamples behind each interval")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="coverage of the intervals")
    speed_rows: Count = Field(512, description="test texts used to measure speed")


class Recipe(Part):
    """The whole recipe."""

    task: TaskName = Field(description="what the model does, by Hugging Face's pipeline name where one exists")
    data: DataRecipe = Field(description="where the texts and labels are, and how they are made ready")
    teacher: TeacherRecipe = Field(default_factory=TeacherRecipe, description="the large model")
    student: StudentRecipe = Field(
        default_factory=StudentRecipe, description="the small model, and how it learns from the teacher"
    )
    compress: CompressRecipe = Field(
        default_factory=CompressRecipe, description="what happens to the student after training"
    )
    evaluate: EvaluateRecipe = Field(default_factory=EvaluateRecipe, description="how the figures are measured")
    output: Name = Field(description="folder of the run")
    seed: int = Field(0, ge=0, description="every random choice derives from it")
    threads: Count | None = Field(None, description="CPU threads; null: all cores")

    @model_validator(mode="after")
    def _goes_together(self) -> Recipe:
        if self.student.follows_tokens and self.data.long_text == "window":
            raise ValueError(
                "`data.long_text: window` reads a text more than once, and what is matched token by token "
                "(student.hidden_of: token, attention, relations) needs each token once; take `long_text: truncate`"
            )
        for problem in recipe_transfer.misfits(self.student, self.data.unlabelled):
            raise ValueError(problem)
        return self


def load(source: str | Path | Mapping[str, Any]) -> Recipe:
    """Read a recipe from a YAML or TOML file, or from a mapping. Paths inside stay as written.

    Raises `RecipeError` with every problem at once.
    """
    return recipe_file.read(source, Recipe, hint="`tutelage init DATA` writes one")


def dump(recipe: BaseModel) -> str:
    """The recipe as YAML, every default written out."""
    return yaml_text.write(recipe.model_dump(mode="json"))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two recipes differ, dotted, with both values."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        before, after, name = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {before!r} -> {after!r}")
    return found
