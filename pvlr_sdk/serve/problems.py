"""What went wrong, as JSON: problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import errors

MEDIA_TYPE = "application/problem+json"

_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_WHEN = {
    400: "The request is malformed.",
    401: "A token is needed, or it is the wrong one.",
    403: "The request comes from a page of another site.",
    404: "There is no such thing here.",
    405: "Not with this method.",
    408: "The picture did not arrive in time.",
    413: "The picture has too many bytes or pixels.",
    415: "The body is no JPEG, PNG or WebP picture by its Content-Type.",
    421: "The request calls this machine by a name that is not its own.",
    422: "A parameter or the picture is wrong; `error` names the class.",
    503: "Not now; try again.",
}
_EVERYWHERE = (400, 401, 403, 405, 421)


class Problem(BaseModel):
    """Why a request failed. ``error`` and what follows are there where the SDK itself found something wrong."""

    type: str = Field(description="`about:blank`, or `urn:pvlr:` and the error's class", examples=["about:blank"])
    title: str
    status: int
    detail: str
    error: str | None = Field(default=None, description="A class of docs/errors.md.", examples=["ImageDecodeError"])
    argument: str | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


class ProblemError(Exception):
    """Ends a request with a problem that is no error of the SDK's."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): text for name, text in headers.items()}
        super().__init__(detail)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A response for what the HTTP status says already."""
    body = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)
    return _response(body, headers)


def describe(error: errors.PvlrError) -> JSONResponse:
    """A response for an error of the SDK."""
    name = type(error).__name__
    status = 422
    if isinstance(error, errors.ImageSizeError):
        status = 413
    elif isinstance(error, errors.BackendError):
        status = 503
    body = Problem(
        type=f"urn:pvlr:{name}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(error),
        error=name,
        argument=error.argument,
        expected=error.expected,
        got=error.got,
        hint=error.hint,
    )
    return _response(body)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What FastAPI wants to hear of the problems that a route can end with, beside those that any route can."""
    return {
        status: {"description": _WHEN[status], "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
        for status in sorted({*statuses, *_EVERYWHERE})
    }


def install(app: FastAPI) -> None:
    """Turn every exception into a problem."""

    @app.exception_handler(errors.PvlrError)
    async def _of_the_sdk(request: Request, error: errors.PvlrError) -> JSONResponse:
        return describe(error)

    @app.exception_handler(ProblemError)
    async def _ours(request: Request, error: ProblemError) -> JSONResponse:
        return problem(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def _of_the_router(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, _WHEN.get(error.status_code, str(error.detail)), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _of_parameters(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = " ".join(str(part) for part in first["loc"][1:]) or "request"
        text = str(first["msg"])
        return describe(
            errors.OptionError(
                name,
                expected=text[0].lower() + text[1:],
                got=ascii(first.get("input"))[:100],
                hint="See /openapi.json.",
            )
        )

    @app.exception_handler(ClientDisconnect)
    async def _of_one_who_left(request: Request, error: ClientDisconnect) -> JSONResponse:
        return problem(400, "The connection was closed.")  # nobody reads it

    @app.exception_handler(Exception)
    async def _of_a_bug(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "A bug in the server; its log says more.")


def _response(body: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=body.status, headers=headers, media_type=MEDIA_TYPE
    )
