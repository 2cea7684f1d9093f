"""What is changed while a site runs: a model of its own that is laid over the settings of the site file.

The site file belongs to the operator and is never written. Changes of the page, the API, MQTT and deployments are kept
in the state folder (:mod:`pvlr_sdk.cameras.control.state`), and are read after the site file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ...errors import OptionError
from ...models.catalogue import is_model
from ..sinks.settings import Name, Section
from ..stream.camera import check_parts
from ..stream.regions import Polygon, check_polygon
from .camera_config import RegionConfig, Score, checked
from .config import SiteConfig


class RegionChange(Section):
    """The shape of a region. Its other settings are those of the region of this name in the site file, if any."""

    polygon: Annotated[Polygon, BeforeValidator(checked(check_polygon))]
    exclude: bool = False


class CameraChange(Section):
    """Changes of a camera.

    Attributes:
        deny: all labels that it does not report; None: as the site file has it.
        regions: all its regions; None: those of the site file.
    """

    enabled: bool | None = None
    deny: tuple[str, ...] | None = None
    regions: dict[Name, RegionChange] | None = None


class DeployedPlan(Section):
    """The plan that was put in use instead of the site file's, and the one before, to which a rollback returns.

    ``instead_of``: the plan that the site file named then. Once the operator names another one there, that one is used.
    """

    plan: Path
    previous: Path | None = None
    instead_of: str


class Changes(Section):
    """All changes of a site.

    Attributes:
        thresholds: by label, thresholds for the site.
        labels: the labels whose events are reported; ``all``: every label; None: those of the site file.
        cameras: by the name of a camera.
        deployed: None: the plan of the site file is in use.
    """

    version: Literal[1] = 1
    thresholds: dict[str, Score] = Field(default_factory=dict)
    labels: Literal["all"] | tuple[str, ...] | None = None
    cameras: dict[Name, CameraChange] = Field(default_factory=dict)
    deployed: DeployedPlan | None = None

    def with_thresholds(self, thresholds: Mapping[str, float]) -> Changes:
        """The same with other thresholds of some labels."""
        rounded = {label: round(value, 6) for label, value in thresholds.items()}
        return self.model_copy(update={"thresholds": {**self.thresholds, **rounded}})

    def with_camera(self, name: str, **fields: Any) -> Changes:
        """The same with other fields of a camera."""
        camera = self.cameras.get(name, CameraChange()).model_copy(update=fields)
        return self.model_copy(update={"cameras": {**self.cameras, name: camera}})

    def without_labels(self, labels: frozenset[str]) -> Changes:
        """The same without labels that are gone."""
        thresholds = {
            label: value for label, value in self.thresholds.items() if label not in labels
        }
        reported = self.labels
        if isinstance(reported, tuple):
            reported = tuple(label for label in reported if label not in labels)
        cameras = {
            name: camera.model_copy(
                update={"deny": tuple(label for label in camera.deny if label not in labels)}
            )
            if camera.deny
            else camera
            for name, camera in self.cameras.items()
        }
        return self.model_copy(
            update={"thresholds": thresholds, "labels": reported, "cameras": cameras}
        )

    def fitting(self, config: SiteConfig) -> tuple[Changes, list[str]]:
        """The changes that apply to a site file, and in words those that do not any more."""
        dropped = [f"camera {name!r}" for name in self.cameras if name not in config.cameras]
        cameras = {name: camera for name, camera in self.cameras.items() if name in config.cameras}
        for name, camera in cameras.items():
            try:
                check_parts(camera.regions or {}, config.cameras[name].tiles)
            except OptionError as error:
                dropped.append(f"regions of camera {name!r}, {error.got}")
                cameras[name] = camera.model_copy(update={"regions": None})
        deployed = self.deployed
        if deployed and deployed.instead_of != plan_name(config):
            dropped.append(
                f"plan {str(deployed.plan)!r}, since the site file now names {plan_name(config)!r}"
            )
            deployed = None
        elif deployed and not deployed.plan.is_file():
            dropped.append(f"plan {str(deployed.plan)!r}, which is gone")
            deployed = None
        return self.model_copy(update={"cameras": cameras, "deployed": deployed}), dropped

    def applied(self, config: SiteConfig) -> SiteConfig:
        """The settings of a site file with these changes, but for the thresholds, whose source is shown.

        Changes of cameras that it does not have are ignored.
        """
        events = config.events
        if self.labels is not None:
            reported = None if self.labels == "all" else self.labels
            events = events.model_copy(update={"labels": reported, "deny": ()})
        cameras = dict(config.cameras)
        for name, change in self.cameras.items():
            if name not in cameras:
                continue
            fields: dict[str, Any] = {} if change.enabled is None else {"enabled": change.enabled}
            if change.deny is not None:
                fields["deny"] = change.deny
            if change.regions is not None:
                fields["regions"] = _with_shapes(cameras[name].regions, change.regions)
            cameras[name] = cameras[name].model_copy(update=fields)
        plan = self.deployed.plan if self.deployed else config.plan
        return config.model_copy(update={"events": events, "cameras": cameras, "plan": plan})


def plan_name(config: SiteConfig) -> str:
    """How a site file names its plan, whatever the working directory is; empty: it names none."""
    if config.plan is None:
        return ""
    return str(config.plan) if is_model(str(config.plan)) else os.path.abspath(config.plan)


def _with_shapes(
    regions: Mapping[str, RegionConfig], shapes: Mapping[str, RegionChange]
) -> dict[str, RegionConfig]:
    plain = RegionConfig.model_construct()
    return {
        name: regions.get(name, plain).model_copy(
            update={"polygon": shape.polygon, "exclude": shape.exclude}
        )
        for name, shape in shapes.items()
    }


def reported_labels(
    labels: Sequence[str], known: Sequence[str]
) -> Literal["all"] | tuple[str, ...]:
    """A choice of labels to report; all known ones also include those that come later."""
    return "all" if len(labels) == len(known) else tuple(labels)
