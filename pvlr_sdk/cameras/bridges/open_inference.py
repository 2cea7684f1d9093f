"""Tags by the Open Inference Protocol, version 2 (KServe, Triton): one image in, its labels and scores out.

https://github.com/kserve/open-inference-protocol, and the extension of Triton for binary tensors in requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ... import errors
from ..._util.version import __version__
from .galleries import TagImage, decoded, parsed

_NAME = "pvlr-sdk"
_INPUTS = [{"name": "image", "datatype": "BYTES", "shape": [1]}]
_OUTPUTS = [
    {"name": "labels", "datatype": "BYTES", "shape": [-1]},
    {"name": "scores", "datatype": "FP32", "shape": [-1]},
]
_HEADER = "inference-header-content-length"
_LENGTH = 4
"""Bytes of the length before each element of a binary tensor of bytes."""


class _Tensor(BaseModel):
    name: str
    datatype: str = "BYTES"
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = None


class _Infer(BaseModel):
    """The JSON of a request: the image is an encoded file, as base64 or as a binary tensor after the JSON."""

    id: str | None = Field(default=None, max_length=200)
    inputs: list[_Tensor] = Field(min_length=1, max_length=1)
    outputs: list[_Tensor] | None = None


def make_router(tag: TagImage, model: Callable[[], str]) -> APIRouter:
    """The routes, which the protocol describes.

    Args:
        tag: tags the image of a request, within the limits of the server.
        model: the name of the running model.
    """
    router = APIRouter(prefix="/v2", include_in_schema=False)

    @router.get("")
    async def server() -> dict[str, Any]:
        return {"name": _NAME, "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @router.get("/models/{name}")
    async def metadata(name: str) -> dict[str, Any]:
        check(name)
        return {
            "name": name,
            "versions": ["1"],
            "platform": _NAME,
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
        }

    @router.get("/models/{name}/ready")
    async def model_ready(name: str) -> dict[str, Any]:
        check(name)
        return {"name": name, "ready": True}

    @router.post("/models/{name}/infer")
    async def infer(request: Request, name: str) -> dict[str, Any]:
        check(name)
        requests: list[_Infer] = []

        def find(body: bytes) -> bytes:
            end = _header_bytes(request.headers.get(_HEADER), len(body))
            requests.append(parsed(_Infer, body[:end]))
            return _image(requests[0].inputs[0], body[end:])

        tags = await tag(request, find)
        values: dict[str, list[Any]] = {
            "labels": [tag.label for tag in tags],
            "scores": [tag.score for tag in tags],
        }
        asked = {output.name for output in requests[0].outputs or ()} or set(values)
        outputs = [
            {
                "name": name["name"],
                "datatype": name["datatype"],
                "shape": [len(tags)],
                "data": values[str(name["name"])],
            }
            for name in _OUTPUTS
            if name["name"] in asked
        ]
        return {"model_name": name, "model_version": "1", "id": requests[0].id, "outputs": outputs}

    def check(name: str) -> None:
        errors.check_choice("model", name, (model(),))

    return router


def _header_bytes(text: str | None, most: int) -> int:
    """The length of the JSON in a body of ``most`` bytes."""
    if text is None:
        return most
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or int(text) > most:
        raise errors.OptionError(
            _HEADER,
            "the bytes of the JSON in the body",
            repr(text[:20]),
            "Binary tensors follow the JSON.",
        )
    return int(text)


def _image(tensor: _Tensor, binary: bytes) -> bytes:
    """The image of an input: its only element."""
    if tensor.datatype == "BYTES" and "binary_data_size" in tensor.parameters:
        if (
            len(binary) > _LENGTH
            and int.from_bytes(binary[:_LENGTH], "little") == len(binary) - _LENGTH
        ):
            return binary[_LENGTH:]
    elif (
        tensor.datatype == "BYTES"
        and tensor.data
        and isinstance(tensor.data[0], str)
        and len(tensor.data) == 1
    ):
        return decoded(tensor.data[0])
    raise errors.OptionError(
        tensor.name,
        "BYTES with one image",
        f"{tensor.datatype} with another content",
        "Send the bytes of a JPEG, PNG or WebP file, or base64 of them.",
    )
