"""The formulas of docs/guide/transformer.md, written out and held against the models that `tutelage pretrain` trains.

Each function below is one formula of that page, computed in double precision from the weights of a trained tiny model.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from tutelage import pretraining

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "transformer.md"
Tensor = torch.Tensor
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
T = 24


# --- the formulas ------------------------------------------------------------------------------------------------


def softmax(scores: Tensor) -> Tensor:
    powers = (scores - scores.max(-1, keepdim=True).values).exp()
    return powers / powers.sum(-1, keepdim=True)


def attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float, bias: Tensor | float = 0.0) -> Tensor:
    """softmax(scale * q k^T + bias) v; (heads, T, d), (heads, S, d), (heads, S, d) -> (heads, T, d)."""
    return softmax(scale * q @ k.transpose(-1, -2) + bias) @ v


def split(x: Tensor, heads: int) -> Tensor:
    """(T, D) -> (heads, T, D / heads)."""
    return x.view(x.shape[0], heads, -1).transpose(0, 1)


def merge(x: Tensor) -> Tensor:
    """(heads, T, d) -> (T, heads d)."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def causal(length: int) -> Tensor:
    """0 on and below the diagonal, minus infinity above."""
    return torch.full((length, length), -math.inf, dtype=torch.float64).triu(1)


def layer_norm(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return gain * (x - mean) / (variance + eps).sqrt() + shift


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return gain * x / ((x**2).mean(-1, keepdim=True) + eps).sqrt()


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.special.erf(x / math.sqrt(2)))


