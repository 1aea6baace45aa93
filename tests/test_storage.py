"""Files are whole or not there: under exceptions, kills, a full disk, and hostile manifests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage import storage
from tutelage.errors import DataError, StorageError
from tutelage.storage import MANIFEST, broken_files, mend, whole_file, whole_folder, write_json, write_text

OLD = "the last good one"


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def sealed(folder: Path) -> Path:
    with whole_folder(folder) as partial:
        (partial / "a.txt").write_text("aaaa")
        (partial / "deep").mkdir()
        (partial / "deep" / "b.txt").write_text("bbbb")
        (partial / "deep" / MANIFEST).write_text("{}")
    return folder


def in_process(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    lines = "import os, signal, sys\nfrom pathlib import Path\nfrom tutelage import storage\nhere = Path(sys.argv[1])\n"
    command = [sys.executable, "-c", lines + script, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


# --- whole or not there ------------------------------------------------------------------------------------------


def test_a_file_appears_whole_with_its_parents_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "new.txt", "très bien\n")
    assert everything(tmp_path) == {"a/b/new.txt": "très bien\n".encode()}


def test_json_keeps_every_letter_and_refuses_what_json_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    write_json(file, {"名": ["é", 1.5, None]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"名": ["é", 1.5, None]}
    assert "名" in file.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, float("nan"))
    assert json.loads(file.read_text(encoding="utf-8")) == {"名": ["é", 1.5, None]}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, DataError])
def test_an_exception_inside_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "file", OLD)
    sealed(tmp_path / "folder")
    before = everything(tmp_path)

    def fail_in(context: Any) -> None:
        with context as partial:
            target = partial / "half" if partial.is_dir() else partial
            target.write_text("half")
            raise error("stop")

    for name in ("file", "new"):
        with pytest.raises(error):
            fail_in(whole_file(tmp_path / name))
    for name in ("folder", "fresh"):
        with pytest.raises(error):
            fail_in(whole_folder(tmp_path / name))
    assert everything(tmp_path) == before


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    goal = sealed(tmp_path / "folder")
    with whole_folder(goal) as partial:
        (partial / "only.txt").write_text("new")
    assert set(everything(tmp_path)) == {"folder/only.txt", f"folder/{MANIFEST}"}
    assert not broken_files(goal)


def test_without_a_seal_there_is_no_manifest(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "folder", seal=False) as partial:
        (partial / "only.txt").write_text("new")
    assert set(everything(tmp_path)) == {"folder/only.txt"}


def test_whoever_may_read_a_folder_may_read_what_is_in_it(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as partial:
        (partial / "weights").touch(mode=0o600)
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == 0o666 & ~storage._umask()


def test_a_folder_takes_the_place_of_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "goal", OLD)
    sealed(tmp_path / "goal")
    sealed(tmp_path / "goal")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["goal"]


def test_when_the_new_folder_cannot_be_moved_in_the_old_one_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = sealed(tmp_path / "folder")
    before = everything(tmp_path)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".partial-"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="Input/output"), whole_folder(goal) as partial:
        (partial / "new.txt").write_text("new")
    assert everything(tmp_path) == before


# --- killed ------------------------------------------------------------------------------------------------------

FILE_KILLS = {
    "before anything is written": "with storage.whole_file(here / 'goal'):\n    {kill}",
    "half-written": "with storage.whole_file(here / 'goal') as p:\n    p.write_text('half')\n    {kill}",
    "before the rename": (
        "Path.replace = lambda *_: {kill}\nwith storage.whole_file(here / 'goal') as p:\n    p.write_text('half')"
    ),
}
FOLDER_KILLS = {
    "before anything is written": "with storage.whole_folder(here / 'goal'):\n    {kill}",
    "half-written": "with storage.whole_folder(here / 'goal') as p:\n    (p / 'x').write_text('half')\n    {kill}",
    "inside the manifest": (
        "storage.write_manifest = lambda folder: ((folder / 'manifest.json').write_text('{{'), {kill})\n"
        "with storage.whole_folder(here / 'goal') as p:\n    (p / 'x').write_text('half')"
    ),
    "before the first rename": (
        "Path.rename = lambda *_: {kill}\nwith storage.whole_folder(here / 'goal') as p:\n    (p / 'x').touch()"
    ),
    "between the two renames": (
        "rename = Path.rename\n"
        "def once(self, target):\n"
        "    rename(self, target)\n"
        "    {kill}\n"
        "Path.rename = once\n"
        "with storage.whole_folder(here / 'goal') as p:\n    (p / 'x').touch()"
    ),
}
KILLS = {"exit": "os._exit(9)", "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)"}


@pytest.mark.parametrize("kill", KILLS)
def test_killed_anywhere_the_old_file_stays_and_mending_leaves_no_trace(tmp_path: Path, kill: str) -> None:
    for moment, script in FILE_KILLS.items():
        folder = tmp_path / moment
        write_text(folder / "goal", OLD)
        done = in_process(script.format(kill=KILLS[kill]), folder)
        assert done.returncode in (9, -signal.SIGKILL), done.stderr
        assert (folder / "goal").read_text() == OLD
        assert [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")] == ["goal"]
        mend(folder)
        assert everything(folder) == {"goal": OLD.encode()}, moment


@pytest.mark.parametrize("kill", KILLS)
def test_killed_anywhere_one_whole_folder_is_there_after_mending(tmp_path: Path, kill: str) -> None:
    for moment, script in FOLDER_KILLS.items():
        folder = tmp_path / moment
        sealed(folder / "goal")
        before = everything(folder)
        done = in_process(script.format(kill=KILLS[kill]), folder)
        assert done.returncode in (9, -signal.SIGKILL), done.stderr
        mend(folder)
        assert everything(folder) == before, moment
        assert not broken_files(folder / "goal")


def test_killed_before_the_old_copy_is_removed_the_new_one_stays(tmp_path: Path) -> None:
    sealed(tmp_path / "goal")
    script = (
        "renames = []\nrename = Path.rename\n"
        "def twice(self, target):\n"
        "    rename(self, target)\n"
        "    renames.append(target)\n"
        "    if len(renames) == 2: os._exit(9)\n"
        "Path.rename = twice\n"
        "with storage.whole_folder(here / 'goal') as p:\n    (p / 'x').write_text('new')"
    )
    assert in_process(script, tmp_path).returncode == 9
    mend(tmp_path)
    assert set(everything(tmp_path)) == {"goal/x", f"goal/{MANIFEST}"}
    assert not broken_files(tmp_path / "goal")


def test_mending_brings_back_what_was_moved_aside_and_removes_the_rest(tmp_path: Path) -> None:
    (tmp_path / ".previous-lost").write_text(OLD)
    sealed(tmp_path / "folder").rename(tmp_path / ".previous-folder")
    (tmp_path / "kept").write_text("new")
    (tmp_path / ".previous-kept").write_text("old")
    (tmp_path / ".partial-abc").write_text("half")
    (tmp_path / ".partial-def").mkdir()
    (tmp_path / ".partial-def" / "x").write_text("half")
    (tmp_path / ".hidden").write_text("of the user")
    mend(tmp_path)
    found = sorted(entry.name for entry in tmp_path.iterdir())
    assert found == [".hidden", "folder", "kept", "lost"]
    assert (tmp_path / "lost").read_text() == OLD
    assert (tmp_path / "kept").read_text() == "new"
    assert not broken_files(tmp_path / "folder")
    before = everything(tmp_path)
    mend(tmp_path)
    assert everything(tmp_path) == before


# --- a disk that is full or refuses ------------------------------------------------------------------------------

# Each writes about 64 kB, as the package's own writers do: Python, NumPy, Arrow, safetensors, tokenizers.
WRITERS = {
    "text": "storage.write_text(goal, 'x' * 65536)",
    "numpy": (
        "import numpy as np\n"
        "with storage.whole_file(goal) as p, p.open('wb') as f: np.save(f, np.zeros(8192), allow_pickle=False)"
    ),
    "arrow": (
        "import pyarrow as pa\n"
        "t = pa.table({'x': pa.array(range(8192))})\n"
        "with storage.whole_file(goal) as p, pa.OSFile(str(p), 'wb') as f:\n"
        "    with pa.ipc.new_file(f, t.schema) as w: w.write(t)"
    ),
    "safetensors": (
        "import numpy as np\nfrom safetensors.numpy import save_file\n"
        "with storage.whole_file(goal) as p: save_file({'x': np.zeros(8192)}, str(p))"
    ),
    "tokenizers": (
        "from tokenizers import Tokenizer, models\n"
        "words = {f'word number {i}': i for i in range(3000)}\n"
        "with storage.whole_file(goal) as p: Tokenizer(models.WordLevel(words, 'word number 0')).save(str(p))"
    ),
}

FULL = """
import resource
from tutelage.errors import StorageError
goal = here / 'goal'
for size in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        {writer}
    except StorageError as error:
        text = str(error)
        assert f'could not write {{goal}}: File too large' in text or 'No space left' in text, text
        assert 'cure: free some space' in text, text
    else:
        raise SystemExit(f'{{size}} bytes were enough')
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert [file.name for file in here.iterdir()] == ['goal'], list(here.iterdir())
    assert goal.read_text() == {old!r}
