"""What a teacher is asked for: which model, and how it is made one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tutelage.recipe_augment import TeacherAugmentRecipe
from tutelage.recipe_parts import Count, Name, Part, Positive, Share, Sources, TaskName
from tutelage.recipe_training import Arithmetic, LabelRecipe, lesson_of

StrategyName = Literal[
    "full",
    "last-n",
    "head",
    "gradual",
    "bitfit",
    "lora",
    "dora",
    "adalora",
    "ia3",
    "adapter",
    "prefix",
    "prompt",
    "few-shot",
    "auto",
]
ReadsName = Literal["own", "mean", "auto"]
ChooseBy = Literal["taught", "loss", "score", "gradients", "pilots"]
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
    "prefix": 1e-2,
    "prompt": 3e-2,
    "few-shot": 5e-5,
}
# What learns from pairs of texts takes no notice of these, which say how an answer follows from a label.
OF_LABELS = ("label_smoothing", "focal", "mixup", "r_drop", "fgm", "freelb", "until")
# What is chosen among teachers, and what speaks beside one: how a single teacher is made does not depend on it.
AROUND = ("candidates", "combine", "choose_by", "wide")
# Strategies whose weights after an epoch are not all there is to say of it.
_NO_EPOCHS = {
    "few-shot": "whose head is fitted at the end",
    "adalora": "which switches directions off on the way",
    "auto": "which may turn out to be few-shot",
}
# Epochs at most for a teacher that is to reach a level.
_MOST_EPOCHS = 10


class FirstRecipe(Part):
    """A related task that the teacher learns before its own, with all its weights (STILTs, arXiv 1811.01088)."""

    task: TaskName | None = Field(None, description="what it is; null: as the recipe's own")
    train: Sources = Field(description="like `data.train`; its classes may be others")
    validation: Sources | None = Field(None, description="like train; null takes a share of train")
    text: Name = Field("text", description="column of the text")
    label: Name = Field("label", description="column of the label")
    epochs: Count = Field(1, description="passes over it")
    learning_rate: Positive = Field(1e-4, description="peak learning rate")


def _as_mapping(value: Any) -> Any:
    return {label: label for label in value} if isinstance(value, list) else value


class ZeroShotRecipe(Part):
    """Labels for training texts that have none, from the names of the classes; validation and test need labels."""

    model: Name = Field(description="local folder or hub id of a model of natural language inference")
    labels: Annotated[dict[Name, Name], BeforeValidator(_as_mapping), Field(min_length=2)] = Field(
        description="each class and the words that stand for it in the hypothesis; a list where they are the same"
    )
    hypothesis: Name = Field("This text is {}.", description="what is said of a text; those words come in place of {}")
    confidence: Share = Field(
        0.0, description="a text of whose class the model is less sure stays without a label, for the student alone"
    )

    @property
    def hypotheses(self) -> list[str]:
        """What is said of a text, a sentence for each class."""
        return [self.hypothesis.replace("{}", words) for words in self.labels.values()]

    @field_validator("hypothesis")
    @classmethod
    def _has_one_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError(f"{value!r} must have {{}} in one place, where the words of a class come in")
        return value

    @model_validator(mode="after")
    def _tells_classes_apart(self) -> ZeroShotRecipe:
        if len(set(self.hypotheses)) < len(self.hypotheses):
            raise ValueError("two classes have the same words: no model can tell them apart")
        return self


class TeacherRecipe(LabelRecipe):
    """The large model."""

    model: str = Field("minilm", description="'minilm' (packaged), a local folder, or a hub id")
    models: Annotated[list[Name], Field(min_length=2)] | None = Field(
        None, description="several of these: each is made ready, and the one that teaches most is taken; null: `model`"
    )
    candidates: Literal["epochs"] | None = Field(
        None,
        description="epochs: the weights after every epoch are candidates, as `models` are, for a teacher that learned "
        "less may teach more; null: the best epoch by its own score",
    )
    combine: Literal["best", "all"] = Field(
        "best",
        description="with `models` or `candidates`: best takes the one that teaches most; all: students hear the "
        "weighted sum of all, while layers and the measure of what is kept come from the one of least validation loss",
    )
    choose_by: ChooseBy = Field(
        "taught",
        description="what decides among `models` or `candidates`: taught: the validation loss of a linear model that "
        "each taught; loss or score: its own on validation; gradients: GRACE of the student before it learns, among "
        "those whose own loss is not surely higher than the least; pilots: short trials of the student under each, of "
        "which the better half goes on",
    )
    wide: Literal["auto"] | bool = Field(
        False,
        description="let a linear model of words and pairs, which learned the labels, speak beside the teacher: "
        "students hear both, the teacher itself stays as it is; auto: where validation gains",
    )
    fine_tune: Literal["auto"] | bool = Field(
        "auto", description="auto: train unless the model already has a head for exactly these labels"
    )
    strategy: StrategyName = Field(
        "full",
        description="which weights learn, and from what; auto: by the number of labels, the model and the "
        "memory: docs/guide/teachers.md",
    )
    reads: ReadsName = Field(
        "auto",
        description="what the head reads of a text: own: what the architecture gives it (of BERT the first token); "
        "mean: the mean of all tokens, by one more layer; auto: mean with few-shot and where `strategy: auto` says so, "
        "if that can be; else own",
    )
    layers: Count | None = Field(None, description="with `strategy: last-n`: how many of the last layers learn")
    epochs: Count = Field(2, description="passes over the training data")
    learning_rate: Positive = Field(
        1e-4, description="peak learning rate; left out, the strategy's own (this one: full and last-n)"
    )
    precision: Arithmetic = Field(
        "auto",
        description="arithmetic while it learns and is recorded; bf16 is faster where the processor has units for it, "
        "and auto takes it there for models of 256 and wider: docs/guide/students.md",
    )

    augment: TeacherAugmentRecipe | None = Field(
        None, description="changed copies of the training texts, each with the label of its text; null: none"
    )
    zero_shot: ZeroShotRecipe | None = Field(
        None, description="the training texts have no labels, and a model of inference gives them some; null: they have"
    )
    first: FirstRecipe | None = Field(None, description="a related task to learn before this one; null: none")
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

    @model_validator(mode="after")
    def _learns_after_the_first(self) -> TeacherRecipe:
        if self.first is not None and self.fine_tune is False:
            raise ValueError("`first` prepares a model for learning the task, which `fine_tune: false` forbids")
        return self

    @model_validator(mode="after")
    def _learns_from_copies(self) -> TeacherRecipe:
        if self.augment is not None and self.fine_tune is False:
            raise ValueError("`augment` changes texts to learn from, which `fine_tune: false` forbids")
        return self

    @model_validator(mode="after")
    def _changes_what_is_read(self) -> TeacherRecipe:
        if self.reads == "mean" and self.fine_tune is False:
            raise ValueError("`reads: mean` changes what the head learns from, which `fine_tune: false` forbids")
        return self

    @model_validator(mode="after")
    def _averages_tokens(self) -> TeacherRecipe:
        if self.reads == "mean" and self.strategy == "prompt":
            raise ValueError(
                "`reads: mean` would average the vectors of `strategy: prompt` with a text's own tokens: leave it out, "
                "or choose another strategy"
            )
        return self

    @model_validator(mode="after")
    def _has_one_list(self) -> TeacherRecipe:
        if self.models is not None and self.model != type(self).model_fields["model"].default:
            raise ValueError("give either `model` or `models`, not both")
        if self.models is not None and len(set(self.models)) < len(self.models):
            raise ValueError("`models` names a model twice")
        if self.models is None and self.candidates is None and self.combine != "best":
            raise ValueError(
                "`combine: all` would do nothing without `models` or `candidates`: give several, or leave it out"
            )
        chooses = self.combine == "best" and (self.models is not None or self.candidates is not None)
        if self.choose_by != "taught" and not chooses:
            raise ValueError(
                f"`choose_by: {self.choose_by}` would do nothing without `models` or `candidates`, or with "
                "`combine: all`: give several of which one is taken, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _has_epochs_to_choose_from(self) -> TeacherRecipe:
        if self.candidates is None:
            return self
        if self.models is not None:
            raise ValueError("give either `models` or `candidates: epochs`, not both")
        if self.epochs == 1 or self.fine_tune is False:
            raise ValueError("`candidates: epochs` would do nothing without `epochs` to learn in, two at least")
        if self.strategy in _NO_EPOCHS:
            raise ValueError(
                f"`candidates: epochs` cannot go back to an epoch of `strategy: {self.strategy}`, "
                f"{_NO_EPOCHS[self.strategy]}: choose another strategy"
            )
        return self

    @model_validator(mode="after")
    def _can_be_averaged(self) -> TeacherRecipe:
        if self.strategy == "adalora" and (self.ema or self.swa):
            raise ValueError("`strategy: adalora` switches directions off, and an average would switch them on again")
        return self

    @model_validator(mode="after")
    def _compares_pairs(self) -> TeacherRecipe:
        given = [f"`{key}`" for key in OF_LABELS if getattr(self, key)]
        if self.strategy == "few-shot" and given:
            raise ValueError(
                f"{' and '.join(given)} would do nothing with `strategy: few-shot`, which learns from pairs of texts: "
                "leave them out, or choose another strategy"
            )
        return self

    @model_validator(mode="after")
    def _says_how_many_layers(self) -> TeacherRecipe:
        if self.strategy == "last-n" and self.layers is None:
            raise ValueError("with `strategy: last-n`, give `layers`: how many of the last layers learn")
        if self.strategy != "last-n" and self.layers is not None:
            raise ValueError(f"`layers` belongs to `strategy: last-n`; the strategy is {self.strategy}")
        return self

    def identity(self) -> dict[str, Any]:
        """All that makes one teacher, but its data with their labels and its first task, which have their own names.

        What was added later stands here only where it is used, so that older artifacts stay valid.
        """
        unused = {"reads": self.reads == "auto", "augment": self.augment is None}
        left_out = ("first", "zero_shot", *AROUND, *(key for key, gone in unused.items() if gone))
        value = lesson_of(self).model_dump(exclude=set(left_out))
        if self.augment is not None:
            value["augment"] = self.augment.identity()
        return value

    def alone(self) -> TeacherRecipe:
        """How one teacher learns its own task. After a first task it always does, whatever the model knew before."""
        given = {"first": None, **{key: type(self).model_fields[key].default for key in AROUND}}
        return self.model_copy(update={**given, "fine_tune": True} if self.first else given)

    def taking(self, strategy: StrategyName, reads: ReadsName) -> TeacherRecipe:
        """The same with a strategy in place of `auto`, at its own learning rate where no other than the default was
        given."""
        default: float = type(self).model_fields["learning_rate"].default
        rate = _RATES.get(strategy, default) if self.learning_rate == default else self.learning_rate
        return self.model_copy(update={"strategy": strategy, "reads": reads, "learning_rate": rate})
