"""Each way changes what it says and nothing else, and the same text always in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from tutelage.augment import recombine, words
from tutelage.augment.given import Given, Pool, luck
from tutelage.augment.ways import WAYS
from tutelage.recipe_augment import WayName

ENGLISH = 'A gripping film, beautifully told -- and "well-acted" too! I\'d see it again :)'
CHINESE = "这部电影的前半段很精彩，后半段却让人昏昏欲睡。"
THAI = "หนังเรื่องนี้ดีมาก"
HINDI = "यह फ़िल्म बहुत अच्छी है।"
NEAR = {"film": ("movie", "picture"), "gripping": ("thrilling",)}
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def copy(
    way: WayName, text: str, rate: float = 0.2, number: int = 0, others: Sequence[str] = (), **more: object
) -> str:
    given = Given(rate, others=Pool(others), **more)  # type: ignore[arg-type]
    return WAYS[way]([text], [luck(text, way, number)], given)[0]


def listed(text: str) -> list[str]:
    return [text[slice(*place)] for place in words.spans(text)]


def test_recipes_and_the_table_know_the_same_ways() -> None:
    assert set(WAYS) == set(get_args(WayName))


def test_words_are_what_stands_between_spaces_and_punctuation() -> None:
    assert listed(ENGLISH)[:4] == ["A", "gripping", "film", "beautifully"]
    assert {"well-acted", "I'd"} < set(listed(ENGLISH))
    assert ":)" not in "".join(listed(ENGLISH))
    assert listed(HINDI) == ["यह", "फ़िल्म", "बहुत", "अच्छी", "है"]
    assert listed("") == listed(" -- ") == []


def test_a_mark_on_what_is_no_word_is_none_and_letters_below_another_stay_there() -> None:
    assert listed("I love it \u2764\ufe0f") == ["I", "love", "it"]
    assert listed("很好\u2764\ufe0f看") == ["很", "好", "看"]
    assert listed("ស្រី") == ["ស្រី"]


def test_without_spaces_every_character_is_a_word_with_the_marks_on_it() -> None:
    assert listed(CHINESE)[:3] == ["这", "部", "电"]
    assert "，" not in listed(CHINESE)
    assert listed("我的iPhone12很好") == ["我", "的", "iPhone12", "很", "好"]
    assert "".join(listed(THAI)) == THAI
    assert "นี้" in listed(THAI)


@drawn(ANY)
def test_the_words_of_any_text_are_in_order_and_apart(text: str) -> None:
    places = words.spans(text)
    flat = [edge for place in places for edge in place]
    assert flat == sorted(flat)
    assert all(begin < end for begin, end in places)
    assert words.written(text, places, listed(text)) == text


@drawn(ANY, st.integers(0, 3))
def test_no_way_stumbles_and_each_gives_the_same_every_time(text: str, number: int) -> None:
    for way in ("swap", "delete", "synonym", "recombine"):
        once, again = (copy(way, text, 0.3, number, near=NEAR, others=[text, ENGLISH, HINDI]) for _ in range(2))
        assert once == again


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, THAI, HINDI])
def test_a_swap_moves_words_to_neighbouring_places_and_keeps_them_all(text: str) -> None:
    once = copy("swap", text, 0.01)
    assert Counter(listed(once)) == Counter(listed(text))
    moved = [n for n, (old, new) in enumerate(zip(listed(text), listed(once), strict=True)) if old != new]
    assert len(moved) == 2
    assert moved[1] == moved[0] + 1
    far = copy("swap", text, 0.9)
    assert far not in (text, once)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, THAI, HINDI])
def test_a_deletion_leaves_the_others_in_order(text: str) -> None:
    before = listed(text)
    for rate in (0.01, 0.3, 1.0):
        after = listed(copy("delete", text, rate))
        gone = max(min(round(rate * len(before)), len(before) - 1), 1)
        assert len(before) - len(after) in (gone, gone - 1) if rate < 1 else len(after) == 1
        remaining = iter(before)
        assert all(word in remaining for word in after)
    assert "  " not in copy("delete", text, 0.3)
    assert copy("delete", "Superb!") == "Superb!"


def test_synonyms_take_the_place_of_known_words_alone() -> None:
    once = copy("synonym", ENGLISH, 1.0, near=NEAR)
    assert once in {ENGLISH.replace("film", film).replace("gripping", "thrilling") for film in NEAR["film"]}
    assert copy("synonym", ENGLISH, 0.01, near={"film": ("movie",)}) == ENGLISH.replace("film", "movie")
    assert copy("synonym", HINDI, near=NEAR) == HINDI


def test_copies_of_one_text_differ() -> None:
    assert len({copy("swap", ENGLISH, number=number) for number in range(8)}) > 3


def test_halves_of_two_texts_are_cut_where_sentences_or_clauses_end() -> None:
    two = "The plot is thin. The acting saves it."
    one = "A slow start, a strong end"
    assert two[recombine.cut(two) :] == "The acting saves it."
    assert one[recombine.cut(one) :] == "a strong end"
    assert CHINESE[recombine.cut(CHINESE) :] == "后半段却让人昏昏欲睡。"
    assert copy("recombine", one, others=[one, two]) == "A slow start, The acting saves it."
    assert copy("recombine", CHINESE, others=[CHINESE, "剧情很好，演员很差。"]) == "这部电影的前半段很精彩，演员很差。"
    assert copy("recombine", one, others=[one]) == one
    # A sentence that ends after two words is no half.
    assert recombine.cut("Oh no. This is a long one without any other stop in it") > 10


def test_more_texts_leave_most_pairs_as_they_were() -> None:
    texts = [f"text number {number}, and its end {number}" for number in range(60)]
    before, after = ([copy("recombine", text, others=some) for text in texts[:50]] for some in (texts[:50], texts))
    same = sum(one == other for one, other in zip(before, after, strict=True))
    assert 30 < same < 50
