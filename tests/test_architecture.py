"""The walls of the house, held over the syntax tree: who may import whom, and what is nowhere done."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tutelage.tasks import TASKS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tutelage"
FILES = sorted(SOURCE.rglob("*.py"))

FOUNDATION = {"artifacts", "tasks"}
"""Rooms that every room may import."""
SHARED = {
    "encoding",
    "errors",
    "pretrain_recipe",
    "progress",
    "recipe",
    "recipe_augment",
    "recipe_data",
    "recipe_matching",
    "recipe_parts",
    "recipe_shape",
    "recipe_teacher",
    "recipe_training",
    "recipe_transfer",
    "separated",
    "session",
    "storage",
    "text",
    "version",
}
"""Modules that every room may import; they import no room but the foundation."""
COMPOSERS = {
    *(
        "pipeline",
        "pretraining",
        "workshop",
        "climb",
        "trial",
        "made",
        "proof",
        "control",
        "made",
        "seeds",
        "sizes",
        "refuse",
        "teachers",
        "candidates",
        "pilots",
        "voices",
        "assistant",
        "first_task",
        "forecast",
        "gather",
        "labelling",
        "rewording",
        "beginning",
        "outlay",
        "portion",
    ),
    *("check", "cli", "demo", "__init__", "__main__"),
}
"""The only modules that put rooms together."""
EXCEPTIONS = {
    "teacher": {"training"},
    "student": {"training"},
    # The bundle is the artifact that a server reads.
    "serve": {"bundle.predict"},
}
LIGHT = ("bundle", "serve")
"""Rooms that run where nothing of the train extra is installed."""
IMPORT_NAMES = {"scikit-learn": "sklearn"}
"""Import names that differ from the package's."""
LONGEST = 350


