"""What every training is asked for, and what all parts of a recipe have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """One part of a recipe: strict, frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


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
    on_nan: Literal["stop", "skip"] = Field("stop", description="what to do with a loss that is not finite")
    checkpoint_minutes: Positive = Field(5.0, description="time between checkpoints inside an epoch")
