"""A training in stages: what layers hold first, say, and what the head says afterwards (as TinyBERT, arXiv 1909.10351).

Every stage is a training of its own, with its own epochs, weights, rise and fall of the learning rate, that starts from
where the one before ended. Where the head does not learn, nothing can be judged on validation: such a stage runs to its
end and hands on its last weights; any other hands on its best.
"""

from __future__ import annotations

from tutelage.recipe import StudentRecipe


def of(settings: StudentRecipe) -> list[StudentRecipe]:
    """The settings of each stage in order; without stages there is one, which is the whole training."""
    if settings.stages is None:
        return [settings]
    plain = settings.model_copy(update={"stages": None})
    given = [plain.model_copy(update=stage.model_dump(exclude_none=True)) for stage in settings.stages]
    # R-Drop compares what the head says: where that weighs nothing, it would teach it to say the same of all texts.
    stages = [stage if stage.prediction else stage.model_copy(update={"r_drop": 0.0}) for stage in given]
    # A search may have switched off what a stage would have been for.
    return [stage for stage in stages if any(stage.weighs(term) for term in stage.TERMS)]


def together(settings: StudentRecipe) -> StudentRecipe:
    """One training of as many epochs as all stages have: what a control learns for."""
    if settings.stages is None:
        return settings
    return settings.model_copy(update={"stages": None, "epochs": sum(stage.epochs for stage in of(settings))})
