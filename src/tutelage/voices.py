"""What students are told: the teacher's own answers, or those of more than the teacher.

Only what students hear changes. The teacher's folder, its layers, and what "kept" is measured by stay its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage import storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.voice import Beside, Voice
from tutelage.folder import POOL, WIDE, RunFolder
from tutelage.progress import Logged
from tutelage.recipe import Recipe
from tutelage.student import beside
from tutelage.student.linear import Array
from tutelage.teacher import pool
from tutelage.teacher.pool import Pool
from tutelage.training import supervised


@dataclass(frozen=True)
class Choir:
    """Who speaks with a teacher."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus
    teacher: Network
    teacher_name: str
    progress: Logged

    def voices(self) -> list[Voice]:
        """Each changes what was said before it; none where students are told what the teacher says."""
        several = self._pool()
        linear = self._beside(several)
        return [voice for voice in (several, linear) if voice is not None]

    def _pool(self) -> Pool | None:
        """All teachers, where all are to speak, weighed on validation."""
        settings, folder = self.recipe.teacher, self.folder
        made = folder.kept("teacher")
        if settings.combine != "all" or len(made["names"]) == 1:
            folder.forget(POOL)
            return None
        best, places = made["best"], folder.candidates(len(made["names"]), epochs=settings.candidates is not None)
        others = tuple(place for number, place in enumerate(places) if number != best)
        name = storage.fingerprint_of(POOL, self.teacher_name, made["seals"])
        kept = folder.done(POOL, name, *others)
        if kept is None:
            started = time.monotonic()
            names = [made["names"][best], *(title for number, title in enumerate(made["names"]) if number != best)]
            weights, choice = self._weighed(names, others)
            kept = folder.finish(POOL, name, started=started, weights=weights, choices=[choice])
        spoken = storage.fingerprint_of(name, kept["weights"])
        return Pool(spoken, self.teacher, others, tuple(kept["weights"]), settings.precision)

    def _weighed(self, names: Sequence[str], others: Sequence[Path]) -> tuple[list[float], dict[str, Any]]:
        """Weights with calibration folded in, of the teacher and the others."""
        validation, several = self.corpus["validation"], [self._said([])]
        with self.progress.bar("Weighing the teachers", len(others)) as bar:
            for place in others:
                network = Network.load(place, self.teacher.task, self.teacher.reading)
                several.append(network.outputs(network.tokenize(validation.texts())).astype(np.float64))
                bar.advance()
        weights = pool.weigh(self.teacher, several, validation.targets)
        together = np.einsum("m,mnk->nk", weights, np.stack(several))
        temperature, losses = supervised.calibrated(self.teacher, together, validation.targets)
        alone = [supervised.calibrated(self.teacher, one, validation.targets)[1] for one in several]
        task = self.teacher.task
        scores = [task.headline.compute(task.predict(one), validation.targets) for one in (several[0], together)]
        told = [f"{name} {own.mean():.4f}" for name, own in zip(names, alone, strict=True)]
        return (weights / temperature).tolist(), {
            "what": "teachers together",
            "taken": ", ".join(f"{name} {weight:.0%}" for name, weight in zip(names, weights, strict=True)),
            "why": f"validation loss {losses.mean():.4f} together, alone: {', '.join(told)}; "
            f"{task.headline.title.lower()} {scores[1]:.4f} together, {scores[0]:.4f} of {names[0]}",
            "figures": {
                "weights": weights.tolist(),
                "temperature": temperature,
                "loss": float(losses.mean()),
                "alone": [float(own.mean()) for own in alone],
                "score": scores[1],
            },
        }

    def _said(self, before: Sequence[Voice]) -> Array:
        """(V, K): what is said of validation."""
        validation = self.corpus["validation"]
        texts = validation.texts()
        tokens = self.teacher.tokenize(texts)
        outputs: Array = self.teacher.outputs(tokens).astype(np.float64)
        for voice in before:
            outputs = voice.said(texts, validation.keys, tokens, outputs)
        return outputs

    def _beside(self, before: Voice | None) -> Beside | None:
        """A linear part, made or found, where it is wanted and pays."""
        wanted, folder = self.recipe.teacher.wide, self.folder
        if not wanted:
            folder.forget(WIDE)
            return None
        heard = [before.name] if before else []
        name = storage.fingerprint_of(WIDE, self.teacher_name, wanted, self.recipe.seed, *heard)
        kept = folder.done(WIDE, name)
        if kept is None or (kept["taken"] and not folder.beside.exists()):
            started = time.monotonic()
            folder.forget(WIDE)
            made, choice = beside.choose(
                self.teacher,
                self.corpus["train"],
                self.corpus["validation"],
                deep=self._said([before]) if before else None,
                wanted=wanted,
                seed=self.recipe.seed,
                progress=self.progress,
            )
            if made:
                made.save(folder.beside)
            kept = folder.finish(WIDE, name, started=started, taken=made is not None, choices=[choice])
        return Beside.load(folder.beside) if kept["taken"] else None
