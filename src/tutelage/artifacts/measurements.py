"""Every figure of a run, with its interval: what `measurements.json` holds.

The contract grows, never breaks: unknown keys are kept when read, nearly all may be missing, and a figure that
could not be measured is null. The JSON schema is published in docs/reference; `publish` writes it.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tutelage.errors import OutputError
from tutelage.storage import write_json

FILE = "measurements.json"
VERSION = 1
BUSY = 0.1
"""Share of all cores from which on other programs make a ratio of speeds doubtful."""
ROLES = ("teacher", "student", "control", "baseline")
"""The parts a model can play, in the order in which they are shown."""


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: a figure that is not finite was not measured."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]


_OTHERS = "share of all cores, from 0 to 1, that other programs used during the timing; null: not known"


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, protected_namespaces=())


class Interval(_Part):
    """A figure and the bootstrap interval around it."""

    value: Figure = None
    low: Figure = None
    high: Figure = None


class MetricInfo(_Part):
    """How to read a score."""

    name: str
    title: str
    higher_is_better: bool = True
    percent: bool = Field(True, description="a share, to be shown as a percentage")


class PanelData(_Part):
    """Something of a model's predictions worth drawing; the kinds are those of `tasks.base.Panel`."""

    kind: str
    title: str
    data: dict[str, Any] = Field(default_factory=dict)


class ModelMeasurements(_Part):
    """One model: what it is, how well it does and what it costs."""

    title: str = ""
    describes: str = Field("", description="one line: architecture, shape, vocabulary, precision")
    scores: dict[str, Interval] = Field(default_factory=dict, description="by the name of the metric")
    parameters: int | None = None
    bytes: int | None = Field(None, description="what has to be deployed, on disk")
    rows_per_second: dict[str, Figure] = Field(
        default_factory=dict, description="by runtime: pytorch, onnxruntime, scikit-learn; best batch of each"
    )
    batch_size: dict[str, int] = Field(
        default_factory=dict, description="by runtime: padded tokens in the batch that was fastest"
    )
    latency_ms: dict[str, Figure] = Field(
        default_factory=dict,
        description="one row at a time, in milliseconds: percentiles p50 and p95; of a cascade also the mean, and "
        "through_all, the median of rows that go through every level",
    )
    answered: list[float] = Field(
        default_factory=list,
        description="share of the test rows that each level of a cascade answers; empty: no levels",
    )
    peak_memory_mb: Figure = Field(None, description="of a process that loads and runs only this model")
    first_answer_seconds: Figure = Field(
        None, description="from the start of a fresh process to its first answer, loading included"
    )
    panels: list[PanelData] = Field(default_factory=list)


class Speedup(_Part):
    """How many times the rows per second of another."""

    value: Figure = None
    of: str = Field("", description="what is faster, e.g. student in ONNX Runtime")
    over: str = Field("", description="than what, e.g. teacher in PyTorch")


class Choice(_Part):
    """Something that was decided by measuring."""

    what: str
    taken: str
    why: str = ""
    figures: dict[str, Any] = Field(default_factory=dict)


class Disagreement(_Part):
    """A test row on which student and teacher differ; all but `distance` is ready to be shown."""

    text: str
    label: str = ""
    teacher: str = ""
    student: str = ""
    distance: Figure = None


AGAIN = ", all texts"
"""At the end of the name of a student that learned once more."""


