"""Squared distance of the student's logits to the teacher's cooled ones, each side around its own mean.

    loss_b = sum_k (student_bk - teacher_bk / T)^2 / (2 K T^2)

Annealing KD (Jafari et al. 2021, arXiv 2104.07163): the temperature falls to 1, so that the goal is small and smooth at
first, and the teacher's own logits in the end. Unlike in the other losses only the teacher is divided by T: the student
is to grow into the logits. The paper multiplies them by 1 - (T - 1) / T_0 while T falls evenly from T_0; that is 1 / T
here when T falls by `temperature_schedule: inverse`. The caller's T^2 cancels. At T = 1 this is `logit-mse`.
"""

from __future__ import annotations

import torch


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    difference = student - teacher / temperature
    centred = difference - difference.mean(-1, keepdim=True)
    return centred.square().mean(-1) / (2 * temperature**2)
