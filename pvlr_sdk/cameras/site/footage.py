"""Replay with the settings of a site file: of a memory, and of clips, whose scores are computed once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from ... import errors
from ..._util.files import state_folder, system_errors
from ..events import EventSettings
from ..events.thresholds import Minimum, Thresholds
from ..memory.precision import minimums, statement
from ..memory.reader import VERSION, Reader
from ..memory.recording import Context, Place
from ..memory.replay import SettingsFor
from ..memory.sink import MemoryConfig
from .camera_config import CameraConfig
from .config import EventsConfig, SiteConfig, StreamConfig
from .factory import event_settings, make_tagger, tagged_regions, without_unknown_labels
from .site import Site

_KEPT = 16
"""Clips whose scores are kept."""


def settings_of(config: SiteConfig, proven: Mapping[str, Minimum] | None = None) -> SettingsFor:
    """The settings of each recorded place in a site. A camera that the site does not have has its general settings; a
    region that its camera does not have has no events. ``proven``: as for :func:`.factory.thresholds_of`."""

    def settings(place: Place, context: Context) -> EventSettings | None:
        site = without_unknown_labels(config, context.names)
        camera = site.cameras.get(place.camera)
        if camera is not None and place.region not in tagged_regions(camera):
            return None
        plan = dict(zip(context.names, context.deployed, strict=True))
        thresholds = Thresholds(
            plan, site.events.threshold, site.events.thresholds, proven=proven or {}
        )
        return event_settings(site.events, camera or CameraConfig(uri=""), thresholds, place.region)

    return settings


def proven_in(reader: Reader, config: SiteConfig) -> dict[str, Minimum]:
    """What the answers in a memory prove of the precisions that a site requires."""
    required = config.memory.precision if config.memory else {}
    return minimums({label: statement(reader, label, share) for label, share in required.items()})


def record(clip: Path, config: SiteConfig) -> Path:
    """The memory of a clip with the scores of all its frames, which is computed if it is not there.

    The clip stands for the camera that is named like it, else for the first one: its regions and tiles apply.

    Raises:
        SourceError, BundleError, OptionError: the clip or the plan cannot be used.
        OutputError: the scores cannot be stored.
    """
    name = clip.stem if clip.stem in config.cameras else next(iter(config.cameras), "clip")
    written = config.cameras.get(name, CameraConfig(uri=""))
    regions = {
        key: region.model_copy(update={"schedule": None}) for key, region in written.regions.items()
    }
    camera = written.model_copy(
        update={
            "uri": str(clip.absolute()),
            "regions": regions,
            "schedule": None,
            "loop": False,
            "transport": "tcp",
        }
    )
    with system_errors(errors.OptionError, str(clip), expected="a clip", hint="Check its path."):
        state = clip.stat()
    with make_tagger(config) as tagger, ExitStack() as stack:
        plan = [tagger.info[key] for key in ("sha256", "bank", "precision")]
        shape = camera.model_dump(
            mode="json", include={"uri", "region", "regions", "tiles", "refresh"}
        )
        key = json.dumps(
            [VERSION, name, plan, config.operating_point, state.st_size, state.st_mtime_ns, shape]
        )
        folder = state_folder() / "replays" / hashlib.sha256(key.encode()).hexdigest()[:24]
        if _is_intact(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        # of this process: another may record the same clip
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        stack.callback(shutil.rmtree, part, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)
        memory = MemoryConfig(folder=part, max_mb=1e6, max_days=1e6, floor=0, samples_per_hour=0)
        general = {
            "events": EventsConfig(),
            "stream": StreamConfig(every_frame=True),
            "sinks": (),
            "memory": memory,
        }
        site = Site(config.model_copy(update={"cameras": {name: camera}, **general}), tagger=tagger)
        site.run()
        stats = site.stats()
        if (
            any(sink["lost"] or sink["error"] for sink in stats["sinks"])
            or not stats["cameras"][name]["tagged"]
        ):
            raise errors.OutputError(
                str(folder),
                "the scores of all frames of a clip",
                next((sink["error"] for sink in stats["sinks"] if sink["error"]), None)
                or "a part of them",
                "Check the clip, and free some space.",
            )
        with suppress(OSError):  # the other process was faster
            part.rename(folder)
    for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _is_intact(folder: Path) -> bool:
    try:
        with closing(Reader(folder)) as reader:
            return bool(
                [chunk.number for place in reader.places() for chunk in reader.chunks(place)]
            )
    except errors.OptionError:  # it is not there, or damaged
        return False
