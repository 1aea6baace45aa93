"""Each strategy changes what it promises, learns, and leaves a plain model that says the same."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.progress import Silent
from tutelage.recipe_teacher import StrategyName, TeacherRecipe
from tutelage.tasks import TextClassification
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies import STRATEGIES, adalora, gradual
from tutelage.training import checkpoint, supervised
from tutelage.training.optimizer import adamw

TASK = TextClassification(("negative", "positive"))
ROWS = tiny_models.reviews()[:96]
TEXTS = [row["text"] for row in ROWS]
TARGETS = [float(row["label"] == "positive") for row in ROWS]
SPLITS = {"train": split(TEXTS[:64], TARGETS[:64]), "validation": split(TEXTS[64:], TARGETS[64:], "validation")}
CORPUS = Corpus(Path("nowhere"), TASK, SPLITS, "a corpus in memory", {})
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "teachers.md"


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def settings(name: str, **changes: Any) -> TeacherRecipe:
    more = {"layers": 2} if name == "last-n" else {}
    return TeacherRecipe(
        **{"strategy": name, "epochs": 4, "batch_size": 16, "learning_rate": 5e-3, "patience": None, **more, **changes}
    )


def network(folder: Path) -> Network:
    return load.load(str(folder), TASK, Reading(32))[0]


def fit(given: Network, folder: Path, recipe: TeacherRecipe, progress: Any = None) -> list[dict[str, float]]:
    return fine_tune.fine_tune(
        given, CORPUS, recipe, fitted=False, seed=0, folder=folder, progress=progress or Silent()
    )


def changed(given: Network, before: dict[str, torch.Tensor]) -> set[str]:
    now = given.model.state_dict()
    assert list(now) == list(before)
    return {n for n, value in before.items() if value.shape != now[n].shape or not torch.equal(value, now[n])}


LAYER = r"bert\.encoder\.layer\.(\d)\."
PROMISED: dict[str, Callable[[str], bool]] = {
    "full": lambda name: True,
    "last-n": lambda name: bool(re.match(r"bert\.encoder\.layer\.[23]\.", name)),
    "head": lambda name: False,
    "gradual": lambda name: bool(re.match(r"bert\.encoder\.layer\.[123]\.", name)),
    "bitfit": lambda name: name.endswith(".bias"),
    "lora": lambda name: bool(re.search(r"(query|value)\.weight", name)),
    "dora": lambda name: bool(re.search(r"(query|value)\.weight", name)),
    "adalora": lambda name: bool(re.search(r"(query|value)\.weight", name)),
    "ia3": lambda name: bool(re.search(r"(key|value|output\.dense)\.(weight|bias)", name)),
    "adapter": lambda name: bool(re.search(r"layer\.\d\.(intermediate\.dense|output\.dense\.weight)", name)),
}
# No gradient reaches a bias that is added to all keys alike, or rows that no text has; a bias of 0 scaled stays 0.
UNREACHED = r"key\.bias|token_type|position|word_embeddings"
UNMOVED = {"ia3": r"\.bias"}


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is the best so far, so that the last weights are the ones that are kept."""
    scores = iter(range(1000))
    monkeypatch.setattr(supervised.Exam, "score", lambda *_: float(next(scores)))


@pytest.mark.parametrize("name", PROMISED)
def test_it_learns_and_changes_what_it_promises_and_nothing_else(
    name: str, rising: None, bert: Path, tmp_path: Path
) -> None:
    given, listener = network(bert), Listener()
    before = copy.deepcopy(given.model.state_dict())
    history = fit(given, tmp_path / "training", settings(name), listener)
    assert history[-1]["loss"] < history[0]["loss"]
    moved = changed(given, before)
    head = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    promised = {other for other in before if other in head or PROMISED[name](other)}
    assert moved <= promised
    reached = {other for other in promised if not re.search(UNMOVED.get(name, UNREACHED), other)}
    assert reached <= moved
    if name != "full":
        assert f"{STRATEGIES[name].title} trains " in listener.said[0]
        assert "\n" not in listener.said[0]
    # A plain folder: `from_pretrained` alone loads it, and it says the same.
    given.save(tmp_path / "teacher")
    assert not list((tmp_path / "teacher").glob("adapter*"))
    plain = Network.load(tmp_path / "teacher", TASK, Reading(32))
    tokens = given.tokenize(TEXTS)
    np.testing.assert_allclose(plain.outputs(tokens), given.outputs(tokens), atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "t5"])
