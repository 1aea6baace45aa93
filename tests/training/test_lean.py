"""Less work, the same training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from tutelage.artifacts.network import Network, forward
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.student import build, initialise
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.training import lean
from tutelage.training.lean import needed_positions, used_embeddings

TEXTS = [row["text"] for row in tiny_models.reviews()][:24]
TASK = TextClassification(("negative", "positive"))


def network(folder: Path) -> Network:
    torch.manual_seed(0)
    return load.load(str(folder), TASK, Reading(32))[0]


@pytest.fixture(params=["bert", "gpt2", "t5"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = getattr(tiny_models, f"write_{request.param}")(tmp_path)
    return made


def step(given: Network, tokens: Any, optimizer: torch.optim.Optimizer) -> float:
    rows = np.arange(len(tokens))
    outputs, _ = forward(given.model, given.collate(tokens, rows))
    loss = TASK.label_loss(outputs, torch.tensor(rows % 2)).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def trained(given: Network, tokens: Any) -> list[float]:
    optimizer = torch.optim.SGD(given.model.parameters(), lr=0.1)
    given.model.eval()
    return [step(given, tokens, optimizer) for _ in range(5)]


def test_training_on_the_used_embeddings_is_the_same_training(folder: Path) -> None:
    plain, lean = network(folder), network(folder)
    expected = trained(plain, plain.tokenize(TEXTS))
    before = lean.model.config.pad_token_id
    with used_embeddings(lean, [lean.tokenize(TEXTS), lean.tokenize(TEXTS[:2])]) as (tokens, _):
        found = trained(lean, tokens)
    assert found == pytest.approx(expected, abs=1e-5)
    assert lean.model.config.pad_token_id == before
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(lean.model.state_dict()[name], value, rtol=0, atol=1e-5)


def test_positions_are_counted_from_the_same_padding(tmp_path: Path) -> None:
    """CamemBERT's padding is token 1, behind one that no text has: a module keeps its number."""
    plain, small = (_padded_with_token_one(tmp_path / name) for name in ("plain", "small"))
    expected = trained(plain, plain.tokenize(TEXTS))
    with used_embeddings(small, [small.tokenize(TEXTS)]) as (tokens,):
        assert tokens.pad == 1
        assert small.model.get_input_embeddings().num_embeddings < plain.model.get_input_embeddings().num_embeddings
        found = trained(small, tokens)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_student_counts_positions_as_its_teacher_does(tmp_path: Path) -> None:
    teacher = _padded_with_token_one(tmp_path)
    # As where the folder's two files name two.
    teacher.tokenizer.pad_token = "[MASK]"
    full = build.shape_of(teacher.model.config)
    words = vocabulary.keep(teacher.tokenizer)
    student = initialise.create(teacher, full, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    student.save(tmp_path / "student")
    again = Network.load(tmp_path / "student", TASK, Reading(32))
    alone = np.concatenate([teacher.outputs(teacher.tokenize([text])) for text in TEXTS])
    found = np.concatenate([again.outputs(again.tokenize([text])) for text in TEXTS])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def _padded_with_token_one(folder: Path) -> Network:
    given = network(tiny_models.write_roberta(folder))
    first, second = given.tokenizer.convert_ids_to_tokens([0, 1])
    swapped = given.tokenizer.backend_tokenizer.to_str().replace(f'"{first}":0', f'"{first}":1')
    swapped = swapped.replace(f'"{second}":1', f'"{second}":0')
    state = json.loads(swapped)
    for token in state["added_tokens"]:
        token["id"] = {0: 1, 1: 0}.get(token["id"], token["id"])
    (folder / "tokenizer.json").write_text(json.dumps(state))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": 1}))
    return network(folder)


def test_what_is_the_same_goes_by_what_outputs_differ_by() -> None:
    """Neither large units nor a large mean hide that another position is read, or make of rounding a difference."""
    wrong = torch.tensor([0.3, -0.2, 0.1, -0.2])
    for scale, centre in ((1.0, 0.0), (1e-4, 0.0), (5e4, 2.5e5), (1.0, 1e4)):
        said = centre + scale * torch.tensor([1.0, -1.0, 0.5, 0.2])
        assert lean._alike(said * (1 + 1e-7), said)
        assert not lean._alike(said + scale * wrong, said)


def test_unused_rows_of_the_embedding_stay_out_of_the_optimizer(bert: Path) -> None:
    given = network(bert)
    full = given.model.get_input_embeddings().num_embeddings
    with used_embeddings(given, [given.tokenize(TEXTS[:3])]):
        assert given.model.get_input_embeddings().num_embeddings < full / 4
    assert given.model.get_input_embeddings().num_embeddings == full


def test_shared_embeddings_are_left_alone(tmp_path: Path) -> None:
    given = network(tiny_models.write_t5(tmp_path))
    tokens = given.tokenize(TEXTS[:3])
    with used_embeddings(given, [tokens]) as (same,):
        assert same is tokens


def test_the_last_layer_for_the_first_token_trains_the_same(bert: Path) -> None:
    plain, lean = network(bert), network(bert)
    expected = trained(plain, plain.tokenize(TEXTS))
    tokens = lean.tokenize(TEXTS)
    with needed_positions(lean, tokens, dropout=0.0) as applied:
        assert applied
        found = trained(lean, tokens)
    assert found == pytest.approx(expected, abs=1e-5)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(lean.model.state_dict()[name], value, rtol=0, atol=1e-5)


class _Shifted(torch.nn.Linear):
    """As an adapter would: another answer than its weight and bias give."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return super().forward(*given) + given[0].sum(-1, keepdim=True)


@pytest.mark.parametrize("part", ["key", "value"])
def test_what_stands_beside_a_weight_is_not_passed_over(part: str, bert: Path) -> None:
    given = network(bert)
    attention = given.model.bert.encoder.layer[-1].attention.self
    plain = getattr(attention, part)
    setattr(attention, part, _Shifted(plain.in_features, plain.out_features))
    tokens = given.tokenize(TEXTS)
    expected = given.outputs(tokens)
    with needed_positions(given, tokens, dropout=0.0) as applied:
        assert applied
        np.testing.assert_allclose(given.outputs(tokens), expected, atol=1e-5)


def test_a_head_that_reads_other_tokens_gets_them_all(tmp_path: Path) -> None:
    given = network(tiny_models.write_gpt2(tmp_path))
    with needed_positions(given, given.tokenize(TEXTS), dropout=0.0) as applied:
        assert not applied


def test_not_with_dropout(bert: Path) -> None:
    given = network(bert)
    with needed_positions(given, given.tokenize(TEXTS), dropout=0.1) as applied:
        assert not applied
