"""The public names of this version: `python docs/names.py > docs/names.txt`.

One line for each name, as `KIND SCOPE NAME: DETAIL`, read from the code itself: signatures, the command line, the
configuration of a site, a running server and the C header. docs/stability.md says what is promised about them.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def names() -> list[str]:
    """All lines, sorted."""
    from pvlr_sdk.cameras.site import SiteConfig

    site = SiteConfig.model_json_schema()
    keys = (f"site {key}" for key in _keys(site, site.get("$defs", {})))
    found = (*_python(), *_commands(), *keys, *_topics(), *_served(), *_files(), *_header())
    return sorted(set(found))


def _python() -> Iterator[str]:
    """What the pages of docs/reference document."""
    pages = sorted((ROOT / "docs/reference").glob("*.md"))
    for path in re.findall(r"^::: (\S+)", "".join(page.read_text() for page in pages), re.M):
        try:
            value = importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, name = path.rpartition(".")
            value = getattr(importlib.import_module(module), name)
        if isinstance(value, ModuleType):
            for name in getattr(value, "__all__", vars(value)):
                member = getattr(value, name)
                made_here = getattr(member, "__module__", path).startswith(path)
                if made_here and name[0] != "_" and not isinstance(member, ModuleType):
                    yield from _described(f"python {path}.{name}", member)
        else:
            yield from _described(f"python {path}", value)


def _described(name: str, value: Any) -> Iterator[str]:
    yield name
    if inspect.isclass(value):
        inherited = () if issubclass(value, BaseException) else value.__mro__
        owners = [base for base in (value, *inherited) if base.__module__.startswith("pvlr_")]
        members = {member for base in owners for member in vars(base)}
        members |= {field.name for field in fields(value)} if is_dataclass(value) else set()
        members |= {member for base in owners for member in inspect.get_annotations(base)}
        for member in sorted(member for member in members if not member.startswith("_")):
            yield from _described(f"{name}.{member}", inspect.getattr_static(value, member, None))
    value = getattr(value, "__func__", value)
    if inspect.isfunction(value) or (
        inspect.isclass(value) and not issubclass(value, BaseException)
    ):
        try:
            parameters = list(inspect.signature(value).parameters.values())
        except (TypeError, ValueError):
            return
        position = 0
        for parameter in parameters:
            if parameter.name == "self" or parameter.name == "cls":
                continue
            position += 1
            positional = parameter.kind in _POSITIONAL and not is_dataclass(value)
            place = str(position) if positional else "keyword"
            yield f"{name} {parameter.name}: {place}{_default(parameter.default)}"


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ", required"
    return f" = {value!r}" if value is None or isinstance(value, bool | int | float | str) else ""


def _commands() -> Iterator[str]:
    from typer.main import get_command

    from pvlr_sdk.cli import app

    def walk(name: str, command: Any) -> Iterator[str]:
        yield name
        for parameter in command.params:
            options = [*parameter.opts, *parameter.secondary_opts]
            required = ": required" if parameter.required else ""
            for option in options if parameter.param_type_name == "option" else [parameter.name]:
                yield f"{name} {option}{required}"
        for child, subcommand in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {child}", subcommand)

    yield from walk("command pvlr", get_command(app))


def _keys(schema: dict[str, Any], parts: dict[str, Any], place: str = "") -> Iterator[str]:
    """The paths in a JSON schema, with types; `[]` is an item, `*` any key, `(mqtt)` a kind."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if f"<{name}>" in place:
            return
        referred = {**parts.get(name, {}), **{key: schema[key] for key in schema if key != "$ref"}}
        yield from _keys(referred, parts, f"{place}<{name}>")
        return
    variants = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, ())]
    for part in variants:
        yield from _keys(part, parts, place)
    properties = schema.get("properties", {})
    kind = properties.get("kind", {}).get("const")
    scope = place + (f"({kind})" if kind else "")
    for name, part in properties.items():
        inner = f"{scope}.{name}".removeprefix(".")
        required = ", required" if name in schema.get("required", ()) else ""
        default = f" = {json.dumps(part['default'])}" if "default" in part else required
        visible = re.sub("<[^>]*>", "", inner).removeprefix(".")
        yield f"{visible}: {_type(part)}{default}"
        yield from _keys(part, parts, inner)
    if isinstance(schema.get("items"), dict):
        yield from _keys(schema["items"], parts, f"{place}[]")
    for part in (schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()):
        yield from _keys(part, parts, f"{place}.*") if isinstance(part, dict) else ()


def _type(part: dict[str, Any]) -> str:
    if choices := part.get("enum", [part["const"]] if "const" in part else []):
        return "|".join(map(str, choices))
    kinds = [_type(inner) for key in ("anyOf", "oneOf") for inner in part.get(key, ())]
    return "|".join(sorted(set(kinds))) or part.get("type", "object")


