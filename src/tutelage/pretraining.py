"""The story of a pre-training, in order: texts -> tokenizer -> tokens -> model -> training -> a plain model folder.

Each stage is skipped when its result is already there for the same input, as in a run (`pipeline`).
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tutelage import pretrain_recipe, storage
from tutelage.artifacts.network import quiet
from tutelage.data import stream
from tutelage.data.identity import identity_of
from tutelage.data.stream import Stream, Survey
from tutelage.errors import DataError, Interrupted
from tutelage.evaluate import machine
from tutelage.folder import LOG, RunFolder
from tutelage.pretrain_recipe import TRAINS, PretrainRecipe
from tutelage.progress import Logged, Progress, Silent
from tutelage.recipe_training import lesson_of
from tutelage.teacher import load
from tutelage.teacher.pretrain import architectures, checkpoint, learn, vocabulary
from tutelage.teacher.pretrain.blocks import Blocks, Writer, Written
from tutelage.teacher.pretrain.heldout import Figures, Judge
from tutelage.teacher.pretrain.objectives import OBJECTIVES
from tutelage.teacher.pretrain.objectives.base import Objective
from tutelage.teacher.pretrain.special import special_of
from tutelage.training.checkpoint import State

RECIPE = "pretrain.yaml"
RESULTS = "pretraining.json"
_STEP = 1000  # texts between two signs of life


@dataclass(frozen=True)
class Pretrained:
    """A finished pre-training."""

    path: Path
    recipe: PretrainRecipe
    results: dict[str, Any]
    """As in `pretraining.json`."""

    @property
    def model(self) -> Path:
        """The plain Hugging Face folder: give it as `teacher.model`."""
        return self.path / "model"


def pretrain(
    source: str | Path | Mapping[str, Any] | PretrainRecipe, *, resume: bool = False, progress: Progress | None = None
) -> Pretrained:
    """Train a tokenizer and a model on raw text, or go on from a checkpoint, as a recipe says.

    `source` is a recipe file, a mapping, or a `PretrainRecipe`. Raises the errors of `tutelage.errors`; interrupted, it
    raises `Interrupted`, and the same call goes on where it was.
    """
    recipe = source if isinstance(source, PretrainRecipe) else pretrain_recipe.load(source)
    folder = RunFolder.claim(recipe, resume=resume, recipe_name=RECIPE)
    try:
        with machine.working_on(recipe.threads), folder.locked():
            log = Logged(progress or Silent(), folder.path / LOG)
            if problem := machine.too_many(recipe.threads):
                log.warn(problem)
            return _Story(recipe, folder, log).tell()
    except KeyboardInterrupt:
        name = source if isinstance(source, str | Path) else folder.recipe_file
        raise Interrupted(
            "stopped; everything up to the last checkpoint is kept",
            cure=f"go on with: tutelage pretrain {shlex.quote(str(name))} --resume",
        ) from None


class _Story:
    """One pre-training. Each method is one stage: done before, or done now."""

    def __init__(self, recipe: PretrainRecipe, folder: RunFolder, progress: Logged) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        folder.listen(progress)
        self.model_folder = folder.path / "model"
        self.results = folder.path / RESULTS
        self.tokenizer_folder = folder.inside / "tokenizer"
        self.tokens_folder = folder.inside / "tokens"

    def tell(self) -> Pretrained:
        recipe = self.recipe
        self.progress.note("pretrain", recipe=recipe.model_dump(mode="json"))
        name = self._name()
        if self.folder.done("pretrain", name, self.model_folder, self.results) is None:
            # A checkpoint that does not fit, or a source that cannot be read, is told before anything long begins.
            found = self._checkpoint() if recipe.model.checkpoint else None
            streams = stream.streams(recipe.data, self.progress)
            survey = self._survey(streams)
            tokenizer = found[1] if found else self._tokenizer(streams, survey)
            objective = self._objective(tokenizer)
            model = found[0] if found else architectures.build(recipe, tokenizer, objective.auto_model)
            self._learn(name, model, tokenizer, self._material(streams, tokenizer, objective, survey))
        self.progress.note("finished")
        return Pretrained(self.folder.path, recipe, self._read_results())

    def _name(self) -> str:
        """Of everything that the result depends on."""
        recipe = self.recipe.model_copy(update={"training": lesson_of(self.recipe.training)})
        dumped = recipe.model_dump(exclude={"output", "threads"})
        given = self.recipe.model.checkpoint
        return storage.fingerprint_of(
            "pretrain 1", dumped, self._sources, load.identity(given, key="model.checkpoint") if given else None
        )

    @cached_property
    def _sources(self) -> list[Any]:
        return [identity_of(source.source) for source in self.recipe.data.text]

    def _checkpoint(self) -> tuple[Any, Any]:
        recipe = self.recipe
        assert recipe.model.checkpoint is not None
        return checkpoint.load(
            recipe.model.checkpoint, recipe.objective, length=recipe.training.length, seed=recipe.seed
        )

    def _survey(self, streams: list[Stream]) -> Survey:
        fingerprint = storage.fingerprint_of("survey", self._sources, self.recipe.data.model_dump())
        kept = self.folder.done("survey", fingerprint)
        if kept is None:
            started = time.monotonic()
            found = stream.survey(streams, self.progress)
            kept = {"texts": found.texts, "heldout": found.heldout, "characters": dict(found.characters)}
            self.folder.finish("survey", fingerprint, started=started, **kept)
        return Survey(kept["texts"], kept["heldout"], Counter(kept["characters"]))

    def _tokenizer(self, streams: list[Stream], survey: Survey) -> Any:
        import transformers

        quiet()
        recipe = self.recipe
        fingerprint = storage.fingerprint_of(
            "tokenizer",
            self._sources,
            recipe.data.model_dump(),
            recipe.tokenizer.model_dump(),
            recipe.objective,
            recipe.training.length,
        )
        if self.folder.done("tokenizer", fingerprint, self.tokenizer_folder) is None:
            started = time.monotonic()
            trained = vocabulary.train(
                recipe.tokenizer,
                self._sampled(streams, survey),
                survey.characters,
                architecture=TRAINS[recipe.objective],
                length=recipe.training.length,
            )
            with storage.whole_folder(self.tokenizer_folder) as partial:
                trained.save_pretrained(partial)
            self.folder.finish("tokenizer", fingerprint, started=started)
        return transformers.AutoTokenizer.from_pretrained(self.tokenizer_folder, local_files_only=True)

    def _sampled(self, streams: list[Stream], survey: Survey) -> Iterator[str]:
        """Texts for the tokenizer: a share of those that are trained on."""
        data, share = self.recipe.data, self.recipe.tokenizer.sample
        last = data.heldout_share + share * (1 - data.heldout_share)
        with self.progress.bar("Training the tokenizer", survey.texts) as bar:
            for number, text in enumerate(text for given in streams for text in given):
                if not text.heldout and text.place <= last:
                    yield text.text
                if number % _STEP == _STEP - 1:
                    bar.advance(_STEP)

    def _objective(self, tokenizer: Any) -> Objective:
        training = self.recipe.training
        return OBJECTIVES[self.recipe.objective](
            special_of(tokenizer),
            vocabulary=len(tokenizer),
            length=training.length,
            hidden_share=training.hidden_share,
        )

    def _material(self, streams: list[Stream], tokenizer: Any, objective: Objective, survey: Survey) -> learn.Material:
        recipe = self.recipe
        text = tokenizer.backend_tokenizer.to_str()
        fingerprint = storage.fingerprint_of("tokens", self._sources, recipe.data.model_dump(), text)
        written = self._tokens(fingerprint, streams, tokenizer, objective, survey)
        sources = [
            Blocks.open(self.tokens_folder / f"{number}.tokens", objective.content) for number in range(len(streams))
        ]
        heldout = Blocks.open(self.tokens_folder / "heldout.tokens", objective.content)
        for given, found in zip([*(s.source.source for s in streams), "held-out"], [*sources, heldout], strict=True):
            if not len(found):
                raise _too_short(given, len(found.flat), objective.content)
        judge = Judge(
            heldout,
            written[-1],
            objective,
            most=recipe.training.heldout_tokens,
            seed=recipe.seed,
            progress=self.progress,
        )
        weights = [source.weight or part.tokens for source, part in zip(recipe.data.text, written, strict=False)]
        return learn.Material(sources, weights, objective, judge, fingerprint)

    def _tokens(
        self, fingerprint: str, streams: list[Stream], tokenizer: Any, objective: Objective, survey: Survey
    ) -> list[Written]:
        """Of each source what is trained on, then what is held out of all of them."""
        kept = self.folder.done("tokens", fingerprint, self.tokens_folder)
        if kept is None:
            started = time.monotonic()
            with (
                storage.whole_folder(self.tokens_folder, seal=False) as partial,
                self.progress.bar("Turning texts into tokens", survey.texts) as bar,
            ):
                files = [*(f"{one.number}.tokens" for one in streams), "heldout.tokens"]
                writers = [Writer(partial / file, tokenizer, objective.special.end) for file in files]
                for one in streams:
                    for number, text in enumerate(one, start=1):
                        writers[-1 if text.heldout else one.number].add(text.text)
                        if number % _STEP == 0:
                            bar.advance(_STEP)
                written = [writer.close() for writer in writers]
            kept = {"written": [list(part) for part in written]}
            self.folder.finish("tokens", fingerprint, started=started, **kept)
        return [Written(*part) for part in kept["written"]]

    def _steps(self, name: str, model: Any, material: learn.Material) -> int:
        """As many as were asked for, or as fit into the minutes: found once, so that resuming is exact."""
        training, seed = self.recipe.training, self.recipe.seed
        if training.minutes is None:
            assert training.steps is not None
            return learn.steps_between(training.steps, training.looks) * training.looks
        kept = self.folder.done("pace", name)
        if kept is None:
            started = time.monotonic()
            steps = learn.steps_within(training.minutes, model, material, training, seed=seed, progress=self.progress)
            kept = self.folder.finish("pace", name, started=started, steps=steps)
        return int(kept["steps"])

    def _learn(self, name: str, model: Any, tokenizer: Any, material: learn.Material) -> None:
        recipe, judge, training = self.recipe, material.judge, self.recipe.training
        steps = self._steps(name, model, material)
        started = time.monotonic()
        before = judge.figures(judge.loss(model))
        self.progress.say(f"{steps:,} steps of {training.rows} x {training.length} tokens")
        self.progress.say(f"  held-out perplexity before: {before.say(material.objective.unit)}")
        state = learn.learn(
            model,
            material,
            training,
            steps=steps,
            seed=recipe.seed,
            folder=self.folder.training / "pretrain",
            progress=self.progress,
        )
        with storage.whole_folder(self.model_folder) as partial:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        storage.write_json(self.results, self._figures(model, material, state, before, steps))
        self.folder.finish("pretrain", name, started=started)

    def _figures(
        self, model: Any, material: learn.Material, state: State, before: Figures, steps: int
    ) -> dict[str, Any]:
        """What `pretraining.json` holds."""
        recipe, training = self.recipe, self.recipe.training
        looks = [
            {
                "step": int(record["epoch"]) * (steps // training.looks),
                "training_loss": record["loss"],
                **vars(material.judge.figures(-record["score"])),
            }
            for record in state.history
            if "score" in record
        ]
        parts = zip(recipe.data.text, material.sources, material.weights, strict=True)
        return {
            "objective": recipe.objective,
            "unit": material.objective.unit,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "vocabulary": material.objective.vocabulary,
            "steps": steps,
            "tokens_each_step": training.rows * training.length,
            "sources": [
                {"source": source.source, "blocks": len(found), "weight": weight / math.fsum(material.weights)}
                for source, found, weight in parts
            ],
            "before": vars(before),
            "best": min(looks, key=lambda look: look["loss"]) if looks else None,
            "looks": looks,
        }

    def _read_results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.results.read_text(encoding="utf-8"))
        return found


def _too_short(source: str, tokens: int, needed: int) -> DataError:
    what = "the texts held out" if source == "held-out" else f"the texts of {source} that are trained on"
    return DataError(
        f"{what} are {tokens:,} tokens",
        expected=f"at least one sequence of {needed:,}",
        cure="give more text, lower `training.length`, or change `data.heldout_share`",
    )
