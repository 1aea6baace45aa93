"""The demo's data: sentences rated by people, out of the source archive of vaderSentiment 0.5.

C.J. Hutto and Eric Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text", ICWSM 2014. The ratings are means of human judgements between -4 and 4.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage import storage
from tutelage.errors import DataError
from tutelage.progress import Progress

LICENCE = "MIT (vaderSentiment 0.5, C.J. Hutto and Eric Gilbert, ICWSM 2014)"
DOMAINS = {
    "movie": "movieReviewSnippets",
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
"""Our name of a domain -> the archive's."""
TRAIN_ROWS = 8000

_NAME = "vaderSentiment-0.5.zip"
_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
_INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_LARGEST = 8 << 20  # bytes of a member that is read at all; the largest has 2.3 MB
_PATIENCE = 300  # seconds that pip may take
# The files are made the same on every machine: one that differs has been changed, and is written anew.
_DEMO = {
    "train.csv": "b0dacf973923e8ae2f41dd6b2e31e784909c378f4e229e8baf3ff422c5167737",
    "test.csv": "b7ee2f233cd2e01a6a19b650fe70339e076e2f5d51d9b2dea3a25e71b33ba09c",
    "unlabelled.jsonl": "59293e18eb97312c2bc9eb6be84f77d99c172465a99acbb7e878ce4ae892cce9",
}
_REGRESSION = {
    "train.csv": "ea26db2ce556e23db1a3eeb8974215a13d0283a7b2bb80615317bb949187a7a9",
    "test.csv": "eab9e92a5d07d2a5fd26556791bafc50550ea487c68383454636e42741e61ee2",
    "unlabelled.jsonl": "59293e18eb97312c2bc9eb6be84f77d99c172465a99acbb7e878ce4ae892cce9",
}


class Rating(NamedTuple):
    """One sentence with its mean rating in -4..4; in amazon and nyt, `id` starts with its document's."""

    id: str
    rating: float
    text: str


def fetch(progress: Progress, *, cache: Path | None = None) -> Path:
    """The archive, out of the cache or through pip, its SHA-256 verified either way.

    Raises `DataError` when it is not in the cache and pip cannot get it.
    """
    archive = (cache or _cache()) / _NAME
    if archive.is_file() and storage.sha256_of(archive) == _SHA256:
        return archive
    progress.say("Fetching the demo's data (vaderSentiment 0.5, 2.4 MB) with pip, once")
    with storage.whole_file(archive) as partial, tempfile.TemporaryDirectory() as folder:
        found = _download(Path(folder))
        shutil.copyfile(found, partial)
    return archive


def rows(domain: str, archive: Path) -> list[Rating]:
    """All sentences of a domain (see `DOMAINS`), in the archive's order. Nothing is unpacked to the disk."""
    member = f"hutto_ICWSM_2014/{DOMAINS[domain]}_GroundTruth.txt"
    with zipfile.ZipFile(archive) as outer:
        if outer.getinfo(_INNER).file_size > _LARGEST:
            raise _unexpected(_INNER)
        inner = io.BytesIO(outer.read(_INNER))
    with tarfile.open(fileobj=inner, mode="r:gz") as tar:
        info = tar.getmember(member)
        file = tar.extractfile(info) if info.isfile() and info.size <= _LARGEST else None
        if file is None:
            raise _unexpected(member)
        # UTF-8, as every byte of the four files shows, though older descriptions say latin-1.
        lines = file.read().decode("utf-8").splitlines()
    fields = (line.split("\t", 2) for line in lines if line.strip())
    return [Rating(name, float(rating), text.strip()) for name, rating, text in fields]


def write_demo(folder: Path, progress: Progress, *, cache: Path | None = None) -> dict[str, Path]:
    """Write train.csv (8,000 rows), test.csv (2,568) and unlabelled.jsonl, unless they are there and intact.

    Columns `text` and `label`: movie reviews, "positive" above a rating of 0, "negative" below. The unlabelled
    texts are those of the other domains. Returns role -> path. Raises `DataError` as `fetch` does.
    """
    if not _intact(folder, _DEMO):
        archive = fetch(progress, cache=cache)
        rated = [row for row in _shuffled(rows("movie", archive)) if row.rating != 0]
        labelled = [(row.text, "positive" if row.rating > 0 else "negative") for row in rated]
        _write(folder, "label", labelled, archive)
    return {Path(name).stem: folder / name for name in _DEMO}


def write_regression(folder: Path, progress: Progress, *, cache: Path | None = None) -> dict[str, Path]:
    """The same with the column `rating`, a number in -4..4, and all 10,605 movie rows."""
    if not _intact(folder, _REGRESSION):
        archive = fetch(progress, cache=cache)
        rated = [(row.text, f"{row.rating:.4f}") for row in _shuffled(rows("movie", archive))]
        _write(folder, "rating", rated, archive)
    return {Path(name).stem: folder / name for name in _REGRESSION}


def _write(folder: Path, column: str, labelled: Sequence[tuple[str, str]], archive: Path) -> None:
    storage.write_text(folder / "train.csv", _csv(column, labelled[:TRAIN_ROWS]))
    storage.write_text(folder / "test.csv", _csv(column, labelled[TRAIN_ROWS:]))
    others = [row for domain in list(DOMAINS)[1:] for row in rows(domain, archive)]
    lines = (json.dumps({"text": row.text}, ensure_ascii=False) + "\n" for row in others)
    storage.write_text(folder / "unlabelled.jsonl", "".join(lines))


def _csv(column: str, labelled: Iterable[tuple[str, str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["text", column])
    writer.writerows(labelled)
    return file.getvalue()


def _shuffled(given: list[Rating]) -> list[Rating]:
    """An order that depends on nothing but the rows: no generator's version, no machine."""
    return sorted(given, key=lambda row: hashlib.sha256(f"{row.id} {row.text}".encode()).digest())


def _intact(folder: Path, files: dict[str, str]) -> bool:
    found = ((folder / name, digest) for name, digest in files.items())
    return all(path.is_file() and storage.sha256_of(path) == digest for path, digest in found)


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("tutelage"))


def _download(folder: Path) -> Path:
    """Let pip get the archive, by its hash: the user's index, proxy and certificates apply."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"vaderSentiment==0.5 --hash=sha256:{_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--retries", "1", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*command, "-r", str(wanted)], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    found = folder / _NAME
    if not reason and not (found.is_file() and storage.sha256_of(found) == _SHA256):
        reason = "what pip fetched is not the archive this package knows"
    if reason:
        raise DataError(
            f"the demo's data cannot be fetched: {reason}",
            expected="pip with access to a package index, for vaderSentiment 0.5 (2.4 MB), once",
            cure=f"connect and run again, or put {_NAME} (sha256 {_SHA256[:12]}…) into {_cache()}",
        )
    return found


def _unexpected(member: str) -> DataError:
    return DataError(f"{member} of {_NAME} is not the file this package knows", cure="upgrade the package")