@dataclass(frozen=True)
class Import:
    """One imported module, absolute, and where."""

    file: Path
    line: int
    module: str
    lazy: bool
    """Inside a function or for type checkers only: not executed on import."""

    def __str__(self) -> str:
        return f"{self.file.relative_to(SOURCE)}:{self.line} imports {self.module}"


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def room_of(file: Path) -> str:
    """The folder below the package, or the module itself where it stands at the top."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def rooms() -> set[str]:
    return {room_of(file) for file in FILES if file.parent != SOURCE}


@cache
def imports(file: Path) -> tuple[Import, ...]:
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(file, node.lineno, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.extend(Import(file, node.lineno, _module(str(node.module), a.name), lazy) for a in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            visit(child, lazy or inside or typing_only)

    visit(tree(file), False)
    return tuple(found)


def _module(package: str, name: str) -> str:
    """`from tutelage import storage` imports a module, `from tutelage.storage import mend` a name of one."""
    place = SOURCE.parent.joinpath(*package.split("."), name)
    return f"{package}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else package


def inner_imports(file: Path) -> Iterator[tuple[Import, str, str]]:
    """Imports of this package: each with the room and with the path below the package."""
    for found in imports(file):
        top, _, below = found.module.partition(".")
        if top == "tutelage" and below:
            yield found, below.partition(".")[0], below


def listed(problems: list[str]) -> str:
    return "\n" + "\n".join(sorted(problems))


def test_the_house_was_found() -> None:
    """Otherwise every test below would pass on nothing."""
    assert {"tasks", "data", "training", "teacher", "student", "compress", "evaluate", "report"} <= rooms()
    assert {"bundle", "serve", "artifacts"} <= rooms()
    assert "tutelage.storage" in {found.module for found in imports(SOURCE / "folder.py")}
    assert any(found.lazy for found in imports(SOURCE / "cli.py"))


# --- who imports whom --------------------------------------------------------------------------------------------


def test_rooms_import_the_foundation_and_not_each_other() -> None:
    problems = [
        str(found)
        for file in FILES
        if room_of(file) in rooms() - FOUNDATION
        for found, room, below in inner_imports(file)
        if room not in FOUNDATION | SHARED | {room_of(file)} and not _excepted(room_of(file), below)
    ]
    assert not problems, listed(problems)


def _excepted(room: str, below: str) -> bool:
    return any(below == allowed or below.startswith(f"{allowed}.") for allowed in EXCEPTIONS.get(room, ()))


def test_the_foundation_stands_on_nothing_above_it() -> None:
    allowed = {"artifacts": FOUNDATION | SHARED, "tasks": {"tasks", "errors"}}
    problems = [
        str(found)
        for file in FILES
        if room_of(file) in FOUNDATION
        for found, room, _ in inner_imports(file)
        if room not in allowed[room_of(file)]
    ]
    assert not problems, listed(problems)


def test_only_the_composers_put_rooms_together() -> None:
    problems = [
        str(found)
        for file in FILES
        if file.parent == SOURCE and room_of(file) not in COMPOSERS
        for found, room, _ in inner_imports(file)
        if room in (rooms() - FOUNDATION) | COMPOSERS
    ]
    assert not problems, listed(problems)


def test_no_room_imports_a_composer() -> None:
    problems = [
        str(found)
        for file in FILES
        if file.parent != SOURCE
        for found, room, _ in inner_imports(file)
        if room in COMPOSERS
    ]
    assert not problems, listed(problems)


def test_a_loss_and_a_task_know_nothing_of_their_siblings() -> None:
    problems = [
        str(found)
        for folder in (SOURCE / "student" / "losses", SOURCE / "tasks")
        for file in sorted(folder.glob("*.py"))
        if file.stem not in ("__init__", "base")
        for found, _, below in inner_imports(file)
        if below.startswith(("student.losses.", "tasks.")) and below != "tasks.base"
    ]
    assert not problems, listed(problems)


# --- what a bundle needs -----------------------------------------------------------------------------------------


def train_extra() -> set[str]:
    """Import names of everything that comes with `tutelage[train]` and not with the plain package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {
        kind: {re.split(r"[<>=!~\[ ;]", requirement)[0] for requirement in requirements}
        for kind, requirements in {
            "plain": project["dependencies"],
            **project["optional-dependencies"],
        }.items()
    }
    only = names["train"] - names["plain"]
    assert {"torch", "transformers", "pyarrow"} <= only
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in only}


@pytest.mark.parametrize("room", LIGHT)
def test_bundle_and_serve_import_nothing_of_the_train_extra(room: str) -> None:
    heavy = train_extra()
    problems = [
        str(found)
        for file in sorted((SOURCE / room).rglob("*.py"))
        for found in imports(file)
        if found.module.partition(".")[0] in heavy and not (found.lazy and found.module.startswith("pyarrow"))
    ]
    assert not problems, listed(problems)


@pytest.mark.parametrize("room", [*LIGHT, "tasks", "recipe", "storage"])
def test_importing_them_loads_nothing_heavy_even_indirectly(room: str) -> None:
    place = SOURCE / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    modules = [".".join(file.relative_to(SOURCE.parent).with_suffix("").parts) for file in files]
    modules = [module.removesuffix(".__init__") for module in modules]
    code = f"import importlib, json, sys\nfor name in {modules}: importlib.import_module(name)\n"
    code += "print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & train_extra()


