"""What every training is asked for, and what those that learn from labels are asked for besides."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field, model_validator

from tutelage.recipe_parts import Count, Part, Positive, Share, Weight

Arithmetic = Literal["auto", "fp32", "bf16"]


class TrainingRecipe(Part):
    """What every training has in common."""

    epochs: Count = Field(3, description="passes over the training data")
    learning_rate: Positive = Field(1e-4, description="peak learning rate")
    batch_size: Count = Field(
        32, description="rows behind each step; when memory does not suffice they are taken in parts"
    )
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of AdamW")
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises")
    patience: Count | None = Field(2, description="stop after so many epochs without a better validation score")
    dropout: Share = Field(0.0, description="0 is faster and, for short fine-tuning, as good")
    clip: Positive = Field(1.0, description="largest gradient norm")
    r_drop: Weight = Field(
        0.0, description="strength of R-Drop: two passes with different `dropout`, above 0, must say the same; 0: off"
    )
    fgm: Weight = Field(
        0.0, description="length by which each text's embedded tokens are moved uphill (fast gradient method); 0: off"
    )
    freelb: Weight = Field(
        0.0, description="largest length by which they are moved, in three steps that all teach (FreeLB); 0: off"
    )
    l1: Weight = Field(0.0, description="weight of the sum of all weights' sizes, matrices only; 0: off")
    ema: Share = Field(
        0.0, description="decay of a moving average of the weights, which is judged and kept instead; 0: off"
    )
    swa: Share = Field(
        0.0, description="share of the steps, the last ones, whose weights are averaged, judged and kept; 0: off"
    )
    precision: Arithmetic = Field(
        "fp32",
        description="arithmetic while it learns; bf16 is faster where the processor has units for it, and auto takes "
        "it there for models of 256 and wider: docs/guide/students.md",
    )
    on_nan: Literal["stop", "skip"] = Field("stop", description="what to do with a loss that is not finite")
    checkpoint_minutes: Positive = Field(5.0, description="time between checkpoints inside an epoch")

    @model_validator(mode="after")
    def _can_be_regularised(self) -> TrainingRecipe:
        if self.r_drop and not self.dropout:
            raise ValueError(
                "with `r_drop`, give `dropout` above 0, such as 0.1: without, both passes are the same and nothing is "
                "learned from them"
            )
        self._is_one_of("r_drop", "fgm", "freelb")
        self._is_one_of("ema", "swa")
        return self

    def _is_one_of(self, *keys: str) -> None:
        """Raise `ValueError` where several keys are given of which there can be one."""
        given = [f"`{key}`" for key in keys if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} were given; they cannot be combined: choose one")


# How a training is got over its troubles, which is no part of what it learns.
_HANDLING = ("on_nan", "checkpoint_minutes")
Trained = TypeVar("Trained", bound=Part)


def lesson_of(settings: Trained) -> Trained:
    """The settings as names of trainings know them: those that may change half-way, without a checkpoint being lost,
    have their defaults."""
    fields = type(settings).model_fields
    return settings.model_copy(update={key: fields[key].default for key in _HANDLING if key in fields})


class LabelRecipe(TrainingRecipe):
    """A training that learns from labels alone, and how it takes them."""

    label_smoothing: Share = Field(
        0.0, description="share of each label that is spread over all classes; classes only; 0: off"
    )
    focal: Weight = Field(
        0.0, description="exponent of the focal loss: how much less sure answers count; classes only; 0: off"
    )
    class_weights: Literal["balanced"] | None = Field(
        None, description="balanced: every class weighs the same, however rare; null: off"
    )
    mixup: Weight = Field(
        0.0, description="mix the pooled states of two texts, shares from Beta(mixup, mixup), and their labels; 0: off"
    )

    @model_validator(mode="after")
    def _takes_labels_in_one_way(self) -> LabelRecipe:
        self._is_one_of("label_smoothing", "focal")
        self._is_one_of("mixup", "r_drop", "fgm", "freelb")
        return self
