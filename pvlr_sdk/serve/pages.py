"""The page's files, and the form for the token."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import parse_qs

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from .access import COOKIE, SIGN_IN, Guard
from .problems import ProblemError

_FOLDER = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LONGEST_FORM, _FORM_SECONDS = 4096, 5
_MONTH = 30 * 24 * 3600


def make_router(guard: Guard) -> APIRouter:
    """The page at ``/``, its parts below ``/page``, and ``/signin``. None of them is part of the API."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}

    def file(name: str) -> Response:
        if name not in files:
            raise ProblemError(404, "There is no such file.")
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    @router.get("/")
    async def index() -> Response:
        return file("index.html")

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        return file(name)

    @router.get(SIGN_IN)
    async def form() -> HTMLResponse:
        return _form("")

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        body = bytearray()
        with anyio.move_on_after(_FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LONGEST_FORM:
                    raise ProblemError(413, "That is no token.")
        given = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        session = guard.check_token(given.strip())
        if session is None:
            return _form("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, session, max_age=_MONTH, httponly=True, samesite="strict", secure=secure)
        return answer

    def _form(message: str, status: int = 200) -> HTMLResponse:
        text = files["signin.html"].decode().replace("{message}", html.escape(message))
        return HTMLResponse(text, status)

    return router
