"""Tags in the form of services that photo galleries ask: PhotoPrism's vision API, Ollama and OpenAI's chat completions.

The prompt of a request is not read: the answer is always the tags of its first image, which is part of the request.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from ... import errors
from ..._util.plain_json import Limits, read_json
from ..._util.validation import expected
from ..._util.version import __version__

_VALUES = 10_000
_DEPTH = 32
"""Of the JSON around an image; the server limits its bytes."""
_HINT = "See docs/integrations.md."
_SPACES = b" \t\r\n"


class Tag(Protocol):
    label: str
    score: float


Finder = Callable[[bytes], bytes]
"""Finds the image in the body of a request."""
TagImage = Callable[[Request, Finder], Awaitable[Sequence[Tag]]]
"""Tags the image that a finder finds in a request."""


class _Images(BaseModel):
    """The body of a request to PhotoPrism's vision API or Ollama's ``generate``."""

    id: str = Field(default="", max_length=100)
    images: list[str] = Field(min_length=1)
    format: Any = None

    def image(self) -> str:
        return self.images[0]


class _Message(BaseModel):
    images: list[str] | None = None
    content: Any = None


class _Chat(BaseModel):
    """The body of a request to Ollama's or OpenAI's ``chat``."""

    messages: list[_Message] = Field(min_length=1)
    format: Any = None
    response_format: Any = None
    stream: bool = False

    def image(self) -> str:
        for message in reversed(self.messages):
            if message.images:
                return message.images[0]
            for part in message.content if isinstance(message.content, list) else ():
                if isinstance(part, dict) and isinstance(part.get("image_url"), dict):
                    return str(part["image_url"].get("url"))
        raise errors.OptionError(
            "messages", "one with an image", "none", "Attach an image to a message, as base64."
        )


def make_router(tag: TagImage, model: Callable[[], str], size: int) -> APIRouter:
    """The routes. They are not part of the OpenAPI document: the other projects describe them.

    Args:
        tag: tags the image of a request, within the limits of the server.
        model: the name of the running model.
        size: the width of the model's input, in pixels.
    """
    router = APIRouter(include_in_schema=False)

    @router.post("/api/v1/vision/labels")
    async def vision(request: Request) -> dict[str, Any]:
        body, tags = await _tagged(request, _Images)
        about = {"type": "labels", "name": model(), "version": __version__, "resolution": size}
        return {
            "id": body.id or str(uuid4()),
            "code": 200,
            "model": about,
            "result": {"labels": _labels(tags)},
        }

    @router.post("/api/generate")
    async def generate(request: Request) -> Response:
        body, tags = await _tagged(request, _Images)
        return _line({"model": model(), "response": _text(tags, body.format)})

    @router.post("/api/chat")
    async def chat(request: Request) -> Response:
        body, tags = await _tagged(request, _Chat)
        return _line(
            {
                "model": model(),
                "message": {"role": "assistant", "content": _text(tags, body.format)},
            }
        )

    @router.get("/api/tags")
    async def installed() -> dict[str, Any]:
        return {"models": [{"name": model(), "model": model()}]}

    @router.post("/v1/chat/completions")
    async def completions(request: Request) -> dict[str, Any]:
        body, tags = await _tagged(request, _Chat)
        if body.stream:
            raise errors.OptionError(
                "stream", "false", "true", "The answer is complete at once: leave stream out."
            )
        message = {"role": "assistant", "content": _text(tags, body.response_format)}
        return {
            "id": f"chatcmpl-{uuid4()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model(),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0),
        }

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": model(), "object": "model", "created": 0, "owned_by": "pvlr"}
        return {"object": "list", "data": [entry]}

    async def _tagged(request: Request, kind: Any) -> tuple[Any, Sequence[Tag]]:
        requests: list[Any] = []

        def find(body: bytes) -> bytes:
            requests.append(parsed(kind, body))
            return decoded(requests[0].image())

        tags = await tag(request, find)
        return requests[0], tags

    return router


Body = TypeVar("Body", bound=BaseModel)


def parsed(kind: type[Body], body: bytes) -> Body:
    """The JSON of a request. Raises OptionError."""
    try:
        raw = read_json(body, Limits(len(body), _VALUES, _DEPTH), printable=False)
    except ValueError as error:
        raise errors.OptionError("request", "JSON", str(error), _HINT) from None
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise errors.OptionError(
            ".".join(map(str, first["loc"])) or "request",
            expected(first),
            "another value",
            _HINT,
        ) from None


def decoded(text: str) -> bytes:
    """The image in a data URL or in plain base64. Nothing is downloaded: a URL could name any host of this network."""
    encoded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        # not split(), which makes a text of each byte between spaces
        return base64.b64decode(encoded.encode("ascii").translate(None, _SPACES), validate=True)
    except ValueError:
        raise errors.OptionError(
            "image",
            "base64 or a data URL",
            repr(text[:40]),
            "Send the image itself: data:image/jpeg;base64,...",
        ) from None


def _labels(tags: Sequence[Tag]) -> list[dict[str, Any]]:
    scores = [(tag.label, round(tag.score, 4)) for tag in tags]
    return [
        {"name": name, "source": "image", "confidence": score, "topicality": score}
        for name, score in scores
    ]


def _text(tags: Sequence[Tag], form: Any) -> str:
    """The answer of a language model that was asked for tags: JSON if a format is demanded, else with commas."""
    names = [tag.label for tag in tags]
    if form is None or (isinstance(form, dict) and form.get("type") == "text"):
        return ", ".join(names)
    return json.dumps({"tags": names, "labels": _labels(tags)})


def _line(answer: dict[str, Any]) -> Response:
    """Ollama's answer: the only line of the stream that its clients expect unless they ask for none."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps({**answer, "created_at": made, "done": True, "done_reason": "stop"})
    return Response(f"{text}\n", media_type="application/x-ndjson")
