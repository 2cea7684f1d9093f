"""What ``watch`` and ``serve`` share: the check of a site, its metrics, its log, its signals and its memory."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from ..cameras.control.deployment import Deployment
    from ..cameras.site import Site, SiteConfig

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
"""Parameters of mallopt, from glibc's malloc.h."""
_LARGE = 256 * 1024
_ARENAS = 2
_log = logging.getLogger(__name__)


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
