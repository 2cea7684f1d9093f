"""Changes of a camera of a running site: its regions, and whether it is tagged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..site.camera_config import RegionConfig
from ..site.changes import Keys, camera_keys, region_keys
from ..site.site import Site
from ..site.yaml_file import read_yaml
from ..stream.regions import check_polygon
from .site_file import SiteFile, locked, replace_files


class CameraControl:
    """A part of :class:`.control.Control`, with its lock: a change is used from the next frame on, and kept in the site
    file, or else nothing is changed."""

    def __init__(self, site: Site, file: SiteFile | None, *, lock: threading.RLock) -> None:
        self._site, self._file, self._lock = site, file, lock

    def set_regions(self, camera: str, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Use other regions of a camera, each ``{"polygon": [[x, y], ...], "exclude": bool}``; regions that stay keep
        their settings.

        Raises:
            OptionError: a polygon is invalid.
            ConfigError, OutputError: the site file cannot keep the change. In each case nothing is changed.
        """
        with self._lock:
            before, empty = self._site.config.cameras[camera].regions, RegionConfig.model_construct()
            new = {
                name: before.get(name, empty).model_copy(update={**one, "polygon": check_polygon(one["polygon"])})
                for name, one in shapes.items()
            }
            self._change(camera, {"regions": new}, lambda written: region_keys(camera, written, shapes))

    def enable(self, camera: str, on: bool) -> None:
        """Tag a camera, or do not. Errors as for :meth:`set_regions`."""
        with self._lock:
            self._change(camera, {"enabled": on}, lambda written: camera_keys(camera, written, "enabled", on))

    def _change(self, name: str, fields: Mapping[str, Any], keys: Callable[[Any], Keys]) -> None:
        """Change fields of a camera, and keep them; ``keys``: of what the site file has of the camera."""
        with locked(*([self._file.path] if self._file else [])):
            before = self._site.config.cameras[name]
            try:
                self._site.set_camera(name, before.model_copy(update=fields))
                if self._file:
                    self._file.edited({})  # raises: it is invalid
                    written = (read_yaml(self._file.path).get("cameras") or {}).get(name)
                    replace_files({self._file.path: self._file.edited(keys(written))[0]})
            except BaseException:
                self._site.set_camera(name, before)
                raise
