"""A bundle small enough to read: embeddings, masked mean, one matrix; and a tokenizer of whole words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tutelage.bundle.limits import Limits
from tutelage.bundle.write import write
from tutelage.tasks import Task, TextClassification

WORDS = [
    "a",
    "fine",
    "film",
    "bad",
    "dull",
    "great",
    "plot",
    "the",
    "of",
    "and",
    "acting",
    "story",
    "not",
    "very",
    "so",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tokenizer(special: bool = True) -> Tokenizer:
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    built = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    built.normalizer = normalizers.Lowercase()
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        built.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return built


def graph(width: int = 2, rows: int = len(SPECIAL + WORDS), seed: int = 0) -> onnx.ModelProto:
    """logits (B, K) = masked mean of embeddings (B, T, 8) times a matrix (8, K)."""
    random = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(random.normal(size=(rows, 8)).astype(np.float32), "embeddings"),
        numpy_helper.from_array(random.normal(size=(8, width)).astype(np.float32), "head"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "time"),
    ]
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["embedded", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "time"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "time"], ["count"], keepdims=1),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", width])
    built = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, [output], weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(built)
    return built


def write_tiny(
    folder: Path,
    *,
    task: Task | None = None,
    limits: Limits | None = None,
    model: onnx.ModelProto | None = None,
    special: bool = True,
) -> Path:
    """Write a tiny bundle to `folder` and return it."""
    task = task or TextClassification(("neg", "pos"))
    parts = folder.with_name(folder.name + "-parts")
    parts.mkdir(parents=True)
    (parts / "m.onnx").write_bytes((model or graph(task.width)).SerializeToString())
    tokenizer(special).save(str(parts / "t.json"))
    write(
        folder,
        onnx_file=parts / "m.onnx",
        tokenizer=(parts / "t.json").read_text(),
        task=task,
        limits=limits or Limits(),
        card="# Tiny\n",
    )
    return folder


def sentences(count: int, longest: int = 40, seed: int = 1) -> list[str]:
    """Texts of mixed length, blank ones among them."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(0, longest))) for _ in range(count)]
