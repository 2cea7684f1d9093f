"""``pvlr frigate``: sub labels and attributes for Frigate's events."""

from __future__ import annotations

import signal
import threading

from typer import Option

from . import option_groups, options


def frigate(
    *,
    mqtt: str = Option(
        ...,
        "--mqtt",
        metavar="URL",
        envvar="PVLR_MQTT_URL",
        help="The broker: mqtt://[USER:PASSWORD@]HOST[:PORT].",
    ),
    url: str = Option(..., "--url", metavar="URL", help="Frigate: http://frigate:5000."),
    model: option_groups.Model,
    threshold: options.TagThreshold = None,
    objects: list[str] | None = Option(
        None, "--object", metavar="LABEL", help="Only objects of LABEL; repeatable."
    ),
    at_end: bool = Option(
        False, "--at-end", help="Wait for the end of each event, whose snapshot is the best."
    ),
    attributes: bool = Option(
        False, "--attributes", help="Like --at-end, and set all tags as attributes."
    ),
    exclusive: bool = Option(
        False, "--exclusive", help="One label is right: the best one, or unknown."
    ),
    topic: str = Option("frigate", metavar="PREFIX", help="Frigate's topic_prefix."),
) -> None:
    """Set sub labels of Frigate's tracked objects.

    Each object's snapshot is tagged once, and the best tag becomes its sub label,
    if it has none; stderr has a line for each. Runs until it is interrupted, also
    while Frigate or the broker is away. Needs the extra \\[cameras].

    \b
    [bold]Examples[/bold]
    pvlr frigate --mqtt mqtt://broker --url http://frigate:5000 --words "van, ambulance" --object car
    """
    from ..cameras.bridges.frigate import FrigateTagger
    from ..cameras.sinks.mqtt import MqttSettings
    from ..tagger import Tagger
    from .site import log_to_stderr

    log_to_stderr()
    tagger = Tagger(**model.arguments, threshold=threshold, operating_point="precise")
    broker = MqttSettings(url=mqtt, prefix=topic)
    FrigateTagger(
        tagger,
        url,
        broker,
        objects=objects or (),
        at_end=at_end,
        attributes=attributes,
        exclusive=exclusive,
    )
    # there is nothing to store, and no thread may delay the end
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Event().wait()