# --- what is nowhere done ----------------------------------------------------------------------------------------


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a kind, with where it stands."""
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, kind):
                yield f"{file.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}", node


def test_no_stage_asks_which_task_it_serves() -> None:
    """Not by comparing, not by a table with tasks as keys, not by type; names stand only where users give them."""
    givers = ("tasks/", "recipe_parts.py", "demo.py", "data/inspect.py")
    problems = [
        f"{place} names the task {node.value!r}"
        for place, node in nodes(ast.Constant)
        if isinstance(node, ast.Constant) and node.value in TASKS and not place.startswith(givers)
    ]
    classes = {task.__name__ for task in TASKS.values()}
    problems += [
        f"{place} names the class {node.id}"
        for place, node in nodes(ast.Name)
        if isinstance(node, ast.Name) and node.id in classes and not place.startswith("tasks/")
    ]
    for place, node in nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        sides = [node.left, *node.comparators]
        asks = any(re.search(r"(^|[._])task(\.name)?$", ast.unparse(side)) for side in sides)
        literal = any(isinstance(side, ast.Constant | ast.Tuple | ast.Set | ast.List) for side in sides)
        nothing = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
        if asks and literal and not nothing and not place.startswith("tasks/"):
            problems.append(f"{place} asks {ast.unparse(node)}")
    assert not problems, listed(problems)


FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    *("torch.load", "torch.save", "torch.hub.load", "pandas.read_pickle", "pd.read_pickle"),
    *("yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system"),
}


def test_no_pickle_in_any_disguise_and_no_code_from_elsewhere() -> None:
    problems = [
        str(found) for file in FILES for found in imports(file) if found.module.partition(".")[0] in FORBIDDEN_MODULES
    ]
    for place, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        called, given = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in FORBIDDEN_CALLS:
            problems.append(f"{place} calls {called}")
        if called in ("np.load", "numpy.load", "np.save") and given.get("allow_pickle") != "False":
            problems.append(f"{place} calls {called} without allow_pickle=False")
        if called == "yaml.load" and given.get("Loader") not in ("yaml.SafeLoader", "_Loader"):
            problems.append(f"{place} calls yaml.load without a safe loader")
        if called.endswith(".extractall") and "filter" not in given:
            problems.append(f"{place} unpacks without a filter")
        if given.get("shell") == "True":
            problems.append(f"{place} starts a shell")
    for file in FILES:
        if "trust_remote_code" in file.read_text("utf-8"):
            problems.append(f"{file.relative_to(SOURCE)} speaks of trust_remote_code")
    assert not problems, listed(problems)


def test_the_yaml_loader_is_a_safe_one() -> None:
    import yaml

    from tutelage import yaml_text

    assert issubclass(yaml_text._Loader, yaml.SafeLoader)
    assert issubclass(yaml_text._Dumper, yaml.SafeDumper)


# --- files -------------------------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    lengths = {
        str(file.relative_to(SOURCE)): len(file.read_text("utf-8").splitlines())
        for file in sorted(SOURCE.rglob("*"))
        if file.suffix in (".py", ".css", ".html", ".jinja")
    }
    assert len(lengths) > 50
    too_long = [f"{name}: {count} lines, at most {LONGEST}" for name, count in lengths.items() if count > LONGEST]
    assert not too_long, listed(too_long)


def test_no_room_is_a_grab_bag() -> None:
    names = {part.removesuffix(".py") for file in FILES for part in file.relative_to(SOURCE).parts}
    assert not names & {"utils", "util", "helpers", "helper", "common", "core", "manager", "misc", "base_utils"}


def test_every_module_says_what_it_is() -> None:
    silent = [str(file.relative_to(SOURCE)) for file in FILES if not ast.get_docstring(tree(file))]
    assert not silent, listed(silent)


def test_every_room_has_its_tests_and_their_names_are_unique() -> None:
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    counts = Counter(file.name for file in tests)
    assert not [name for name, count in counts.items() if count > 1]
    assert not list((ROOT / "tests").rglob("__init__.py"))
    tested = {file.parent.name for file in tests}
    assert rooms() <= tested, rooms() - tested


def test_nothing_is_published_by_accident() -> None:
    """What `tutelage` offers is what it lists, and each name can be had."""
    import tutelage

    assert set(tutelage._HOMES) | {"__version__"} == set(tutelage.__all__)
    for name, home in tutelage._HOMES.items():
        file = SOURCE.joinpath(*home.split(".")).with_suffix(".py")
        defined = {getattr(node, "name", "") for node in itertools.chain(ast.iter_child_nodes(tree(file)))}
        assert name in defined, f"{name} is not defined in {file}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tutelage.nothing  # noqa: B018
