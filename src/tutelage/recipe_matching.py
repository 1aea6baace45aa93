"""The keys of a recipe that say how a student's layers follow the teacher's, in which stages, and how they grow."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tutelage.recipe_parts import Count, Part, Positive, Weight

HiddenLossName = Literal["cosine", "mse", "patient", "relational", "similarity", "contrastive"]
Term = Literal["prediction", "hidden", "attention", "relations"]
AttentionLossName = Literal["scores", "maps"]
# Losses that compare the texts of a batch know nothing of single tokens.
_OF_TEXTS = ("relational", "similarity", "contrastive")


def _numbers(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Layers = Annotated[list[int], BeforeValidator(_numbers), Field(min_length=1)]


class Stage(Part):
    """A part of the training with weights of its own. What is left out is as the student has it."""

    epochs: Count = Field(description="passes over the transfer set in this stage")
    learning_rate: Positive | None = Field(None, description="peak learning rate; it rises and falls in every stage")
    prediction: Weight | None = Field(None, description="weight of what the head says")
    hidden: Weight | None = Field(None, description="weight of hidden states")
    attention: Weight | None = Field(None, description="weight of attention")
    relations: Weight | None = Field(None, description="weight of relations between tokens")
    alpha: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="weight of the teacher")


class Growth(Part):
    """A training that begins with some of the student's layers and puts the others on top."""

    start: Count = Field(1, description="layers that learn first, the lowest ones, with the head on top of them")
    new: Literal["teacher", "copy"] = Field(
        "teacher",
        description="what a layer begins as when it comes: what was taken of the teacher for its place, or a copy of "
        "the topmost so far",
    )


class MatchingRecipe(Part):
    """How a student's layers follow the teacher's."""

    TERMS: ClassVar[tuple[Term, ...]] = ("prediction", "hidden", "attention", "relations")

    prediction: Weight = Field(
        1.0, description="weight of what the head says, teacher's term and labels together; 0 in a stage for layers"
    )
    hidden: Weight = Field(1.0, description="weight of matching the teacher's hidden states; 0: off")
    hidden_loss: HiddenLossName = Field("cosine", description="how hidden states follow the teacher's")
    hidden_of: Literal["text", "token"] = Field(
        "text", description="whose hidden states are matched: averages over each text, or every token's"
    )
    hidden_last: Literal["auto"] | bool = Field(
        "auto",
        description="match the student's last layer too; without, it is computed only where the head reads it, which "
        "is much faster; auto: where there are two layers or more",
    )
    hidden_embeddings: bool = Field(False, description="match the embeddings too, with the teacher's")
    layer_map: Literal["uniform", "last", "learned"] | Layers = Field(
        "uniform",
        description="after which teacher layers (1 the first, 0 the embeddings) hidden states are matched: evenly "
        "spread, the last ones, a learned mixture of all, or one number for each student layer",
    )
    attention: Weight = Field(0.0, description="weight of matching which tokens attend to which; 0: off")
    attention_loss: AttentionLossName = Field("scores", description="attention before (scores) or after softmax (maps)")
    relations: Weight = Field(0.0, description="weight of matching relations of queries, keys and values; 0: off")
    relation_heads: Count | None = Field(
        None, description="parts that queries, keys and values are cut into; null: as the teacher's heads, if it can be"
    )
    relation_layer: Count | None = Field(
        None, description="teacher layer whose relations the student's last layer follows; null: the last"
    )
    stages: Annotated[list[Stage], Field(min_length=1)] | None = Field(
        None, description="parts of the training, one after the other, each with epochs and weights of its own"
    )
    growth: Growth | None = Field(
        None, description="layers are added while the student learns, in as many epochs as without; null: off"
    )

    def weighs(self, term: Term) -> bool:
        """Whether a term counts in any stage."""
        own: float = getattr(self, term)
        given = [getattr(stage, term) for stage in self.stages or [Stage(epochs=1)]]
        return any((own if weight is None else weight) > 0 for weight in given)

    @property
    def follows_tokens(self) -> bool:
        """Whether student and teacher are compared token by token."""
        by_token = self.hidden_of == "token" and self.weighs("hidden")
        return by_token or self.weighs("attention") or self.weighs("relations")


def misfits(settings: MatchingRecipe) -> list[str]:
    """What does not go together, in sentences."""
    found = []
    if settings.hidden_of == "token" and settings.hidden_loss in _OF_TEXTS:
        found.append(
            f"`hidden_loss: {settings.hidden_loss}` compares the texts of a batch; with `hidden_of: token` take "
            "cosine, mse or patient"
        )
    if settings.growth is not None and settings.stages is not None:
        found.append("`growth` makes stages of its own: give it or `stages`, not both")
    stages = settings.stages or [Stage(epochs=1)]
    own: dict[str, float] = {term: getattr(settings, term) for term in settings.TERMS}
    weights = [{**own, **stage.model_dump(include={*own}, exclude_none=True)} for stage in stages]
    if not weights[-1]["prediction"]:
        where = "the last of `stages`" if settings.stages else "a training without `stages`"
        found.append(f"in {where} `prediction` is 0: the head would learn nothing; give it a weight")
    found += [
        f"in stage {number} every weight is 0: nothing would be learned; give one of {', '.join(own)} a weight"
        for number, given in enumerate(weights, start=1)
        if settings.stages and not any(given.values())
    ]
    return found
