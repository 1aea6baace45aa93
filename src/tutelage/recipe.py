"""The recipe: what the user asked for, one frozen model per stage.

Strict: an unknown key is an error that names the nearest known one, and every problem is reported at once.
The descriptions below are the reference: `tutelage init` and docs/reference are written from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from tutelage import recipe_file, recipe_together, yaml_text
from tutelage.recipe_data import DataRecipe
from tutelage.recipe_matching import MatchingRecipe, Stage, misfits
from tutelage.recipe_parts import Count, Folder, Part, Portion, Positive, Seed, Share, TaskName, as_list
from tutelage.recipe_shape import ShapeRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.recipe_training import TrainingRecipe
from tutelage.recipe_transfer import TransferRecipe

Precision = Literal["fp32", "int8"]
# The tables in student/losses/ say what each compares and which tasks it fits; a test holds the names together.
OutputLossName = Literal[
    "soft-cross-entropy",
    "kl",
    "logit-mse",
    "annealed-mse",
    "dkd",
    "dist",
    "standardised",
    "generalised-jsd",
    "huber",
    "value-mse",
]
RungName = Literal["linear", "static", "narrow", "one", "two", "half", "whole"]
Decline = Literal["constant", "linear", "cosine", "1/t"]
# Keys that say how something is done, by the key that turns it on.
_PARTNERS = {
    "curriculum": ("curriculum_order", "curriculum_pacing", "curriculum_start", "curriculum_end"),
    "relations": ("relation_heads", "relation_layer"),
    "attention": ("attention_loss",),
}
_GOALS = ("keep", "max_latency_ms", "max_mb")
_SEARCHING = ("search_time", "rungs", "keep_confidence")
# What `balance: auto` decides, and what only somebody who knows their way would set.
_BALANCE = (
    *("alpha", "alpha_schedule", "temperature", "temperature_schedule"),
    *("weighting", "loss", "prediction", "stages"),
)
# Keys that came later: at their default they change no student, so that older artifacts stay valid.
_LATER = ("convolution", "growth", "hidden_last", "temperature_schedule", "weighting")


class StudentRecipe(ShapeRecipe, TransferRecipe, MatchingRecipe, TrainingRecipe):
    """The small model, and how it learns from the teacher."""

    keep: Portion | None = Field(
        None, description="search the cheapest student that keeps this share of the teacher's score; null: no search"
    )
    keep_confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.8, description="how sure the search must be, from rows not learned from, that `keep` holds"
    )
    max_latency_ms: Positive | None = Field(
        None, description="search a student that answers one text in so many milliseconds (median)"
    )
    max_mb: Positive | None = Field(None, description="search a student whose bundle has at most so many megabytes")
    search_time: Positive = Field(
        1.5,
        description="how long a search may train and compress students, in times the teacher's own fine-tuning",
    )
    rungs: Annotated[list[RungName], BeforeValidator(as_list), Field(min_length=1)] | None = Field(
        None, description="the students that a search may try; null: all, from the cheapest up"
    )
    epochs: Count = Field(4, description="passes over the transfer set; `stages` have their own")
    learning_rate: Positive = Field(1e-3, description="peak learning rate")
    balance: Literal["auto", "given"] = Field(
        "auto",
        description="auto: a linear model tells which loss, alpha and temperature teach most, or no teacher at all; "
        "given: as below, and as soon as one of them is named",
    )
    alpha: float = Field(1.0, ge=0, le=1, description="weight of the teacher; 1 - alpha is that of the labels")
    alpha_schedule: Decline = Field(
        "constant", description="how alpha falls from that value while the student learns, from teacher to labels"
    )
    temperature: Positive = Field(1.0, description="softens both sides; the teacher's term is scaled by its square")
    temperature_schedule: Literal["constant", "linear", "inverse"] = Field(
        "constant",
        description="how a temperature above 1 falls to 1 while the student learns; inverse: evenly in 1 / T",
    )
    weighting: Literal["fixed", "uncertainty", "wsl"] = Field(
        "fixed",
        description="how terms weigh: as given, each also by a learned uncertainty, or (wsl) the teacher's less on "
        "labelled texts of which the student is surer than the teacher",
    )
    loss: Literal["auto"] | OutputLossName = Field(
        "auto", description="how outputs follow the teacher's; auto: soft-cross-entropy for classes, huber for values"
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
        # Whoever writes `alpha: 1` wants that, though it is the default; `loss: auto` leaves it open in so many words.
        given = [key for key in _BALANCE if value.get(key) is not None and value[key] != "auto"]
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
    def _fits_together(self) -> StudentRecipe:
        if self.searches and (self.size != "auto" or self.layers or self.width or self.heads or self.feed_forward):
            raise ValueError("give either a goal (keep, max_latency_ms, max_mb) or a size or shape, not both")
        if self.searches and isinstance(self.layer_map, list):
            raise ValueError("a goal tries students of several depths: take `layer_map: uniform` or `last`")
        useless = [key for key in _SEARCHING if getattr(self, key) != type(self).model_fields[key].default]
        if useless and not self.searches:
            raise ValueError(
                f"{' and '.join(useless)} would do nothing without a goal ({', '.join(_GOALS)}): give one, or leave "
                f"{'it' if len(useless) == 1 else 'them'} out"
            )
        for partner, keys in _PARTNERS.items():
            if getattr(self, partner) or any(getattr(stage, partner, None) for stage in self.stages or []):
                continue
            alone = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
            if alone:
                raise ValueError(
                    f"{' and '.join(alone)} would do nothing without `{partner}`: give it, or leave them out"
                )
        for problem in [*misfits(self), *self._idle_weights(), *self._unassisted()]:
            raise ValueError(problem)
        return self

    def _idle_weights(self) -> Iterator[str]:
        """What would weigh nothing, or against nothing, in sentences."""
        if self.weighting != "fixed":
            teaches, labels = self.weighs_teacher, min(self._alphas) < 1 or self.alpha_schedule != "constant"
            layers = [self.weighs("hidden"), self.weighs("attention"), self.weighs("relations")]
            if self.weighting == "wsl" and not teaches:
                yield "`weighting: wsl` weighs the teacher's term, and with `alpha: 0` there is none: raise it"
            if self.weighting == "uncertainty" and sum([teaches, labels, *layers]) < 2:
                yield (
                    "`weighting: uncertainty` weighs terms against each other, and there is one: give labels a part "
                    "(`alpha` below 1) or layers (`hidden`), or leave it out"
                )
        if self.alpha_schedule != "constant" and not self.weighs_teacher:
            yield "`alpha_schedule` lets alpha fall to 0, and it begins there: give `alpha` above 0, or leave it out"
        if self.growth is not None and self.epochs < 2:
            yield f"`growth` needs two epochs at least, one with few layers and one with all; {self.epochs} was given"
        falls = self.temperature_schedule != "constant"
        if falls and self.temperature <= 1:
            yield "`temperature_schedule` lets the temperature fall to 1: give `temperature` above 1, or leave it out"
        if falls and self.loss == "logit-mse":
            yield "`loss: logit-mse` has no temperature that could fall: take `loss: annealed-mse`"

    @property
    def weighs_teacher(self) -> bool:
        """Whether what the teacher's head says counts in any stage."""
        return max(self._alphas) > 0

    @property
    def hears_teacher(self) -> bool:
        """Whether a teacher teaches anything in any stage: by its head or by its layers."""
        return self.weighs_teacher or any(self.weighs(term) for term in self.TERMS if term != "prediction")

    @property
    def _alphas(self) -> list[float]:
        """Of the stages in which the head learns."""
        learning = [
            stage for stage in self.stages or [Stage(epochs=1)] if (stage.prediction or stage.prediction is None)
        ]
        return [self.alpha if stage.alpha is None else stage.alpha for stage in learning] or [0.0]

    def identity(self) -> dict[str, Any]:
        """What a student is known by. What is left out here does not count, so that older artifacts stay valid."""
        default = type(self).model_fields
        value = super().identity()
        return {key: given for key, given in value.items() if key not in _LATER or given != default[key].default}

    def _unassisted(self) -> list[str]:
        """What does not go together with an assistant."""
        if self.assistant is None:
            return []
        found = []
        if self.searches:
            found.append("a goal tries students of several sizes: `assistant` belongs to a `size` or shape")
        if isinstance(self.layer_map, list) or self.relation_layer:
            found.append(
                "`layer_map` with numbers and `relation_layer` name layers of one teacher, and with `assistant` there "
                "are two: take `layer_map: uniform` or `last`, and leave out `relation_layer`"
            )
        if self.stages and self.assistant.epochs:
            found.append("`stages` say how many epochs there are: leave out `assistant.epochs`")
        return found

    def training(self) -> StudentRecipe:
        """What one student's training depends on: neither the goal nor whether there is a control."""
        others = (*_GOALS, *_SEARCHING, "keep_confidence", "control")
        return self.model_copy(update={key: type(self).model_fields[key].default for key in others})

    @property
    def searches(self) -> bool:
        """Whether a goal is given instead of a shape."""
        return any(getattr(self, goal) is not None for goal in _GOALS)