def gelu_by_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def sinusoids(length: int, width: int) -> Tensor:
    table = torch.zeros(length, width, dtype=torch.float64)
    for position in range(length):
        for pair in range(width // 2):
            angle = position / 10000 ** (2 * pair / width)
            table[position, 2 * pair], table[position, 2 * pair + 1] = math.sin(angle), math.cos(angle)
    return table


def rotated(x: Tensor, base: float) -> Tensor:
    """Each pair (x_i, x_{i + d/2}) of the vector at position p turned by the angle p / base^(2i/d); (heads, T, d)."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] / base ** (
        torch.arange(half, dtype=torch.float64) / half
    )
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def bucket(distance: int, *, both_ways: bool, buckets: int, furthest: int) -> int:
    """The bucket of a key `distance` tokens to the right of its query."""
    begin = 0
    if both_ways:
        buckets //= 2
        begin = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return begin + distance
    far = exact + int(math.log(distance / exact) / math.log(furthest / exact) * (buckets - exact))
    return begin + min(far, buckets - 1)


def relative_bias(table: Tensor, length: int, *, both_ways: bool, config: Any) -> Tensor:
    """(buckets, heads) -> (heads, T, T)."""
    known = {"buckets": config.relative_attention_num_buckets, "furthest": config.relative_attention_max_distance}
    rows = [[bucket(key - query, both_ways=both_ways, **known) for key in range(length)] for query in range(length)]
    return table[torch.tensor(rows)].permute(2, 0, 1)


# --- trained models ----------------------------------------------------------------------------------------------


class Weights:
    """A model's weights by name, in double precision, below a prefix."""

    def __init__(self, model: Any) -> None:
        self._found = {name: value.detach().double() for name, value in model.state_dict().items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._found[name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        """x W^T + b, where there is a b."""
        y = x @ self[f"{name}.weight"].T
        return y + self[f"{name}.bias"] if f"{name}.bias" in self._found else y

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return layer_norm(x, self[f"{name}.weight"], self[f"{name}.bias"], eps)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(objective, positions) -> a model that was trained a little, so that no gain is 1 and no bias 0 any more."""
    folder = tmp_path_factory.mktemp("transformer")
    (folder / "corpus.txt").write_text("\n".join(row["text"] for row in tiny_models.reviews()), encoding="utf-8")

    def train(objective: str, positions: str) -> Any:
        import transformers

        done = pretraining.pretrain(
            {
                "data": {"text": str(folder / "corpus.txt"), "heldout_share": 0.1},
                "objective": objective,
                "model": {"layers": 2, "width": 32, "heads": 4, "feed_forward": 48, "positions": positions},
                "tokenizer": {"kind": "bpe", "vocabulary": 500},
                "training": {"steps": 12, "looks": 1, "batch_tokens": 256, "length": 32, "learning_rate": 1e-2},
                "output": str(folder / f"{objective}-{positions}"),
                "threads": 1,
            }
        )
        heads = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM", "span": "AutoModelForSeq2SeqLM"}
        return getattr(transformers, heads[objective]).from_pretrained(done.model).eval()

    return train


def tokens(seed: int = 0, length: int = T) -> Tensor:
    return torch.randint(20, 500, (length,), generator=torch.Generator().manual_seed(seed))


def states(model: Any, ids: Tensor, **given: Any) -> list[Tensor]:
    """Hidden states after the embeddings and after each layer (T, D)."""
    with torch.inference_mode():
        result = model.base_model(input_ids=ids[None], output_hidden_states=True, **given)
    return [state[0].double() for state in result.hidden_states]


# --- the formulas against the models -----------------------------------------------------------------------------


def test_an_encoder_with_learned_positions(trained: Any) -> None:
    """Embeddings, scaled dot-product attention in heads, post-norm, GELU: BERT."""
    model, ids = trained("masked", "learned"), tokens()
    w, eps = Weights(model), model.config.layer_norm_eps
    found = states(model, ids)
    e = "bert.embeddings."
    x = w[f"{e}word_embeddings.weight"][ids] + w[f"{e}position_embeddings.weight"][:T]
    x = w.norm(f"{e}LayerNorm", x + w[f"{e}token_type_embeddings.weight"][0], eps)
    torch.testing.assert_close(x, found[0], **CLOSE)
    for number in range(2):
        at = f"bert.encoder.layer.{number}."
        q, k, v = (split(w.linear(f"{at}attention.self.{name}", x), 4) for name in ("query", "key", "value"))
        a = w.linear(f"{at}attention.output.dense", merge(attention(q, k, v, scale=1 / math.sqrt(8))))
        x = w.norm(f"{at}attention.output.LayerNorm", x + a, eps)
        f = w.linear(f"{at}output.dense", gelu(w.linear(f"{at}intermediate.dense", x)))
        x = w.norm(f"{at}output.LayerNorm", x + f, eps)
        torch.testing.assert_close(x, found[number + 1], **CLOSE)


def test_sinusoidal_positions_are_the_formula_and_are_not_trained(trained: Any) -> None:
    model, ids = trained("masked", "sinusoidal"), tokens()
    w, found = Weights(model), states(model, ids)
    table = sinusoids(32, 32)
    torch.testing.assert_close(w["distilbert.embeddings.position_embeddings.weight"], table, **CLOSE)
    x = w["distilbert.embeddings.word_embeddings.weight"][ids] + table[:T]
    torch.testing.assert_close(w.norm("distilbert.embeddings.LayerNorm", x, 1e-12), found[0], **CLOSE)


def test_a_decoder_with_learned_positions(trained: Any) -> None:
    """Pre-norm and the causal mask: GPT-2. Its matrices are stored as (in, out)."""
    model, ids = trained("causal", "learned"), tokens()
    w, eps = Weights(model), model.config.layer_norm_epsilon

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:T]
    for number in range(2):
        at = f"transformer.h.{number}."
        q, k, v = (split(part, 4) for part in affine(f"{at}attn.c_attn", w.norm(f"{at}ln_1", x, eps)).split(32, dim=-1))
        x = x + affine(f"{at}attn.c_proj", merge(attention(q, k, v, scale=1 / math.sqrt(8), bias=causal(T))))
        f = gelu_by_tanh(affine(f"{at}mlp.c_fc", w.norm(f"{at}ln_2", x, eps)))
        x = x + affine(f"{at}mlp.c_proj", f)
    x = w.norm("transformer.ln_f", x, eps)
    torch.testing.assert_close(x, states(model, ids)[-1], **CLOSE)
    with torch.inference_mode():
        logits = model(input_ids=ids[None]).logits[0].double()
    torch.testing.assert_close(x @ w["transformer.wte.weight"].T, logits, **CLOSE)


def test_a_decoder_with_rotary_positions(trained: Any) -> None:
    """RMS norm, turned queries and keys, a gated feed-forward: Llama."""
    model, ids = trained("causal", "rotary"), tokens()
    w, eps = Weights(model), model.config.rms_norm_eps
    base = model.config.rope_parameters["rope_theta"]
    x = w["model.embed_tokens.weight"][ids]
    for number in range(2):
        at = f"model.layers.{number}."
        y = rms_norm(x, w[f"{at}input_layernorm.weight"], eps)
        q, k, v = (split(w.linear(f"{at}self_attn.{name}_proj", y), 4) for name in "qkv")
        a = attention(rotated(q, base), rotated(k, base), v, scale=1 / math.sqrt(8), bias=causal(T))
        x = x + w.linear(f"{at}self_attn.o_proj", merge(a))
        y = rms_norm(x, w[f"{at}post_attention_layernorm.weight"], eps)
        f = silu(w.linear(f"{at}mlp.gate_proj", y)) * w.linear(f"{at}mlp.up_proj", y)
        x = x + w.linear(f"{at}mlp.down_proj", f)
    x = rms_norm(x, w["model.norm.weight"], eps)
    torch.testing.assert_close(x, states(model, ids)[-1], **CLOSE)


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    random = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 8, generator=random, dtype=torch.float64).expand(1, 20, 8) for _ in range(2))
    scores = (rotated(q, 1e4) @ rotated(k, 1e4).transpose(-1, -2))[0]
    for offset in (-5, 0, 3):
        assert scores.diagonal(offset).std() < 1e-10
    assert scores[0].std() > 1e-2


def test_an_encoder_decoder_with_relative_positions(trained: Any) -> None:
    """A learned bias for each distance, attention from the decoder into the encoder, no division by sqrt(d): T5."""
    model, ids, written = trained("span", "relative"), tokens(), tokens(1, 10)
    w, config = Weights(model), model.config
    eps = config.layer_norm_epsilon

    def attend(at: str, x: Tensor, source: Tensor, bias: Tensor | float) -> Tensor:
        q, (k, v) = split(w.linear(f"{at}.q", x), 4), (split(w.linear(f"{at}.{name}", source), 4) for name in "kv")
        return w.linear(f"{at}.o", merge(attention(q, k, v, scale=1.0, bias=bias)))

    def inside(side: str, number: int, part: int, x: Tensor) -> tuple[str, Tensor]:
        at = f"{side}.block.{number}.layer.{part}."
        return at, rms_norm(x, w[f"{at}layer_norm.weight"], eps)

    def feed_forward(side: str, number: int, part: int, x: Tensor) -> Tensor:
        at, y = inside(side, number, part, x)
        return x + w.linear(f"{at}DenseReluDense.wo", w.linear(f"{at}DenseReluDense.wi", y).clamp(min=0))

    table = "{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    x = w["shared.weight"][ids]
    bias = relative_bias(w[table.format("encoder")], T, both_ways=True, config=config)
    for number in range(2):
        at, y = inside("encoder", number, 0, x)
        x = feed_forward("encoder", number, 1, x + attend(f"{at}SelfAttention", y, y, bias))
    read = rms_norm(x, w["encoder.final_layer_norm.weight"], eps)

    x = w["shared.weight"][written]
    bias = relative_bias(w[table.format("decoder")], 10, both_ways=False, config=config) + causal(10)
    for number in range(2):
        at, y = inside("decoder", number, 0, x)
        x = x + attend(f"{at}SelfAttention", y, y, bias)
        at, y = inside("decoder", number, 1, x)
        x = feed_forward("decoder", number, 2, x + attend(f"{at}EncDecAttention", y, read, 0.0))
    x = rms_norm(x, w["decoder.final_layer_norm.weight"], eps)
    logits = (x * config.d_model**-0.5) @ w["shared.weight"].T

    with torch.inference_mode():
        result = model(input_ids=ids[None], decoder_input_ids=written[None])
    torch.testing.assert_close(read, result.encoder_last_hidden_state[0].double(), **CLOSE)
    torch.testing.assert_close(logits, result.logits[0].double(), **CLOSE)


def test_the_page_names_every_formula_that_is_held_here() -> None:
    told = set(re.findall(r"`(\w+)`", GUIDE.read_text("utf-8")))
    formulas = {
        *("softmax", "attention", "causal", "layer_norm", "rms_norm", "gelu", "gelu_by_tanh", "silu"),
        *("sinusoids", "rotated", "bucket", "relative_bias"),
    }
    assert formulas <= told & set(globals())
