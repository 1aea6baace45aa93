"""States of single tokens: recorded once, in one pass with the outputs, what the teacher really holds, never stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts import projections
from tutelage.artifacts import signals as artifact
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.artifacts.token_states import hear
from tutelage.encoding import Reading
from tutelage.errors import ModelError, TrainingError, TutelageError
from tutelage.progress import Silent
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals

TASK = TextClassification(("negative", "positive"))
CHANNELS = (("hidden", 0), ("hidden", 3), ("key", 4), ("query", 4), ("value", 2))
WANTED = Recording(2, (4,), 32, CHANNELS, 32)
TEXTS = [row["text"] for row in tiny_models.reviews()][:60]


@pytest.fixture
def teacher(bert: Path) -> Network:
    torch.manual_seed(0)
    return load.load(str(bert), TASK, Reading(32))[0]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """About three texts a shard."""
    monkeypatch.setattr(signals, "SHARD_ROWS", 16)
    monkeypatch.setattr(signals, "TOKEN_BYTES", 20_000)


def record(network: Network, folder: Path, wanted: Recording = WANTED, texts: list[str] = TEXTS) -> Any:
    return signals.record(network, [split(texts)], wanted, folder=folder, progress=Silent())


def states(network: Network, text: str) -> dict[tuple[str, int], np.ndarray]:
    """What the model holds of one text, computed layer by layer by hand."""
    tokens = network.tokenize([text])
    batch = network.collate(tokens, np.array([0]))
    with torch.inference_mode():
        found = network.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True
        ).hidden_states
        made = {("hidden", number): state[0].numpy() for number, state in enumerate(found)}
        for number, layer in enumerate(network.model.bert.encoder.layer, start=1):
            for name in ("query", "key", "value"):
                made[name, number] = getattr(layer.attention.self, name)(found[number - 1])[0].numpy()
    return made


def test_they_are_what_the_teacher_holds_of_every_token(teacher: Network, tmp_path: Path) -> None:
    recorded = record(teacher, tmp_path)
    assert len(recorded.shards) > 16
    keys = split(TEXTS).keys
    rows = recorded.find(keys)
    some = np.array([40, 3, 17])
    found = recorded.tokens(rows[some], keys[some])
    expected = [np.stack([states(teacher, TEXTS[row])[channel] for channel in CHANNELS], axis=1) for row in some]
    assert sum(map(len, expected)) == len(found)
    assert recorded.splits(rows, keys).tolist() == teacher.splits(teacher.tokenize(TEXTS)).tolist()
    np.testing.assert_allclose(found, np.concatenate(expected), atol=5e-3)
    outputs = teacher.outputs(teacher.tokenize(TEXTS))
    np.testing.assert_allclose(recorded.take(rows, keys)["outputs"], outputs, atol=1e-5)


def test_padding_and_company_change_nothing(teacher: Network) -> None:
    tokens = teacher.tokenize(TEXTS[:8])
    with torch.inference_mode():
        _, _, together = hear(teacher.model, teacher.collate(tokens, np.arange(8)), channels=CHANNELS)
        alone = [
            hear(teacher.model, teacher.collate(tokens, np.array([row])), channels=CHANNELS)[2] for row in range(8)
        ]
    torch.testing.assert_close(together.values, torch.cat([one.values for one in alone]), rtol=0, atol=1e-5)
    padded = together.padded(("key", 4))
    assert padded.shape == (*together.mask.shape, 32)
    assert padded[~together.mask].abs().sum() == 0
    torch.testing.assert_close(padded[together.mask], together.of([("key", 4)])[:, 0])


def test_some_of_the_channels_can_be_handed_out(teacher: Network, tmp_path: Path) -> None:
    recorded = record(teacher, tmp_path)
    keys = split(TEXTS).keys
    rows = recorded.find(keys)
    whole = recorded.tokens(rows, keys)
    some = recorded.only((), (("value", 2), ("hidden", 0)))
    np.testing.assert_array_equal(some.tokens(rows, keys), whole[:, [4, 0]])
    np.testing.assert_array_equal(some.only((), (("hidden", 0),)).tokens(rows, keys), whole[:, [0]])
    assert recorded.only((4,)).take(rows, keys).dtype == Recording(2, (4,), 32).dtype
    np.testing.assert_array_equal(recorded.outputs(rows, keys), recorded.take(rows, keys)["outputs"])


def test_another_recording_is_another_folder_and_one_without_tokens_is_as_before(
    teacher: Network, tmp_path: Path
) -> None:
    first = record(teacher, tmp_path).folder
    assert record(teacher, tmp_path, Recording(2, (4,), 32, CHANNELS[:2], 32)).folder != first
    plain = Recording(2, (4,), 32)
    assert plain.identity == {"outputs": 2, "layers": (4,), "width": 32}
    assert plain.dtype.names == ("key", "outputs", "hidden")
    assert record(teacher, tmp_path, plain).folder != first


def test_killed_half_way_it_goes_on(teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    written: list[int] = []

    def dying(folder: Path, number: int, records: Any, tokens: Any) -> None:
        if len(written) == 7:
            raise Killed
        written.append(len(records))
        artifact.write_shard(folder, number, records, tokens)

    with monkeypatch.context() as patched:
        patched.setattr(signals, "write_shard", dying)
        with pytest.raises(Killed):
            record(teacher, tmp_path / "cut")
    seen: list[int] = []
    tokenize = Network.tokenize

    def counted(self: Network, texts: Any) -> Any:
        seen.append(len(texts))
        return tokenize(self, texts)

    with monkeypatch.context() as patched:
        patched.setattr(Network, "tokenize", counted)
        again = record(teacher, tmp_path / "cut")
        assert sum(seen) == len(TEXTS) - sum(written)
        seen.clear()
        record(teacher, tmp_path / "cut")
        assert not seen
    whole, keys = record(teacher, tmp_path / "whole"), split(TEXTS).keys
    # In other company, the last bits of single precision differ; so may the rounding to half precision.
    np.testing.assert_allclose(
        again.tokens(again.find(keys), keys), whole.tokens(whole.find(keys), keys), rtol=2e-3, atol=1e-4
    )


@pytest.mark.parametrize("harm", ["truncate", "flip"])
def test_a_damaged_shard_is_recorded_again(teacher: Network, tmp_path: Path, harm: str) -> None:
    whole = record(teacher, tmp_path)
    keys = split(TEXTS).keys
    expected = whole.tokens(whole.find(keys), keys).copy()
    shard = sorted(whole.folder.glob("*.npy"))[5]
    content = shard.read_bytes()
    shard.write_bytes(content[:-10] if harm == "truncate" else content[:-1] + bytes([content[-1] ^ 1]))
    again = record(teacher, tmp_path)
    np.testing.assert_array_equal(again.tokens(again.find(keys), keys), expected)


def test_states_of_another_text_are_refused(teacher: Network, tmp_path: Path) -> None:
    recorded, keys = record(teacher, tmp_path), split(TEXTS).keys
    with pytest.raises(TutelageError, match="do not belong to these texts"):
        recorded.tokens(recorded.find(keys)[[1]], keys[[0]])


def test_states_that_half_precision_cannot_hold_are_told(teacher: Network, tmp_path: Path) -> None:
    with torch.no_grad():
        teacher.model.bert.encoder.layer[3].attention.self.key.bias[0] = 1e6
    with pytest.raises(TrainingError, match="not finite for"), np.errstate(over="ignore"):
        record(teacher, tmp_path)


@pytest.mark.parametrize("write", [tiny_models.write_roberta, tiny_models.write_distilbert])
def test_other_encoders_are_overheard_too(write: Any, tmp_path: Path) -> None:
    network = load.load(str(write(tmp_path)), TASK, Reading(32))[0]
    assert len(projections.find(network.model)) == 3
    batch = network.collate(network.tokenize(TEXTS[:4]), np.arange(4))
    with torch.inference_mode():
        _, _, found = hear(network.model, batch, channels=(("hidden", 1), ("query", 2), ("value", 3)))
        first = hear(network.model, batch)[0]
    assert found.values.shape[1:] == (3, 32)
    assert first.shape == (4, 2)
    # Nothing listens any more.
    assert not any(part._forward_hooks for layer in projections.find(network.model) for part in layer.values())


@pytest.mark.parametrize("write", [tiny_models.write_gpt2, tiny_models.write_t5])
def test_an_attention_of_another_kind_is_refused(write: Any, tmp_path: Path) -> None:
    network = load.load(str(write(tmp_path)), TASK, Reading(32))[0]
    with pytest.raises(ModelError, match="cannot be followed token by token"):
        projections.find(network.model)
