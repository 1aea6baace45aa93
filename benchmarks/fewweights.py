"""Training few weights: LoRA and its kin through a recipe, and through the library `peft` in a plain loop.

The file is not called peft.py: a script's folder comes first where Python looks for modules.

python benchmarks/fewweights.py [--rows 800] [--epochs 2] [--seeds 0 1 2] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import ledger
from fewshot import interval
from frozen import sentences
from kept import Kept
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.console import Terminal
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies import adalora, adapter, lora, prefix, prompt

TOKENS, BATCH, TEST = 128, 16, 1000
HEAD = ["pooler", "classifier"]
STRATEGIES = ("lora", "dora", "adalora", "ia3", "adapter", "prefix", "prompt")
SIDES = ("ours", "theirs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of what was measured, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = Kept(given.keep), Terminal()
    ways = [f"{name}, {side}" for name in given.strategies for side in SIDES]
    with tempfile.TemporaryDirectory() as folder:
        corpus = sentences(given.rows, Path(folder))
        corpus.splits["test"] = Split("test", corpus["test"].table.slice(0, TEST))
        for seed in given.seeds:
            for way in ways:
                key = f"{way} {seed} {given.rows} {given.epochs}"
                if key not in found:
                    found.add(key, one(way, corpus, given.epochs, seed))
                    terminal.say(json.dumps(found[key]))
    records = {way: [found[f"{way} {seed} {given.rows} {given.epochs}"] for seed in given.seeds] for way in ways}
    command = f"python benchmarks/fewweights.py --rows {given.rows} --epochs {given.epochs}"
    command += f" --seeds {' '.join(map(str, given.seeds))}"
    title = "Training few weights"
    if set(given.strategies) != set(STRATEGIES):
        command += f" --strategies {' '.join(given.strategies)}"
        title += f": {', '.join(given.strategies)}"
    ledger.record(title, command, table(records, given))


def one(way: str, corpus: Corpus, epochs: int, seed: int) -> dict[str, Any]:
    """Test score, seconds, and how many weights learned, of the Transformer and of the head."""
    name, _, by = way.partition(", ")
    network, _ = load.load("minilm", corpus.task, Reading(TOKENS), seed=seed)
    settings = TeacherRecipe(
        strategy=name, epochs=epochs, batch_size=BATCH, patience=None, fine_tune=True, precision="fp32"
    )
    began = time.monotonic()
    learned = (ours if by == "ours" else theirs)(name, network, corpus, settings, seed)
    return {"score": learned.pop("score"), "seconds": time.monotonic() - began, **learned}


def ours(name: str, network: Network, corpus: Corpus, settings: TeacherRecipe, seed: int) -> dict[str, Any]:
    """As the recipe does it."""
    del name
    # Counted on another copy, for what is added vanishes when it has learned.
    other, _ = load.load("minilm", corpus.task, Reading(TOKENS), seed=seed)
    with strategies.applied(other, settings, targets=corpus["train"].targets, seed=seed):
        weights = counted(other.model)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fine_tune.fine_tune(network, corpus, settings, fitted=False, seed=seed, folder=place, progress=Silent())
    return {**weights, "score": score(network, network.model, corpus["test"])}


def theirs(name: str, network: Network, corpus: Corpus, settings: TeacherRecipe, seed: int) -> dict[str, Any]:
    """`peft` (for `adapter` a few lines here) and a plain loop: AdamW, linear schedule, shuffled and padded batches."""
    from transformers import get_linear_schedule_with_warmup

    torch.manual_seed(seed)
    model = network.model
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    steps = settings.epochs * -(-len(corpus["train"]) // BATCH)
    wrapped, after_step = MADE[name](model, steps)
    weights = counted(wrapped)
    learning = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, round(settings.warmup * steps), steps)
    train = corpus["train"]
    tokens, labels = network.tokenize(train.texts()), torch.from_numpy(train.targets.astype(np.int64))
    wrapped.train()
    done = 0
    for epoch in range(settings.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(train))
        for rows in np.split(order, range(BATCH, len(order), BATCH)):
            batch = network.collate(tokens, rows)
            told = wrapped(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels[rows])
            told.loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, settings.clip)
            optimizer.step()
            schedule.step()
            after_step(done)
            optimizer.zero_grad()
            done += 1
    return {**weights, "score": score(network, wrapped, corpus["test"])}


Made = tuple[Any, Callable[[int], object]]


def _nothing(step: int) -> None:
    del step


def _peft(config: Callable[[int], Any]) -> Callable[[Any, int], Made]:
    def make(model: Any, steps: int) -> Made:
        from peft import get_peft_model

        wrapped = get_peft_model(model, config(steps))
        allocate = getattr(wrapped.base_model, "update_and_allocate", None)
        return wrapped, allocate or _nothing

    return make


def _lora(steps: int, **more: Any) -> Any:
    from peft import LoraConfig

    del steps
    return LoraConfig(task_type="SEQ_CLS", r=lora.RANK, lora_alpha=lora.ALPHA, modules_to_save=HEAD, **more)


def _adalora(steps: int) -> Any:
    from peft import AdaLoraConfig

    return AdaLoraConfig(
        task_type="SEQ_CLS",
        init_r=adalora.FIRST_RANK,
        target_r=adalora.RANK,
        lora_alpha=adalora.ALPHA,
        tinit=steps // 10,
        tfinal=int(0.3 * steps),
        deltaT=max(1, steps // 100),
        total_step=steps,
        modules_to_save=HEAD,
    )


def _ia3(steps: int) -> Any:
    from peft import IA3Config

    del steps
    return IA3Config(task_type="SEQ_CLS", modules_to_save=HEAD)


def _prefix(steps: int) -> Any:
    from peft import PrefixTuningConfig

    del steps
    return PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=prefix.VECTORS, modules_to_save=HEAD)


def _prompt(steps: int) -> Any:
    from peft import PromptTuningConfig

    del steps
    return PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=prompt.VECTORS, modules_to_save=HEAD)


class _Bottleneck(nn.Module):
    """Down to a few neurons and up again, added to what a feed-forward block gives (arXiv 1902.00751, 2005.00247)."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block, width = block, block.out_features
        self.down, self.up = nn.Linear(width, adapter.NEURONS), nn.Linear(adapter.NEURONS, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., F) -> (..., D)."""
        out: torch.Tensor = self.block(values)
        return out + self.up(torch.relu(self.down(out)))


def _adapter(model: Any, steps: int) -> Made:
    del steps
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in HEAD))
    for layer in model.base_model.encoder.layer:
        layer.output.dense = _Bottleneck(layer.output.dense)
    return model, _nothing


MADE: dict[str, Callable[[Any, int], Made]] = {
    "lora": _peft(_lora),
    "dora": _peft(lambda steps: _lora(steps, use_dora=True)),
    "adalora": _peft(_adalora),
    "ia3": _peft(_ia3),
    "adapter": _adapter,
    "prefix": _peft(_prefix),
    "prompt": _peft(_prompt),
}


def counted(model: Any) -> dict[str, int]:
    """How many weights learn in the head, and elsewhere."""
    learning = [(name, p.numel()) for name, p in model.named_parameters() if p.requires_grad]
    head = sum(count for name, count in learning if any(part in name for part in HEAD))
    return {"head": head, "inside": sum(count for _, count in learning) - head}


def score(network: Network, model: Any, split: Split) -> float:
    """Accuracy of a model, wrapped or not, on what a network's tokenizer reads."""
    model.eval()
    tokens, right = network.tokenize(split.texts()), 0
    for rows in _batches(len(split)):
        batch = network.collate(tokens, rows)
        with torch.inference_mode():
            said = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        right += int((said.argmax(1).numpy() == split.targets[rows]).sum())
    return right / len(split)


