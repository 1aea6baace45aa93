"""The folder of one run: whose it is, who works in it, and which stages are already done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os.path import exists, expanduser
from pathlib import Path
from typing import Any

import yaml

from tutelage import recipe as recipes
from tutelage import storage, yaml_text
from tutelage.errors import OutputError
from tutelage.pretrain_recipe import PretrainRecipe
from tutelage.progress import Logged
from tutelage.recipe import Recipe

RECIPE = "recipe.yaml"
LOG = "log.jsonl"
_INSIDE = ".tutelage"
Asked = Recipe | PretrainRecipe
_SHOWN, _LISTED = 8, 3
LABELS = "labels"
"""The stage in which texts without labels get them."""
CHOOSING = "strategy of the "
"""Where the stage of a teacher begins in which its strategy is chosen."""
WIDE = "teacher wide"
"""The stage in which a linear part beside the teacher is chosen."""
POOL = "teachers together"
"""The stage in which several teachers are weighed against each other."""
ASSISTANT = "assistant"
"""The stage of a student that teaches another."""
JUDGED = f"{ASSISTANT} judged"
BALANCING = f"balance of the {ASSISTANT}"
"""Those in which it is said what that one kept, and how it learned."""
# A search leaves stages of its own for every student that it tried.
_COMPARED = ("teacher", "student", "control")
_OF_TEACHERS = (LABELS, f"{CHOOSING}teacher", "teacher", POOL, WIDE)
_DECIDING = (*_OF_TEACHERS, "texts", BALANCING, JUDGED, "balance", "student", "compress")


class RunFolder:
    """Where a run keeps its artifacts; what only the run itself needs is in `.tutelage/`."""

    def __init__(self, path: Path, *, recipe_name: str = RECIPE) -> None:
        self.path = path
        self.recipe_file = path / recipe_name
        self.inside = path / _INSIDE
        self.corpus = path / _INSIDE / "corpus"
        self.texts = path / _INSIDE / "texts"
        self.labelled = path / _INSIDE / "labelled"
        self.entailed = path / _INSIDE / "entailed"
        self.copies = path / _INSIDE / "copies"
        self.translated = path / _INSIDE / "translated"
        self.training = path / _INSIDE / "training"
        self.control = path / _INSIDE / "control"
        self.export = path / _INSIDE / "export"
        self.search = path / _INSIDE / "search"
        self.seeds = path / _INSIDE / "seeds"
        self.sizes = path / _INSIDE / "sizes"
        self.teachers = path / _INSIDE / "teachers"
        self.first = path / _INSIDE / "first"
        self.beside = path / _INSIDE / "beside"
        self.assistant = path / _INSIDE / "assistant"
        self.teacher = path / "teacher"
        self.signals = path / "signals"
        self.student = path / "student"
        self.bundle = path / "bundle"
        self.measurements = path / "measurements.json"
        self.report = path / "report.html"
        self._stages = path / _INSIDE / "stages.json"
        self._used: list[str] = []
        self._asked: dict[str, tuple[int, int]] = {}
        """Of each stage how many were used, and how much had been warned of, when it was asked for."""
        self._log: Logged | None = None

    @classmethod
    def claim(cls, recipe: Asked, *, resume: bool, recipe_name: str = RECIPE) -> RunFolder:
        """Take the recipe's output folder, new or of the same recipe. Under another name it is another kind of run.

        Raises `OutputError` when it holds anything else, or another process works in it; with `resume`, a changed
        recipe is accepted, and the stages that the change touches are done again.
        """
        if (processes := os.environ.get("WORLD_SIZE") or "1") != "1":
            raise OutputError(
                f"this is one of {processes} processes that would write into {recipe.output}",
                expected="one process, which uses all cores",
                cure="start it without torchrun or `accelerate launch`",
            )
        run = cls(Path(recipe.output), recipe_name=recipe_name)
        run.refuse_others(recipe, resume=resume)
        (run.path / _INSIDE).mkdir(parents=True, exist_ok=True)
        # A run that is going on there keeps its recipe: this one is refused.
        with run.locked():
            storage.write_text(run.recipe_file, recipes.dump(recipe))
        return run

    def refuse_others(self, recipe: Asked, *, resume: bool) -> None:
        """Raise `OutputError` when the folder is not this recipe's to write to; changes nothing."""
        self._refuse_places()
        for key, model in recipe.models:
            place = Path(expanduser(model))  # noqa: PTH111 - Path's raises for users that there are not
            if place.exists() and place.resolve().is_relative_to(self.path.resolve()):
                raise OutputError(
                    f"`{key}` is {model}, which this run writes over: each time it would go on from another model",
                    expected="a model outside of the output folder",
                    cure="change `output`",
                )
        # What is there when a run dies before its recipe is written is nobody's.
        ours = (_INSIDE, storage.PARTIAL)
        if not self.path.exists() or all(entry.name.startswith(ours) for entry in self.path.iterdir()):
            return
        # A recipe alone may be the user's own.
        if not self.recipe_file.is_file() or not self.inside.is_dir():
            raise OutputError(
                f"the output folder {self.path} holds files that no run has written",
                expected="a new or empty folder, or that of an earlier run",
                cure="change `output`",
            )
        changed = recipes.differences(self._old_recipe(), recipe.model_dump(mode="json"))
        # A run that ended before its first stage did, in data that cannot be read perhaps, has left nothing to lose.
        if changed and self._records() and not resume:
            listed = "\n".join(f"    {line}" for line in changed[:_SHOWN])
            more = f"\n    and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            raise OutputError(
                f"the output folder {self.path} belongs to another recipe; different are:\n{listed}{more}",
                expected="the same recipe, or another folder",
                cure="change `output`, or give --resume to redo there what the change touches; nothing was changed",
            )

    def _old_recipe(self) -> dict[str, Any]:
        """The recipe that the folder was made by. Raises `OutputError` when it is none any more."""
        try:
            old = yaml_text.read(self.recipe_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            old = ""
        if not isinstance(old, dict):
            raise OutputError(
                f"{self.recipe_file}, by which the folder was made, is no recipe any more",
                expected="the file as the run wrote it",
                cure="delete it with the folder that it stands in, or change `output`",
            )
        return old

    def _refuse_places(self) -> None:
        """Raise `OutputError` when the folder cannot be made, or not be written to."""
        places = (self.path.absolute(), *self.path.absolute().parents)
        there = next(place for place in places if exists(place))  # noqa: PTH110 - Path's raises where it may not look
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = "may not be written to" if there.is_dir() else "is a file"
            raise OutputError(
                f"the output folder {self.path} cannot be used: {there} {why}",
                expected="a place that you may write to",
                cure="change `output`",
            )

    def listen(self, log: Logged) -> None:
        """Keep what is warned of with the stage in which it is, to be told again where that is found done."""
        self._log = log

    @property
    def _warned(self) -> list[str]:
        return [] if self._log is None else self._log.warnings

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Work in the folder alone. Raises `OutputError` when another process does."""
        with (self.path / _INSIDE / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(
                    f"another process is working in {self.path}",
                    expected="one run at a time in a folder",
                    cure="wait for it, stop it, or change `output`",
                ) from None
            left = {place.parent for mark in storage.UNFINISHED for place in self.inside.rglob(f"{mark}*")}
            for folder in {self.path, self.inside, *left}:
                storage.mend(folder)
            yield

    def done(self, stage: str, fingerprint: str, *outputs: Path, other: str | None = None) -> dict[str, Any] | None:
        """What was kept of a stage, if it was finished on the same input and its outputs are still there.

        `other` names a second input that is as good. What was made of any other input is about to be written over, so
        that it is forgotten: found by its own recipe later, it might be a file of this one. Raises `OutputError` where
        a model is not as it was left.
        """
        self._asked[stage] = len(self._used), len(self._warned)
        record = self._records().get(stage)
        same = record is not None and record["fingerprint"] in {fingerprint, other}
        if record and same and all(output.exists() for output in outputs):
            self._refuse_altered(outputs)
            kept: dict[str, Any] = record["kept"]
            self.uses(stage)
            for warning in record.get("warnings", []):
                if self._log is not None:
                    self._log.warn(warning)
            return kept
        if outputs and not same:
            self.forget(stage)
        return None

    def _refuse_altered(self, outputs: Iterable[Path]) -> None:
        for output in outputs:
            sealed = (output / storage.MANIFEST).is_file()
            if sealed and (broken := storage.broken_files(output)):
                raise OutputError(
                    f"{output} is not as the run left it: {', '.join(broken[:_LISTED])}",
                    expected="the files that the run wrote, from which other things were made",
                    cure=f"delete {output}, and run the recipe again: it is made anew",
                )

    def finish(self, stage: str, fingerprint: str, *, started: float, **kept: Any) -> dict[str, Any]:
        """Note that a stage is finished; `started` is of `time.monotonic()`.

        A training counts with what it took in processes that were killed before: a search goes by that.
        """
        records = self._records()
        seconds = round(max(time.monotonic() - started, self.trained(stage) if kept.get("history") else 0.0), 2)
        # Whatever was used since it was asked for is a part of it: found again, it asks for none of them.
        used, warned = self._asked.get(stage, (len(self._used), len(self._warned)))
        parts = _seconds(self._used[used:], records)
        parts.pop(stage, None)
        records[stage] = {"fingerprint": fingerprint, "seconds": seconds, "kept": kept, "parts": parts}
        if found := self._warned[warned:]:
            records[stage]["warnings"] = found
        storage.write_json(self._stages, records)
        self.uses(stage)
        shutil.rmtree(self.training / stage, ignore_errors=True)
        return kept

    def uses(self, *stages: str) -> None:
        """Note that this recipe uses what some stages left; those that were found done or are finished are noted so."""
        self._used.extend(stages)

    def trained(self, stage: str) -> float:
        """Seconds that the training of a stage took, in this process and before, until the stage is finished."""
        states = sorted((self.training / stage).rglob("step-*/state.json"))
        # A training in stages keeps the checkpoints of each; of every one the newest counts.
        last = {state.parent.parent: json.loads(state.read_text(encoding="utf-8")) for state in states}
        return sum(float(state.get("seconds", 0.0)) for state in last.values())

    def candidates(self, count: int, *, epochs: bool = False) -> list[Path]:
        """Where so many teachers are made, of which one is taken; those of one model's epochs have their own place."""
        place = self.teachers / "epochs" if epochs else self.teachers
        return [place / str(number) for number in range(1, count + 1)]

    def forget(self, stage: str) -> None:
        """What was chosen in it for another recipe in the same folder is not told of this one."""
        records = self._records()
        if records.pop(stage, None):
            storage.write_json(self._stages, records)

    def times(self) -> dict[str, float]:
        """Seconds of each stage that this recipe has used so far, in this order, whichever process finished it.

        Those that only an earlier recipe in the same folder used are not told. A search is made of stages that are
        counted themselves.
        """
        times = _seconds(self._used, self._records())
        return {
            stage: seconds
            for stage, seconds in times.items()
            if stage.split(",")[0] != "search" and not stage.startswith(CHOOSING)
        }

    def teaching(self) -> float:
        """Seconds that making the teacher took; of several, the one that was taken, and comparing them."""
        records, stages = self._records(), ("teacher", self.kept("teacher").get("made_in"))
        return sum(float(records[stage]["seconds"]) for stage in stages if stage in records)

    def histories(self) -> dict[str, list[dict[str, float]]]:
        """What the trainings of the models that are compared noted after every epoch."""
        kept = {stage: self.kept(stage).get("history") for stage in _COMPARED}
        return {stage: history for stage, history in kept.items() if history}

    def choices(self) -> list[dict[str, Any]]:
        """What was decided about the teacher and about the student that is deployed, and why."""
        return [choice for stage in _DECIDING for choice in self.kept(stage).get("choices", [])]

    def kept(self, stage: str) -> dict[str, Any]:
        """What a stage left when it was last finished, whatever its input was."""
        kept: dict[str, Any] = self._records().get(stage, {}).get("kept", {})
        return kept

    def _records(self) -> dict[str, Any]:
        try:
            records: dict[str, Any] = json.loads(self._stages.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return records


def _seconds(stages: Iterable[str], records: Mapping[str, Any]) -> dict[str, float]:
    """Of some stages, each behind the parts that it was made of."""
    times: dict[str, float] = {}
    for stage in stages:
        if (record := records.get(stage)) is not None:
            for part, seconds in record.get("parts", {}).items():
                times.setdefault(part, seconds)
            times[stage] = record["seconds"]
    return times
