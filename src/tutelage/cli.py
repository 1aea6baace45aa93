"""The command line: parse, call, print. What a command needs is imported when it runs, so that `--help` is instant."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tutelage.errors import OutputError, StorageError, TutelageError, UserError
from tutelage.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutelage.pipeline import Run
    from tutelage.pretraining import Pretrained

app = typer.Typer(
    name="tutelage",
    help="Turn a large Transformer that does your task into the smallest, fastest student that still does it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="recipe.yaml or recipe.toml", show_default=False)]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder of a bundle", show_default=False)]
GOAL_MISSED = 3
"""Exit code of a run that worked, but found no student that reaches the recipe's goal."""
_SYSTEM_CURE = "check the path, its permissions and the room on the disk; what was finished is kept"
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if not given")]


def main() -> NoReturn:
    """Run the command line; the exit code says whose mistake it was (see `errors`)."""
    for screen in (sys.stdout, sys.stderr):
        if isinstance(screen, io.TextIOWrapper):
            screen.reconfigure(errors="backslashreplace")  # what a screen cannot show must not end a run
    try:
        app(standalone_mode=True)
    except TutelageError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
    except SystemExit as ended:
        if ended.code == 130:  # so typer tells of Ctrl-C
            typer.echo("stopped", err=True)
        raise
    except PermissionError as error:
        what = f"{error.filename or 'a file'} may not be read or written"
        _complain(
            UserError(what, expected="files and folders that are yours to use", cure="change its mode or the path")
        )
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "tutelage").partition(".")[0]
        if package == "tutelage":
            raise  # ours to mend, not the user's
        _complain(_missing(package))
        sys.exit(2)
    except OSError as error:
        _complain(StorageError(f"{error.filename or 'the system'}: {error.strerror or error}", cure=_SYSTEM_CURE))
        sys.exit(1)
    sys.exit(0)


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="a CSV, TSV, JSONL or Parquet file, or a folder", show_default=False)],
    recipe: Annotated[Path, typer.Option("--recipe", "-r", help="where to write it")] = Path("recipe.yaml"),
    output: Annotated[str | None, typer.Option(help="folder of the run; runs/<name> if not given")] = None,
) -> None:
    """Look at some data and write a commented recipe for it."""
    from tutelage import storage
    from tutelage.data.draft import recipe_text
    from tutelage.data.inspect import inspect

    if recipe.exists():
        raise OutputError(
            f"{recipe} exists already",
            expected="a new file",
            cure="give another name with --recipe, or remove it",
        )
    guess = inspect(data)
    storage.write_text(recipe, recipe_text(guess, output))
    typer.echo(
        f"{data}: {guess.task}; text in {guess.text!r}, label in {guess.label!r} ({', '.join(guess.labels[:5])})\n"
        f"Wrote {recipe}. Read it, then:\n\n  tutelage check {quote(str(recipe))}\n  tutelage run {quote(str(recipe))}"
    )


@app.command()
def check(recipe: RecipeFile) -> None:
    """Validate a recipe and its data, show their health and what the run will cost. Writes nothing."""
    _told_at_once(recipe)
    from tutelage.check import check as examine
    from tutelage.console import Terminal

    for line in examine(recipe, progress=Terminal()):
        typer.echo(line)


@app.command()
def run(
    recipe: RecipeFile,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an interrupted run, or redo what a changed recipe touches")
    ] = False,
) -> None:
    """Run a recipe: teacher, student, figures, bundle, report."""
    _told_at_once(recipe)
    from tutelage import pipeline
    from tutelage.console import Terminal
    from tutelage.report.search import missed

    finished = pipeline.run(recipe, resume=resume, progress=Terminal())
    _show(finished)
    search = finished.measurements.search
    if search is not None and not search.reached:
        typer.echo(f"The goal was not reached. {missed(finished.measurements)}", err=True)
        raise typer.Exit(GOAL_MISSED)


@app.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="recipe of a pre-training", show_default=False)],
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an interrupted one, or redo what a changed recipe touches")
    ] = False,
) -> None:
    """Train a tokenizer and a model on raw text, or go on from a checkpoint: a teacher for your kind of text."""
    from tutelage import pretrain_recipe

    pretrain_recipe.load(recipe)  # told at once, as in `run`
    from tutelage import pretraining
    from tutelage.console import Terminal

    _show_pretrained(pretraining.pretrain(recipe, resume=resume, progress=Terminal()))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder of the run")] = Path("runs/demo"),
) -> None:
    """The whole way on movie reviews with a packaged encoder, in a few minutes."""
    from tutelage import demo as demonstration
    from tutelage import pipeline
    from tutelage.console import Terminal

    terminal = Terminal()
    recipe = demonstration.recipe(output, terminal)
    resume = demonstration.lies_in(output, recipe)
    _show(pipeline.run(recipe, resume=resume, progress=terminal), example=demonstration.EXAMPLE)


