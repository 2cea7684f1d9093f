"""The files of the page, the documentation of the API, and the sign-in form."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from ...._util import escape
from ..server.access import COOKIE, SIGN_IN, AccessControl
from ..server.audit import Attempts, address_of
from ..server.bodies import read_body
from ..server.listener import network_of
from ..server.problems import ProblemError

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_LONGEST_FORM = 4096
_FORM_SECONDS = 5
_MONTH = 30 * 24 * 3600


def make_router(access: AccessControl) -> APIRouter:
    """The page at ``/``, its files below ``/page``, ``/docs`` and ``/signin``; not part of the API."""
    router = APIRouter(include_in_schema=False)
    attempts = Attempts()
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            raise ProblemError(404, "File not found.")
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    @router.get("/")
    async def index() -> Response:
        return await file("index.html")

    @router.get("/docs")
    async def docs() -> Response:
        return await file("docs.html")

    @router.get(SIGN_IN)
    async def form() -> HTMLResponse:
        return _form("")

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        address = network_of(address_of(request.scope) or "")
        # before the token is known: many at once count, too
        seconds = attempts.add(address, object())
        if seconds:
            access.audit.refused(request.scope, "sign-in", "too many attempts")
            return _form(
                f"Too many attempts. Try again in {seconds} s.", 429, {"Retry-After": str(seconds)}
            )
        body = await read_body(request, _LONGEST_FORM, _FORM_SECONDS)
        token = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        session = access.sign_in(request.scope, token.strip())
        access.audit.record("sign-in", "ok" if session else "wrong token", request.scope)
        if session is None:
            return _form("Wrong token.", 401)
        attempts.forget(address)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, session, max_age=_MONTH, httponly=True, samesite="strict", secure=secure
        )
        return answer

    def _form(
        message: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> HTMLResponse:
        text = files["signin.html"].decode().replace("{message}", escape.html(message))
        return HTMLResponse(text, status, headers)

    return router
