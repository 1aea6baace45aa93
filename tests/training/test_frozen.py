"""Frozen work is done once, and nobody can tell from the training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForSequenceClassification

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading, reading
from tutelage.progress import Silent
from tutelage.recipe import TrainingRecipe
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.training import frozen, supervised
from tutelage.training.frozen import frozen_prefix
from tutelage.training.loop import set_dropout

TASK = TextClassification(("negative", "positive"))
ROWS = tiny_models.reviews()[:96]
TEXTS = [row["text"] for row in ROWS]
TARGETS = [float(row["label"] == "positive") for row in ROWS]
TRAIN, VALIDATION = split(TEXTS[:64], TARGETS[:64]), split(TEXTS[64:], TARGETS[64:], "validation")
SETTINGS = TrainingRecipe(epochs=4, learning_rate=3e-3, batch_size=16, patience=None)


def network(folder: Path, read: Reading | None = None) -> Network:
    return load.load(str(folder), TASK, read or Reading(32))[0]


def freeze(given: Network, *trained: str) -> Network:
    for name, parameter in given.model.named_parameters():
        parameter.requires_grad_(any(part in name for part in trained))
    return given


HEAD = ("pooler", "classifier", "pre_classifier")
CASES = [
    ("bert", (*HEAD, "layer.3.")),
    ("bert", (*HEAD, "layer.2.", "layer.3.")),
    ("bert", HEAD),
    ("roberta", (*HEAD, "layer.2.")),
    ("roberta", HEAD),
    ("distilbert", (*HEAD, "layer.2.")),
    ("distilbert", HEAD),
]


def fit(given: Network, folder: Path, **changes: Any) -> Any:
    settings = SETTINGS.model_copy(update=changes)
    return supervised.fit_labels(
        given, TRAIN, VALIDATION, settings, title="t", seed=0, folder=folder, progress=Silent()
    )


@contextmanager
def anew(*_: Any, **__: Any) -> Iterator[None]:
    yield None


def prefix(given: Network, texts: list[Any], folder: Path) -> Any:
    return frozen_prefix(given, texts, folder=folder, progress=Silent())


@pytest.mark.parametrize(("kind", "trained"), CASES)
def test_the_training_is_the_same_as_computing_everything_anew(
    kind: str, trained: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path / "model")
    kept, plain = freeze(network(folder), *trained), freeze(network(folder), *trained)
    found = fit(kept, tmp_path / "kept")
    assert list((tmp_path / "kept" / "frozen").iterdir())
    monkeypatch.setattr(supervised, "frozen_prefix", anew)
    expected = fit(plain, tmp_path / "plain")
    assert [e["loss"] for e in found.history] == pytest.approx([e["loss"] for e in expected.history], abs=1e-5)
    assert [e["score"] for e in found.history] == pytest.approx([e["score"] for e in expected.history], abs=1e-6)
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(kept.model.state_dict()[name], value, rtol=0, atol=1e-4)


def test_long_texts_in_windows_too(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert, reading(8, "window")), *HEAD)
    tokens = given.tokenize(TEXTS[:20])
    assert len(tokens.start) - 1 > len(tokens)
    expected = given.outputs(tokens)
    with prefix(given, [tokens], tmp_path) as kept:
        np.testing.assert_allclose(given.outputs(kept[0]), expected, atol=1e-5)


def test_a_head_needs_one_state_a_text(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert), *HEAD)
    tokens = [given.tokenize(TEXTS[:20]), given.tokenize(TEXTS[20:30])]
    with prefix(given, tokens, tmp_path) as kept:
        assert [part.lengths.tolist() for part in kept] == [[1] * 20, [1] * 10]
    (file,) = tmp_path.rglob("states.f32")
    assert file.stat().st_size == 30 * 32 * 4


def test_each_split_finds_its_own_states(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert), *HEAD, "layer.3.")
    tokens = [given.tokenize(TEXTS[:20]), given.tokenize(TEXTS[20:30])]
    expected = [given.outputs(part) for part in tokens]
    with prefix(given, tokens, tmp_path) as kept:
        for part, outputs in zip(kept, expected, strict=True):
            np.testing.assert_allclose(given.outputs(part), outputs, atol=1e-5)


def test_afterwards_the_model_is_what_it_was(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert), *HEAD, "layer.3.")
    before, names = given.outputs(given.tokenize(TEXTS[:9])), list(given.model.state_dict())
    with prefix(given, [given.tokenize(TEXTS)], tmp_path):
        assert not any("layer.0." in name or "embeddings" in name for name in given.model.state_dict())
        assert any("layer.3." in name for name in given.model.state_dict())
    assert list(given.model.state_dict()) == names
    assert np.array_equal(given.outputs(given.tokenize(TEXTS[:9])), before)


def test_checkpoints_hold_only_what_is_above(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert), *HEAD)
    fit(given, tmp_path)
    sizes = [file.stat().st_size for file in tmp_path.glob("step-*/model.safetensors")]
    assert sizes
    assert max(sizes) < 4 * given.parameters / 8


# --- where it does not apply ----------------------------------------------------------------------------------------


def beside(given: Network) -> Network:
    """Something outside the layers learns, which the first layer may read."""
    given.model.bert.encoder.register_parameter("relation", torch.nn.Parameter(torch.ones(3)))
    return given


@pytest.mark.parametrize(
    "change",
    [
        lambda given: freeze(given, "embeddings", "layer.3."),
        lambda given: freeze(given, "layer.0.", "classifier"),
        lambda given: freeze(given, ""),
        lambda given: beside(freeze(given, "layer.3.", "classifier")),
    ],
)
def test_nothing_is_kept_where_the_start_learns(
    change: Callable[[Network], Network], bert: Path, tmp_path: Path
) -> None:
    given = change(network(bert))
    with prefix(given, [given.tokenize(TEXTS[:9])], tmp_path / "frozen") as kept:
        assert kept is None
    assert not (tmp_path / "frozen").exists()


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_other_architectures_compute_anew(kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    freeze(given, "score", "classification_head")
    with prefix(given, [given.tokenize(TEXTS[:9])], tmp_path / "frozen") as kept:
        assert kept is None
    state = fit(given, tmp_path / "training")
    assert state.history[-1]["loss"] < state.history[0]["loss"]


def test_layers_that_answer_in_tuples_too(tmp_path: Path) -> None:
    from transformers import MPNetConfig, MPNetModel

    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    MPNetModel(MPNetConfig(vocab_size=800, pad_token_id=0, max_position_embeddings=140, **shape)).save_pretrained(
        tmp_path / "model"
    )
    tiny_models.word_piece().save_pretrained(tmp_path / "model")
    given = freeze(network(tmp_path / "model"), *HEAD, "layer.2.")
    tokens = given.tokenize(TEXTS[:20])
    expected = given.outputs(tokens)
    with prefix(given, [tokens], tmp_path / "frozen") as kept:
        np.testing.assert_allclose(given.outputs(kept[0]), expected, atol=1e-5)


def test_an_encoder_that_does_more_than_its_layers_is_noticed(bert: Path, tmp_path: Path) -> None:
    given = freeze(network(bert), *HEAD, "layer.3.")
    given.model.bert.encoder.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 2, *inputs[1:]))
    with prefix(given, [given.tokenize(TEXTS[:9])], tmp_path) as kept:
        assert kept is None


def test_a_disk_with_too_little_room_is_told(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Listener(Silent):
        def say(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(frozen, "_SHARE_OF_DISK", 1e-12)
    given = freeze(network(bert), *HEAD)
    with frozen_prefix(given, [given.tokenize(TEXTS)], folder=tmp_path, progress=Listener()) as kept:
        assert kept is None
    assert "computed anew in every epoch" in told[0]


# --- on disk --------------------------------------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    original = frozen._Prefix.compute

    def compute(self: Any, tokens: Any) -> Any:
        seen.append(len(tokens))
        yield from original(self, tokens)

    monkeypatch.setattr(frozen._Prefix, "compute", compute)
    return seen


def test_the_second_time_they_are_read(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = freeze(network(bert), *HEAD)
    with prefix(given, [given.tokenize(TEXTS)], tmp_path) as kept:
        first = given.outputs(kept[0])
    seen = counted(monkeypatch)
    with prefix(given, [given.tokenize(TEXTS)], tmp_path) as kept:
        assert np.array_equal(given.outputs(kept[0]), first)
    assert max(seen) < 10


@pytest.mark.parametrize("harm", ["cut", "altered", "other texts", "other weights"])
def test_what_is_broken_or_of_something_else_is_made_anew(
    harm: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, texts = freeze(network(bert), *HEAD), TEXTS
    with prefix(given, [given.tokenize(texts)], tmp_path):
        pass
    (file,) = tmp_path.rglob("states.f32")
    content = file.read_bytes()
    if harm == "cut":
        file.write_bytes(content[:-7])
    elif harm == "altered":
        file.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    elif harm == "other texts":
        texts = texts[::-1]
    else:
        with torch.no_grad():
            given.model.bert.encoder.layer[0].output.dense.weight.mul_(1.5)
    expected = given.outputs(given.tokenize(texts))
    seen = counted(monkeypatch)
    with prefix(given, [given.tokenize(texts)], tmp_path) as kept:
        np.testing.assert_allclose(given.outputs(kept[0]), expected, atol=1e-5)
    assert max(seen) == len(texts)
    assert len(list(tmp_path.iterdir())) == 1


def test_killed_while_they_are_computed_nothing_half_is_read(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = freeze(network(bert), *HEAD)
    expected = given.outputs(given.tokenize(TEXTS))
    original = frozen._Prefix.compute

    def cut(self: Any, tokens: Any) -> Any:
        for number, piece in enumerate(original(self, tokens)):
            if number == 50:
                raise KeyboardInterrupt
            yield piece

    with monkeypatch.context() as patched:
        patched.setattr(frozen._Prefix, "compute", cut)
        # A kill leaves the partial folder behind, which an exception would remove.
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt), prefix(given, [given.tokenize(TEXTS)], tmp_path):
            pass
    assert list(tmp_path.glob(".partial-*"))
    with prefix(given, [given.tokenize(TEXTS)], tmp_path) as kept:
        np.testing.assert_allclose(given.outputs(kept[0]), expected, atol=1e-5)
    assert not list(tmp_path.glob(".partial-*"))


# --- dropout --------------------------------------------------------------------------------------------------------


def test_dropout_is_off_below_what_learns_and_on_above(bert: Path) -> None:
    given = freeze(network(bert), *HEAD, "layer.2.", "layer.3.")
    set_dropout(given.model, 0.3)
    shares = {name: m.p for name, m in given.model.named_modules() if isinstance(m, torch.nn.Dropout)}
    below = {name for name in shares if any(part in name for part in ("embeddings", "layer.0.", "layer.1."))}
    assert len(below) > 4
    assert {shares[name] for name in below} == {0.0}
    assert {share for name, share in shares.items() if name not in below} == {0.3}


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bart"])
def test_shares_that_a_module_hands_on_as_numbers_follow_too(kind: str, tmp_path: Path) -> None:
    if kind == "bart":
        size = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
        config = BartConfig(vocab_size=100, **size, encoder_attention_heads=4, decoder_attention_heads=4, dropout=0.1)
        model: Any = BartForSequenceClassification(config)
    else:
        model = load.load(str(getattr(tiny_models, f"write_{kind}")(tmp_path)), TASK, Reading(32))[0].model
    ids = torch.randint(3, 90, (4, 12), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = 2 if kind == "bart" else 1
    model.train()

    def said() -> torch.Tensor:
        return model(input_ids=ids).logits

    set_dropout(model, 0.0)
    assert torch.equal(said(), said())
    set_dropout(model, 0.5)
    assert not torch.equal(said(), said())


def test_where_everything_learns_dropout_is_everywhere(bert: Path) -> None:
    given = network(bert)
    set_dropout(given.model, 0.3)
    assert {m.p for m in given.model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
