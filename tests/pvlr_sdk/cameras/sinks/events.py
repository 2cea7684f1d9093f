"""Events to send."""

from __future__ import annotations

from pvlr_sdk.cameras.events import Event


def make_event(number: int, camera: str = "door", label: str = "car") -> Event:
    """Event number n: even numbers are on, odd ones the off of the event before."""
    start = 1.75e9 + 10 * (number // 2)
    common = {"score": 0.75, "peak": 0.875, "peak_time": start + 1, "start": start}
    if number % 2 == 0:
        return Event("on", f"event-{number // 2}", camera, label, time=start + 2, **common)
    return Event(
        "off",
        f"event-{number // 2}",
        camera,
        label,
        time=start + 5,
        end=start + 5,
        reason="score",
        **common,
    )
