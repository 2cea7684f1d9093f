"""Starting from the weights of another run, or of a plan: all that both have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from pvlr_sdk._util.validation import first_problem
from pvlr_sdk.errors import CheckpointError, PlanNotFoundError
from pvlr_sdk.models.catalogue import is_model

from .checkpoint import read_checkpoint
from .config import stored_config
from .model.heads.pvlr import resized_positions
from .model.network import PVLR
from .plan_weights import read_plan

_POSITION = "head.position"


@dataclass(frozen=True)
class Weights:
    """Tensors by their names in the network; ``words`` describe the labels; height and width of the input."""

    tensors: dict[str, Tensor]
    words: tuple[str, ...]
    height: int
    width: int


def start_from(folder: Path, model: PVLR) -> int:
    """Copy the weights of a finished run, or of a bundle, with matching name and shape; returns the number of tensors.

    The encodings of prompts and labels stay those of this configuration. If the labels differ, weights of single labels
    (bias, residual) are copied for the labels that both describe by the same words. Positions are interpolated from
    another input size.

    Args:
        folder: the folder of the run; or a plan, its folder or the name of a model.

    Raises:
        CheckpointError: neither a finished run nor a bundle, or one with another backbone.
        BundleError: the bundle is damaged, or the model of this name is not installed.
    """
    source = _weights(folder, model)
    network = model.state_dict()
    tensors = _transferable(source, model, network)
    if _POSITION in tensors:
        tensors[_POSITION] = _positions(tensors[_POSITION], source, model)
    if source.words != model.text.words:
        tensors = {
            name: _of_labels(name, tensor, network[name], source, model)
            for name, tensor in tensors.items()
        }
    fitting = {
        name: tensor for name, tensor in tensors.items() if network[name].shape == tensor.shape
    }
    if any(name.startswith("backbone.") and name not in fitting for name in network):
        raise CheckpointError(
            str(folder),
            f"weights for {model.backbone.name}",
            "weights of another network",
            "Start from a run with the same backbone, or remove train.init.",
        )
    model.load_state_dict(fitting, strict=False)
    return len(fitting)


def _transferable(source: Weights, model: PVLR, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names the network has, without the encodings."""
    # Plans of version 0.2 with a knowledge branch have a head in the head.
    tensors = {name.replace("head.head.", "head."): data for name, data in source.tensors.items()}
    encodings = {f"text.{name}" for name, _ in model.text.named_buffers()}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name in network and name not in encodings
    }


def _positions(tensor: Tensor, source: Weights, model: PVLR) -> Tensor:
    """The vectors of the tokens' positions, interpolated if the source has another grid of tokens."""
    stride = model.backbone.stride
    grid = (-(-source.height // stride), -(-source.width // stride))
    if grid == model.grid or grid[0] * grid[1] != len(tensor):
        return tensor
    return resized_positions(tensor, grid, model.grid)


def _of_labels(name: str, tensor: Tensor, present: Tensor, source: Weights, model: PVLR) -> Tensor:
    """A tensor with a row per label: the rows of the labels that both have, and ``present``, this model's, of the
    others."""
    sizes = len(source.words), len(model.text.words)
    if name.startswith("backbone.") or (*tensor.shape[:1], *present.shape[:1]) != sizes:
        return tensor
    rows = present.clone()
    for row, words in enumerate(model.text.words):
        if words in source.words:
            rows[row] = tensor[source.words.index(words)]
    return rows


def _weights(folder: Path, model: PVLR) -> Weights:
    """The weights of a run or a bundle; errors as :func:`start_from`."""
    path = folder / "model.safetensors"
    if not path.exists():
        try:
            tensors, manifest = read_plan(folder, model)
        except PlanNotFoundError:
            if is_model(folder.name):  # one that is not installed
                raise
        else:
            labels = tuple(label.name for label in manifest.labels)
            return Weights(tensors, labels, manifest.input.height, manifest.input.width)
    tensors, data = read_checkpoint(path)
    try:
        config = stored_config(data["config"])
    except (KeyError, ValidationError) as error:
        raise CheckpointError(
            str(path),
            "the configuration of a run",
            first_problem(error) if isinstance(error, ValidationError) else f"no {error}",
            "Use the pvlr_training version that wrote it, or train again.",
        ) from None
    spec = config.data.input
    return Weights(tensors, config.model.text.words(config.data.labels), spec.height, spec.width)
