"""Errors as JSON problem details (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .... import errors
from ...._util.validation import expected

MEDIA_TYPE = "application/problem+json"

_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_WHEN = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    404: "Not found.",
    405: "The method is not allowed.",
    408: "The body did not arrive in time.",
    409: "The plan, its labels or the settings were not changed; `error` and the fields after it say why.",
    413: "The body has too many bytes, or the image too many pixels.",
    415: "The Content-Type is not a JPEG, PNG or WebP image.",
    421: "The request's Host is not a name of this machine.",
    422: "A parameter or the image is invalid; `error` names the class.",
    429: "Too many requests with a wrong token.",
    503: "Currently unavailable; try again.",
}
_EVERYWHERE = (400, 401, 403, 405, 421, 429)


class Problem(BaseModel):
    """Why a request failed. ``error`` and the fields after it are present if it is an error of the SDK."""

    type: str = Field(
        description="`about:blank`, or `urn:pvlr:` and the error's class", examples=["about:blank"]
    )
    title: str
    status: int
    detail: str
    error: str | None = Field(
        default=None, description="A class of docs/errors.md.", examples=["ImageDecodeError"]
    )
    argument: str | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


class ProblemError(Exception):
    """Ends a request with a problem that is not an error of the SDK."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): text for name, text in headers.items()}
        super().__init__(detail)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The response for a problem without an error of the SDK."""
    body = Problem(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail
    )
    return _response(body, headers)


def describe(error: errors.PvlrError) -> Response:
    """The response for an error of the SDK."""
    name = type(error).__name__
    too_large = isinstance(error, errors.ImageSizeError)
    conflict = isinstance(error, errors.DeployError)
    unavailable = isinstance(
        error, (errors.BackendError, errors.IsolationError, errors.OutputError)
    )
    status = 413 if too_large else 409 if conflict else 503 if unavailable else 422
    fields = {field: getattr(error, field) for field in ("argument", "expected", "got", "hint")}
    title = HTTPStatus(status).phrase
    return _response(
        Problem(
            type=f"urn:pvlr:{name}",
            title=title,
            status=status,
            detail=str(error),
            error=name,
            **fields,
        )
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's description of the problems of a route, including those of any route."""
    return {
        status: {"description": _WHEN[status], "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
        for status in sorted({*statuses, *_EVERYWHERE})
    }


def install(app: FastAPI) -> None:
    """Turn every exception into a problem."""
    for kind in (
        errors.PvlrError,
        ProblemError,
        HTTPException,
        RequestValidationError,
        ClientDisconnect,
        Exception,
    ):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, errors.PvlrError):
        return describe(error)
    if isinstance(error, ProblemError):
        return problem(error.status, error.detail, error.headers)
    if isinstance(error, HTTPException):
        return problem(
            error.status_code,
            _WHEN.get(error.status_code, str(error.detail)),
            dict(error.headers or {}),
        )
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return describe(
            errors.OptionError(
                " ".join(str(key) for key in first["loc"][1:]) or "request",
                expected(first),
                ascii(first.get("input"))[:100],
                "/docs describes all parameters.",
            )
        )
    if isinstance(error, ClientDisconnect):
        return problem(400, "The connection was closed.")  # never received
    return problem(500, "A bug in the server; see its log.")


def _response(body: Problem, headers: dict[str, str] | None = None) -> Response:
    # ASCII, since a message may quote a text with lone surrogates, such as the name of a file.
    text = json.dumps(body.model_dump(exclude_none=True))
    return Response(text, status_code=body.status, headers=headers, media_type=MEDIA_TYPE)
