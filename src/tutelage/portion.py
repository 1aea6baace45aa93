"""How many of the unlabelled texts students read while a search tries them: as many as its time allows.

Teaching a student takes as long as there are texts to read. Where thousands of unlabelled ones stand beside few
labelled ones, the cheapest rung alone would use up the time of all; so a part is drawn by lot, before the teacher reads
any. Rungs that may reach the goal then learn once more, from all of them, the cheapest first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tutelage import storage
from tutelage.artifacts.measurements import Search, Tried
from tutelage.artifacts.network import Network
from tutelage.beginning import Beginning
from tutelage.budget import share_in
from tutelage.recipe import StudentRecipe
from tutelage.recipe_transfer import SelectRecipe
from tutelage.student import ladder
from tutelage.student.ladder import Rung
from tutelage.trial import next_best, value
from tutelage.workshop import Workshop

STAGE = "search texts"
# Rungs with tokens to read that the time must do for, the cheapest that learn; what is left then is for larger ones.
_RUNGS = 2
# Of the share kept, to one layer that had read hardly any: docs/decisions/0016.
_BROUGHT = 0.03


def limit(workshop: Workshop) -> None:
    """Let the students of a search read so many texts beside the labelled ones that its time does for two rungs.

    Where there is a static one, it has to do for that as well. Nothing changes where the recipe says what is read
    (`student.select`, `student.augment`), where there is little, or where no teacher was trained whose time a search
    could be measured by.
    """
    recipe, folder, corpus = workshop.recipe, workshop.folder, workshop.corpus
    settings, train = recipe.student, len(corpus["train"])
    more = len(corpus["unlabelled"]) if "unlabelled" in corpus.splits else 0
    learning = cheapest(settings, workshop.teacher)
    asked = settings.select is not None or settings.augment is not None
    if asked or not more or not learning or not _trained(workshop):
        return
    names, facts = [rung.name for rung in learning], workshop.facts
    lesson = settings.training().identity()
    name = storage.fingerprint_of(workshop.teacher_name, lesson, names, settings.search_time, more, facts)
    kept = folder.done(STAGE, name)
    if kept is None:
        started = time.monotonic()
        seconds = [_a_text(workshop, rung) for rung in learning]
        share = share_in(settings.search_time * folder.teaching(), seconds, labelled=train, more=more)
        kept = folder.finish(STAGE, name, started=started, share=round(share, 3))
    if kept["share"] < 1.0:
        select = SelectRecipe(share=max(kept["share"], 1 / more), by="random")
        workshop.read(workshop.gathering.of(select))
        workshop.progress.say(
            f"students read {round(select.share * more):,} of {more:,} unlabelled texts while they are tried: "
            "`student.search_time` leaves no time for more"
        )


def likely(search: Search) -> list[str]:
    """The rungs that may learn once more, the cheapest first, up to what was found or what looked best.

    A rung may where it would reach the goal if all texts brought it as much as they ever did. Where a share is asked
    for and was not found, the next larger one comes last, if it was only left out for want of time: it may keep what
    all before it do not. The teacher itself reads nothing, and is left out.
    """
    judged = [tried for tried in search.tried if tried.retention is not None]
    found = next(tried for tried in judged if tried.taken)
    last = found if search.reached else next_best(judged, keep=None)
    rungs = list(dict.fromkeys(tried.rung for tried in judged if tried.within))
    hopeful = [
        tried.rung
        for tried in judged
        if search.keep
        and tried.within
        and ((tried.retention and tried.retention.high) or 0.0) + _BROUGHT >= search.keep
    ]
    before = rungs[: rungs.index(last.rung)] if last.rung in rungs else []
    late = [tried.rung for tried in search.tried if tried.late and search.keep and not search.reached][:1]
    some = [rung for rung in [*before, last.rung] if (rung in hopeful or rung == last.rung) and rung != "whole"]
    return [*some, *late]


def told(search: Search, again: Sequence[Tried]) -> Search:
    """The search with the rungs that learned once more, and who is taken now.

    The fastest of them that surely keeps enough; without any, what was found if that did. Without that, too, the next
    best of them, unless it is surely worse than what was found: what has read more has the benefit of the doubt.
    Those whose training failed are told of, and that is all.
    """
    found = next(tried for tried in search.tried if tried.taken)
    judged = [one for one in again if one.retention is not None] or [found]
    sure = [one for one in judged if one.within and one.keeps and one is not found]
    taken = max(sure, key=lambda one: one.rows_per_second or 0.0) if sure else next_best(judged, search.keep)
    worse = taken.within < found.within or value(taken) < ((found.retention and found.retention.low) or 0.0)
    if not sure and (worse or (found.within and found.keeps)):
        taken = found
    reached = taken.within if search.keep is None else bool(sure) or search.reached
    tried = [one.model_copy(update={"taken": one is taken}) for one in [*search.tried, *again]]
    return search.model_copy(update={"tried": tried, "reached": reached})


def _trained(workshop: Workshop) -> bool:
    """Whether making the teacher was training: one that is used as it is takes no time to speak of."""
    folder = workshop.folder
    made = folder.kept("teacher")
    return any(kept.get("history") for kept in (made, folder.kept(made.get("made_in", ""))))


def cheapest(settings: StudentRecipe, teacher: Network) -> list[Rung]:
    """The rungs that are tried first of those that learn."""
    found = {rung.name: rung for rung in ladder.rungs(settings, teacher.model.config) if rung.trains}
    if "one" in found and settings.rungs is None:
        found.pop("narrow", None)  # tried only where `one` is too large
    return list(found.values())[: _RUNGS + ("static" in found)]


def _a_text(workshop: Workshop, rung: Rung) -> float:
    """Seconds that a rung learns from a text, all its epochs together."""
    recipe, train = workshop.recipe, workshop.corpus["train"]
    # Of any vocabulary, and no table in pieces: neither changes how long it learns.
    plain = recipe.student.model_copy(update={"max_mb": None, "embeddings": "auto"})
    given = recipe.model_copy(update={"student": plain})
    beginning = Beginning(given, workshop.teacher, workshop.corpus, [train], workshop.progress)
    student, settings = beginning.student(rung.shape), ladder.settings_for(rung, recipe.student.training())
    every = workshop.plan(settings, rung.shape).everywhere
    texts = [text for split in workshop.corpus.read for text in split.texts()]
    return ladder.seconds_a_text(student, texts, settings, every=every)
