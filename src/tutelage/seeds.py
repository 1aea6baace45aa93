"""The same student and the same control from other seeds: what another training would have given.

The teacher, what it said, the vocabulary, the shape and the way to learn stay. What follows from a training's seed is
drawn anew: the order of the batches, dropout, and whatever of the start is random. Every student goes the whole way
to what would be deployed, its wide part, its precision and its cascade decided for it alone; a cheaper student that
answers before it stays the same one. The deployed student stays that of the recipe's seed, whatever the others reach.
"""

from __future__ import annotations

import shutil
import time

import numpy as np

from tutelage import control as controls
from tutelage import storage
from tutelage.errors import TrainingError
from tutelage.evaluate.seeds import Trained
from tutelage.made import Bench, Made
from tutelage.tasks import Array
from tutelage.workshop import Workshop


def repeats(workshop: Workshop, made: Made, *, control: bool) -> list[Trained]:
    """As many as the recipe asks for beside the first; none where nothing was trained.

    Made one after the other and kept on disk; in memory there is one at a time.
    """
    recipe, say = workshop.recipe, workshop.progress.say
    count = recipe.evaluate.seeds
    if count == 1:
        return []
    if not made.learned.trained:
        say("evaluate.seeds: nothing of the student that was taken was trained by steps: no seed changes it")
        return []
    found = []
    for seed in range(recipe.seed + 1, recipe.seed + count):
        if not workshop.has(made.learned.settings, made.learned.shape, _bench(workshop, seed)):
            say(f"Again from seed {seed}, {seed - recipe.seed} of {count - 1}{_expected(workshop, made)}")
        try:
            found.append(_repeat(workshop, made, seed, control=control))
        except TrainingError as error:
            # There is a student; what another seed would have given is no reason to lose it.
            workshop.progress.warn(f"seed {seed} is left out: {error}")
    return found


def _bench(workshop: Workshop, seed: int) -> Bench:
    place, name = workshop.folder.seeds / str(seed), f"seed {seed}"
    return Bench(place / "student", place / "export", f"student, {name}", f"compress, {name}", seed=seed)


def _expected(workshop: Workshop, made: Made) -> str:
    """How long a seed takes, by what the first took."""
    times, bench = workshop.folder.times(), made.learned.bench
    first = sum(times.get(stage, 0.0) for stage in (bench.learning, bench.compressing, "control"))
    return f", about {first:.0f} s" if first >= 1 else ""


def _repeat(workshop: Workshop, made: Made, seed: int, *, control: bool) -> Trained:
    folder, first, bench = workshop.folder, made.learned, _bench(workshop, seed)
    again = workshop.make(first.settings, first.shape, bench)
    if made.cascade_loss is not None:
        again = workshop.gate(again, made.cascade_loss, middle=made.middle) or again
    place, of_seed, test = bench.student.parent, f"seed {seed}", workshop.corpus["test"]
    file, stage = place / "answers.npy", f"answers, {of_seed}"
    name = storage.fingerprint_of(again.name, control, test.fingerprint)
    unlike = controls.make(workshop, again.learned, place / "control", stage=f"control, {of_seed}") if control else None
    describes = again.network.describe(again.graph.precision)
    if folder.done(stage, name, file) is None:
        started = time.monotonic()
        with workshop.progress.bar(f"Answering the test rows, {of_seed}", 2) as bar:
            said = [_deployed(workshop, again, test.texts())]
            bar.advance()
            said += [unlike.predictions(test.texts())] if unlike is not None else []
            bar.advance()
        with storage.whole_file(file) as partial:
            np.save(partial, np.stack(said), allow_pickle=False)
        folder.finish(stage, name, started=started)
    kept = np.load(file, allow_pickle=False)
    return Trained(seed, name, describes, kept[0], kept[1] if control else None)


def _deployed(workshop: Workshop, made: Made, texts: list[str]) -> Array:
    """What a student answers as a bundle, which is not kept."""
    draft = made.learned.bench.export / "draft"
    try:
        bundle = workshop.pack(made.network, made.graph_file, draft, made.graph.precision)
        return bundle.predictions(texts)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