@pytest.mark.parametrize("name", ["lora", "dora", "adalora", "ia3", "adapter"])
def test_a_merged_model_answers_as_the_unmerged(name: str, kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    tokens = given.tokenize(TEXTS[:12])
    before, random = given.outputs(tokens), torch.Generator().manual_seed(0)
    with strategies.applied(given, settings(name), targets=CORPUS["train"].targets, seed=0):
        np.testing.assert_allclose(given.outputs(tokens), before, atol=1e-6)
        with torch.no_grad():
            for parameter in given.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=random) * 0.3)
        unmerged = given.outputs(tokens)
    assert np.abs(unmerged - before).max() > 1e-2
    assert not any(re.search("lora|ia3|adapter", part) for part in given.model.state_dict())
    given.save(tmp_path / "teacher")
    plain = Network.load(tmp_path / "teacher", TASK, Reading(32))
    for merged in (given, plain):
        np.testing.assert_allclose(merged.outputs(tokens), unmerged, atol=1e-4 * np.abs(unmerged).max())


def test_full_is_what_it_was_without_strategies(bert: Path, tmp_path: Path) -> None:
    given, plain = network(bert), network(bert)
    fit(given, tmp_path / "a", settings("full"))
    supervised.fit_labels(
        plain,
        CORPUS["train"],
        CORPUS["validation"],
        settings("full"),
        title="t",
        seed=0,
        folder=tmp_path / "b",
        progress=Silent(),
    )
    assert not changed(given, plain.model.state_dict())


