"""The command line answers at once, and a user's mistake is a message with a cure, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tiny_bundle import write_tiny
from tutelage import cli, recipe, storage
from tutelage.version import __version__

HEAVY = {"torch", "transformers", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "onnxruntime", "datasets", "yaml"}
COMMANDS = ["init", "check", "run", "pretrain", "demo", "predict", "serve", "report"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Type = Callable[..., Answer]


@pytest.fixture
def tutelage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Type a command, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def type_in(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tutelage", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(stopped.value.code or 0), out, err)

    return type_in


def refused(answer: Answer, *parts: str) -> None:
    """Exit 2, nothing on the screen for other programs, and a message that says what, what else, and the cure."""
    assert answer.code == 2, answer
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.err.startswith("error: ")
    for part in parts:
        assert part in answer.err, answer.err


# --- at once -----------------------------------------------------------------------------------------------------


def test_help_answers_within_half_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "tutelage", "--help"], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
    assert all(f"{command} " in done.stdout for command in COMMANDS)
    assert min(times) < 0.5


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import json, sys\n"
        "from tutelage.cli import app\n"
        f"try: app({[command, '--help'] if command else ['--help']}, prog_name='tutelage')\n"
        "except SystemExit as stopped: assert not stopped.code\n"
        "print(json.dumps([*sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert not {name.partition(".")[0] for name in json.loads(done.stderr)} & HEAVY


def test_a_typing_error_in_a_recipe_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tutelage import cli\n"
        f"sys.argv = ['tutelage', 'run', {str(tmp_path / 'nowhere.yaml')!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as stopped: assert stopped.code == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "does not exist" in done.stderr


def test_the_version_is_shown_in_every_way_of_starting(tutelage: Type) -> None:
    assert tutelage("--version") == Answer(0, f"{__version__}\n", "")
    for start in ([sys.executable, "-m", "tutelage"], [str(Path(sys.executable).with_name("tutelage"))]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"{__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_two_names(tutelage: Type, flag: str) -> None:
    assert tutelage(flag).code == 0
    assert tutelage("predict", flag).code == 0


@pytest.mark.parametrize("arguments", [["bogus"], ["run"], ["run", "r.yaml", "--bogus"], ["serve", "b", "--port", "x"]])
def test_a_command_that_does_not_exist_is_a_usage_error(tutelage: Type, arguments: list[str]) -> None:
    answer = tutelage(*arguments)
    assert answer.code == 2
    assert "Usage:" in answer.err
    assert "Traceback" not in answer.err


# --- recipes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_recipe(tutelage: Type, command: str) -> None:
    refused(tutelage(command, "nowhere.yaml"), "nowhere.yaml has 1 problem", "tutelage init DATA")


@pytest.mark.parametrize("command", ["run", "check"])
def test_unknown_keys_are_all_told_with_the_near_ones(tutelage: Type, command: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "task: text-classification\ndata: {train: a.csv, lable: y}\nstudnt: {}\noutput: out\n"
    )
    answer = tutelage(command, "recipe.yaml")
    refused(answer, "recipe.yaml has 2 problems", "did you mean label?", "did you mean student?")
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_data_file(tutelage: Type, command: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: text-classification\ndata: {train: a.csv}\noutput: out\n")
    refused(tutelage(command, "recipe.yaml"), "a.csv does not exist", "cure:")


# --- init --------------------------------------------------------------------------------------------------------


def test_init_writes_a_recipe_that_loads(tutelage: Type, reviews: Path, tmp_path: Path) -> None:
    answer = tutelage("init", reviews)
    assert answer.code == 0, answer
    assert "text-classification" in answer.out
    assert "tutelage run recipe.yaml" in answer.out
    made = recipe.load(tmp_path / "recipe.yaml")
    assert (made.task, made.data.train, made.data.text, made.data.label) == (
        "text-classification",
        [str(reviews)],
        "text",
        "label",
    )
    assert made.output == "runs/reviews"
    written = yaml.safe_load((tmp_path / "recipe.yaml").read_text("utf-8"))
    assert list(written) == ["task", "data", "teacher", "student", "output", "seed"]
    assert (tmp_path / "recipe.yaml").read_text("utf-8").count("#") > 10


def test_init_writes_where_it_is_told(tutelage: Type, reviews: Path, tmp_path: Path) -> None:
    assert tutelage("init", reviews, "-r", "sub/mine.yaml", "--output", "runs/ö 1").code == 0
    assert recipe.load(tmp_path / "sub" / "mine.yaml").output == "runs/ö 1"


def test_init_replaces_no_recipe(tutelage: Type, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    refused(tutelage("init", reviews), "recipe.yaml exists already", "--recipe")
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_init_of_several_labels_a_text(tutelage: Type, tmp_path: Path) -> None:
    rows = [{"text": f"a film of {n} hours", "label": ["good", "long"][: 1 + n % 2]} for n in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(tutelage("init", "a.jsonl"), "are lists", "one label a text")


def test_init_of_data_that_is_not_there(tutelage: Type, tmp_path: Path) -> None:
    refused(tutelage("init", "nowhere.csv"), "nowhere.csv does not exist")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_exit_1(tutelage: Type, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    answer = tutelage("init", reviews, "-r", "file/recipe.yaml")
    assert answer.code == 1
    assert answer.err.startswith("error: could not write file/recipe.yaml")


# --- predict, serve, report --------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("made") / "bundle")


@pytest.mark.parametrize("command", [["predict", "nowhere", "--text", "a"], ["serve", "nowhere"]])
def test_a_missing_bundle(tutelage: Type, command: list[str]) -> None:
    refused(tutelage(*command), "nowhere does not exist", "cure: `tutelage run`")


@pytest.mark.parametrize("harm", ["altered", "cut off", "missing", "extra", "no manifest"])
def test_a_tampered_bundle(tutelage: Type, bundle: Path, harm: str) -> None:
    model = bundle / "model.onnx"
    content = bytearray(model.read_bytes())
    if harm == "altered":
        content[len(content) // 2] ^= 1
        model.write_bytes(content)
    elif harm == "cut off":
        model.write_bytes(content[:100])
    elif harm == "missing":
        model.unlink()
    elif harm == "extra":
        (bundle / "extra.py").write_text("")
    else:
        (bundle / storage.MANIFEST).unlink()
    for command in (["predict", bundle, "--text", "a fine film"], ["serve", bundle, "--port", 0]):
        refused(tutelage(*command), "is not intact", "copy the bundle again")


def test_predict_needs_a_text_or_a_file_and_not_both(tutelage: Type, bundle: Path) -> None:
    refused(tutelage("predict", bundle), "neither a file nor --text", "tutelage predict BUNDLE file.csv")
    refused(tutelage("predict", bundle, "a.csv", "--text", "x"), "both a file and --text")


def test_predict_from_a_file_that_is_not_there(tutelage: Type, bundle: Path, tmp_path: Path) -> None:
    refused(tutelage("predict", bundle, "a.csv"), "a.csv is not there")
    refused(tutelage("predict", bundle, "a.csv", "-o", "out.jsonl"), "a.csv is not there")
    assert not list(tmp_path.iterdir())


def test_predict_from_a_column_that_is_not_there_says_which_are(tutelage: Type, bundle: Path, reviews: Path) -> None:
    refused(tutelage("predict", bundle, reviews, "--column", "review"), "review", "text, label, rating")


def test_predict_answers_texts_in_order(tutelage: Type, bundle: Path) -> None:
    answer = tutelage("predict", bundle, "-t", "a fine film", "-t", "好", "--threads", 1)
    assert answer.code == 0, answer
    records = [json.loads(line) for line in answer.out.splitlines()]
    assert len(records) == 2
    assert all(set(record) == {"label", "score", "scores"} for record in records)


def test_predict_writes_a_line_a_row_to_the_screen_or_to_a_file(
    tutelage: Type, bundle: Path, reviews: Path, tmp_path: Path
) -> None:
    screen = tutelage("predict", bundle, reviews)
    assert len(screen.out.splitlines()) == 480
    saved = tutelage("predict", bundle, reviews, "-o", "out/all.jsonl")
    assert (saved.code, saved.out) == (0, "")
    assert "480 predictions in out/all.jsonl" in saved.err
    assert (tmp_path / "out" / "all.jsonl").read_text("utf-8") == screen.out


def test_a_folder_of_something_else_is_no_broken_bundle(tutelage: Type, bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(bundle, run / "bundle")
    for name in ("student", "other/model", "unfinished/.tutelage"):
        (run / name).mkdir(parents=True)
    (run / "student" / "manifest.json").write_text('{"files": {}}')
    refused(tutelage("predict", run / "student", "-t", "a"), "student is no bundle", f"give {run / 'bundle'}")
    refused(tutelage("predict", run / "other" / "model", "-t", "a"), "model is no bundle")
    refused(tutelage("predict", run / "unfinished", "-t", "a"), "finish the run first")


def test_texts_may_be_answered_into_a_file(tutelage: Type, bundle: Path, tmp_path: Path) -> None:
    answer = tutelage("predict", bundle, "-t", "a fine film", "-t", "dull", "-o", tmp_path / "out.jsonl")
    assert (answer.code, answer.out) == (0, "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    refused(tutelage("predict", bundle, "-t", "a film", "--column", "review"), "--column review")


def test_a_screen_without_unicode_is_no_traceback(tmp_path: Path) -> None:
    script = "import sys; from tutelage import cli; cli._say([{'label': '\u826f\u3044'}] * int(sys.argv[1]))"
    command = [sys.executable, "-c", script]
    ended = subprocess.run(
        [*command, "1"], env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True
    )
    assert json.loads(ended.stdout) == {"label": "\u826f\u3044"}
    assert b"\\u826f" in ended.stdout


def test_whoever_has_seen_enough_is_no_failure() -> None:
    script = "from tutelage import cli; cli.app.command('say')(lambda: cli._say([{'a': 1}] * 100_000)); cli.main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "say"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")


def test_report_of_a_folder_that_is_no_run(tutelage: Type, tmp_path: Path) -> None:
    refused(tutelage("report", "nowhere"), "there is no nowhere")
    (tmp_path / "measurements.json").write_text("{")
    refused(tutelage("report", "."), "cannot be read", "--resume")


# --- what goes wrong inside --------------------------------------------------------------------------------------


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def app(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)


def test_a_package_of_the_train_extra_that_is_missing_is_named_with_the_cure(
    tutelage: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    refused(tutelage("run", "x"), "'torch'", "pip install -c constraints.txt '.[train]'")


def test_a_module_of_our_own_that_is_missing_is_not_blamed_on_the_user(
    tutelage: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ModuleNotFoundError("No module named 'tutelage.nothing'", name="tutelage.nothing"))
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_control_c_is_exit_130(tutelage: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, KeyboardInterrupt())
    answer = tutelage("run", "x")
    assert (answer.code, answer.err.strip()) == (130, "stopped")


def test_control_c_inside_a_command_is_told_too(tutelage: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tutelage.data.inspect.inspect", interrupted)
    answer = tutelage("init", "x.csv")
    assert (answer.code, answer.err.strip()) == (130, "stopped")


def test_what_may_not_be_read_is_the_users_to_mend(tutelage: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, PermissionError(13, "Permission denied", "/secret/data.csv"))
    refused(tutelage("run", "x"), "/secret/data.csv may not be read or written", "change its mode")


def test_a_screen_without_all_of_unicode_ends_no_run() -> None:
    script = "from tutelage import cli; cli.app.command('say')(lambda: cli.typer.echo('the teacher’s')); cli.main()"
    ended = subprocess.run(
        [sys.executable, "-c", script, "say"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "iso-8859-1"},
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"the teacher\\u2019s\n", b"")


def test_a_message_is_printed_as_it_is(tutelage: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets are markup to the console, and a path must not be broken over lines."""
    from tutelage.errors import UserError

    text = f"the label '[red]' of /a/{'long/' * 60}file [/] is :smile:"
    fail(monkeypatch, UserError(text, cure="pip install 'tutelage[train]'"))
    refused(tutelage("run", "x"), text, "'tutelage[train]'")