def _topics() -> Iterator[str]:
    from pvlr_sdk.cameras.events.event import Event
    from pvlr_sdk.cameras.sinks.home_assistant import SET, Topics

    topics = Topics("PREFIX", "DISCOVERY")
    yield f"mqtt {topics.status}"
    for name, method in inspect.getmembers(topics, inspect.ismethod):
        if not name.startswith("_"):
            arguments = [parameter.upper() for parameter in inspect.signature(method).parameters]
            topic = method(*arguments)
            yield from [f"mqtt {topic}"] if "/" in topic else []
    yield f"mqtt {topics.enabled('PLACE')}{SET}"
    yield f"mqtt {topics.threshold('SENSOR')}{SET}"
    event = Event("off", "", "", "", 0, 0, 0, 0, 0, **_filled(Event))
    yield from (f"event {key}" for key in event.to_dict())


def _filled(kind: Any) -> dict[str, Any]:
    optional = (field.name for field in fields(kind) if field.default is None)
    return {name: 0.0 if name == "end" else "text" for name in optional}


def _served() -> Iterator[str]:
    """Routes, their fields and the metrics of a server with a camera, started for this."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        cameras = "cameras: {door: 'test://?size=64x48'}\nsinks: [{kind: jsonl, path: events}]\n"
        site.write_text(f"{cameras}serve: {{galleries: true, open_inference: true}}\n")
        command = [sys.executable, "-m", "pvlr_sdk", "serve", "--config", str(site), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
            assert server.stderr is not None
            urls = (re.search(r"serving on (\S+)", line) for line in server.stderr)
            url = next(match[1] for match in urls if match)
            document = json.loads(_get(f"{url}/openapi.json"))
            metrics = _get(f"{url}/metrics")
            server.terminate()
            server.stderr.read()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            route = f"http {method.upper()} {path}"
            yield route
            for parameter in operation.get("parameters", ()):
                required = ", required" if parameter.get("required") else ""
                yield f"{route} {parameter['name']}: {parameter['in']}{required}"
            body = {"request": operation.get("requestBody", {}), **operation.get("responses", {})}
            for status, answer in body.items():
                if status != "request" and not status.startswith("2"):
                    continue
                for content in answer.get("content", {}).values():
                    keys = _keys(content.get("schema", {}), schemas)
                    yield from (f"{route} {status} {key}" for key in keys)
    for family, kind in re.findall(r"^# TYPE (pvlr_\S+)(?<!_created) (\S+)", metrics, re.M):
        yield f"metric {family}: {kind}"
        labels = " ".join(re.findall(rf"^{family}\w*{{(.*)}}", metrics, re.M))
        for label in set(re.findall(r'(\w+)="', labels)) - {"le"}:
            yield f"metric {family} {label}"


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def _files() -> Iterator[str]:
    """The versions of files that are read."""
    from pvlr_sdk.bundle.manifest import FORMAT
    from pvlr_sdk.cameras.memory.reader import READABLE
    from pvlr_sdk.cameras.site.changes import Changes
    from pvlr_sdk.workshop.diagnostics.bench import measure

    yield from (f"file manifest {number}" for number in range(1, FORMAT + 1))
    yield from (f"file memory {number}" for number in READABLE)
    yield f"file state {Changes().version}"
    yield f"file bench {measure.FORMAT}"


def _header() -> Iterator[str]:
    """Functions, values and members of structs with their positions: a struct may only grow at its end."""
    text = (ROOT / "csrc/include/pvlr/pvlr.h").read_text()
    text = re.sub(r"//.*", "", text)
    for name, value in re.findall(r"^#define (PVLR_(?!API )\w+) (\S+)$", text, re.M):
        yield f"c {name}: {value}"
    text = re.sub(r"^#.*", "", text, flags=re.M)
    for name in re.findall(r"typedef struct (\w+) \w+;", text):
        yield f"c {name}"
    for kind, name, body in re.findall(r"typedef (struct|enum) (\w+) \{(.*?)\} \w+;", text, re.S):
        yield f"c {name}"
        members = [" ".join(member.split()) for member in re.split("[;,]", body) if member.strip()]
        for position, member in enumerate(members):
            if kind == "enum":
                value, _, number = member.partition(" = ")
                yield f"c {name} {value}: {number}"
            else:
                type_, value = re.fullmatch(r"(.*?)(\w+(?:\[\d+\])?)", member).groups()  # type: ignore[union-attr]
                yield f"c {name} {value.partition('[')[0]}: {position}, {type_}{value}"
    for function in re.findall(r"PVLR_API ([^;#]*\([^;]*\));", text):
        name = re.findall(r"(\w+)\(", function)[0]
        yield f"c {name}: {' '.join(function.split())}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}\n" for name in names())
