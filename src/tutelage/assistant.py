"""A teacher assistant: a student of middle size learns from the teacher, and teaches the one that is deployed.

A student that is much smaller than its teacher may learn more from somebody in between (Mirzadeh et al. 2019, arXiv
1902.03393); others found such steps to bring nothing (Cho and Hariharan 2019, arXiv 1910.01348). The small student
still begins as the teacher's layers, and what it keeps is still measured by the teacher.
"""

from __future__ import annotations

import time
from typing import Any

from tutelage import storage
from tutelage.artifacts.voice import Speaker
from tutelage.errors import ModelError
from tutelage.folder import ASSISTANT, BALANCING, JUDGED
from tutelage.made import Bench, Learned
from tutelage.recipe import StudentRecipe
from tutelage.student import build, growth, matching
from tutelage.student.build import Shape
from tutelage.training import supervised
from tutelage.workshop import Workshop


def settings_of(student: StudentRecipe) -> StudentRecipe:
    """How the assistant learns: as the student does, but for its shape. It has no wide part: that has learned labels,
    and would repeat them to the student."""
    given = student.assistant
    assert given is not None
    shape = given.model_dump(exclude={"epochs"})
    epochs = {"epochs": given.epochs} if given.epochs else {}
    return student.training().model_copy(update={**shape, **epochs, "assistant": None, "wide": False})


def check(student: StudentRecipe, teacher: Any) -> Shape | None:
    """The assistant's shape next to a model, None where there is to be none.

    Raises `ModelError` when it is not between student and teacher, or one cannot follow the other as the recipe asks.
    """
    if student.assistant is None:
        return None
    settings, full = settings_of(student), build.shape_of(teacher.config)
    shape, small = build.choose(settings, teacher.config), build.choose(student, teacher.config)
    build.check_convolution(shape, teacher)
    growth.check(settings, shape, teacher)
    matching.check(settings, shape, teacher)
    matching.plan(student, small, shape)
    if not small.size < shape.size < full.size:
        raise ModelError(
            f"`student.assistant` has {shape.describe()}",
            expected=f"more than the student ({small.describe()}) and less than the teacher ({full.describe()})",
            cure="give `student.assistant` a `size` or `layers` in between, or leave it out",
        )
    return shape


def follow(workshop: Workshop) -> Workshop:
    """Where students hear the assistant, which is made first, if the recipe asks for one; else the same."""
    student = workshop.recipe.student
    shape = check(student, workshop.teacher.model)
    if shape is None:
        for stage in (JUDGED, BALANCING):
            workshop.folder.forget(stage)
        return workshop
    if student.balance == "given":
        workshop.folder.forget(BALANCING)
    place = workshop.folder.assistant
    bench = Bench(place / "student", place / "export", ASSISTANT, f"compress {ASSISTANT}", BALANCING)
    learned = workshop.learn(settings_of(student), shape, bench)
    _tell(workshop, learned)
    name = storage.fingerprint_of(workshop.teacher_name, learned.name)
    return workshop.hearing(Speaker(learned.network, name, place / "signals", stage=f"signals of the {ASSISTANT}"))


def _tell(workshop: Workshop, learned: Learned) -> None:
    """Put into the report what the assistant kept."""
    folder, validation = workshop.folder, workshop.corpus["validation"]
    if folder.done(JUDGED, learned.name) is not None:
        return
    started, metric = time.monotonic(), learned.network.task.headline
    ours, theirs = (supervised.score(network, validation) for network in (learned.network, workshop.teacher))
    sign = 1 if metric.higher_is_better else -1
    share = f"keeps {ours / theirs:.1%}: " if metric.higher_is_better and theirs > 0 else ""
    choice = {
        "what": "teacher assistant",
        "taken": learned.network.describe("fp32"),
        "why": f"asked for; on validation it {share or 'has '}{metric.title.lower()} {sign * ours:.4f}, "
        f"the teacher {sign * theirs:.4f}",
        "figures": {"score": sign * ours, "teacher": sign * theirs},
    }
    folder.finish(JUDGED, learned.name, started=started, choices=[choice])
    workshop.progress.say(f"Teacher assistant: {choice['why']}.")
