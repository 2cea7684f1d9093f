"""Reads the bodies of requests within limits of bytes and time; decodes images within a limit of pixels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .... import errors
from ...._util.plain_json import Limits, read_json
from ....frames import images
from ....frames.frames import Frame
from ....frames.isolated import Decoders
from .problems import ProblemError

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp")
FORM = "multipart/form-data"
_ANY = "application/octet-stream"
# curl --data-binary sends the latter unless told otherwise
_UNKNOWN = (
    "",
    "application/x-www-form-urlencoded",
)
_FORMATS = ("jpeg", "png", "webp")
_JSON_SECONDS = 5.0
SMALL = Limits(size=10_000, values=1_000, depth=8)
"""Of the bodies of most routes."""


async def read_upload(
    request: Request, max_bytes: int, seconds: float, arrived: Callable[[int], None] | None = None
) -> bytes:
    """The image in the body of a request: the body itself, or the first file of a form.

    Args:
        max_bytes: limit of the body.
        seconds: limit of the time in which it must arrive.
        arrived: called with the number of bytes whenever some have arrived.

    Raises:
        ProblemError: its Content-Type is not supported, the form is invalid, or it did not arrive in time.
        ImageSizeError, ClientDisconnect: it is too long, or the client has disconnected.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*MEDIA_TYPES, _ANY, FORM, *_UNKNOWN):
        known = ", ".join((*MEDIA_TYPES, FORM))
        raise ProblemError(415, f"Use Content-Type: {known} or {_ANY}.", Accept=known)
    body = await read_body(request, max_bytes, seconds, arrived)
    return await _file_in(request, body) if kind == FORM else body


async def _file_in(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=16)
    parser.spool_max_size = len(body)  # in memory: uploads are never on disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ProblemError(422, f"The form is invalid: {error.message}") from None
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            return await value.read()
    raise ProblemError(
        422, "The form has no complete file; use for example curl -F file=@photo.jpg."
    )


async def read_body(
    request: Request, max_bytes: int, seconds: float, arrived: Callable[[int], None] | None = None
) -> bytes:
    """The body of a request. Takes and raises what :func:`read_upload` does."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > max_bytes):
        raise _too_long(max_bytes, declared[:18])
    body = bytearray()
    with anyio.move_on_after(seconds) as limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise _too_long(max_bytes, "more")
            if arrived:
                arrived(len(chunk))
    if limit.cancelled_caught:
        raise ProblemError(
            408, f"The body did not arrive within {seconds:g} s.", Connection="close"
        )
    return bytes(body)


def json_of(model: type[BaseModel], limits: Limits = SMALL, *, empty: bool = False) -> Any:
    """A dependency of routes: the body of the request as a model; ``empty``: it may be empty.

    It raises what :func:`read_body` does, OptionError and RequestValidationError.
    """

    async def read(request: Request) -> BaseModel:
        body = await read_body(request, limits.size, _JSON_SECONDS)
        if empty and not body.strip():
            return model()
        try:
            return model.model_validate(read_json(body, limits, printable=False))
        except ValidationError as error:
            raise RequestValidationError(
                [
                    {**problem, "loc": ("body", *problem["loc"])}
                    for problem in error.errors(include_url=False)
                ]
            ) from None
        except ValueError as error:
            raise errors.OptionError(
                "request", "valid JSON", str(error), "/docs describes all parameters."
            ) from None

    content = {"application/json": {"schema": model.model_json_schema()}}
    vars(read)["openapi"] = {"requestBody": {"required": not empty, "content": content}}
    return Depends(read)


class BodyRoute(APIRoute):
    """A route of which the OpenAPI document has the body that :func:`json_of` reads."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        for dependency in self.dependant.dependencies:
            self.openapi_extra = getattr(dependency.call, "openapi", self.openapi_extra)


def decode_upload(data: bytes, max_pixels: int, decoders: Decoders | None = None) -> Frame:
    """Decode an image and rotate it upright; the pixels equal the pixels of ``Tagger.predict`` for the same bytes.

    Args:
        decoders: processes that decode it; None: this one.

    Raises:
        IsolationError: no process can be started.
        EmptyFrameError, ImageSizeError, ImageDecodeError: no bytes, too many pixels, or an invalid image.
    """
    decode = decoders.decode if decoders else images.decode
    image = decode(data, "image", max_pixels=max_pixels, formats=_FORMATS)
    return Frame(image.pixels, "bgr", image.full_size)


def _too_long(most: int, got: str) -> errors.ImageSizeError:
    return errors.ImageSizeError("body", f"at most {most} bytes", got, "Send a smaller image.")