class Tried(_Part):
    """A student that a search looked at, judged on rows that it has not learned from."""

    name: str
    describes: str = ""
    retention: Interval | None = Field(
        None, description="of the teacher's headline score; each for itself, its lower end holds with `confidence`"
    )
    surely: Figure = Field(None, description="the same share at least, where all students together hold theirs")
    rows_per_second: Figure = None
    latency_ms: dict[str, Figure] = Field(default_factory=dict, description="one row at a time: p50 and p95")
    other_programs: Figure = Field(None, description=_OTHERS)
    bytes: int | None = Field(None, description="of its bundle")
    seconds: Figure = Field(None, description="to train and compress it")
    epochs: int | None = Field(None, description="if it had time for fewer than asked for")
    given_up_after: int | None = Field(None, description="epochs, if it was hopelessly behind")
    within: bool = Field(False, description="whether it is within max_latency_ms and max_mb")
    keeps: bool = Field(False, description="whether it surely keeps enough")
    late: bool = Field(False, description="whether it was left out for want of time")
    verdict: str = ""
    taken: bool = False

    @property
    def rung(self) -> str:
        """Which student of the ladder it is, whatever answers before it."""
        return re.split(f" after |, cascade |{AGAIN}", self.name)[0]

    @property
    def again(self) -> bool:
        """Whether it had read all texts, where others had read a part."""
        return AGAIN in self.name


class Search(_Part):
    """How a student was found for a goal."""

    keep: float | None = None
    confidence: float = Field(description="one-sided: how sure `keep` must be")
    max_latency_ms: float | None = None
    max_mb: float | None = None
    reached: bool
    seconds: Figure = None
    allowed_seconds: Figure = Field(None, description="`search_time` times the teacher's fine-tuning")
    texts: float | None = Field(
        None, description="share of the unlabelled texts that rungs read, but for those called `all texts`; null: all"
    )
    tried: list[Tried] = Field(default_factory=list, description="by measured cost, the cheapest first")


class OtherMeasurements(_Part):
    """Another domain or language: the same models on rows that nothing was learned or chosen from."""

    name: str
    rows: int | None = None
    scores: dict[str, dict[str, Interval]] = Field(
        default_factory=dict, description="by part, then by the name of the metric"
    )
    retention: Interval | None = Field(None, description="student's headline score over the teacher's, on these rows")


class CurvePoint(_Part):
    """What a linear model learned from so many texts."""

    of: str = Field(description="which texts: training texts, or all texts")
    texts: int
    loss: Interval = Field(description="label loss of the validation rows, after calibration")


class LearningCurve(_Part):
    """How much more text would help, by a linear model that the teacher taught."""

    points: list[CurvePoint] = Field(default_factory=list)
    doubled: Interval | None = Field(None, description="how much lower the loss is with all texts than with half")
    beside: Interval | None = Field(
        None, description="how much lower it is with all texts than with the training texts; null: there are no others"
    )
    sentence: str = ""


class SeedMeasurements(_Part):
    """Student and control from one seed, in the headline metric."""

    seed: int
    describes: str = ""
    student: Interval = Field(default_factory=Interval, description="score of the student, as it would be deployed")
    control: Interval | None = Field(None, description="score of its control")
    retention: Interval = Field(default_factory=Interval, description="student's score over the teacher's")
    against_control: Interval | None = Field(None, description="student's score less the control's, paired")


class Seeds(_Part):
    """The same student and control from several seeds; the first is that of the deployed student."""

    runs: list[SeedMeasurements] = Field(default_factory=list, description="each with an interval over test rows")
    retention: Interval | None = Field(None, description="mean over seeds, with an interval over seeds and rows")
    against_control: Interval | None = Field(
        None, description="mean of the paired differences, with an interval over seeds and rows; null: no control"
    )


class Size(_Part):
    """A student of the next size, made and measured as the one that is deployed."""

    where: str = Field(description="smaller or larger")
    describes: str = ""
    scores: dict[str, Interval] = Field(default_factory=dict, description="by the name of the metric")
    retention: Interval | None = Field(None, description="its headline score over the teacher's")
    against_student: Interval | None = Field(None, description="its headline score less the student's, paired")
    parameters: int | None = None
    bytes: int | None = Field(None, description="what would be deployed, on disk")
    rows_per_second: Figure = None
    latency_ms: dict[str, Figure] = Field(default_factory=dict, description="one row at a time: p50 and p95")
    speedup: Figure = Field(None, description="its rows per second over the student's")
    smaller: Figure = Field(None, description="student's bytes over its own")


