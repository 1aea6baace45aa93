from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import tiny_models
from listener import Listener
from splits import split
from tutelage import proof
from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.network import Network
from tutelage.artifacts.wide import Wide
from tutelage.compress import graph, quantize
from tutelage.compress.compare import Judge
from tutelage.compress.export import Export, export, fits
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import TutelageError
from tutelage.progress import Logged, Silent
from tutelage.recipe import CompressRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load
from tutelage.training import head

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()]


READING = Reading(48)


def network(folder: Path, reading: Reading = READING) -> Network:
    torch.manual_seed(0)
    return load.load(str(folder), TASK, reading)[0]


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_the_graph_answers_as_pytorch_on_any_batch(kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    made = export(given, tmp_path / "graph" / "model.onnx", texts=TEXTS[:16])
    assert made.difference < 1e-4
    # The file stands alone.
    assert [file.name for file in made.file.parent.iterdir()] == ["model.onnx"]
    assert made.first_token_only == (kind == "bert")
    # Alone too: in a batch a short text is as long as the others.
    for texts in (["a", *TEXTS[:70], " ".join(TEXTS[:4])], [""], ["a"]):
        tokens = given.tokenize(texts)
        np.testing.assert_allclose(outputs(made.file, given, tokens), given.outputs(tokens), atol=1e-4)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer: where the subject is not the layers, exporting four of them is waiting."""
    return tiny_models.write_bert(tmp_path_factory.mktemp("models") / "shallow", layers=1)


@pytest.fixture(scope="module")
def whole(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exported once, for those that ask what is made of a graph."""
    return export(network(shallow), tmp_path_factory.mktemp("whole") / "fp32.onnx", texts=TEXTS[:16])


def with_wide(given: Network, deep: float) -> Network:
    """The network and a wide part at random."""
    table = torch.randn(given.model.config.vocab_size + 256, 2, generator=torch.Generator().manual_seed(0))
    return replace(given, wide=Wide(table, torch.tensor([0.5, -0.5]), deep=deep, buckets=256))


@pytest.mark.parametrize(("mean", "std"), [(250_000.0, 50_000.0), (250_000.0, 20.0), (0.0, 1e-4)])
def test_values_of_any_unit_are_compared_in_that_of_the_head(
    shallow: Path, tmp_path: Path, mean: float, std: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    given = load.load(str(shallow), TextRegression(mean=mean, std=std), READING)[0]
    head.rescale(given.model, 1, factor=std, shift=mean)
    made = export(given, tmp_path / "model.onnx", texts=TEXTS[:16])
    assert made.difference <= 1e-3 * std + 0.3

    def elsewhere(*known: Any, **more: Any) -> np.ndarray:
        return outputs(*known, **more) + np.float32(0.05 * std)

    monkeypatch.setattr("tutelage.compress.export.outputs", elsewhere)
    with pytest.raises(TutelageError, match="the exported graph differs"):
        export(given, tmp_path / "other.onnx", texts=TEXTS[:16])


def test_a_teacher_too_large_for_one_file_is_timed_in_pytorch(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, listener = network(shallow), Listener()
    assert fits(given)
    monkeypatch.setattr("tutelage.compress.export._LARGEST", 4 * given.parameters - 1)
    assert not fits(given)
    cast: Any = SimpleNamespace(workshop=SimpleNamespace(teacher=given), folder=SimpleNamespace(teacher=shallow))
    player = proof._teacher(cast, tmp_path, Logged(listener, tmp_path / "log.jsonl"))
    assert set(player.runs) == {"pytorch"}
    assert listener.warned == ["The teacher is too large for an ONNX file: it is timed in PyTorch alone."]
    assert not list(tmp_path.glob("*.onnx"))


def test_a_teacher_that_cannot_be_exported_is_timed_in_pytorch(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there to compare with: everything else is made by then."""

    def refuse(*_: Any, **__: Any) -> None:
        raise TutelageError("torch cannot export it", cure="choose another")

    monkeypatch.setattr(proof, "export", refuse)
    given, listener = network(shallow), Listener()
    cast: Any = SimpleNamespace(
        workshop=SimpleNamespace(teacher=given),
        folder=SimpleNamespace(teacher=shallow),
        corpus={"validation": split(TEXTS)},
    )
    player = proof._teacher(cast, tmp_path, Logged(listener, tmp_path / "log.jsonl"))
    assert set(player.runs) == {"pytorch"}
    assert listener.warned == ["torch cannot export it: the teacher is timed in PyTorch alone."]


def test_windows_are_pooled_alike(shallow: Path, tmp_path: Path) -> None:
    given = with_wide(network(shallow, Reading(16, "window", 4)), deep=0.6)
    made = export(given, tmp_path / "model.onnx", texts=TEXTS[:16])
    tokens = given.tokenize([" ".join(TEXTS[:5]), TEXTS[5]])
    np.testing.assert_allclose(outputs(made.file, given, tokens), given.outputs(tokens), atol=1e-4)


def test_the_file_tells_nothing_of_where_it_was_made(whole: Export) -> None:
    content = whole.file.read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_the_model_is_as_before_afterwards(bert: Path, tmp_path: Path) -> None:
    given = network(bert)
    tokens = given.tokenize(TEXTS[:8])
    before = given.outputs(tokens)
    with only_first_token(given.model) as applied:
        assert applied
        np.testing.assert_allclose(given.outputs(tokens), before, atol=1e-6)
    np.testing.assert_array_equal(given.outputs(tokens), before)
    batch = given.collate(tokens, np.arange(3))
    states = given.model(batch.input_ids, batch.attention_mask, output_hidden_states=True).hidden_states
    assert states[-1].shape == states[0].shape


def test_each_layer_attends_in_one_operator(bert: Path, tmp_path: Path) -> None:
    made = export(network(bert), tmp_path / "model.onnx", texts=TEXTS[:4])
    kinds = Counter(node.op_type for node in onnx.load(str(made.file)).graph.node)
    assert kinds["Attention"] == 4
    assert not kinds["Softmax"]


@pytest.mark.parametrize("numbers", [10**9, 10])
def test_eight_bits_of_everything_large_in_the_file(
    numbers: int, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings are made fp32 once, when the file is loaded, or row by row where that would be too much."""
    monkeypatch.setattr("tutelage.compress.quantize._ENDLESS", numbers)
    given = network(bert)
    made = export(given, tmp_path / "fp32.onnx", texts=TEXTS[:4])
    quantize.int8(made.file, tmp_path / "int8.onnx")
    model = onnx.load(str(tmp_path / "int8.onnx"))
    floats = [v for v in model.graph.initializer if v.data_type == onnx.TensorProto.FLOAT and len(v.dims) == 2]
    assert all(np.prod(value.dims) < 1024 for value in floats)
    assert ("DequantizeLinear" in {node.op_type for node in model.graph.node}) == (numbers == 10)
    tokens = given.tokenize(TEXTS[:40])
    np.testing.assert_allclose(outputs(tmp_path / "int8.onnx", given, tokens), given.outputs(tokens), atol=0.05)


def test_a_graph_that_differs_is_refused(shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = network(shallow)
    monkeypatch.setattr("tutelage.compress.export.outputs", lambda file, n, tokens: n.outputs(tokens) + 0.01)
    with pytest.raises(TutelageError, match=r"differs from the model by up to 0\.01"):
        export(given, tmp_path / "model.onnx", texts=TEXTS[:4])


def make(given: Network, folder: Path, most_bytes: float | None = None, **settings: object) -> graph.Graph:
    targets = [float(row["label"] == "positive") for row in tiny_models.reviews()]
    return graph.make(
        given,
        split(TEXTS, targets, "validation"),
        CompressRecipe.model_validate(settings),
        folder=folder,
        threads=2,
        progress=Silent(),
        most_bytes=most_bytes,
    )


@pytest.mark.parametrize(
    ("ratio", "lost", "taken", "why", "most_bytes"),
    [
        (1.5, 0.0, "int8", "1.50 x as fast", None),
        (0.98, 0.0, "int8", "0.98 x as fast", None),
        (0.9, 0.0, "fp32", "slower on this machine", 1e9),
        (0.9, 0.0, "int8", "fp32 is too large; 0.90 x", 1e3),
        (0.9, 0.05, "fp32", "costs more than the allowed 0.01", 1e3),
        (1.5, 0.05, "fp32", "costs more than the allowed 0.01", None),
    ],
)
def test_int8_is_taken_only_when_as_fast_or_needed_and_good_enough(  # noqa: PLR0917 - the cases of the table
    shallow: Path,
    whole: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    lost: float,
    taken: str,
    why: str,
    most_bytes: float | None,
) -> None:
    monkeypatch.setattr(graph, "export", lambda _, file, **__: replace(whole, file=shutil.copy(whole.file, file)))
    scores = iter([0.9, 0.9 - lost])
    monkeypatch.setattr(Judge, "speed_ratio", lambda *_, **__: ratio)
    monkeypatch.setattr(Judge, "score", lambda *_, **__: next(scores))
    made = make(network(shallow), tmp_path, most_bytes)
    assert made.precision == taken
    assert why in made.choices[1]["why"]
    assert (tmp_path / made.file).is_file()


def test_int8_is_smaller_and_close(tmp_path: Path) -> None:
    given = network(tiny_models.write_bert(tmp_path / "model", layers=2, width=64))
    made = make(given, tmp_path / "out", quantize="int8")
    assert made.precision == "int8"
    files = [tmp_path / "out" / f"{name}.onnx" for name in ("fp32", "int8")]
    assert files[1].stat().st_size < 0.55 * files[0].stat().st_size
    tokens = given.tokenize(TEXTS[:100])
    one, other = (outputs(file, given, tokens) for file in files)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99


def test_int8_leaves_the_wide_part_alone(shallow: Path, tmp_path: Path) -> None:
    """Its weights are one row a word: one scale for all of them would drown most."""
    given = with_wide(network(shallow), deep=0.0)
    make(given, tmp_path, quantize="int8", cascade=False)
    tokens = given.tokenize(["a", *TEXTS[:40]])
    one, other = (outputs(tmp_path / f"{name}.onnx", given, tokens) for name in ("fp32", "int8"))
    np.testing.assert_allclose(other, one, atol=1e-6)
    np.testing.assert_allclose(one, given.outputs(tokens), atol=1e-5)


def test_quantisation_can_be_off(shallow: Path, tmp_path: Path) -> None:
    made = make(network(shallow), tmp_path, quantize="none")
    assert made.precision == "fp32"
    assert not (tmp_path / "int8.onnx").exists()
