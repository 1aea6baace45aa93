"""Against peers: TextBrewer, and a `Trainer` of transformers with a distillation loss, on one task and one machine.

python benchmarks/peers.py [--seeds 0 1 2 3 4] [--keep FOLDER]

Everyone is a process of its own (see participants/) and is given the same: a teacher and the start of a student as
saved folders, texts, batch size, steps, learning rate, schedule, threads. TextBrewer gets an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_dir

import ledger
from tutelage import demo, recipe, storage
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.compress import vocabulary
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.evaluate.intervals import Bootstrap
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.student import initialise
from tutelage.student.build import Shape
from tutelage.teacher import fine_tune, load

HERE = Path(__file__).parent
SHAPE = Shape(2, 128, 4, 512)
TOKENS = 128
VALIDATION_ROWS = 400
SETTINGS = {"batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1, "clip": 1.0}
# Tried with these; the constraints of this package pin them and what they need.
BREWER = ("textbrewer==0.2.1.post1", "torch==2.13.0", "transformers==5.23.0")
PARTICIPANTS = {
    "Tutelage": ("ours.py",),
    "Tutelage, teacher in fp32": ("ours.py", "fp32"),
    "TextBrewer": ("brewer.py",),
    "TextBrewer, cached logits": ("brewer.py", "cache"),
    "TextBrewer, cached logits, teacher in bf16 by hand": ("brewer.py", "cache", "bf16"),
    "Trainer with a KD loss": ("subclass.py",),
}
OURS, SINGLE = "Tutelage", "Tutelage, teacher in fp32"
BARS = {"TextBrewer": 6.0, "TextBrewer, cached logits": 2.5}
_RESAMPLES = 2000


def environment(cache: Path) -> Path:
    """The interpreter of TextBrewer's own environment, installed on first use."""
    place = cache / "textbrewer"
    ready, python = place / ".ready", place / "bin" / "python"
    if not ready.is_file():
        venv.create(place, clear=True, with_pip=True)
        constraints = HERE.parent / "constraints.txt"
        command = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *BREWER]
        subprocess.run(command, check=True)
        ready.touch()
    return python


def job(folder: Path, corpus: Corpus, *, rows: int, epochs: int, seed: int, threads: int) -> None:
    """Write everything that the participants are given: models, texts, batches, settings."""
    reading = Reading(TOKENS)
    given = {
        "train": Split("train", corpus["train"].table.slice(0, rows)),
        "validation": Split("validation", corpus["validation"].table.slice(0, VALIDATION_ROWS)),
        "test": corpus["test"],
    }
    teacher, _ = load.load("minilm", corpus.task, reading, seed=seed)
    small = Corpus(corpus.folder, corpus.task, given, corpus.fingerprint, {})
    settings = TeacherRecipe(fine_tune=True, epochs=2, patience=None)
    fine_tune.fine_tune(
        teacher, small, settings, fitted=False, seed=seed, folder=folder / "training", progress=Silent()
    )
    teacher.save(folder / "teacher")
    start(teacher, seed).save(folder / "student")
    texts = {name: {"texts": split.texts(), "targets": split.targets.tolist()} for name, split in given.items()}
    storage.write_json(folder / "texts.json", texts)
    lengths = teacher.tokenize(given["train"].texts()).lengths
    batches = [plan(lengths, batch_size=int(SETTINGS["batch_size"]), seed=seed, epoch=epoch) for epoch in range(epochs)]
    storage.write_json(folder / "batches.json", [[rows.tolist() for rows in epoch] for epoch in batches])
    shutil.copytree(corpus.folder, folder / "corpus")
    more = {"rows": rows, "validation_rows": VALIDATION_ROWS, "epochs": epochs, "max_tokens": TOKENS}
    storage.write_json(folder / "job.json", {**SETTINGS, **more, "seed": seed, "threads": threads})


def start(teacher: Network, seed: int) -> Network:
    """The student that everyone starts from: the teacher's vocabulary, and no dropout, for everyone."""
    words = vocabulary.keep(teacher.tokenizer)
    student = initialise.create(teacher, SHAPE, tokenizer=words.tokenizer, kept=words.kept, seed=seed)
    student.model.config.hidden_dropout_prob = student.model.config.attention_probs_dropout_prob = 0.0
    return student


