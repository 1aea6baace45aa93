"""Which layers follow which, what must be recorded for it, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from tutelage import recipe as recipes
from tutelage.artifacts.signals import Recording
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.student import ladder, matching, stages
from tutelage.student.build import Shape
from tutelage.student.learner import Mixture
from tutelage.tasks import TextClassification
from tutelage.teacher import load

FULL, SAME, NARROW = Shape(6, 48, 12, 96), Shape(2, 48, 12, 48), Shape(2, 16, 4, 64)


def settings(**changes: Any) -> StudentRecipe:
    return StudentRecipe.model_validate(changes)


def planned(shape: Shape = SAME, **changes: Any) -> matching.Plan:
    return matching.plan(settings(**changes), shape, FULL)


# --- the plan ----------------------------------------------------------------------------------------------------


def test_left_out_nothing_is_asked_for_that_was_not_before() -> None:
    made = planned()
    assert (made.ours, made.theirs) == ((1, 2), (3, 6))
    assert made.recording(2, 48) == Recording(2, (3, 6), 48)
    assert not planned(hidden=0)
    assert planned(hidden=0).recording(2, 48) == Recording(2)


def test_the_last_layer_may_be_left_to_the_head() -> None:
    shape, full = Shape(3, 32, 2, 32), Shape(6, 32, 2, 32)
    every = matching.plan(StudentRecipe(hidden=1.0), shape, full)
    some = matching.plan(StudentRecipe(hidden=1.0, hidden_last=False), shape, full)
    assert (every.ours, every.theirs, every.everywhere) == ((1, 2, 3), (2, 4, 6), True)
    assert (some.ours, some.theirs, some.everywhere) == ((1, 2), (2, 4), False)
    # While a student grows, the layer that is last for a while is matched.
    assert some.up_to(2).everywhere
    assert not matching.plan(StudentRecipe(hidden=1.0, hidden_last=False), Shape(1, 32, 2, 32), full)


def test_one_layer_has_no_other_than_its_last_to_match(bert: Path) -> None:
    teacher = load.load(str(bert), TextClassification(("a", "b")), Reading(32))[0].model
    with pytest.raises(ModelError, match=r"hidden_last: false.* leaves a student of one layer no hidden states"):
        matching.check(StudentRecipe(hidden=1.0, hidden_last=False), Shape(1, 32, 2, 32), teacher)
    matching.check(StudentRecipe(hidden=0.0, hidden_last=False), Shape(1, 32, 2, 32), teacher)


def test_only_what_weighs_is_recorded() -> None:
    made = planned(hidden_of="token", hidden_embeddings=True, relations=1, relation_layer=5)
    assert made.channels(1) == (
        *(("hidden", 0), ("hidden", 3), ("hidden", 6)),
        *(("key", 5), ("query", 5), ("value", 5)),
    )
    assert made.channels(0) == (
        *(("hidden", 0), ("hidden", 1), ("hidden", 2)),
        *(("key", 2), ("query", 2), ("value", 2)),
    )
    assert made.recording(3, 48) == Recording(3, (), 0, made.channels(1), 48)
    assert planned(attention=1, hidden=0).channels(1) == (("key", 3), ("key", 6), ("query", 3), ("query", 6))


def test_a_stage_follows_its_part_of_the_plan() -> None:
    given = settings(attention=1, relations=1, stages=[{"epochs": 1, "hidden": 0}, {"epochs": 1, "attention": 0}])
    whole = matching.plan(given, SAME, FULL)
    first, second = (whole.of(stage) for stage in stages.of(given))
    assert (first.ours, bool(first.attention), bool(first.relations)) == ((), True, True)
    assert (second.ours, bool(second.attention), bool(second.relations)) == ((1, 2), False, True)
    # What weighs in a single stage is recorded; what weighs in none is not.
    only = settings(hidden=0, stages=[{"epochs": 1, "attention": 2}, {"epochs": 1}])
    assert matching.plan(only, SAME, FULL).attention == ((1, 3), (2, 6))


def test_one_recording_serves_several_students() -> None:
    plans = [planned(), planned(relations=1), planned(Shape(3, 48, 12, 96), attention=1)]
    whole = matching.together([plan.recording(2, 48) for plan in plans])
    assert whole.layers == (2, 3, 4, 6)
    for plan in plans:
        wanted = plan.recording(2, 48)
        assert set(wanted.layers) <= set(whole.layers)
        assert set(wanted.channels) <= set(whole.channels)


@pytest.mark.parametrize(("widths", "heads"), [((48, 48), 12), ((16, 48), 8), ((15, 48), 3), ((7, 48), 1)])
def test_relations_are_cut_as_the_teachers_heads_where_widths_allow(widths: tuple[int, int], heads: int) -> None:
    assert matching.relation_heads(None, *widths, 12) == heads


# --- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "changes", "words"),
    [
        (NARROW, {"attention": 1}, "the student has 4 and the teacher 12"),
        (SAME, {"attention": 1, "layer_map": [0, 6]}, "has no layer 0"),
        (SAME, {"relations": 1, "relation_layer": 7}, "a teacher of 6 layers"),
        (NARROW, {"relations": 1, "relation_heads": 12}, "does not divide the widths 16"),
        (SAME, {"hidden_of": "token", "layer_map": [1]}, "a student of 2 layers"),
    ],
)
def test_what_shapes_do_not_allow_is_told(shape: Shape, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        planned(shape, **changes)
    assert caught.value.exit_code == 2


def test_every_student_of_a_search_is_looked_at(bert: Path) -> None:
    """The narrowest has fewer heads; without a limit of size it is not tried."""
    model = load.load(str(bert), TextClassification(("a", "b")), Reading(32))[0].model
    ladder.check(settings(keep=0.9, attention=1), model)
    with pytest.raises(ModelError, match="compares head with head"):
        ladder.check(settings(max_mb=5.0, attention=1), model)


def test_a_teacher_whose_attention_is_of_another_kind_is_refused(tmp_path: Path) -> None:
    model = load.load(str(tiny_models.write_gpt2(tmp_path)), TextClassification(("a", "b")), Reading(32))[0].model
    shape = Shape(2, 32, 4, 128)
    matching.check(settings(hidden_of="token"), shape, model)
    with pytest.raises(ModelError, match="'gpt2' cannot be followed"):
        matching.check(settings(relations=1), shape, model)


def problems(**parts: Any) -> list[str]:
    value = {"task": "text-classification", "output": "o", **parts, "data": {"train": "a.csv", **parts.get("data", {})}}
    with pytest.raises(RecipeError) as caught:
        recipes.load(value)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "student", [{"hidden_of": "token"}, {"attention": 1}, {"stages": [{"epochs": 1, "relations": 1}]}]
)
def test_windows_and_tokens_do_not_go_together(student: dict[str, Any]) -> None:
    (problem,) = problems(student=student, data={"long_text": "window"})
    assert problem.startswith("`data.long_text: window` reads a text more than once")


def test_what_compares_texts_says_nothing_of_tokens() -> None:
    (problem,) = problems(student={"hidden_of": "token", "hidden_loss": "relational"})
    assert problem.startswith("student: `hidden_loss: relational` compares the texts of a batch")


def test_stages_must_teach_something_and_the_last_the_head() -> None:
    nothing = {"epochs": 1, "prediction": 0, "hidden": 0}
    assert "in stage 1 every weight is 0" in problems(student={"stages": [nothing, {"epochs": 1}]})[0]
    assert "the head would learn nothing" in problems(student={"stages": [{"epochs": 1, "prediction": 0}]})[0]
    assert "a training without `stages`" in problems(student={"prediction": 0})[0]
    assert problems(student={"stages": [{"epoch": 1}]}) == [
        "student.stages.0.epochs: missing",
        "student.stages.0.epoch: unknown key; did you mean epochs?",
    ]


# --- names and stages ----------------------------------------------------------------------------------------------


def test_stages_take_what_they_are_given_and_leave_the_rest() -> None:
    given = settings(
        alpha=0.4, learning_rate=1e-4, stages=[{"epochs": 3, "prediction": 0}, {"epochs": 2, "alpha": 1, "hidden": 0}]
    )
    first, second = stages.of(given)
    assert (first.epochs, first.prediction, first.hidden, first.alpha) == (3, 0, 1, 0.4)
    assert (second.epochs, second.prediction, second.hidden, second.alpha) == (2, 1, 0, 1)
    assert stages.together(given).epochs == 5
    assert stages.together(given).stages is None
    assert stages.of(settings()) == [settings()]


# --- learned mixtures ----------------------------------------------------------------------------------------------


def test_a_mixture_starts_around_the_uniform_map_and_adds_up_to_one() -> None:
    made = planned(layer_map="learned", hidden_embeddings=True)
    assert (made.ours, made.theirs) == ((0, 1, 2), (0, 1, 2, 3, 4, 5, 6))
    shares = Mixture(made.ours, made.theirs, made.depth)().detach()
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    assert shares.argmax(1).tolist() == [0, 3, 6]
    assert shares[0].tolist() == [1, 0, 0, 0, 0, 0, 0]  # embeddings follow embeddings alone
    assert (shares[1:, 0] == 0).all()
    assert (shares[1:, 1:] > 0).all()


def test_a_mixture_learns_which_layer_to_follow() -> None:
    """Only one of the teacher's layers can be reached: the shares come to be its."""
    teacher = torch.randn(40, 4, 8, generator=torch.manual_seed(0))
    student = teacher[:, 1:2]
    mixture = Mixture((1,), (1, 2, 3, 4), 1)
    optimizer = torch.optim.Adam(mixture.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        goal = torch.einsum("ol,nlw->now", mixture(), teacher)
        (student - goal).square().mean().backward()
        optimizer.step()
    shares = mixture().detach()[0]
    assert shares.argmax() == 1
    assert shares[1] > 0.9


def test_a_search_leaves_hidden_states_out_of_one_layer_in_every_stage() -> None:
    given = settings(
        keep=0.9, attention=1, stages=[{"epochs": 3, "prediction": 0, "hidden": 2}, {"epochs": 1, "hidden": 0.5}]
    )
    one, two = (ladder.Rung("", Shape(layers, 48, 12, 96), trains=True) for layers in (1, 2))
    assert [stage.hidden for stage in stages.of(ladder.settings_for(one, given))] == [0, 0]
    assert [stage.hidden for stage in stages.of(ladder.settings_for(two, given))] == [2, 0.5]
    asked = given.model_copy(update={"hidden_last": True})
    assert [stage.hidden for stage in stages.of(ladder.settings_for(one, asked))] == [2, 0.5]
    alone = settings(keep=0.9, stages=[{"epochs": 3, "prediction": 0, "hidden": 2}, {"epochs": 1}])
    assert [stage.epochs for stage in stages.of(ladder.settings_for(one, alone))] == [1]