def _batches(rows: int) -> Iterator[np.ndarray]:
    for begin in range(0, rows, 64):
        yield np.arange(begin, min(begin + 64, rows))


def table(records: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> list[str]:
    """Each strategy by both."""
    lines = []
    for name in given.strategies:
        cells = []
        both = [records[f"{name}, {side}"] for side in SIDES]
        scores = [100 * np.array([one["score"] for one in each]) for each in both]
        for each, values in zip(both, scores, strict=True):
            cells += [f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})", f"{each[0]['inside']:,}"]
        cells.append(interval(scores[0] - scores[1], sign="+"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [
        f"{given.rows:,} movie sentences, MiniLM, {given.epochs} epochs of batches of {BATCH}, the rates of",
        "docs/guide/teachers.md on both sides (not tuned),",
        f"accuracy in % on {TEST:,} test rows (one standard error: 1.3 points), mean and range over",
        f"{len(given.seeds)} seeds; the difference ± half a 95 % interval (Student's t over seeds). Weights that learn",
        "are those inside the Transformer; pooler and classifier learn everywhere "
        f"({next(iter(records.values()))[0]['head']:,} weights).",
        "`peft`'s side is `get_peft_model` and a plain loop; its adapter is a bottleneck of 64 neurons behind each",
        "feed-forward block, ours stands beside the block. Ours keeps the better epoch by validation. Its prompt",
        "begins as numbers of chance and stands before the token that the head reads; ours begins as words of chance",
        "and stands behind that token.",
        "",
        "| | ours, % | weights | peft, % | weights | ours - peft |",
        "|---|---|---|---|---|---|",
        *lines,
    ]


if __name__ == "__main__":
    main()
