"""Make a model a teacher of the task."""

from __future__ import annotations

from pathlib import Path

from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.errors import ModelError
from tutelage.progress import Progress
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import Task
from tutelage.teacher import load, strategies
from tutelage.teacher.strategies.base import History, Study
from tutelage.training import supervised
from tutelage.training.epochs import Epochs


def trains(network: Network, settings: TeacherRecipe, *, fitted: bool) -> bool:
    """Whether a model is to be trained. Raises `ModelError` when it needs to be and must not."""
    if settings.fine_tune is False and not fitted:
        theirs = load.other_labels(settings.model, network.task)
        known = f"has a head for {', '.join(theirs)}" if theirs else "has no trained head"
        raise ModelError(
            f"{settings.model} {known}, and `teacher.fine_tune` is false",
            expected=f"a model fine-tuned for: {_labels(network.task)}",
            cure="write the labels of the data as the model has them (`id2label` in its config.json), or set "
            "`teacher.fine_tune: auto`, which trains it",
        )
    known_scale = fitted and network.task.knows(network.model.config.to_dict())
    return settings.fine_tune is True or (settings.fine_tune == "auto" and not known_scale)


def told(settings: TeacherRecipe, task: Task, *, fitted: bool) -> str:
    """What is to be said of a head that was trained, and will be trained anew; empty where there is none."""
    if settings.fine_tune != "auto":
        return ""
    if fitted:
        return (
            f"{settings.model} has a head for numbers, of another mean and spread or of none that it tells: it is "
            "trained on; `teacher.fine_tune: false` uses it as it is"
        )
    theirs = load.other_labels(settings.model, task)
    if not theirs:
        return ""
    return (
        f"{settings.model} has a head for {', '.join(theirs)}, and the data have {_labels(task)}: it gets a new one "
        "and is trained; to use it as it is, write the labels as the model has them"
    )


def _labels(task: Task) -> str:
    return ", ".join(map(str, task.to_dict().get("labels", ["a number"])))


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
    if problem := told(settings, network.task, fitted=fitted):
        progress.warn(problem)
    network.model.config.update(network.task.model_config())
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