@app.command()
def predict(
    bundle: BundleFolder,
    file: Annotated[
        Path | None, typer.Argument(help="CSV, TSV, JSONL, Parquet or plain lines", show_default=False)
    ] = None,
    *,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="a text; may be given several times")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL file; screen if not given")] = None,
    column: Annotated[str | None, typer.Option(help="column of the text")] = None,
    encoding: Annotated[str, typer.Option(help="encoding of the file")] = "utf-8",
    threads: Threads = None,
) -> None:
    """Answer with a bundle, one line of JSON a row. Needs neither torch nor transformers."""
    from tutelage.bundle.files import predict_file, predict_rows, write
    from tutelage.bundle.predict import load
    from tutelage.console import Terminal

    if (file is None) == (not text):
        raise UserError(
            "both a file and --text were given" if file else "neither a file nor --text was given",
            expected="one of them",
            cure='tutelage predict BUNDLE file.csv -o out.jsonl, or: tutelage predict BUNDLE --text "..."',
        )
    if text and column is not None:
        raise UserError(
            f"`--column {column}` beside --text", expected="a column of a file", cure="leave it out, or give a file"
        )
    model, terminal = load(bundle, threads=threads), Terminal()
    if file is not None and output is not None:
        rows = predict_file(model, file, output, column=column, encoding=encoding, progress=terminal)
        typer.echo(f"{rows:,} predictions in {output}", err=True)
        return
    if file is not None:
        records = predict_rows(model, file, column=column, encoding=encoding, progress=terminal)
    else:
        records = iter(model.predict(text or []))
    if output is not None:
        typer.echo(f"{write(records, output):,} predictions in {output}", err=True)
        return
    _say(records)


def _say(records: Iterable[Any]) -> None:
    """One line of JSON each, in ASCII where the screen or the pipe has not all of Unicode."""
    import json
    import os

    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    try:
        for record in records:
            typer.echo(json.dumps(record, ensure_ascii=plain))
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be left to be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


@app.command()
def serve(
    bundle: BundleFolder,
    *,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="file with the token that clients must send; or set TUTELAGE_TOKEN")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="allow a public address without a token")] = False,
    threads: Threads = None,
) -> None:
    """Serve a bundle over HTTP: POST /v1/predict, GET /live /ready /metrics /."""
    from tutelage.serve.run import read_token
    from tutelage.serve.run import serve as start

    token = read_token(token_file) if token_file else None
    start(bundle, host=host, port=port, threads=threads, token=token, insecure=insecure)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run", show_default=False)],
) -> None:
    """Write report.html anew from the measurements of a run."""
    from tutelage.artifacts.measurements import Measurements
    from tutelage.report import page

    page.write(Measurements.load(folder), folder / "report.html")
    typer.echo(f"Wrote {folder / 'report.html'}")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="show the version and stop")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _told_at_once(recipe: Path) -> None:
    """Read a recipe for its problems alone: torch takes seconds to import, a typing error should not."""
    from tutelage import recipe as recipes

    recipes.load(recipe)


def _show(finished: Run, example: str = "...") -> None:
    """The answer, where the rest is, and what to type next."""
    from rich.console import Console

    from tutelage.report.table import other_data, summary

    console = Console(highlight=False)
    console.print(summary(finished.measurements))
    if (others := other_data(finished.measurements)) is not None:
        console.print(others)
    bundle = quote(str(finished.path / "bundle"))
    typer.echo(
        f"Report: {finished.path / 'report.html'}\n\nNext:\n"
        f"  tutelage predict {bundle} --text {quote(example)}\n  tutelage serve {bundle} --port 8000"
    )


def _show_pretrained(finished: Pretrained) -> None:
    """How well it guesses, and what to do with it."""
    results = finished.results
    figures = [results["before"], results["best"]]
    ways = " -> ".join(f"{found['perplexity']:,.2f}" for found in figures if found)
    bits = " -> ".join(f"{found['bits_per_byte']:.3f}" for found in figures if found)
    typer.echo(
        f"Held-out perplexity: {ways} per {results['unit']} ({bits} bits per byte), after {results['steps']:,} steps\n"
        f"Figures: {finished.path / 'pretraining.json'}\n\nNext, in a recipe for `tutelage run`:\n"
        f"  data: {{max_tokens: {finished.recipe.training.length}}}     # or less\n"
        f"  teacher: {{model: {finished.model}}}"
    )


def _complain(error: TutelageError) -> None:
    from rich.console import Console
    from rich.text import Text

    # As text and not as markup: a label or a path may hold square brackets.
    line = Text.assemble(("error:", "red"), " ", str(error))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def _missing(package: str) -> TutelageError:
    return UserError(
        f"this command needs the Python package {package!r}, which is not installed",
        expected="the training extra",
        cure="from a clone of tutelage: pip install -c constraints.txt '.[train]'",
    )
