import io
import subprocess
import sys

import yaml
from rich.console import Console

from tutelage.artifacts.measurements import Measurements
from tutelage.report import comparison, number, panels
from tutelage.report.card import card
from tutelage.report.table import summary


def made(value, **changes):
    return Measurements.model_validate({**value, **changes})


def front(text):
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_is_what_the_hub_expects(classification):
    head = front(card(made(classification())))
    assert head["license"] == "unknown"
    assert head["pipeline_tag"] == "text-classification"
    result = head["model-index"][0]["results"][0]
    assert result["dataset"] == {"type": "local", "name": "reviews.csv", "split": "test"}
    assert result["metrics"][0]["type"] == "accuracy"
    assert 0.9 < result["metrics"][0]["value"] < 1


def test_a_licence_that_is_given_is_told(classification):
    assert front(card(made(classification()), licence="apache-2.0"))["license"] == "apache-2.0"


def test_a_task_that_the_hub_does_not_know_becomes_a_tag(regression):
    head = front(card(made(regression())))
    assert "pipeline_tag" not in head
    assert "text-regression" in head["tags"]


def test_every_table_is_rectangular(measurements):
    rows = [line for line in card(measurements).splitlines() if line.startswith("|")]
    assert len(rows) > 10
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


def test_it_carries_no_texts_and_no_paths_of_the_data(classification):
    value = classification()
    value["recipe"]["data"]["train"] = ["/home/someone/secret/reviews.csv"]
    text = card(made(value))
    assert "secret" not in text
    assert "unbearably" not in text
    assert "name: reviews.csv" in text


def test_names_from_the_data_cannot_become_markup(classification):
    value = classification(20)
    value["warnings"] = ["<script>x</script> | [a](b)\n# no heading"]
    text = card(made(value))
    assert "<script>" not in text
    assert "\n# no heading" not in text
    assert "\\| \\[a\\](b)" in text


def test_the_weakest_classes_are_named(classification):
    assert "Weakest classes (F1): " in card(made(classification(20)))
    assert "Weakest classes" not in card(made(classification(2)))


def test_of_a_class_without_a_test_row_nothing_is_told(classification):
    value = classification(20)
    panel = next(panel for panel in value["models"]["student"]["panels"] if panel["kind"] == "per_class")
    panel["data"]["support"][17], panel["data"]["f1"][17] = 0, 0.0
    absent = panel["data"]["labels"][17]
    line = next(line for line in card(made(value)).splitlines() if "Weakest classes" in line)
    assert absent not in line
    shown = panels._per_class(panel["data"])[absent]
    assert shown["f1"] == shown["recall"] == number.NONE


def test_a_student_is_compared_as_the_bundle_that_is_deployed(classification):
    value = classification()
    value["models"]["student"]["rows_per_second"] = {"pytorch": 9000.0, "onnxruntime": 2114.8}
    assert comparison.main_runtime(made(value), "student") == "onnxruntime"
    assert comparison.main_runtime(made(value), "teacher") == "pytorch"
    assert comparison.main_runtime(made(value), "baseline") == "scikit-learn"


def test_nothing_is_kept_of_a_teacher_that_ranks_the_wrong_way_round(regression):
    value = regression()
    headline = value["headline"]
    value["models"]["teacher"]["scores"][headline]["value"] = -0.05
    row = comparison._kept(made(value))
    roles = list(made(value).in_order)
    assert row.cells[roles.index("baseline")].figure == number.NONE


def test_nearly_nothing_measured_is_still_a_card():
    text = card(Measurements(task="t", headline="accuracy", models={}))
    assert "model-index" not in front(text)
    assert "## Limits" in text


def test_the_card_loads_neither_torch_nor_matplotlib():
    script = (
        "import sys\n"
        "from tutelage.artifacts.measurements import Measurements\n"
        "from tutelage.report.card import card\n"
        "card(Measurements(task='t', headline='a', models={}))\n"
        "sys.exit(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_fits_a_terminal(measurements):
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(summary(measurements))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if "\xa0MB" in line]
    assert [row.split()[0] for row in rows] == ["Teacher", "Student", "No-distillation", "TF-IDF"]
    assert all("[" in row and "]" in row for row in rows)


def test_a_title_is_never_read_as_terminal_markup(classification):
    value = classification()
    value["models"]["student"]["title"] = "[/bold] [red]x"
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(summary(made(value)))
    assert "[/bold] [red]x" in out.getvalue()
