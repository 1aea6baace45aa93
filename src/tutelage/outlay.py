"""What the rungs of a search cost on this machine, and how long it may take: known before the first is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from tutelage.compress import export
from tutelage.errors import ModelError
from tutelage.folder import RunFolder
from tutelage.made import Bench
from tutelage.recipe import StudentRecipe
from tutelage.student import ladder
from tutelage.student.ladder import Rung, Step
from tutelage.student.matching import Plan
from tutelage.trial import judging
from tutelage.workshop import Workshop

# Fine-tuning reads forwards and backwards: three times the work of recording. For a teacher that needed no training.
_READINGS = 3.0
_ROWS = 128


def rungs(workshop: Workshop, settings: StudentRecipe) -> dict[str, Rung]:
    """Those that may be tried, by name."""
    found = {rung.name: rung for rung in ladder.rungs(settings, workshop.teacher.model.config)}
    if "one" in found and fits(workshop, settings, found["one"]) and not settings.rungs:
        found.pop("narrow", None)  # no faster, and keeps less
    if export.fits(workshop.teacher):
        return found
    # No graph holds the largest, with the vocabulary that a student has.
    one = {name: rung for name, rung in found.items() if export.holds(workshop.beginning.least_bytes(rung.shape))}
    if not one:
        raise ModelError(
            f"no ONNX file holds any of the students asked for: {', '.join(found)}",
            expected="one of fewer than 400 million weights",
            cure="let `student.rungs` name smaller ones",
        )
    return one


def fits(workshop: Workshop, settings: StudentRecipe, rung: Rung) -> bool:
    """Whether a rung's weights alone are within `max_mb`."""
    return settings.max_mb is None or workshop.beginning.least_bytes(rung.shape) <= 1e6 * settings.max_mb


def timed(
    workshop: Workshop, rungs: Collection[Rung], followed: Callable[[Rung], Plan], settings: StudentRecipe
) -> list[Step]:
    """The rungs by what they cost, measured untrained; `followed` says which of the teacher's layers each follows."""
    texts, found = judging(workshop.corpus).texts()[:_ROWS], []
    with workshop.progress.bar("Timing the shapes of the ladder", len(rungs)) as bar:
        for rung in rungs:
            student = workshop.beginning.student(rung.shape)
            tokens = student.tokenize(texts)
            cost = learning = ladder.seconds_to_read(student, tokens)
            if rung.trains:
                every = followed(rung).everywhere
                learning = ladder.seconds_to_learn(student, tokens, settings, every=every)
            found.append(Step(rung, cost, learning))
            bar.advance()
    return sorted(found, key=lambda step: step.cost)


def allowed(workshop: Workshop, search_time: float) -> float:
    """Seconds that a search may take, in times what making the teacher took."""
    folder, splits = workshop.folder, workshop.splits
    labelled = len(splits[0]) / sum(map(len, splits))
    # With the texts that the teacher learns from, not with those that only students read.
    untrained = _READINGS * labelled * folder.times().get("signals", 0.0)
    return search_time * max(folder.teaching(), untrained)


def lost(folder: RunFolder, bench: Bench, fingerprint: str, started: float) -> float:
    """Seconds that a training took which failed; begun again from its last checkpoint, it fails in less."""
    stage = f"search, lost {bench.learning}"
    before = folder.done(stage, fingerprint)
    seconds = max(time.monotonic() - started, folder.trained(bench.learning), before["lost"] if before else 0.0)
    folder.finish(stage, fingerprint, started=started, lost=seconds)
    return seconds
