"""What ``watch`` and ``serve`` share: the configuration of a site from a file and options, and its log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from ..watch import Site, SiteConfig

_SECRET = "PVLR_WEBHOOK_SECRET"
_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)


def build_config(
    path: Path | None,
    uris: Sequence[str],
    *,
    region: str | None = None,
    loop: bool = False,
    ca: Path | None = None,
    insecure: bool = False,
    thresholds: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    stream: Mapping[str, Any] | None = None,
    serve: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    sinks: Sequence[Mapping[str, Any]] = (),
    stdout: bool = True,
) -> SiteConfig:
    """The configuration of a file, or an empty one, extended or overridden by options.

    Args:
        path: the YAML file.
        uris: additional cameras: ``NAME=URI``, or a URI whose host or file gives the name.
        region, loop: region of these cameras, as ``x,y,w,h``, and whether their files restart at their end.
        ca, insecure: the certificates that they may have: those of a file, or any.
        thresholds: ``X`` for all labels, or ``LABEL=X``; they extend those of the file.
        settings, events, stream, serve, metrics: keys to override at the top level and in these sections, unless None.
        sinks: additional sinks.
        stdout: print events on stdout if there is no sink.

    Raises:
        ConfigError, OptionError: a key or an option is invalid.
        MissingPartError: PyYAML is not installed.
    """
    from ..watch.config import SiteConfig
    from ..watch.yaml_file import read_yaml

    raw: dict[str, Any] = read_yaml(path) if path else {}
    source = str(path) if path else "options"
    raw.update(_given(settings))
    for name, values in (("events", events), ("stream", stream), ("serve", serve), ("metrics", metrics)):
        if _given(values):
            raw[name] = {**_section(raw, name, source, dict), **_given(values)}
    if thresholds:
        section = _section(raw, "events", source, dict)
        raw["events"] = {**section, **_thresholds(thresholds, _section(section, "thresholds", source, dict))}
    cameras = dict(_section(raw, "cameras", source, dict))
    for key, value in (("loop", loop), ("ca", ca), ("insecure", insecure)):
        if value and not uris:
            hint = f"For a camera of a site file, set {key}: there."
            raise errors.OptionError(f"--{key}", expected="a camera as URI", got="none", hint=hint)
    for uri in uris:
        named = _NAMED.fullmatch(uri)
        name, uri = (named[1], named[2]) if named else (_free_name(uri, cameras), uri)
        cameras[name] = {"uri": uri, "loop": loop, "insecure": insecure}
        cameras[name] |= {"region": _region(region)} if region else {}
        cameras[name] |= {"ca": str(ca.absolute())} if ca else {}
    if not cameras and not path:
        raise errors.OptionError("URI", expected="a camera", got="none", hint="Give a URI, or a --config with cameras.")
    if cameras:
        raw["cameras"] = cameras
    raw["sinks"] = [*_section(raw, "sinks", source, list), *map(dict, sinks)]
    if stdout and not raw["sinks"]:
        raw["sinks"] = [{"kind": "jsonl", "path": "-"}]
    return SiteConfig.parse(raw, source=source, folder=path.parent if path else None)


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in (values or {}).items()
        if value is not None
    }


def _section(raw: Mapping[str, Any], key: str, source: str, kind: type[Any]) -> Any:
    value = raw.get(key)
    if value is not None and not isinstance(value, kind):
        expected = "a list" if kind is list else "a mapping of keys"
        raise errors.ConfigError(f"{source}: {key}", expected=expected, got=repr(value), hint="See docs/events.md.")
    return kind() if value is None else value


def _free_name(uri: str, taken: Mapping[str, Any]) -> str:
    """A unique name for a camera, from its host, device or file."""
    from ..sources import parse_uri
    from ..sources.uri import DeviceUri, NetworkUri, PathUri

    parsed = parse_uri(uri)
    if isinstance(parsed, NetworkUri):
        text = parsed.host
    elif isinstance(parsed, (PathUri, DeviceUri)):
        text = Path(parsed.path if isinstance(parsed, PathUri) else parsed.device).stem
    else:
        text = uri.partition(":")[0]
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.")[:48] or "camera"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _thresholds(texts: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The keys ``threshold`` and ``thresholds`` of the events, from options."""
    found: dict[str, Any] = {"thresholds": dict(known)}
    for text in texts:
        label, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            hint = "For example --threshold 0.6, or --threshold person=0.6 for one label."
            raise errors.OptionError("--threshold", expected="a score from 0 to 1", got=repr(text), hint=hint)
        if label:
            found["thresholds"][label] = value
        else:
            found.update(threshold=value, thresholds={})
    return found


def check_site(config: SiteConfig) -> None:
    """Check the cameras, the plan, the labels and the sinks of a site, and print what there is.

    Raises:
        PvlrError: what is invalid.
    """
    from ..watch import factory
    from .screen import note

    cameras, tagger = factory.make_cameras(config), factory.make_tagger(config)
    factory.make_detectors(config, tagger)
    for sink in config.sinks:
        sink.check()
    counts = {"camera": len(cameras), "sink": len(config.sinks), "label": len(tagger.labels)}
    shown = (f"{count} {name}" + ("" if count == 1 else "s") for name, count in counts.items())
    note(f"valid: {', '.join(shown)}.")


def _region(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise errors.OptionError(
            "--region",
            expected="left,top,width,height as fractions",
            got=repr(text),
            hint="The right half is 0.5,0,0.5,1.",
        )
    return numbers


def build_sinks(
    events: Sequence[str], sqlite: Path | None, mqtt: str | None, webhook: str | None, video: Path | None
) -> list[dict[str, Any]]:
    """The sinks of the options, in the form of a configuration file."""
    sinks: list[dict[str, Any]] = [
        {"kind": "jsonl", "path": path if path == "-" else os.path.abspath(path)} for path in events
    ]
    if sqlite:
        sinks.append({"kind": "sqlite", "path": sqlite.absolute()})
    if mqtt:
        sinks.append({"kind": "mqtt", "url": mqtt})
    if webhook:
        secret = {"secret": f"${_SECRET}"} if os.environ.get(_SECRET) else {}
        sinks.append({"kind": "webhook", "url": webhook, **secret})
    if video:
        sinks.append({"kind": "video", "folder": video.absolute()})
    return sinks


def start_metrics(site: Site) -> None:
    """Answer Prometheus on the port of the site's configuration, if it has one.

    Raises:
        MissingPartError: the package prometheus-client is not installed.
        OptionError: the address cannot be used.
    """
    config = site.config.metrics
    if config.port is None:
        return
    try:
        from ..watch.metrics import make_registry, serve_metrics
    except ImportError as error:
        raise errors.MissingPartError(
            "metrics", expected="the package prometheus-client", got=str(error), hint=errors.install_hint("cameras")
        ) from error
    from .screen import note

    server = serve_metrics(make_registry(site.tagger, site), config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    note(f"metrics on http://{host}:{server.server_port}/metrics")


def systemd_unit(command: str) -> str:
    """The systemd unit that runs ``pvlr watch`` or ``pvlr serve``."""
    text = (Path(__file__).parents[1] / "watch" / "pvlr-watch.service").read_text()
    return text.replace("pvlr watch", f"pvlr {command}").replace("pvlr-watch", f"pvlr-{command}")


def log_to_stderr() -> None:
    """Print the log of cameras and sinks as messages of this command."""
    import logging

    from .screen import note

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage().strip())

    logger = logging.getLogger("pvlr_sdk")
    logger.addHandler(Notes())
    logger.setLevel(logging.INFO)
    logger.propagate = False
