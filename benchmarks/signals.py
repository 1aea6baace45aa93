"""Claim 3: recording the teacher once against running it anew in every epoch, the same training otherwise.

python benchmarks/signals.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ledger
from tutelage import demo, recipe
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.compress import vocabulary
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import distil, initialise
from tutelage.student.build import Shape
from tutelage.teacher import load, signals

SHAPE = Shape(2, 128, 4, 512)
LAYERS = (3, 6)


@dataclass(frozen=True)
class Anew(Signals):
    """Asks the teacher each time instead of reading what it said."""

    teacher: Network | None = None
    texts: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[Any]:  # noqa: ARG002
        """Run the teacher on the texts of these rows."""
        assert self.teacher is not None
        result = np.empty(len(rows), dtype=self.recording.dtype)
        tokens = self.teacher.tokenize([self.texts[row] for row in rows])
        for some, outputs, hidden in self.teacher.infer(tokens, layers=self.recording.layers):
            result["outputs"][some], result["hidden"][some] = outputs, hidden
        return result

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Rows of the training split, in order."""
        return np.arange(len(keys))


def trained(
    teacher: Network, corpus: Corpus, rows: Split, seed: int, *, hidden: bool, anew: bool
) -> tuple[float, float]:
    """Seconds and validation score of six epochs."""
    wanted = Recording(teacher.task.width, LAYERS, 384) if hidden else Recording(teacher.task.width)
    settings = StudentRecipe(epochs=6, patience=None, hidden=1.0 if hidden else 0.0)
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(rows.texts())])
    student = initialise.create(teacher, SHAPE, tokenizer=words.tokenizer, kept=words.kept, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        if anew:
            empty = (np.empty(0, np.uint64), np.empty(0, np.int64))
            given: Signals = Anew(
                folder, wanted, (), np.zeros(1, np.int64), empty, teacher=teacher, texts=tuple(rows.texts())
            )
        else:
            given = signals.record(teacher, [rows], wanted, folder=folder / "signals", progress=Silent())
        state = distil.distil(
            student,
            distil.transfer_set(student, [rows], given),
            given,
            corpus["validation"],
            settings,
            seed=seed,
            folder=folder / "training",
            progress=Silent(),
        )
        return time.perf_counter() - start, state.best_score or 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--hidden", action="store_true", help="record and match hidden states too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = demo.recipe(Path(name) / "run", Silent())
        corpus = prepare(recipe.load(base.model_dump()), Path(name) / "corpus", Silent())
        teacher, _ = load.load("minilm", corpus.task, Reading(128))
        rows = Split("train", corpus["train"].table.slice(0, given.rows))
        lines, ratios = [], []
        for seed in given.seeds:
            once = trained(teacher, corpus, rows, seed, hidden=given.hidden, anew=False)
            anew = trained(teacher, corpus, rows, seed, hidden=given.hidden, anew=True)
            ratios.append(anew[0] / once[0])
            scores = f"{once[1]:.4f} | {anew[1]:.4f}"
            lines.append(f"| {seed} | {once[0]:.1f} | {anew[0]:.1f} | {ratios[-1]:.2f} | {scores} |")
    ledger.record(
        f"3. Signals recorded once, {'hidden states too' if given.hidden else 'outputs'}",
        f"python benchmarks/signals.py --rows {given.rows} --seeds {' '.join(map(str, given.seeds))}"
        f"{' --hidden' if given.hidden else ''}",
        [
            f"{given.rows:,} movie sentences, MiniLM (not fine-tuned) as teacher, student 2 x 128, 6 epochs,",
            f"{'outputs and pooled hidden states of two layers' if given.hidden else 'outputs'} recorded. One process, "
            "in turns. Bar: >= 3 x, same score.",
            "",
            "| seed | recorded once, s | teacher anew, s | ratio | validation, once | validation, anew |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            f"Ratio: {ledger.spread(ratios)}.",
        ],
    )


if __name__ == "__main__":
    main()
