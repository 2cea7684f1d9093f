"""What ``watch`` and ``serve`` share: the site of a file and options, its log, its signals and its memory."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from .. import errors
from .._util.files import remove_leftovers
from . import options
from .print_config import settings_with_origins

if TYPE_CHECKING:
    from ..cameras.control.deployment import Deployment
    from ..cameras.control.plans import Plans
    from ..cameras.control.state import State
    from ..cameras.site import Site, SiteConfig
    from ..cameras.site.changes import Changes

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
"""Parameters of mallopt, from glibc's malloc.h."""
_LARGE = 256 * 1024
_ARENAS = 2
_log = logging.getLogger(__name__)


def build_config(
    path: Path | None,
    uris: Sequence[str],
    *,
    plan: Path | None = None,
    bank: Path | None = None,
    words: str | None = None,
    device: str = "auto",
    loop: bool = False,
    tiles: str | None = None,
    thresholds: Sequence[str] = (),
    events: Mapping[str, Any] | None = None,
    stream: Mapping[str, Any] | None = None,
    serve: Mapping[str, Any] | None = None,
    memory: Path | None = None,
    files: Sequence[str] = (),
    stdout: bool = False,
    state: Path | None = None,
    show: bool = False,
) -> SiteSettings:
    """The configuration of a file, or an empty one, extended or overridden by options, and what was changed while it
    ran before.

    Args:
        path: the YAML file.
        uris: additional cameras: ``NAME=URI``, or a URI whose host or file gives the name.
        plan, bank, words, device: override the file's; relative paths are relative to the working directory.
        loop: these cameras restart files at their end.
        tiles: of the frames of all cameras, as for ``--tiles``.
        thresholds: ``X`` for all labels, or ``LABEL=X``; they extend the file's.
        events, stream, serve: keys to override in these sections, unless None.
        memory: the folder of the memory of events.
        files: additional files for events as JSON lines; ``-`` is stdout.
        stdout: print events on stdout if no file for them is named.
        state: the folder of the changes; None: that of the site file, see :meth:`.State.of_site`.
        show: print the configuration as a site file with the origin of each setting, and exit.

    Raises:
        ConfigError, OptionError: a key or an option is invalid.
        MissingPartError: ruamel.yaml is not installed.
    """
    from ..cameras.site.config import SiteConfig
    from ..cameras.site.yaml_file import read_yaml
    from ..cameras.sources import parse_uri
    from ..cameras.sources.uri import PathUri
    from ..frames.tiles import check_tiles
    from ..models.find import find_plan

    raw: dict[str, Any] = read_yaml(path) if path else {}
    source = str(path) if path else "options"
    folder = path.parent if path else None

    def section(mapping: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
        value = mapping.get(key)
        if value is not None and not isinstance(value, kind):
            # raises: names all that is wrong in the file
            SiteConfig.parse(raw, source=source, folder=folder)
        return kind() if value is None else value

    top = {
        "plan": plan and find_plan(plan).absolute(),
        "bank": bank and bank.absolute(),
        "words": options.split_words(words),
    }
    raw.update(_present({**top, "device": None if device == "auto" else device}))
    remembered = {"folder": memory and memory.absolute()}
    for name, values in (
        ("events", events),
        ("stream", stream),
        ("serve", serve),
        ("memory", remembered),
    ):
        if _present(values):
            raw[name] = {**section(raw, name, dict), **_present(values)}
    if thresholds:
        events_of_file = section(raw, "events", dict)
        raw["events"] = {
            **events_of_file,
            **_thresholds(thresholds, section(events_of_file, "thresholds", dict)),
        }
    cameras = dict(section(raw, "cameras", dict))
    if loop and not uris:
        raise errors.OptionError(
            "--loop", "a camera as URI", "none", "For a camera of a site file, set loop: there."
        )
    for uri in uris:
        named = _NAMED.fullmatch(uri)
        name, uri = (named[1], named[2]) if named else (_free_name(uri, cameras), uri)
        if name in cameras and name not in (raw.get("cameras") or ()):
            raise errors.OptionError("URI", "each name once", f"{name!r} twice", "Rename a camera.")
        parsed = parse_uri(uri)
        if isinstance(parsed, PathUri) and not uri.startswith("$"):  # a variable may be any URI
            uri = os.path.abspath(parsed.path)
        cameras[name] = {"uri": uri, "loop": True} if loop else uri
    if check_tiles(tiles):
        cameras = {
            name: {**(camera if isinstance(camera, dict) else {"uri": camera}), "tiles": tiles}
            for name, camera in cameras.items()
        }
    if cameras:
        raw["cameras"] = cameras
    jsonl = [
        {"kind": "jsonl", "path": file if file == "-" else os.path.abspath(file)} for file in files
    ]
    sinks = [*section(raw, "sinks", list), *jsonl]
    if sinks:
        raw["sinks"] = sinks
    if show:
        config = SiteConfig.parse(raw, source=source, folder=folder)
        changes = read_changes(config, path, state, plan is None).changes
        typer.echo(settings_with_origins(raw, read_yaml(path) if path else {}, changes), nl=False)
        raise typer.Exit
    if stdout and not any(isinstance(sink, dict) and sink.get("kind") == "jsonl" for sink in sinks):
        raw["sinks"] = [*sinks, {"kind": "jsonl", "path": "-"}]
    config = SiteConfig.parse(raw, source=source, folder=folder)
    if config.bank:
        remove_leftovers(config.bank.resolve())
    return read_changes(config, path, state, plan is None)


class SiteSettings(NamedTuple):
    """A site as its file and options describe it, and what was changed while it ran before.

    ``state``: keeps further changes; ``plans``: names the plan of the next start; None: changes hold until the end.
    """

    config: SiteConfig
    changes: Changes
    state: State | None
    plans: Plans | None


def read_changes(
    config: SiteConfig, path: Path | None, folder: Path | None, plan_of_file: bool = True
) -> SiteSettings:
    """The changes of a site; those that no longer apply are ignored with a warning.

    ``plan_of_file``: an option that names the plan takes precedence over the site file and over deployments.
    """
    from ..cameras.control.plans import Plans
    from ..cameras.control.state import State
    from ..cameras.site.changes import Changes
    from ..cameras.site.config import load_config

    if path is None and folder is None:
        return SiteSettings(config, Changes(), None, None)
    state = State.of_site(path, folder) if path else State(folder or Path())
    state.remove_leftovers()
    stored = state.read_or_set_aside()
    if not plan_of_file:
        stored = stored.model_copy(update={"deployed": None})
    changes, dropped = stored.fitting(config)
    for name in dropped:
        _log.warning("%s: a change is ignored, since it no longer applies: %s", state.path, name)
    plans = Plans(state, lambda: load_config(path)) if path and plan_of_file else None
    if plans:
        plans.remove_leftovers()
    return SiteSettings(config, changes, state, plans)


def _present(values: Mapping[str, Any] | None) -> dict[str, Any]:
    present = {key: value for key, value in (values or {}).items() if value is not None}
    return {key: str(value) if isinstance(value, Path) else value for key, value in present.items()}


def _free_name(uri: str, taken: Mapping[str, Any]) -> str:
    """A unique name for a camera, from its host, device or file."""
    from ..cameras.sources import parse_uri
    from ..cameras.sources.uri import DeviceUri, NetworkUri, PathUri

    parsed = parse_uri(uri)
    if isinstance(parsed, NetworkUri):
        text = parsed.host
    elif isinstance(parsed, (PathUri, DeviceUri)):
        text = Path(parsed.path if isinstance(parsed, PathUri) else parsed.device).stem
    else:
        text = uri.partition(":")[0]
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.")[:48] or "camera"
    name = base
    number = 2
    while name in taken:
        name = f"{base}-{number}"
        number = number + 1
    return name


def _thresholds(texts: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The keys ``threshold`` and ``thresholds`` of the events, from options."""
    section: dict[str, Any] = {"thresholds": dict(known)}
    for text in texts:
        label, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise errors.OptionError(
                "--threshold",
                "a score from 0 to 1",
                repr(text),
                "For example --threshold 0.6, or --threshold person=0.6 for one label.",
            )
        if label:
            section["thresholds"][label] = value
        else:
            section.update(threshold=value, thresholds={})
    return section


def check_site(config: SiteConfig) -> None:
    """Check the cameras and their files, the plan, the labels and the sinks of a site, and print what there is.

    Raises:
        PvlrError: what is invalid.
    """
    from ..cameras.site import factory
    from ..cameras.sources.opening import parse_uri
    from ..cameras.sources.uri import PathUri
    from .screen import note

    cameras = factory.make_cameras(config)
    tagger = factory.make_tagger(config)
    for camera in cameras:
        source = parse_uri(camera.uri)
        if isinstance(source, PathUri) and not Path(source.path).exists():
            raise errors.SourceOpenError(
                f"camera {camera.name}",
                "a file or folder that exists",
                repr(source.path),
                "Check its path.",
            )
    factory.make_detectors(config, tagger)
    for label in config.memory.precision if config.memory else ():
        tagger.label_bank.index(label)
    for sink in config.sinks:
        sink.check()
    counts = {"camera": len(cameras), "sink": len(config.sinks), "label": len(tagger.labels)}
    shown = (f"{count} {name}" + ("" if count == 1 else "s") for name, count in counts.items())
    note(f"valid: {', '.join(shown)}.")


def start_metrics(site: Site) -> None:
    """Answer Prometheus on the port of the site's configuration, if it has one.

    Raises:
        MissingPartError: the package prometheus-client is not installed.
        OptionError: the address cannot be used.
    """
    config = site.config.metrics
    if config.port is None:
        return
    with errors.needed("metrics", "the package prometheus-client", "cameras"):
        from ..cameras.site.metrics import make_registry, serve_metrics
    from .screen import note

    server = serve_metrics(make_registry(site.tagger, site), config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    note(f"metrics on http://{host}:{server.server_port}/metrics")


def systemd_unit(command: str) -> str:
    """The systemd unit that runs ``pvlr watch`` or ``pvlr serve``."""
    text = (Path(__file__).parents[1] / "cameras/site/pvlr-watch.service").read_text()
    return text.replace("pvlr watch", f"pvlr {command}").replace("pvlr-watch", f"pvlr-{command}")


def log_to_stderr() -> None:
    """Print the log of cameras and sinks as messages of this command."""
    from .screen import note

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage().strip())

    logger = logging.getLogger("pvlr_sdk")
    logger.addHandler(Notes())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def reload_on_hangup(deployment: Deployment) -> None:
    """From now on SIGHUP loads the plan that the site file names. Call it in the main thread.

    Not in a terminal, which sends this signal when it is closed: the process then ends, as others do.
    """
    if os.isatty(0):
        return
    # A handler may interrupt whatever it would use; only SimpleQueue.put is safe then.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work() -> None:
        while True:
            signals.get()
            try:
                deployment.reload()
            except errors.PvlrError as error:
                _log.error("the plan in use stays: %s: %s", type(error).__name__, error)

    threading.Thread(target=work, name="pvlr-reload", daemon=True).start()
    signal.signal(signal.SIGHUP, lambda number, frame: signals.put(number))


def return_freed_memory() -> None:
    """Make glibc return large blocks to the system when they are freed; call it before threads start.

    By default glibc raises both thresholds to the largest block freed so far, up to 32 MB, and keeps a heap for each of
    many threads. Images of many sizes, decoded in several threads, then leave gaps that nothing fits into. Elsewhere
    than on glibc it does nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (
            (_MMAP_THRESHOLD, _LARGE),
            (_TRIM_THRESHOLD, _LARGE),
            (_ARENA_MAX, _ARENAS),
        ):
            mallopt(parameter, value)
