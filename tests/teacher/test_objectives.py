"""What is hidden, what is shown, what is a target: properties of every objective, on tokens that tell themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tutelage.errors import ModelError
from tutelage.teacher.pretrain.objectives import OBJECTIVES, Objective
from tutelage.teacher.pretrain.objectives.base import IGNORED
from tutelage.teacher.pretrain.special import Special

FIRST, END, MASK = 2, 3, 4
SENTINELS = tuple(range(10, 40))
SPECIAL = Special(FIRST, END, MASK, SENTINELS, frozenset({0, 1, FIRST, END, MASK, *SENTINELS}))
VOCABULARY = 500


def objective(name: str, *, length: int = 64, hidden_share: float = 0.15, special: Special = SPECIAL) -> Objective:
    return OBJECTIVES[name](special, vocabulary=VOCABULARY, length=length, hidden_share=hidden_share)


def block(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Words of one to three tokens, with the end of a text now and then."""
    random = np.random.default_rng(seed)
    ids = random.integers(100, VOCABULARY, size)
    begins = random.random(size) < 0.6
    ends = random.random(size) < 0.05
    ids[ends] = END
    begins[ends] = True
    begins[np.flatnonzero(ends[:-1]) + 1] = True
    return ids, begins


def made(name: str, seed: int, **given: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    goal = objective(name, **given)
    ids, begins = block(goal.content, seed)
    return ids, begins, *goal.make(ids, begins, np.random.default_rng([seed, 1]))


# --- every objective ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("length", [16, 33, 64, 128])
def test_every_row_is_full_and_of_one_shape(name: str, length: int) -> None:
    shapes = set()
    for seed in range(20):
        _, _, inputs, labels = made(name, seed, length=length)
        assert len(inputs) == length
        assert not (inputs == 0).any()  # no padding
        shapes.add((inputs.shape, labels.shape))
    assert len(shapes) == 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_same_seed_makes_the_same_row_and_another_hides_otherwise(name: str) -> None:
    goal = objective(name)
    ids, begins = block(goal.content, 0)
    rows = [goal.make(ids, begins, np.random.default_rng(seed))[1] for seed in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2]) == (name == "causal")


# --- masked ------------------------------------------------------------------------------------------------------


def test_whole_words_are_hidden_and_never_a_special_token() -> None:
    for seed in range(50):
        ids, begins, _, labels = made("masked", seed)
        inner = labels[1:-1]
        hidden = inner != IGNORED
        assert (inner[hidden] == ids[hidden]).all()
        assert not np.isin(ids[hidden], list(SPECIAL.every)).any()
        starts = np.flatnonzero(begins | (np.arange(len(ids)) == 0))
        for begin, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            assert hidden[begin:end].all() or not hidden[begin:end].any()


def test_as_much_is_hidden_as_was_asked_for_and_shown_in_the_three_ways() -> None:
    counts = np.zeros(4)
    for seed in range(300):
        ids, _, inputs, labels = made("masked", seed, hidden_share=0.3)
        assert (inputs[0], inputs[-1], labels[0], labels[-1]) == (FIRST, END, IGNORED, IGNORED)
        inner, wanted = inputs[1:-1], labels[1:-1]
        hidden = wanted != IGNORED
        assert (inner[~hidden] == ids[~hidden]).all()
        words = int((ids != END).sum())
        assert hidden.sum() <= round(0.3 * words)
        counts += [words, hidden.sum(), (inner[hidden] == MASK).sum(), (inner[hidden] == wanted[hidden]).sum()]
        assert not np.isin(inner[hidden & (inner != MASK)], list(SPECIAL.every)).any()
    words, hidden, masked, shown = counts
    assert hidden / words == pytest.approx(0.3, abs=0.01)
    assert masked / hidden == pytest.approx(0.8, abs=0.02)
    assert shown / hidden == pytest.approx(0.1, abs=0.02)


def test_of_a_single_endless_word_tokens_are_hidden() -> None:
    goal = objective("masked")
    ids = np.arange(100, 100 + goal.content)
    begins = np.zeros(goal.content, dtype=bool)
    _, labels = goal.make(ids, begins, np.random.default_rng(0))
    assert (labels != IGNORED).sum() == round(0.15 * goal.content)