"""


def fill(writer: str, sizes: list[int], folder: Path) -> subprocess.CompletedProcess[str]:
    write_text(folder / "goal", OLD)
    indented = writer.replace("\n", "\n        ")
    script = "import sys\nfrom pathlib import Path\nfrom tutelage import storage\nhere = Path(sys.argv[1])\n"
    script += FULL.format(writer=indented, old=OLD)
    command = [sys.executable, "-c", script, str(folder), *map(str, sizes)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_a_clear_error_and_the_last_good_file_stays(tmp_path: Path, writer: str) -> None:
    sizes = [0, 1, 2, 7, 63, 64, 65, 100, 511, 512, 513, 1000, 4095, 4096, 4097, 8192, 16_384, 32_768, 50_000, 60_000]
    done = fill(WRITERS[writer], sizes, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_disk_that_fills_up_inside_a_folder_leaves_the_last_good_folder(tmp_path: Path) -> None:
    sealed(tmp_path / "goal")
    before = everything(tmp_path)
    script = (
        "import resource\nfrom tutelage.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))\n"
        "for writer in (lambda p: storage.write_text(p / 'x', 'x' * 99), lambda p: (p / 'x').write_text('x' * 99),\n"
        "               lambda p: [(p / f'{i}').touch() for i in range(9)]):\n"  # the manifest is what does not fit
        "    try:\n"
        "        with storage.whole_folder(here / 'goal') as p: writer(p)\n"
        "    except StorageError as error: assert 'File too large' in str(error)\n"
        "    else: sys.exit('64 bytes were enough')\n"
    )
    done = in_process(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM])
def test_every_way_a_disk_refuses_is_told_in_its_own_words(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        write_text(tmp_path / "goal", "new")
    assert caught.value.exit_code == 1
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("place", ["file/below", "file/below/deeper", "folder", "n" * 300])
def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, place: str) -> None:
    write_text(tmp_path / "file", OLD)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="could not write"):
        write_text(tmp_path / place, "new")
    assert everything(tmp_path) == {"file": OLD.encode()}


def test_an_error_that_is_not_the_disks_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "goal"):
        (tmp_path / "not there").read_text()
    with pytest.raises(RuntimeError, match="the model says no"), whole_file(tmp_path / "goal"):
        raise RuntimeError("the model says no")


# --- the order in which things reach the disk --------------------------------------------------------------------


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is flushed and renamed, in order, by name; partial names shortened."""
    seen: list[tuple[str, str]] = []

    def short(path: Path) -> str:
        return "/".join("partial" if part.startswith(".partial-") else part for part in path.parts[-2:])

    fsync = os.fsync

    def flush(handle: int) -> None:
        seen.append(("fsync", short(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def watched(name: str) -> Callable[[Path, Path], Path]:
        original = getattr(Path, name)

        def move(self: Path, target: Path) -> Path:
            seen.append(("rename", f"{short(self)} -> {short(target)}"))
            return original(self, target)

        return move

    monkeypatch.setattr(os, "fsync", flush)
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, watched(name))
    return seen


def test_a_file_is_flushed_before_its_rename_and_its_folder_after(tmp_path: Path, trace: list[tuple[str, str]]) -> None:
    home = tmp_path / "home"
    write_text(home / "goal", "new")
    assert trace == [
        ("fsync", "home/partial"),
        ("rename", "home/partial -> home/goal"),
        ("fsync", f"{tmp_path.name}/home"),
    ]


def test_a_folder_is_flushed_with_all_in_it_before_its_rename_and_its_parent_after(
    tmp_path: Path, trace: list[tuple[str, str]]
) -> None:
    home = tmp_path / "home"
    inside = ["home/partial", "partial/a.txt", "partial/deep", "deep/b.txt", f"deep/{MANIFEST}", f"partial/{MANIFEST}"]
    for moves in (
        ["home/partial -> home/goal"],
        ["home/goal -> home/.previous-goal", "home/partial -> home/goal"],
    ):
        trace.clear()
        sealed(home / "goal")
        count = len(inside)
        assert sorted(trace[:count]) == sorted(("fsync", name) for name in inside)
        assert trace[count:-1] == [("rename", move) for move in moves]
        assert trace[-1] == ("fsync", f"{tmp_path.name}/home")


# --- permissions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_the_user_wants_for_new_files(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "x")
        sealed(tmp_path / "folder")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "folder" / MANIFEST).stat().st_mode & 0o777 == 0o666 & ~mask


# --- what broken_files finds -------------------------------------------------------------------------------------


def test_an_intact_folder_has_no_harm(tmp_path: Path) -> None:
    assert broken_files(sealed(tmp_path / "folder")) == []


HARMS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a byte changed": ("a.txt has been altered", lambda f: (f / "a.txt").write_text("aaab")),
    "cut off": ("a.txt has 2 bytes instead of 4", lambda f: (f / "a.txt").write_text("aa")),
    "emptied": ("a.txt has 0 bytes instead of 4", lambda f: (f / "a.txt").write_text("")),
    "grown": ("a.txt has 5 bytes instead of 4", lambda f: (f / "a.txt").write_text("aaaaa")),
    "zeroed": ("deep/b.txt has been altered", lambda f: (f / "deep" / "b.txt").write_bytes(bytes(4))),
    "deleted": ("deep/b.txt is missing", lambda f: (f / "deep" / "b.txt").unlink()),
    "a folder in its place": ("a.txt is missing", lambda f: ((f / "a.txt").unlink(), (f / "a.txt").mkdir())),
    "a lower manifest changed": (
        f"deep/{MANIFEST} has been altered",
        lambda f: (f / "deep" / MANIFEST).write_text("[]"),
    ),
    "no manifest": (f"{MANIFEST} is missing", lambda f: (f / MANIFEST).unlink()),
    "a folder as manifest": (
        f"{MANIFEST} cannot be read",
        lambda f: ((f / MANIFEST).unlink(), (f / MANIFEST).mkdir()),
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_every_harm_is_found_and_named(tmp_path: Path, harm: str) -> None:
    folder = sealed(tmp_path / "folder")
    phrase, do = HARMS[harm]
    do(folder)
    assert broken_files(folder) == [phrase]


def test_a_missing_folder_is_one_without_manifest(tmp_path: Path) -> None:
    assert broken_files(tmp_path / "nowhere") == [f"{MANIFEST} is missing"]


def test_several_harms_are_all_told(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "folder")
    (folder / "a.txt").unlink()
    (folder / "deep" / "b.txt").write_text("")
    assert broken_files(folder) == ["a.txt is missing", "deep/b.txt has 0 bytes instead of 4"]


ENTRY = {"bytes": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}


@pytest.mark.parametrize(
    "name",
    ["../secret", "deep/../../secret", "{absolute}", "deep/../a.txt", "link", "into/secret", "into/../../secret"],
)
def test_what_lies_outside_is_never_followed_even_when_it_is_right(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "folder")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "into").symlink_to(tmp_path)
    name = name.format(absolute=tmp_path / "secret")
    (folder / MANIFEST).write_text(json.dumps({"files": {name: ENTRY}}))
    assert broken_files(folder) == [f"{name} points outside the folder"]


def test_a_manifest_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "folder")
    (folder / MANIFEST).rename(tmp_path / "elsewhere")
    (folder / MANIFEST).symlink_to(tmp_path / "elsewhere")
    assert broken_files(folder) == [f"{MANIFEST} points outside the folder"]


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "\ud800", "", ".", "deep"])
def test_a_name_that_is_no_file_is_harm_and_no_crash(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "folder")
    (folder / MANIFEST).write_text(json.dumps({"files": {name: ENTRY}}))
    (harm,) = broken_files(folder)
    assert harm.endswith(("is missing", "cannot be read"))


