"""A dataset of the Hugging Face hub by its id, through `datasets`; never with code from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tutelage.data.sources.locate import Place, near_names
from tutelage.data.sources.saved import table_of
from tutelage.data.sources.table import Table
from tutelage.errors import DataError

_TIMEOUT = 10.0  # seconds for the one request that finds out whether the hub answers; `datasets` would retry


def open_table(place: Place, *, role: str) -> Table:
    """Download (or take from the cache). Raises `DataError` soon when there is no such id or no network."""
    import datasets

    name = place.path.as_posix()
    reachable = _answers(place)
    try:
        with _cache_only(not reachable):
            found = datasets.load_dataset(name)
    except Exception as error:  # the library raises whatever its parts raise
        if not reachable:
            raise _unknown(place, "the hub cannot be reached and the dataset is not in the cache") from error
        raise DataError(
            f"the dataset {name} of the hub cannot be loaded: {error}",
            expected="a dataset of data files (Parquet, CSV, JSON ...) with one configuration",
            cure="load it with `datasets` yourself, `save_to_disk` it, and give that folder",
        ) from error
    return table_of(place, found, role=role)


def _answers(place: Place) -> bool:
    """Whether the hub is there; raises `DataError` when it is and does not know, or not show, the dataset."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        HfApi().dataset_info(place.path.as_posix(), timeout=_TIMEOUT)
    except GatedRepoError as error:
        raise _unknown(
            place, "the dataset asks for consent: accept its terms and log in with `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _unknown(place, "the hub knows no such dataset, or it is private") from error
    except Exception:  # no network, a proxy, an outage: whatever the HTTP library calls it
        return False
    return True


def _unknown(place: Place, reason: str) -> DataError:
    near = near_names(place.path)
    hint = f"; there is {', '.join(str(place.path.parent / name) for name in near)}" if near else ""
    return DataError(
        f"{place.source} is neither a file nor a folder here{hint}, and as a hub id: {reason}",
        expected="a path that exists, or the id `owner/name` of a dataset on the hub",
        cure="check the name; without network, save the dataset to disk elsewhere and give the folder",
    )


@contextmanager
def _cache_only(offline: bool) -> Iterator[None]:
    """Let `datasets` look only in its cache, for without network it retries for half a minute."""
    from datasets import config

    settings: Any = config
    before = settings.HF_HUB_OFFLINE
    settings.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        settings.HF_HUB_OFFLINE = before
