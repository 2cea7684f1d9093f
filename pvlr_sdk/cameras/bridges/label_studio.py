"""The protocol of Label Studio's ML backends: the tags of its tasks as predictions for the choices of its project.

https://labelstud.io/guide/ml_create, and ``label_studio_ml/api.py`` of https://github.com/HumanSignal/label-studio-ml-backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ... import errors
from ..._util.escape import escaped
from ..sinks.webhook import address, load_aiohttp
from ..sinks.webhook import request as fetch
from .galleries import Tag, TagImage, decoded, parsed

_LOG = logging.getLogger(__name__)
_TIMEOUT = 5.0  # seconds for an image from Label Studio
_FILES = "/data/"  # where Label Studio has uploads and local files


class _Task(BaseModel):
    data: dict[str, Any]


class _Predict(BaseModel):
    """The body of a request for predictions; what else it has does not matter."""

    tasks: list[_Task] = Field(min_length=1, max_length=1000)
    label_config: str = Field(max_length=100_000)


class _Control(NamedTuple):
    """``<Choices>`` for an image: its name, the image's name and key in tasks, the choices by label in lower case."""

    name: str
    image: str
    key: str
    multiple: bool
    choices: dict[str, str]


def make_router(
    tag: TagImage, model: Callable[[], str], url: str | None, token: str | None, most: int
) -> APIRouter:
    """The routes below ``/label-studio``.

    Args:
        tag: tags the image of a request, within the limits of the server.
        model: the name of the running model.
        url: of Label Studio, whose uploads are fetched; None: images are data URLs. ``token``: its access token.
        most: bytes of an image.

    Raises:
        OptionError: the URL is invalid.
        MissingPartError: aiohttp is not installed.
    """
    router = APIRouter(prefix="/label-studio", include_in_schema=False)
    base = ""
    headers = dict[str, str]()
    if url is not None:
        load_aiohttp("label_studio")
        _, base, headers = address(url.rstrip("/"), "label_studio url")
        headers |= {"Authorization": f"Token {token}"} if token else {}

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "pvlr_sdk"}

    @router.post("/setup")
    async def setup() -> dict[str, str]:
        return {"model_version": model()}

    @router.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        requests: list[tuple[_Predict, _Control]] = []
        results: list[dict[str, Any]] = []

        def find(body: bytes) -> bytes:
            if not requests:
                asked = parsed(_Predict, body)
                requests.append((asked, _control(asked.label_config)))
            asked, control = requests[0]
            return image(asked.tasks[len(results)].data.get(control.key))

        while not results or len(results) < len(requests[0][0].tasks):
            try:
                tags = await tag(Request(request.scope, _nothing) if results else request, find)
            except errors.PvlrError as error:
                if not requests or len(requests[0][0].tasks) == 1:
                    raise
                # the others go on
                _LOG.warning("Label Studio's task %d: %s", len(results), escaped(str(error)))
                tags = ()
            results.append({"model_version": model(), **_prediction(tags, requests[0][1])})
        return {"results": results, "model_version": model()}

    def image(value: object) -> bytes:
        text = str(value)
        if text.startswith("data:"):
            return decoded(text)
        path = text.removeprefix(base)
        if not base or not path.startswith(_FILES) or ".." in unquote(path):
            raise errors.OptionError(
                "image",
                "a data URL, or a file of Label Studio",
                repr(text[:60]),
                "Set serve.label_studio.url in the site file.",
            )
        try:
            status, data = fetch("GET", base + path, headers=headers, timeout=_TIMEOUT, most=most)
            got = f"status {status}"
        except (OSError, ValueError) as error:
            status = 0
            got = escaped(str(error))
        if status != 200:
            raise errors.OptionError(
                "image", "a file of Label Studio", got, "Check url and token of serve.label_studio."
            )
        return data

    return router


async def _nothing() -> dict[str, Any]:
    """The rest of a body that has been read."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _control(config: str) -> _Control:
    """The first choices for an image in a labelling configuration. Raises OptionError."""
    expected = "Choices for an Image"
    hint = "Use the template Image Classification."
    try:
        if "<!DOCTYPE" in config:  # entities
            raise ValueError("a document type")
        root = ElementTree.fromstring(config)
    except (ValueError, RecursionError, ElementTree.ParseError) as error:
        raise errors.OptionError("label_config", "XML", str(error)[:100], hint) from None
    images = {
        image.get("name", ""): image.get("value", "").removeprefix("$")
        for image in root.iter("Image")
    }
    for element in root.iter("Choices"):
        if (image := element.get("toName", "")) in images:
            values = ((each.get("value", ""), each.get("alias")) for each in element.iter("Choice"))
            choices = {value.casefold(): alias or value for value, alias in values}
            return _Control(
                element.get("name", ""),
                image,
                images[image],
                element.get("choice") == "multiple",
                choices,
            )
    raise errors.OptionError("label_config", expected, "none", hint)


def _prediction(tags: Sequence[Tag], control: _Control) -> dict[str, Any]:
    """Tags that are choices, the best first; Label Studio sorts tasks by the least certain one."""
    scores = [(control.choices.get(tag.label.casefold()), tag.score) for tag in tags]
    chosen = [(choice, score) for choice, score in scores if choice][
        : None if control.multiple else 1
    ]
    about = {"from_name": control.name, "to_name": control.image, "type": "choices"}
    result = [{**about, "value": {"choices": [choice for choice, _ in chosen]}}] if chosen else []
    return {"score": min((score for _, score in chosen), default=0.0), "result": result}