GARBAGE = [
    *(b"", b"{", b"\xff\xfe", b"null", b"true", b"7", b"1.5", b'"files"', b"[]", b'["files"]', b"{}", b"[" * 100_000),
    *(b'{"files": ' + value + b"}" for value in (b"null", b"3", b'"a"', b"[]", b"[1]", b"[[]]", b"true")),
    *(b'{"files": {"a.txt": ' + value + b"}}" for value in (b"null", b"3", b'"a"', b"[]", b"{}", b'{"bytes": 4}')),
    *(
        b'{"files": {"a.txt": {"sha256": "0", "bytes": ' + value + b"}}}"
        for value in (b"null", b'"x"', b"[]", b"{}", b"Infinity", b"NaN", b"1e999")
    ),
]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:40]))
def test_a_garbage_manifest_is_harm_and_no_crash(tmp_path: Path, content: bytes) -> None:
    folder = sealed(tmp_path / "folder")
    (folder / MANIFEST).write_bytes(content)
    assert broken_files(folder) == [f"{MANIFEST} cannot be read"]


# --- names and sizes ---------------------------------------------------------------------------------------------


def test_a_fingerprint_depends_on_the_value_alone() -> None:
    one = storage.fingerprint_of({"a": 1, "b": [1, 2]}, "é")
    assert one == storage.fingerprint_of({"b": [1, 2], "a": 1}, "é")
    assert len(one) == 32
    others = [({"a": 1, "b": [2, 1]}, "é"), ({"a": 1, "b": [1, 2]}, "e"), ({"a": 1, "b": [1, 2]},), ()]
    assert len({one, *(storage.fingerprint_of(*parts) for parts in others)}) == 5
    command = "from tutelage import storage; print(storage.fingerprint_of({'a': 1, 'b': [1, 2]}, 'é'))"
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}
    elsewhere = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, env=seeded)
    assert elsewhere.stdout.strip() == one


def test_sizes_and_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "folder")
    assert storage.size_of(folder / "a.txt") == 4
    assert storage.size_of(folder) == 4 + 4 + 2 + (folder / MANIFEST).stat().st_size
    large = tmp_path / "large"
    large.write_bytes(b"x" * (3 * (1 << 20) + 1))
    assert storage.sha256_of(large) == hashlib.sha256(large.read_bytes()).hexdigest()


def test_the_limit_on_file_size_is_as_it_was() -> None:
    """The tests above limit their own subprocesses, never this one."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
