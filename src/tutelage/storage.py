"""Files that are either whole or not there.

Everything the package leaves on disk goes through here: written under a temporary name beside its goal, flushed to
the disk, then renamed. A reader never meets half a file, and a crash leaves what was there before.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.errors import StorageError, TutelageError

MANIFEST = "manifest.json"
PARTIAL = ".partial-"
_ASIDE = ".previous-"
UNFINISHED = (PARTIAL, _ASIDE)
"""What the names of files begin with that a killed process left."""
_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in _files_in(path))


def fingerprint_of(*parts: Any) -> str:
    """32 hexadecimal digits naming a JSON-serialisable value, the same on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path` in one step, on failure it vanishes.

    Raises `StorageError` when the disk is full or refuses.
    """
    with _storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            partial.chmod(0o666 & ~_umask())
            _flush(partial)
            partial.replace(path)
            _flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, seal: bool = True) -> Iterator[Path]:
    """Yield a temporary folder; on success it takes the place of `path`, on failure it vanishes.

    With `seal`, a manifest with size and SHA-256 of every file is written last (see `broken_files`).
    A folder that stood at `path` is moved aside first and removed only after the new one is in place.
    """
    with _storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
        try:
            yield partial
            partial.chmod(0o777 & ~_umask())
            for file in _files_in(partial):  # safetensors keeps its own to their owner
                file.chmod(0o666 & ~_umask())
            if seal:
                write_manifest(partial)
            for entry in [*sorted(partial.rglob("*")), partial]:
                if not entry.is_symlink():
                    _flush(entry)
            _swap(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def copy_folder(source: Path, goal: Path) -> None:
    """Put a copy of a folder in the place of another, whole or not at all."""
    with whole_folder(goal) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_manifest(folder: Path) -> None:
    """List every file of a folder with its size and SHA-256 in `manifest.json`."""
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in _files_in(folder)
        if file != folder / MANIFEST
    }
    text = json.dumps({"files": files}, indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def broken_files(folder: Path) -> list[str]:
    """What differs between a folder and its manifest, one phrase each; empty when it is intact.

    Names that leave the folder and symbolic links count as broken: they are never followed.
    """
    manifest = folder / MANIFEST
    if manifest.is_symlink():
        return [f"{MANIFEST} points outside the folder"]
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        expected = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in listed.items()}
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return [f"{MANIFEST} cannot be read"]
    found = [_harm(folder, name, size, digest) for name, (size, digest) in expected.items()]
    return [harm for harm in found if harm]


def _harm(folder: Path, name: str, size: int, digest: str) -> str:
    """What is wrong with one listed file, or nothing."""
    file = folder / name
    steps = Path(name).parts
    try:
        links = any(folder.joinpath(*steps[:depth]).is_symlink() for depth in range(1, len(steps) + 1))
        if Path(name).is_absolute() or ".." in steps or links:
            return f"{name} points outside the folder"
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
        return "" if sha256_of(file) == digest else f"{name} has been altered"
    except (OSError, ValueError):  # no name of a file: too long, a NUL, a lone surrogate; or a disk that fails
        return f"{name!r} cannot be read"


def mend(folder: Path) -> None:
    """Undo what a killed process left in a folder: half-written files go, a file moved aside comes back."""
    for aside in folder.glob(f"{_ASIDE}*"):
        goal = folder / aside.name.removeprefix(_ASIDE)
        if goal.exists():
            _remove(aside)
        else:
            aside.rename(goal)
    for entry in folder.glob(f"{PARTIAL}*"):
        _remove(entry)


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _swap(new: Path, goal: Path) -> None:
    if goal.exists():
        # Killed between the two renames, `mend` brings the old one back: neither copy is ever lost.
        aside = goal.with_name(_ASIDE + goal.name)
        _remove(aside)
        goal.rename(aside)
        try:
            new.rename(goal)
        except OSError:
            aside.rename(goal)
            raise
        _flush(goal.parent)
        _remove(aside)
    else:
        new.rename(goal)
        _flush(goal.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ENOSPC: full; EDQUOT: quota; EFBIG: over the file-size limit; EROFS: read-only; EIO: failing; the rest: not allowed
# here, or the path leads through a file.
_REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
}
# safetensors and tokenizers raise their own errors, with the number in the text; NumPy tells only how much it wrote.
_OF_RUST = re.compile(r"\(os error (\d+)\)")
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = _refusal(error)
        if not reason:
            raise
        raise StorageError(
            f"could not write {path}: {reason}",
            expected="room on a writable disk; nothing half-written was left and nothing was replaced",
            cure="free some space or choose another `output`, then run the same command again",
        ) from error


def _refusal(error: Exception) -> str:
    """Why the disk refused, if that is what the error says."""
    if isinstance(error, TutelageError):
        return ""
    told = _OF_RUST.search(str(error))
    number = int(told.group(1)) if told else getattr(error, "errno", None)
    if number in _REFUSALS:
        return os.strerror(number)
    short = isinstance(error, OSError) and number is None and _OF_NUMPY.search(str(error))
    return os.strerror(errno.ENOSPC) if short else ""