def compete(folder: Path, name: str, brewer: Path, threads: int) -> dict[str, Any]:
    """Run one participant: seconds of its distillation, of its whole process, and its outputs on test."""
    file, *options = PARTICIPANTS[name]
    python = brewer if file == "brewer.py" else Path(sys.executable)
    result = folder / name
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    begun = time.perf_counter()
    done = subprocess.run(
        [python, HERE / "participants" / file, folder, result, *options],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    whole = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    seconds = json.loads((result / "result.json").read_text(encoding="utf-8"))["seconds"]
    return {"seconds": seconds, "whole": whole, "outputs": np.load(result / "outputs.npy")}


def one(corpus: Corpus, brewer: Path, *, rows: int, epochs: int, seed: int, threads: int) -> dict[str, Any]:
    """Every participant with one seed, each seed beginning with another. JSON."""
    first = seed % len(PARTICIPANTS)
    turns = [*PARTICIPANTS][first:] + [*PARTICIPANTS][:first]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job(folder, corpus, rows=rows, epochs=epochs, seed=seed, threads=threads)
        found = {title: compete(folder, title, brewer, threads) for title in turns}
    bootstrap = Bootstrap(len(corpus["test"]), resamples=_RESAMPLES, confidence=0.95, seed=seed)
    targets, metric = corpus["test"].targets, (corpus.task.headline,)
    scores = {
        title: bootstrap.scores(metric, corpus.task.predict(one["outputs"]), targets)[metric[0].name]
        for title, one in found.items()
    }
    return {
        title: {
            "seconds": one["seconds"],
            "whole": one["whole"],
            "score": scores[title].value,
            "above": bootstrap.difference(scores[OURS], scores[title]).as_dict(),
            "right": np.flatnonzero(corpus.task.predict(one["outputs"]).argmax(1) == targets).tolist(),
        }
        for title, one in found.items()
    }


def difference(found: dict[int, dict[str, Any]], title: str, rows: int) -> str:
    """How much our score is above another's over all seeds, with an interval: test rows drawn anew, seeds kept."""
    apart = np.zeros((len(found), rows))
    for number, seed in enumerate(found):
        apart[number, found[seed][OURS]["right"]] += 1
        apart[number, found[seed][title]["right"]] -= 1
    mean = apart.mean(axis=0)
    drawn = [np.random.default_rng([0, n]).choice(mean, size=rows).mean() for n in range(_RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{100 * mean.mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def table(found: dict[int, dict[str, Any]], rows: int) -> list[str]:
    """Lines of the section."""
    lines = [
        "| | distillation, s | whole process, s | test % | ours faster | bar | ours in fp32 faster "
        "| ours faster, whole process | ours better, points |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title in PARTICIPANTS:
        each = [seed[title] for seed in found.values()]

        def faster(one: str, key: str, title: str = title) -> str:
            return ledger.spread([seed[title][key] / seed[one][key] for seed in found.values()])

        figures = [ledger.spread([result[key] for result in each]) for key in ("seconds", "whole")]
        figures.append(ledger.spread([100 * result["score"] for result in each], digits=4))
        bar = f"{BARS[title]:g}" if title in BARS else ""
        more = [faster(OURS, "seconds"), bar, faster(SINGLE, "seconds"), faster(OURS, "whole")]
        more.append(difference(found, title, rows))
        lines.append(f"| {' | '.join([title, *figures, *(more if title not in (OURS, SINGLE) else [''] * 5)])} |")
    lines += ["", "| seed | " + " | ".join(PARTICIPANTS) + " |", "|---|" + "---|" * len(PARTICIPANTS)]
    for seed, results in found.items():
        cells = [f"{results[title]['seconds']:.1f} s, {100 * results[title]['score']:.2f} %" for title in PARTICIPANTS]
        lines.append(f"| {seed} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cache", type=Path, default=Path(user_cache_dir("tutelage")) / "peers")
    parser.add_argument("--keep", type=Path, help="folder for the figures of each seed; those there are not run again")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    brewer = environment(given.cache)
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        base = demo.recipe(Path(name) / "run", Silent())
        corpus = prepare(recipe.load(base.model_dump()), Path(name) / "corpus", Silent())
        for seed in given.seeds:
            kept = given.keep / f"{seed}.json" if given.keep else None
            if kept and kept.is_file():
                found[seed] = json.loads(kept.read_text(encoding="utf-8"))
                continue
            found[seed] = one(corpus, brewer, rows=given.rows, epochs=given.epochs, seed=seed, threads=given.threads)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                storage.write_json(kept, found[seed])
        tested = len(corpus["test"])
    ledger.record(
        "8. Peers",
        f"python benchmarks/peers.py --rows {given.rows} --epochs {given.epochs} "
        f"--seeds {' '.join(map(str, given.seeds))}",
        [
            f"{given.rows:,} movie sentences, {given.epochs} epochs of batches of 32, MiniLM fine-tuned on the same "
            "rows as teacher, student 2 x 128 with the",
            f"teacher's vocabulary. One process each, {given.threads} threads; same models, rate, schedule, clipping, "
            f"no dropout, {VALIDATION_ROWS} validation rows after every",
            f"epoch, best epoch taken, {tested:,} test rows. *Distillation* begins when models and texts are loaded; "
            "ours records the teacher in it,",
            "in the precision that is the default: bf16 where the processor has units for it.",
            f"TextBrewer: {', '.join(BREWER)}. Bar: at least as good, and so many times faster; median and range.",
            "",
            *table(found, tested),
        ],
    )


if __name__ == "__main__":
    main()
