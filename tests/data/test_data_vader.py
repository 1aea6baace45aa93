"""The demo's data: pinned, cached, verified, the same everywhere."""

import csv

import pytest

from tutelage import storage
from tutelage.data import vader
from tutelage.errors import DataError
from tutelage.progress import Silent


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    try:
        return vader.fetch(Silent())
    except DataError as error:
        pytest.skip(f"no package index: {error.given}")


def test_the_domains_have_the_known_sizes(archive):
    sizes = {domain: len(vader.rows(domain, archive)) for domain in vader.DOMAINS}
    assert sizes == {"movie": 10_605, "tweets": 4_200, "amazon": 3_708, "nyt": 5_190}
    assert all(-4 <= row.rating <= 4 and row.text for row in vader.rows("movie", archive))
    assert any("clichés" in row.text for row in vader.rows("movie", archive))


def test_the_demo_files_are_the_same_everywhere(archive, tmp_path):
    files = vader.write_demo(tmp_path, Silent(), cache=archive.parent)
    with files["train"].open(newline="", encoding="utf-8") as file:
        train = list(csv.DictReader(file))
    assert len(train) == 8000
    assert {row["label"] for row in train} == {"positive", "negative"}
    assert sum(1 for _ in files["test"].open(encoding="utf-8")) == 2569
    assert {name: storage.sha256_of(tmp_path / name) for name in vader._DEMO} == vader._DEMO


def test_intact_files_need_no_archive_and_changed_ones_are_mended(archive, tmp_path):
    files = vader.write_regression(tmp_path, Silent(), cache=archive.parent)
    stamp = files["test"].stat().st_mtime_ns
    vader.write_regression(tmp_path, Silent(), cache=tmp_path / "nowhere")
    assert files["test"].stat().st_mtime_ns == stamp
    files["test"].write_text("text,rating\n")
    vader.write_regression(tmp_path, Silent(), cache=archive.parent)
    assert storage.sha256_of(files["test"]) == vader._REGRESSION["test.csv"]


def test_a_corrupt_cache_is_fetched_again(archive, tmp_path, monkeypatch):
    cached = tmp_path / archive.name
    cached.write_bytes(archive.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(vader, "_download", lambda folder: archive)
    assert storage.sha256_of(vader.fetch(Silent(), cache=tmp_path)) == vader._SHA256


def test_without_network_and_cache_the_error_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DataError) as error:
        vader.fetch(Silent(), cache=tmp_path / "cache")
    assert "cannot be fetched" in error.value.given
    assert vader._NAME in error.value.cure
    assert not list((tmp_path / "cache").iterdir())
