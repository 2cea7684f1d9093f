"""The metadata that GStreamer has for classifications as of 1.24."""

from __future__ import annotations

import pytest

from .conftest import Plugin
from .test_pvlrtag import ALL, CONVERT, PHOTO, SMALL

pytestmark = pytest.mark.slow


def test_tags_are_also_classifications_of_gstreamer(plugin: Plugin) -> None:
    """Two elements add one each; a frame without a tag has none."""
    one, two, none = plugin.run(
        f"{PHOTO} ! {CONVERT}BGR ! pvlrtag plan={SMALL} ! fakesink name=sink",
        f"{PHOTO} ! {CONVERT}BGR ! {ALL} ! pvlrtag plan={SMALL} ! fakesink name=sink",
        f"{PHOTO} ! {CONVERT}BGR ! pvlrtag plan={SMALL} threshold=1 ! fakesink name=sink",
    )
    if one["buffers"][0]["analytics"] is None:
        pytest.skip("no GstAnalytics on this machine; .ci/run lists the Debian packages")
    tags = dict(zip(one["messages"][0]["labels"], one["messages"][0]["scores"], strict=True))
    assert set(tags) == {"cat"}
    assert one["buffers"][0]["analytics"] == [tags]
    every, again = two["buffers"][0]["analytics"]
    assert (len(every), again) == (80, tags)
    assert none["buffers"][0]["analytics"] == []
