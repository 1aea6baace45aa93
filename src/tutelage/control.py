"""The control: the same student from the same start, for as many epochs, on the labels alone."""

from __future__ import annotations

import time
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.network import Network
from tutelage.made import Learned
from tutelage.student import stages, widen
from tutelage.training import supervised
from tutelage.workshop import Workshop


def make(workshop: Workshop, learned: Learned, folder: Path, *, stage: str = "control") -> Network:
    """The control of a student, trained now or before; its seed is the student's."""
    recipe, kept, seed = workshop.recipe, workshop.folder, learned.bench.seed
    settings = stages.together(learned.settings)
    train, validation = workshop.corpus["train"], workshop.corpus["validation"]
    fingerprint = storage.fingerprint_of("control", learned.name)
    if kept.done(stage, fingerprint, folder) is None:
        started = time.monotonic()
        control = workshop.beginning.student(learned.shape, seed)
        state = supervised.fit_labels(
            control,
            train,
            validation,
            settings,
            title="Training the control (no distillation)",
            seed=recipe.seed if seed is None else seed,
            folder=kept.training / stage,
            progress=workshop.progress,
        )
        control, _ = widen.widen(
            control,
            control.tokenize(train.texts()),
            train.targets,
            validation,
            among=train.epoch(0),
            wanted=settings.wide,
            progress=workshop.progress,
        )
        control.save(folder)
        kept.finish(stage, fingerprint, started=started, history=state.history)
    return Network.load(folder, workshop.corpus.task, workshop.teacher.reading)
