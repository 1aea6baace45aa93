import re
from html.parser import HTMLParser

import pytest

from tutelage.artifacts.measurements import Measurements
from tutelage.report import page, panels

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Checks that every element is closed, and keeps what a browser would fetch, run, jump to and say."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.targets, self.fetched, self.tags, self.words = [], [], [], [], [], []
        self.images = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src", "action", "data", "xlink:href"):
                (self.targets if value.startswith("#") else self.fetched).append(value)
            assert not name.startswith("on"), f"a handler: {name}"
        if tag == "svg":
            self.images.append(dict(attributes))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def made(value, **changes):
    return Measurements.model_validate({**value, **changes})


def test_it_is_one_file_that_loads_and_runs_nothing(measurements):
    text = page.html(measurements)
    outline = Outline(text)
    assert outline.fetched == ["data:,"]
    assert not {"script", "iframe", "object", "form", "img"} & set(outline.tags)
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(http" not in text
    assert {target.removeprefix("#") for target in outline.targets} <= set(outline.ids)
    assert len(text.encode()) < 1_000_000


def test_every_drawing_is_told_or_left_to_the_text(measurements):
    for image in Outline(page.html(measurements)).images:
        assert image.get("aria-hidden") == "true" or (image["role"] == "img" and image["aria-label"])


def test_the_same_measurements_give_the_same_bytes(measurements):
    assert page.html(measurements) == page.html(measurements)


def test_texts_of_users_are_shown_and_never_obeyed(classification):
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    value = classification()
    value["disagreements"][0] = {"text": evil, "label": evil, "teacher": evil, "student": evil}
    value["warnings"] = [evil]
    value["choices"][0].update(what=evil, taken=evil, why=evil, figures={evil: evil})
    value["recipe"]["output"] = evil
    value["machine"][evil] = evil
    value["history"][evil] = value["history"]["student"]
    value["times"][evil] = 1.0
    value["data"]["roles"]["train"]["bad"] = {evil: 2}
    value["models"]["student"].update(title=evil, describes=evil)
    value["models"]["student"]["panels"].append({"kind": "novel", "title": evil, "data": {evil: evil}})
    value["models"]["student"]["panels"][0]["data"]["labels"] = [evil, "positive"]
    value["models"]["student"]["panels"].append(
        {"kind": "scatter", "title": evil, "data": {"x": [1, 2], "y": [1, 2], "x_title": evil, "y_title": evil}}
    )
    value["models"][evil] = value["models"]["control"]
    outline = Outline(page.html(made(value)))
    assert not {"script", "img"} & set(outline.tags)
    assert evil in "".join(outline.words)


def test_the_answer_comes_before_anything_else(measurements):
    text = page.html(measurements)
    assert text.index("<h1>") < text.index("<table")
    assert re.search(r"<strong>[\d.]+\xa0%</strong>", text)


def test_what_was_not_measured_leaves_no_empty_section(classification):
    full = Outline(page.html(made(classification())))
    value = classification()
    value["models"] = {"student": {"scores": value["models"]["student"]["scores"]}}
    bare = {key: value[key] for key in ("task", "headline", "metrics", "models")}
    outline = Outline(page.html(made(bare)))
    wanted = {"cost", "closer", "differences", "choices", "data", "training", "recipe"}
    assert wanted <= set(full.ids)
    assert not wanted & set(outline.ids)
    assert {"comparison", "scores", "use", "method"} <= set(outline.ids)


@pytest.mark.parametrize("gone", [["control"], ["baseline"], ["control", "baseline"], ["teacher"], ["student"]])
def test_any_model_may_be_missing(classification, gone):
    value = classification()
    for role in gone:
        del value["models"][role]
    outline = Outline(page.html(made(value)))
    heads = sum(tag == "th" for tag in outline.tags)
    assert heads < sum(tag == "th" for tag in Outline(page.html(made(classification()))).tags)


def test_a_long_text_is_folded_and_at_last_cut(classification):
    value = classification()
    value["disagreements"] = [{"text": "word " * 20_000}]
    text = page.html(made(value))
    assert "<details><summary>word word" in text
    assert "(96,000 more characters)" in text
    assert len(text) < len(page.html(made(classification()))) + 6_000


def test_scripts_keep_their_direction_and_their_letters(classification):
    text = page.html(made(classification()))
    assert 'dir="auto">الفيلم رائع' in text
    assert "这部电影的前半段很精彩" in text


def test_a_kind_of_panel_that_is_unknown_or_broken_is_shown_raw(classification):
    assert panels.view("novel", {"a": 1}) == ("raw", '{"a": 1}')
    assert panels.view("confusion", {"labels": ["a", "b"], "counts": [[1]]})[0] == "raw"
    assert panels.view("scatter", {"x": [1, 2], "y": [1]})[0] == "raw"
    assert panels.view("per_class", {"labels": "ab"})[0] == "raw"
    value = classification()
    value["models"]["student"]["panels"].append({"kind": "novel", "title": "Novel", "data": {"a": 1}})
    assert "{&#34;a&#34;: 1}" in page.html(made(value))


def test_a_confusion_matrix_has_a_card_as_broad_as_its_labels_need():
    def breadth(*labels: str) -> float:
        counts = [[1] * len(labels) for _ in labels]
        return panels.view("confusion", {"labels": labels, "counts": counts})[1].breadth

    # Teacher, student, control and baseline stand side by side: the page is 63 rem broad, with three gaps of one.
    assert 4 * breadth("negative", "positive") + 3 < 63
    assert breadth("no", "yes") < breadth("negative", "positive") < breadth("very negative", "positive")
    assert breadth("坏的评论", "好的评论") > breadth("hues", "blue")
    assert breadth("a", "b", "c") > breadth("a", "b")


def test_figures_of_several_things_are_a_line_for_each():
    facts = page._facts({"linear": {"labels": 0.5, "half": 0.25}, "bytes_fp32": 2e6, "standard_error": 0.125})
    assert facts[:2] == [("labels", "0.500"), ("half", "0.250")]
    assert [name for name, _ in facts[2:]] == ["size fp32", "standard error"]
    assert "MB" in facts[2][1]


def test_a_confusion_matrix_of_very_many_classes_shows_the_most_frequent():
    size = panels.MOST_CLASSES + 5
    counts = [[row + 1 if row == column else 0 for column in range(size)] for row in range(size)]
    _, matrix = panels.view("confusion", {"labels": [str(i) for i in range(size)], "counts": counts})
    assert matrix.omitted == 5
    assert matrix.labels == [str(i) for i in range(5, size)]
    assert all(cell.share == float(cell.right) for _, cells in matrix.rows for cell in cells)


def test_writing_replaces_the_report_whole(classification, tmp_path):
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    page.write(made(classification()), tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
