"""``pvlr deploy``: another plan for a site, running or not."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from typer import Argument, Option

from .. import errors
from .._util.deadline import within
from .._util.plain_json import Limits, read_json
from . import options
from .options import models

_TIMEOUT = 60.0
_POLL = 0.5
_ANSWER = Limits(size=100_000, values=10_000, depth=8)


def deploy(
    plan: str | None = Argument(
        None,
        metavar="PLAN",
        help="The new plan: a file, its folder, or the name of a model.",
        autocompletion=models,
        show_default=False,
    ),
    to: str = Option(
        ..., "--to", "-t", metavar="SITE", help="A site file, or the URL of a running pvlr serve."
    ),
    state: options.State = None,
    rollback: bool = Option(False, "--rollback", help="Return to the previous plan."),
    as_json: options.Json = False,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
) -> None:
    """Put another plan in use, or return to the previous one.

    The new plan is tested first; the one in use stays if the new one has other
    labels or fails.

    For a site file, the plan is copied to the site's state folder (--state, as the
    running process has it); a running process loads it on SIGHUP. A server changes
    at once, between two frames, and returns to the previous plan if errors follow;
    the command waits for this probation. PVLR_TOKEN has the token of the server.

    \b
    [bold]Examples[/bold]
    pvlr deploy plans/new/engine.plan --to site.yaml
    pvlr deploy pvlr-lite0-open --to http://127.0.0.1:8000
    pvlr deploy --rollback --to site.yaml
    """
    if (plan is None) != rollback:
        raise errors.OptionError(
            "PLAN", "a plan or --rollback", "both" if rollback else "neither", "Pass one of them."
        )
    to_server = to.startswith(("http://", "https://"))
    result = _to_server(plan, to) if to_server else _to_file(plan, to, state)
    if as_json:
        from .screen import print_json

        print_json(result)
        return
    from .screen import print_facts

    done = "in use" if to_server else "deployed"
    print_facts(f"{result['model']} is {done}", [("plan", result["plan"][:16])])
    if not to_server:
        from .screen import note

        note(
            "a process that runs with this file uses the plan after SIGHUP (systemctl reload) or a restart."
        )


def _to_file(plan: str | None, to: str, folder: Path | None) -> dict[str, Any]:
    from ..cameras.control.deployment import Deployment
    from ..cameras.site.config import load_config
    from ..cameras.site.factory import make_detectors, make_tagger, with_changes
    from .site_settings import read_changes

    path = Path(to)
    settings = read_changes(load_config(path), path, folder)
    limits = settings.config.deploy.model_copy(update={"probation": 0.0})
    with make_tagger(settings.changes.applied(settings.config)) as tagger:
        config = with_changes(settings.config, settings.changes, tagger.labels)
        check = partial(make_detectors, config, changes=settings.changes.thresholds)
        deployment = Deployment(tagger, None, settings.plans, limits, check=check)
        deployment.keep_bank = config.bank is not None
        if plan is None:
            deployment.rollback()
        else:
            deployment.deploy(plan)
        return {"model": deployment.status.model, "plan": deployment.status.plan}


def _to_server(plan: str | None, to: str) -> dict[str, Any]:
    base = to.rstrip("/")
    if plan is None:
        status = _ask(base, "POST", "/v1/rollback", {})
    else:
        source = os.path.abspath(plan) if os.path.exists(plan) else plan
        status = _ask(base, "POST", "/v1/reload", {"plan": source})
    while status["state"] != "in use":
        time.sleep(_POLL)
        status = _ask(base, "GET", "/v1/plan")
    if status["reason"]:
        raise errors.DeployError(
            plan or "rollback",
            "a plan that works",
            status["reason"],
            "The previous plan is in use.",
        )
    return status


def _ask(base: str, method: str, path: str, body: Any = None) -> Any:
    """The answer of a server; its problems become the exceptions that they were there."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """A redirect would take the token to another server."""

        def redirect_request(self, *_: Any) -> None:
            return None

    token = os.environ.get("PVLR_TOKEN")
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    data = None if body is None else json.dumps(body).encode()
    try:
        request = Request(base + path, data, headers, method=method)
        response = partial(build_opener(Stay).open, request, timeout=_TIMEOUT)
        data = within(_TIMEOUT, lambda: response().read(_ANSWER.size + 1))
        answer = read_json(data, _ANSWER, printable=False)
        if not isinstance(answer, dict) or "state" not in answer:
            raise ValueError("the answer of another server")
        return answer
    except HTTPError as error:
        raise _raised(base, error.code, error.read(_ANSWER.size + 1)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise errors.DeployError(
            base,
            "a running pvlr serve",
            str(getattr(error, "reason", None) or error) or type(error).__name__,
            "Check the URL, and that the server runs.",
        ) from None


def _raised(base: str, status: int, body: bytes) -> errors.PvlrError:
    try:
        problem = read_json(body, _ANSWER, printable=False)
        kind = getattr(errors, problem.get("error") or "", None)
        if isinstance(kind, type) and issubclass(kind, errors.PvlrError):
            names = ("argument", "expected", "got", "hint")
            argument, expected, got, hint = (str(problem.get(name)) for name in names)
            return kind(argument, expected, got, hint)
        detail = str(problem["detail"]).rstrip(".")
    except (ValueError, AttributeError, KeyError, TypeError):
        detail = "another answer than that of pvlr serve"
    return errors.DeployError(
        base,
        "the answer of pvlr serve",
        f"{status}: {detail}",
        "Set PVLR_TOKEN to a token of this server." if status == 401 else "Check the URL.",
    )