def test_what_was_done_before_tells_nothing_of_how_long_the_rest_takes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage import console

    clock = iter([0.0, 0.1, 16.0])
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = console._LineBar(console.Console(stderr=True), "Fine-tuning", 1000)
    bar.advance(500)  # found in a checkpoint
    bar.advance(10)
    # 10 steps took 16 s, and 490 are left.
    assert "Fine-tuning 51%, about 13 min 04 s left" in capfd.readouterr().err


def test_a_demo_takes_over_no_other_run(tmp_path: Path) -> None:
    from tutelage import demo, recipe

    def asked(**changes: Any) -> Any:
        data = {"train": "a.csv", "test": "b.csv", **changes}
        return recipe.load({"task": "text-classification", "data": data, "output": str(tmp_path)})

    assert not demo.lies_in(tmp_path, asked())
    for old, expected in ((asked(max_tokens=64), True), (asked(train="mine.csv"), False)):
        (tmp_path / "recipe.yaml").write_text(recipe.dump(old))
        assert demo.lies_in(tmp_path, asked()) == expected
    (tmp_path / "recipe.yaml").write_text("- not: [a recipe")
    assert not demo.lies_in(tmp_path, asked())


def test_progress_says_labels_and_paths_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    from tutelage.console import Terminal

    terminal = Terminal()
    terminal.say("the class [/b] of :smile:")
    terminal.warn("[red] has few rows")
    with terminal.bar("Reading", 3) as bar:
        bar.advance(3, "note")
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[:2] == ["the class [/b] of :smile:", "! [red] has few rows"]
    assert "✓ Reading" in said.err
