"""Embeddings put together from pieces: close to the table, exact where it is kept, the same in model and graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import tiny_models
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage import recipe as recipes
from tutelage.artifacts.coded import PIECES, Coded, Codes, in_pieces
from tutelage.artifacts.network import Network
from tutelage.compress import codes, quantize
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.progress import Silent
from tutelage.student import build, initialise
from tutelage.tasks import TextClassification
from tutelage.teacher import load

TEXTS = [row["text"] for row in tiny_models.reviews()]
TASK = TextClassification(("negative", "positive"))


@pytest.fixture(autouse=True)
def few_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny vocabularies have fewer tokens than are kept whole."""
    monkeypatch.setattr(codes, "_WHOLE", 50)


def table(rows: int = 700, width: int = 32) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def counted(rows: int = 700) -> np.ndarray:
    return np.arange(rows)[::-1].copy()


def made(rows: torch.Tensor, counts: np.ndarray) -> Codes:
    found = codes.of(rows, counts, seed=0, progress=Silent())
    assert found is not None
    return found


def network(folder: Path) -> Network:
    torch.manual_seed(0)
    given = load.load(str(folder), TASK, Reading(48))[0]
    weight = given.model.get_input_embeddings().weight
    counts = np.bincount(given.tokenize(TEXTS).flat, minlength=len(weight))
    return initialise.code_embeddings(given, made(weight, counts))


def test_the_most_used_rows_are_kept_and_the_others_are_close() -> None:
    rows, counts = table(), counted()
    found = made(rows, counts)
    assert found.whole.tolist() == list(range(50))
    put = found.table(rows)
    assert torch.equal(put[:50], rows[:50])
    near, chance = ((put[50:] - rows[50:]).norm(), (rows[50:].roll(1, 0) - rows[50:]).norm())
    assert 0 < near < 0.5 * chance
    assert torch.equal(found.table(put), put)


def test_few_different_parts_are_met_exactly() -> None:
    rows = table(16, 8).repeat(50, 4)
    put = made(rows, np.zeros(len(rows))).table(rows)
    assert torch.allclose(put, rows, atol=1e-6)


def test_the_same_table_has_the_same_codes_on_any_number_of_threads() -> None:
    rows, before = table(), torch.get_num_threads()
    once = made(rows, counted())
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        again = made(rows, counted())
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(one, other) for one, other in zip(vars(once).values(), vars(again).values(), strict=True))


def test_where_nothing_would_be_saved_nothing_is_coded() -> None:
    assert codes.of(table(50 + 2 * PIECES), counted(50 + 2 * PIECES), seed=0, progress=Silent()) is None


@pytest.mark.parametrize(("width", "parts"), [(32, 4), (36, 6), (30, 5), (31, 31)])
def test_parts_have_about_eight_numbers(width: int, parts: int) -> None:
    assert made(table(width=width), counted()).pieces.shape[0] == parts


def test_looking_up_pieces_is_looking_up_the_table() -> None:
    rows = table()
    found = made(rows, counted())
    plain = torch.nn.Embedding.from_pretrained(found.table(rows))
    ids = torch.arange(700).view(7, 100)
    assert torch.equal(Coded(plain, found)(ids), plain(ids))
    plain.embed_scale = 3.0  # type: ignore[assignment]
    assert torch.equal(Coded(plain, found)(ids), 3 * plain(ids))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_graph_holds_pieces_and_answers_as_the_model(kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    plain = export(Network(given.model, given.tokenizer, TASK, given.reading), tmp_path / "plain.onnx", texts=TEXTS[:8])
    coded = export(given, tmp_path / "coded.onnx", texts=TEXTS[:8])
    tokens = given.tokenize(TEXTS[:40])
    np.testing.assert_allclose(outputs(coded.file, given, tokens), outputs(plain.file, given, tokens), atol=1e-4)
    found = given.codes
    assert found is not None
    # Rows that are not kept, against numbers, pieces, and two places of two bytes for each token.
    vocabulary = given.model.config.vocab_size
    saved = 4 * 32 * (len(found.numbers) - PIECES - 1) - found.numbers.nbytes - 4 * vocabulary
    assert plain.file.stat().st_size - coded.file.stat().st_size == pytest.approx(saved, abs=10_000)


def test_rows_and_pieces_are_quantised_like_any_embedding(bert: Path, tmp_path: Path) -> None:
    given = network(bert)
    coded = export(given, tmp_path / "coded.onnx", texts=TEXTS[:8])
    quantize.int8(coded.file, tmp_path / "int8.onnx")
    assert given.codes is not None
    of_tables = 4 * 32 * (len(given.codes.whole) + PIECES + 2)
    floats = [
        len(value.raw_data)
        for value in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer
        if value.data_type == onnx.TensorProto.FLOAT
    ]
    assert max(floats) < of_tables / 4


def test_the_model_is_as_before_afterwards(bert: Path) -> None:
    given = network(bert)
    table_before = given.model.get_input_embeddings()
    with in_pieces(given.model, given.codes):
        assert isinstance(given.model.get_input_embeddings(), Coded)
    assert given.model.get_input_embeddings() is table_before


def test_a_saved_network_has_its_codes(bert: Path, tmp_path: Path) -> None:
    given = network(bert)
    given.save(tmp_path / "saved")
    again = Network.load(tmp_path / "saved", TASK, given.reading)
    assert again.codes is not None
    weight = again.model.get_input_embeddings().weight
    assert torch.equal(again.codes.table(weight), weight)
    assert ", coded," in again.describe("int8")


# --- in a recipe ---------------------------------------------------------------------------------------------------


def test_a_run_deploys_pieces_and_its_embeddings_stayed(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(
        reviews, bert, tmp_path / "run", student={"embeddings": "coded", "vocabulary": "keep", "control": False}
    )
    run = pipeline.run(given)
    weight = run.student.model.get_input_embeddings().weight
    assert run.student.codes is not None
    assert torch.equal(run.student.codes.table(weight), weight)
    said = np.array([list(answer["scores"].values()) for answer in run.student.predict(TEXTS[:20])])
    deployed = np.array([list(answer["scores"].values()) for answer in run.bundle.predict(TEXTS[:20])])
    np.testing.assert_allclose(deployed, said, atol=0.05)
    card = json.loads((run.path / "measurements.json").read_text())
    assert "coded" in json.dumps(card)


def test_what_learns_cannot_be_coded() -> None:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out"}
    with pytest.raises(RecipeError, match="coded embeddings stay as they are"):
        recipes.load({**value, "student": {"embeddings": "coded", "freeze_embeddings": False}})


def test_projected_embeddings_are_refused_unless_they_stay(bert: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(bert)
    for asked in ({"layers": 1, "width": 16}, {"size": "tiny"}):
        settings = recipes.StudentRecipe(embeddings="coded", **asked)
        shape = build.choose(settings, config)
        with pytest.raises(ModelError, match="freeze_embeddings: true"):
            build.check_coded(settings, shape, config)
        build.check_coded(settings.model_copy(update={"freeze_embeddings": True}), shape, config)