def test_nothing_is_hidden_where_there_are_no_words() -> None:
    goal = objective("masked")
    ids = np.full(goal.content, END)
    _, labels = goal.make(ids, np.ones(goal.content, dtype=bool), np.random.default_rng(0))
    assert (labels == IGNORED).all()


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(ModelError, match="no mask token"):
        objective("masked", special=Special(FIRST, END, None, (), frozenset()))
    with pytest.raises(ModelError, match="begin a sequence"):
        objective("masked", special=Special(None, END, MASK, (), frozenset()))


# --- causal ------------------------------------------------------------------------------------------------------


def test_the_next_token_is_the_target() -> None:
    ids, _, inputs, labels = made("causal", 0)
    assert np.array_equal(inputs, ids)
    assert np.array_equal(labels, ids[1:])


# --- span --------------------------------------------------------------------------------------------------------


def test_what_was_cut_out_fits_back_in() -> None:
    for seed in range(50):
        ids, _, inputs, labels = made("span", seed, hidden_share=0.25)
        assert inputs[-1] == labels[-1] == END
        names = [token for token in inputs.tolist() if token in SENTINELS]
        assert names == list(SENTINELS[: len(names)])
        assert [token for token in labels.tolist() if token in SENTINELS] == names
        gone = np.split(labels[:-1], np.flatnonzero(np.isin(labels[:-1], SENTINELS)))[1:]
        assert all(len(part) > 1 for part in gone)
        filled: list[int] = []
        for token in inputs[:-1].tolist():
            filled += gone[SENTINELS.index(token)][1:].tolist() if token in SENTINELS else [token]
        assert filled == ids.tolist()
        share = sum(len(part) - 1 for part in gone) / len(ids)
        assert share == pytest.approx(0.25, abs=0.01)
        assert np.mean([len(part) - 1 for part in gone]) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(("length", "share"), [(16, 0.05), (16, 0.09), (128, 0.01), (8, 0.15)])
def test_hardly_anything_that_is_cut_out_makes_no_row_too_long(length: int, share: float) -> None:
    assert len(made("span", 0, length=length, hidden_share=share)[2]) == length


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    with pytest.raises(ModelError, match="at least 3 for sequences of 64"):
        objective("span", special=Special(None, END, None, (), frozenset()))


# --- losses ------------------------------------------------------------------------------------------------------


def models(name: str) -> nn.Module:
    import transformers

    shape = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": END}
    configs = {
        "masked": transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        "causal": transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **shape),
        "span": transformers.T5Config(
            d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, **shape
        ),
    }
    torch.manual_seed(0)
    return getattr(transformers, OBJECTIVES[name].auto_model).from_config(configs[name]).eval()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_the_one_that_transformers_computes(name: str) -> None:
    """Its mean over targets, times their number; ours looks at targets only."""
    goal, model = objective(name), models(name)
    pairs = [goal.make(*block(goal.content, seed), np.random.default_rng(seed)) for seed in range(3)]
    inputs, labels = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    given = inputs if name == "causal" else labels
    with torch.inference_mode():
        ours, theirs = goal.loss(model, inputs, labels), model(input_ids=inputs, labels=given).loss
    torch.testing.assert_close(ours, theirs * (labels != IGNORED).sum(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["BertConfig", "DistilBertConfig", "ModernBertConfig", "RobertaConfig"])
def test_a_head_that_sees_hidden_positions_only_says_the_same(kind: str) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, kind)(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
        pad_token_id=0,
    )
    model = transformers.AutoModelForMaskedLM.from_config(config).eval()
    goal = objective("masked")
    pairs = [goal.make(*block(goal.content, seed), np.random.default_rng(seed)) for seed in range(3)]
    inputs, labels = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    with torch.inference_mode():
        some, targets = goal.logits(model, inputs, labels)
        every = model(input_ids=inputs).logits
    torch.testing.assert_close(some, every[labels != IGNORED], rtol=1e-5, atol=1e-5)
    assert torch.equal(targets, labels[labels != IGNORED])
