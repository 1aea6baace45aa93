"""A participant of peers.py: TextBrewer, whose teacher answers anew in every step or (option `cache`) once.

Its documentation's way for text classification: `GeneralDistiller`, and `BasicDistiller` for the cache, which is the
one that has it. A callback scores the student after each epoch; the best of the files that it writes is taken.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import given
import torch
from textbrewer import BasicDistiller, DistillationConfig, GeneralDistiller, TrainingConfig
from transformers import get_linear_schedule_with_warmup


def logits(_: Any, outputs: Any) -> dict[str, Any]:
    """TextBrewer's adaptor: where a model's answer keeps its logits."""
    return {"logits": outputs.logits.float()}


def main() -> None:
    job = given.read()
    teacher, student, tokenizer = job.model("teacher"), job.model("student"), job.tokenizer()
    texts, cache = job.texts, "cache" in job.options
    tokenizer(["The first call builds what later ones use."])
    if "bf16" in job.options:
        # By hand what `precision: bf16` does.
        teacher.forward = torch.autocast("cpu", dtype=torch.bfloat16)(teacher.forward)
    with tempfile.TemporaryDirectory() as name:
        job.start()
        token = tokenizer.pad_token_id
        loader = given.Loader(job, given.tokenize(tokenizer, texts["train"]["texts"], job), token)
        judged = given.tokenize(tokenizer, texts["validation"]["texts"], job)
        scores: dict[int, float] = {}

        def validate(model: Any, step: int) -> None:
            scores[step] = given.accuracy(given.outputs(model, judged, token), texts["validation"]["targets"])

        distiller = (BasicDistiller if cache else GeneralDistiller)(
            TrainingConfig(output_dir=name, device="cpu"),
            DistillationConfig(temperature=1, kd_loss_type="ce", hard_label_weight=0, is_caching_logits=cache),
            teacher,
            student,
            logits,
            logits,
        )
        with distiller:
            distiller.train(
                given.optimizer(student, job),
                loader,
                num_epochs=job.epochs,
                scheduler_class=get_linear_schedule_with_warmup,
                scheduler_args={
                    "num_warmup_steps": round(job.warmup * job.steps),
                    "num_training_steps": job.steps,
                },
                max_grad_norm=job.clip,
                callback=validate,
            )
        best = max(scores, key=lambda step: (scores[step], -step))
        student.load_state_dict(torch.load(Path(name) / f"gs{best}.pkl", weights_only=True))
        job.stop()
    job.answer(given.outputs(student, given.tokenize(tokenizer, texts["test"]["texts"], job), token))


if __name__ == "__main__":
    main()