# --- killed and resumed ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize(
    ("name", "step"), [("adalora", 5), ("adalora", 13), ("dora", 9), ("gradual", 5), ("gradual", 9), ("head", 9)]
)
def test_killed_and_resumed_the_weights_are_the_same(
    name: str, step: int, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = settings(name, checkpoint_minutes=1e-9)
    whole, again = network(bert), network(bert)
    expected = fit(whole, tmp_path / "whole", recipe)
    original, calls = checkpoint.save, iter(range(1000))

    def save(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        if next(calls) == step:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        with pytest.raises(Killed):
            fit(network(bert), tmp_path / "cut", recipe)
    assert fit(again, tmp_path / "cut", recipe) == expected
    assert not changed(again, whole.model.state_dict())


# --- gradual --------------------------------------------------------------------------------------------------------


def test_gradual_unfreezes_one_layer_an_epoch_from_the_top(bert: Path) -> None:
    given = network(bert)
    with strategies.applied(given, settings("gradual", epochs=9), targets=CORPUS["train"].targets, seed=0) as prepared:
        for epoch in range(9):
            prepared.regime.begin_epoch(epoch)
            learning = {name for name, p in given.model.named_parameters() if p.requires_grad}
            layers = {int(match.group(1)) for name in learning if (match := re.match(LAYER, name))}
            assert layers == set(range(max(0, 4 - epoch), 4))
            assert {"classifier.weight", "bert.pooler.dense.bias"} <= learning
            assert ("bert.embeddings.word_embeddings.weight" in learning) == (epoch >= 5)


def test_each_layer_learns_more_slowly_than_the_one_above(bert: Path) -> None:
    given = network(bert)
    with strategies.applied(given, settings("gradual", epochs=6), targets=CORPUS["train"].targets, seed=0) as prepared:
        optimizer = adamw(given.model, learning_rate=1.0, weight_decay=0.1, regime=prepared.regime)
        rates = {id(p): group["rate"] for group in optimizer.param_groups for p in group["params"]}
        found = {name: rates[id(p)] for name, p in given.model.named_parameters()}
    assert found["classifier.weight"] == found["bert.pooler.dense.bias"] == 1.0
    for layer, steps in ((3, 1), (2, 2), (0, 4)):
        name = f"bert.encoder.layer.{layer}.output.dense.weight"
        assert found[name] == pytest.approx(gradual.FACTOR**-steps)
    assert found["bert.embeddings.word_embeddings.weight"] == pytest.approx(gradual.FACTOR**-5)


def test_the_loop_moves_each_layer_at_its_own_rate_and_time(rising: None, bert: Path, tmp_path: Path) -> None:
    """Two epochs: the head in both, the last layer in the second, and the rest computed once."""
    given = network(bert)
    before = copy.deepcopy(given.model.state_dict())
    listener = Listener()
    fit(given, tmp_path, settings("gradual", epochs=2), listener)
    layers = {int(match.group(1)) for name in changed(given, before) if (match := re.match(LAYER, name))}
    assert layers == {3}
    assert "2 epochs reach 1 of 4 layers; 6 reach everything." in listener.said[0]
    assert list((tmp_path / "frozen").iterdir())
    moved = given.model.state_dict()["bert.encoder.layer.3.output.dense.weight"]
    step = (moved - before["bert.encoder.layer.3.output.dense.weight"]).abs().max()
    # AdamW moves a weight by about its rate in each of the four steps at most.
    assert 0 < step < 4.5 * 5e-3 / gradual.FACTOR


# --- AdaLoRA --------------------------------------------------------------------------------------------------------


def ranks(given: Network) -> list[int]:
    return [int((p != 0).sum()) for name, p in given.model.named_parameters() if "lora_E" in name]


def test_adalora_moves_its_ranks(bert: Path, tmp_path: Path) -> None:
    given = network(bert)
    recipe = settings("adalora", epochs=6)
    corpus = CORPUS["train"], CORPUS["validation"]
    seen: dict[int, list[int]] = {}
    with strategies.applied(given, recipe, targets=CORPUS["train"].targets, seed=0) as prepared:
        after = prepared.regime.after_step

        def watched(step: int, total: int) -> None:
            assert total == 24
            after(step, total)
            seen[step] = ranks(given)

        object.__setattr__(prepared.regime, "after_step", watched)
        supervised.fit_labels(
            given, *corpus, recipe, title="t", seed=0, folder=tmp_path, progress=Silent(), regime=prepared.regime
        )
    assert sorted(seen) == list(range(24))
    assert seen[1] == [adalora.FIRST_RANK] * 8
    assert sum(seen[23]) == adalora.RANK * 8
    assert len(set(seen[23])) > 1, "the same rank everywhere: that is LoRA"
    totals = [sum(seen[step]) for step in sorted(seen)]
    assert totals[8] > totals[12] > totals[17]


def test_adalora_weighs_unorthogonality_as_peft_does(bert: Path) -> None:
    from peft.tuners.adalora import AdaLoraModel

    given = network(bert)
    with strategies.applied(given, settings("adalora"), targets=CORPUS["train"].targets, seed=0) as prepared:
        budget: Any = prepared.regime.after_step
        tuner = budget.__self__.tuner
        batch = given.collate(given.tokenize(TEXTS[:4]), np.arange(4))
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": torch.zeros(4).long()}
        plain = given.model(**inputs).loss
        with_penalty = AdaLoraModel.forward(tuner, **inputs).loss
        assert prepared.regime.penalty is not None
        penalty = float(prepared.regime.penalty().detach())
        assert penalty == pytest.approx(float((with_penalty - plain).detach()), rel=1e-5)
        assert penalty > 0.1


def test_adalora_says_when_there_are_too_few_steps(bert: Path) -> None:
    with (
        pytest.raises(ModelError, match=r"has 4 training steps .*\n.*at least 10"),
        strategies.applied(network(bert), settings("adalora", epochs=1), targets=CORPUS["train"].targets, seed=0),
    ):
        pass


# --- (IA)^3 ---------------------------------------------------------------------------------------------------------


def test_scales_do_not_decay(bert: Path) -> None:
    given = network(bert)
    with strategies.applied(given, settings("ia3"), targets=CORPUS["train"].targets, seed=0) as prepared:
        optimizer = adamw(given.model, learning_rate=1.0, weight_decay=0.1, regime=prepared.regime)
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        found = {name: decays[id(p)] for name, p in given.model.named_parameters() if id(p) in decays}
    assert {decay for name, decay in found.items() if "ia3_l" in name} == {0.0}
    assert found["classifier.weight"] == 0.1


# --- bad input ------------------------------------------------------------------------------------------------------


def test_more_layers_than_there_are(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"`teacher.layers` is 9, but .* has 4 layers\n.*1 to 4"):
        fit(network(bert), tmp_path, settings("last-n", layers=9))
    assert not list(tmp_path.iterdir())


def test_an_architecture_that_cannot_take_it_is_told_what_it_can(tmp_path: Path) -> None:
    given = network(tiny_models.write_t5(tmp_path / "model"))
    with pytest.raises(ModelError) as caught:
        fit(given, tmp_path / "training", settings("bitfit"))
    assert "`teacher.strategy: bitfit` is not possible for" in caught.value.given
    assert "(t5): its layers have no biases" in caught.value.given
    assert caught.value.expected.endswith("full, last-n, head, gradual, lora, dora, adalora, ia3, adapter, few-shot")
    assert not (tmp_path / "training").exists()


def test_layers_that_are_one_are_not_told_apart(tmp_path: Path) -> None:
    """ALBERT runs the same layer again and again."""
    from transformers import AlbertConfig, AlbertModel

    config = AlbertConfig(
        vocab_size=800, embedding_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, pad_token_id=0,
    )  # fmt: skip
    AlbertModel(config).save_pretrained(tmp_path)
    tiny_models.word_piece().save_pretrained(tmp_path)
    given = network(tmp_path)
    for name in set(STRATEGIES) - {"full", "few-shot"}:
        with pytest.raises(ModelError, match=r"one of: full, few-shot\n") as caught:
            strategies.refuse_impossible(given.model, settings(name, model="albert"))
        assert "not kept in a list" in caught.value.given
    with strategies.applied(given, settings("full"), targets=CORPUS["train"].targets, seed=0):
        pass


# --- the registry ---------------------------------------------------------------------------------------------------


def test_recipe_registry_and_guide_name_the_same() -> None:
    assert list(get_args(StrategyName)) == [*STRATEGIES, "auto"]
    guide = GUIDE.read_text(encoding="utf-8")
    for name, strategy in STRATEGIES.items():
        assert f"`{name}`" in guide
        assert strategy.reason in " ".join(guide.split()), name
        assert strategy.source in guide
