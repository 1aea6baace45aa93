"""A participant of peers.py: the `Trainer` of transformers with a distillation loss, as tutorials write it.

Dynamic padding, rows grouped by length, the teacher runs in every step; the best epoch is taken at the end.
"""

from __future__ import annotations

import tempfile
from typing import Any

import given
import numpy as np
import torch
import torch.nn.functional as F
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments


class Distilling(Trainer):
    """The student's cross-entropy to what the teacher says of the same batch."""

    teacher: Any

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        outputs = model(**batch)
        with torch.no_grad():
            soft = F.softmax(self.teacher(**batch).logits, dim=-1)
        loss = -(soft * F.log_softmax(outputs.logits, dim=-1)).sum(-1).mean()
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        """Validation needs no teacher."""
        batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            return None, model(**batch).logits, inputs["labels"]


def main() -> None:
    job = given.read()
    teacher, student, tokenizer = job.model("teacher").eval(), job.model("student"), job.tokenizer()
    texts = job.texts
    tokenizer(["The first call builds what later ones use."])

    def rows(split: str) -> list[dict[str, Any]]:
        ids = given.tokenize(tokenizer, texts[split]["texts"], job)
        return [{"input_ids": i, "labels": t} for i, t in zip(ids, texts[split]["targets"], strict=True)]

    with tempfile.TemporaryDirectory() as name:
        job.start()
        arguments = TrainingArguments(
            output_dir=name,
            num_train_epochs=job.epochs,
            per_device_train_batch_size=job.batch_size,
            per_device_eval_batch_size=64,
            learning_rate=job.learning_rate,
            weight_decay=job.weight_decay,
            warmup_steps=round(job.warmup * job.steps),
            max_grad_norm=job.clip,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length",
            eval_strategy="epoch",
            save_strategy="epoch",
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            greater_is_better=True,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=job.seed,
        )
        loop = Distilling(
            student,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows("train"),
            eval_dataset=rows("validation"),
            compute_metrics=lambda said: {"accuracy": float(np.mean(said.predictions.argmax(1) == said.label_ids))},
        )
        loop.teacher = teacher
        loop.remove_callback(PrinterCallback)
        loop.train()
        job.stop()
    test = given.tokenize(tokenizer, texts["test"]["texts"], job)
    job.answer(given.outputs(loop.model, test, tokenizer.pad_token_id))


if __name__ == "__main__":
    main()