class Measurements(_Part):
    """The whole of `measurements.json`."""

    schema_version: int = Field(VERSION, alias="schema", description="version of this contract")
    tutelage: str = Field("", description="version of the package that measured")
    created: str = Field("", description="ISO 8601")
    task: str
    headline: str = Field(description="name of the metric that retention is computed with")
    metrics: list[MetricInfo] = Field(default_factory=list)
    machine: dict[str, Any] = Field(
        default_factory=dict,
        description="cpu, cores, threads, memory_gb, system, and versions: python, torch, transformers ...",
    )
    seed: int = 0
    confidence: float = Field(0.95, gt=0, lt=1, description="coverage of every interval")
    resamples: int = Field(1000, description="bootstrap resamples behind each interval")
    models: dict[str, ModelMeasurements] = Field(description=f"by part: {', '.join(ROLES)}; more may come")
    guessing: Figure = Field(None, description="headline score of the one answer that suits most test rows")
    retention: Interval | None = Field(None, description="student's headline score over the teacher's")
    against_control: Interval | None = Field(None, description="student's score less its control's; null: no control")
    others: list[OtherMeasurements] = Field(
        default_factory=list, description="`data.also_test`: other domains or languages, in the recipe's order"
    )
    seeds: Seeds | None = Field(None, description="null: one seed alone")
    sizes: list[Size] = Field(default_factory=list, description="`evaluate.neighbours`: one size smaller, one larger")
    speedup: Speedup | None = None
    other_programs: Figure = Field(None, description=_OTHERS)
    smaller: Figure = Field(None, description="teacher's bytes over the student's")
    choices: list[Choice] = Field(default_factory=list)
    search: Search | None = Field(None, description="null: the recipe named the student's shape")
    learning_curve: LearningCurve | None = Field(None, description="null: not asked for")
    disagreements: list[Disagreement] = Field(default_factory=list)
    data: dict[str, Any] = Field(default_factory=dict, description="health of the corpus: see `data.health`")
    times: dict[str, Figure] = Field(
        default_factory=dict, description="seconds by stage that the recipe used, in order"
    )
    history: dict[str, list[dict[str, Any]]] = Field(
        default_factory=dict, description="by model: one mapping an epoch: epoch, loss, score, learning_rate"
    )
    recipe: dict[str, Any] = Field(default_factory=dict, description="as resolved")
    warnings: list[str] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Measurements:
        """Read `measurements.json`, or the one in a run's folder.

        Raises `OutputError` when it is missing or is something else.
        """
        file = path / FILE if path.is_dir() else path
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise OutputError(
                f"there is no {file}",
                expected="the output folder of a finished run",
                cure="`tutelage run RECIPE --resume` finishes an interrupted one",
            ) from None
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{file} cannot be read: {_reason(error)}",
                expected="the measurements that `tutelage run` wrote",
                cure="delete it, and run the recipe again with `--resume`: it measures anew",
            ) from error

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(path, _all_finite(self.model_dump(mode="json", by_alias=True)))

    @property
    def in_order(self) -> dict[str, ModelMeasurements]:
        """The models, in the order in which they are shown; parts this version does not know come last."""
        known = [role for role in ROLES if role in self.models]
        return {role: self.models[role] for role in [*known, *sorted(self.models.keys() - set(known))]}

    def metric(self, name: str) -> MetricInfo:
        """How to read the scores of that name; a guess from the name when it is not described."""
        described = {metric.name: metric for metric in self.metrics}
        guess = MetricInfo(name=name, title=name.replace("_", " ").capitalize(), percent=False)
        return described.get(name, guess)


def schema() -> dict[str, Any]:
    """The JSON schema of `measurements.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Measurements.model_json_schema(by_alias=True),
    }


def publish(path: Path) -> None:
    """Write the JSON schema to a file."""
    write_json(path, schema())


def _all_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all_finite(item) for key, item in value.items()}
    return [_all_finite(item) for item in value] if isinstance(value, list) else _finite(value)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
