"""The URI grammar: valid and invalid forms, and credentials, which are never shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.sources import parse_uri, redacted
from pvlr_sdk.cameras.sources.gstreamer import PipelineUri
from pvlr_sdk.cameras.sources.pattern import PatternUri
from pvlr_sdk.cameras.sources.uri import DeviceUri, NetworkUri, PathUri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photo.jpg", PathUri("photo.jpg")),
        ("a folder/100%.mp4", PathUri("a folder/100%.mp4")),
        ("file:///srv/a%20clip.mp4", PathUri("/srv/a clip.mp4")),
        ("file://localhost/srv/clip.mp4", PathUri("/srv/clip.mp4")),
        ("0", DeviceUri("v4l2", "/dev/video0")),
        ("12", DeviceUri("v4l2", "/dev/video12")),
        ("v4l2:///dev/video1", DeviceUri("v4l2", "/dev/video1")),
        (
            "v4l2:///dev/v4l/by-id/cam?size=640x480&fps=15",
            DeviceUri("v4l2", "/dev/v4l/by-id/cam", (640, 480), 15.0),
        ),
        ("csi://0", DeviceUri("csi", "0")),
        ("csi://1?fps=29.97", DeviceUri("csi", "1", None, 29.97)),
        ("gst: videotestsrc ! videoconvert ", PipelineUri("videotestsrc ! videoconvert")),
        ("v4l2:///dev/v4l/by-path/pci-0:1.0", DeviceUri("v4l2", "/dev/v4l/by-path/pci-0:1.0")),
        ("test://", PatternUri()),
        ("test://?", PatternUri()),
        ("test://?fps=60&size=1920x1080&frames=9&seed=7", PatternUri((1920, 1080), 60.0, 9, 7)),
        ("TEST://?freeze_after=0&resize_after=5", PatternUri(freeze_after=0, resize_after=5)),
        ("rtsp://cam/a", NetworkUri("rtsp", "cam", "rtsp://cam/a")),
        (
            "RTSPS://u:p@[fe80::1]:322/a?b=c",
            NetworkUri("rtsps", "[fe80::1]", "rtsps://u:p@[fe80::1]:322/a?b=c"),
        ),
        (
            "https://10.0.0.1:8443/live",
            NetworkUri("https", "10.0.0.1", "https://10.0.0.1:8443/live"),
        ),
        ("http://u:p@ss@cam/", NetworkUri("http", "cam", "http://u:p@ss@cam/")),
        ("http://cam/?next=/a.m3u8", NetworkUri("http", "cam", "http://cam/?next=/a.m3u8")),
    ],
)
def test_what_a_line_names(text: str, expected: object) -> None:
    assert parse_uri(text) == expected


NO_SOURCES = [
    *(
        "rtsp://",
        "rtsp:///path",
        "rtsp://cam:0/",
        "rtsp://cam:65536/",
        "rtsp://cam:x/",
        "rtsp://cam:8554x",
        "rtsp://[::1/",
    ),
    *(
        "ftp://cam/",
        "://",
        "://x",
        "gst:",
        "gst:  ",
        "",
        "  ",
        "a\nb",
        "rtsp://cam/\x00",
        "rtsp://a b/",
        "99999",
    ),
    *(
        "csi://",
        "csi://x",
        "csi://0?x=1",
        "v4l2://video0",
        "v4l2:///etc/passwd",
        "v4l2:///dev/../etc/passwd",
    ),
    *(
        "v4l2:///dev/video0?size=640",
        "file://host/x",
        "file://",
        "test://x",
        "test://?fps",
        "test://?fps=0",
    ),
    *(
        "test://?fps=1e3",
        "test://?fps=nan",
        "test://?fps=-1",
        "test://?size=0x0",
        "test://?size=99999x2",
    ),
    *(
        "test://?size=1x1x1",
        "test://?fps=1&fps=2",
        "test://?frames=-1",
        "test://?frames=\u0663",
        "test://?unknown=1",
    ),
]


@pytest.mark.parametrize("text", NO_SOURCES)
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(errors.SourceUriError):
        parse_uri(text)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("cam/live.m3u8", "cam/live.m3u8"),
        ("CAM/LIVE.M3U8", "CAM/LIVE.M3U8"),
        ("cam/a.m3u", "cam/a.m3u"),
        ("bob:hunter2@cam:99/live.m3u8?token=hunter2&x", "***@cam:99/live.m3u8?token=***&x"),
        ("cam/live.m3u8#hunter2", "cam/live.m3u8"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
def test_hls_is_for_gstreamer(scheme: str, address: str, shown: str) -> None:
    """The error names the pipeline, without credentials."""
    with pytest.raises(errors.SourceUriError, match="got an HLS playlist") as caught:
        parse_uri(f"{scheme}://{address}")
    assert f'gst:souphttpsrc location="{scheme.lower()}://{shown}" ! hlsdemux ! decodebin' in str(
        caught.value
    )
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given_", [None, 7, b"rtsp://cam/", ["0"]])
def test_what_is_no_text(given_: object) -> None:
    with pytest.raises(errors.SourceUriError):
        parse_uri(given_)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://cam:554/a/b", "rtsp://cam:554/a/b"),
        ("rtsp://admin:hunter2@cam/a", "rtsp://***@cam/a"),
        ("rtsp://hunter2@cam/a", "rtsp://***@cam/a"),
        ("rtsp://admin:hun/ter2@cam/a", "rtsp://***@cam/a"),  # forgotten escapes
        ("rtsp://admin:hun@ter2@cam/a", "rtsp://***@cam/a"),
        ("http://cam/a?user=admin&pwd=hunter2&x", "http://cam/a?user=***&pwd=***&x"),
        ("rtsp://cam/user=admin_password=hunter2_channel=1.sdp", "rtsp://cam/user=***"),
        ("http://cam/a#hunter2", "http://cam/a"),
        (
            "gst:rtspsrc location=rtsp://a:hunter2@cam user-pw=hunter2 ! decodebin",
            "gst:rtspsrc ! decodebin",
        ),
        ('gst:rtspsrc user-pw="hunter ! hunter2" ! decodebin', "gst:rtspsrc ! decodebin"),
        ('gst:rtspsrc user-pw="hunter2 ! decodebin', "gst:***"),
        ("gst:video/x-raw,width=5 ! hunter=2", "gst:*** ! ***"),
        ("csi://0?fps=5", "csi://0"),
        ("ftp://a:hunter2@cam", "***"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*"), min_size=6
).map("Zq7".__add__)


@given(SECRETS, SECRETS, st.sampled_from(["rtsp", "rtsps", "http", "https"]), st.booleans())
@example("Zq7/", "Zq7#?/@:", "rtsp", False)
@example("Zq7000@", "Zq7000", "http", False)
def test_no_credential_is_shown(user: str, password: str, scheme: str, escaped: bool) -> None:
    if escaped:
        user, password = quote(user, safe=""), quote(password, safe="")
    texts = []
    for uri in (
        f"{scheme}://{user}:{password}@cam.local:99/path",
        f"{scheme}://cam/x?user={user}&pwd={password}",
    ):
        try:
            parsed = parse_uri(uri)
        except errors.SourceUriError as error:
            texts.append(str(error))
        else:
            texts += [parsed.redacted(), repr(parsed)]
        texts.append(redacted(uri))
    assert not any("Zq7" in text for text in texts), texts


@pytest.mark.slow
@given(st.text() | st.from_regex(r"(rtsp|http|csi|v4l2|test|file|gst):(//)?.*"))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        parsed = parse_uri(text)
    except errors.SourceUriError:
        return
    assert parsed.redacted()
    if not isinstance(parsed, (NetworkUri, PipelineUri, PathUri)):
        assert parse_uri(parsed.redacted())