class CompressRecipe(Part):
    """What happens to the student after training."""

    quantize: Literal["auto", "int8", "none"] = Field(
        "auto", description="auto: int8 if measured as fast here, or needed for `max_mb`, and within allowed_loss"
    )
    allowed_loss: Share = Field(0.01, description="largest loss of validation score that int8 may cost")
    cascade: Literal["auto"] | bool = Field(
        "auto",
        description="let a wide part answer alone where it is sure; auto: if faster here and within cascade_loss",
    )
    cascade_loss: Share = Field(
        0.002, description="largest loss of validation score that a cascade may cost; `keep` may allow more"
    )
    cascade_levels: Literal[2, 3] = Field(
        2,
        description="3: in a search, students that were tried and do not keep enough may answer between the wide part "
        "and the one that does",
    )

    def identity(self) -> dict[str, Any]:
        """What a graph is known by: with two levels, as before there could be three."""
        return {key: value for key, value in self.model_dump().items() if key != "cascade_levels"}


class EvaluateRecipe(Part):
    """How the figures are measured."""

    resamples: Annotated[int, Field(ge=100)] = Field(1000, description="bootstrap resamples behind each interval")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="coverage of the intervals")
    speed_rows: Count = Field(512, description="test texts used to measure speed")
    seeds: Count = Field(
        1, description="train student and control from so many seeds, to tell what distillation gains whatever the seed"
    )
    neighbours: bool = Field(
        False, description="also make the student one size smaller and one larger, to tell what another size would give"
    )

    def identity(self) -> dict[str, Any]:
        """What figures are known by: what is not asked for does not count, so that older figures stay valid."""
        unasked = {key for key in ("seeds", "neighbours") if getattr(self, key) == type(self).model_fields[key].default}
        return self.model_dump(exclude=unasked)


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
    output: Folder = Field(description="folder of the run")
    seed: Seed = Field(0, description="every random choice derives from it")
    threads: Count | None = Field(None, description="CPU threads; null: all cores")

    @property
    def models(self) -> list[tuple[str, str]]:
        """Every model to learn from, and the key that names it."""
        several = [(f"teacher.models.{number}", name) for number, name in enumerate(self.teacher.models or [])]
        return several or [("teacher.model", self.teacher.model)]

    @model_validator(mode="after")
    def _goes_together(self) -> Recipe:
        problems = recipe_together.misfits(self)
        if problems:
            raise ValueError("; ".join(problems))
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
