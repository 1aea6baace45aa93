"""Make a model a teacher of the task."""

from __future__ import annotations

from pathlib import Path

from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.errors import ModelError
from tutelage.progress import Progress
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import strategies
from tutelage.teacher.strategies.base import History, Study
from tutelage.training import supervised
from tutelage.training.epochs import Epochs


def trains(network: Network, settings: TeacherRecipe, *, fitted: bool) -> bool:
    """Whether a model is to be trained. Raises `ModelError` when it needs to be and must not."""
    if settings.fine_tune is False and not fitted:
        labels = ", ".join(map(str, network.task.to_dict().get("labels", ["a number"])))
        raise ModelError(
            f"{settings.model} has no head trained for these labels, and `teacher.fine_tune` is false",
            expected=f"a model fine-tuned for: {labels}",
            cure="set `teacher.fine_tune: auto`",
        )
    return settings.fine_tune is True or (settings.fine_tune == "auto" and not fitted)


def fine_tune(
    network: Network,
    corpus: Corpus,
    settings: TeacherRecipe,
    *,
    fitted: bool,
    seed: int,
    folder: Path,
    progress: Progress,
    title: str = "Fine-tuning the teacher",
    epochs: Epochs | None = None,
) -> History:
    """Fine-tune on the training split by the recipe's strategy, in place; calibrate on validation.

    Afterwards what a strategy added is folded into the model, where it can be. A model that is already `fitted` is used
    as it is, unless `fine_tune: true` says otherwise. `epochs` keep the weights of each, or name the one to leave. What
    became of `until` is told by `training.until.told`.
    """
    if not trains(network, settings, fitted=fitted):
        progress.say("The teacher already knows these labels and is used as it is.")
        return []
    if fitted:
        supervised.begin_again(network)
    train, strategy = corpus["train"], strategies.STRATEGIES[settings.strategy]
    drawn = train.targets[train.epoch(0)]
    with strategies.applied(network, settings, targets=drawn, seed=seed, fitted=fitted) as prepared:
        if settings.strategy != "full" or prepared.note:
            progress.say(strategies.describe(strategy, prepared, network.model))
        validation = corpus["validation"]
        study = Study(network, train, validation, settings, prepared, seed, folder, progress, title, epochs)
        return strategy.learn(study)
