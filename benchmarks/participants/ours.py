"""A participant of peers.py: this package, matching outputs alone as the others do.

The teacher is recorded in the default precision, half where the processor has units; with the option `fp32` in single.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import given

from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.recipe_training import Arithmetic
from tutelage.student import distil
from tutelage.teacher import signals


def main() -> None:
    job = given.read()
    corpus = Corpus.load(job.folder / "corpus")
    rows = Split("train", corpus["train"].table.slice(0, job.rows))
    validation = Split("validation", corpus["validation"].table.slice(0, job.validation_rows))
    reading = Reading(job.max_tokens)
    teacher = Network.load(job.folder / "teacher", corpus.task, reading)
    student = Network.load(job.folder / "student", corpus.task, reading)
    settings = StudentRecipe(
        epochs=job.epochs,
        batch_size=job.batch_size,
        learning_rate=job.learning_rate,
        weight_decay=job.weight_decay,
        warmup=job.warmup,
        clip=job.clip,
        patience=None,
        hidden=0.0,
    )
    arithmetic: Arithmetic = "fp32" if "fp32" in job.options else "auto"
    wanted = Recording(corpus.task.width, precision=arithmetic)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.start()
        told = signals.record(teacher, [rows], wanted, folder=folder / "signals", progress=Silent())
        distil.distil(
            student,
            distil.transfer_set(student, [rows], told),
            told,
            validation,
            settings,
            seed=job.seed,
            folder=folder / "training",
            progress=Silent(),
        )
        job.stop()
    job.answer(student.outputs(student.tokenize(job.texts["test"]["texts"])))


if __name__ == "__main__":
    main()
