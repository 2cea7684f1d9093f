"""Parts of requests that are almost HTTP, for the tests that send any bytes."""

from __future__ import annotations

import cv2
import numpy as np

TOKEN = "0123456789abcdef"
JPEG = cv2.imencode(".jpg", np.zeros((16, 24, 3), np.uint8))[1].tobytes()

METHODS = (
    [b"GET"] * 8 + [b"POST"] * 4 + [b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"\xff", b""]
)
PATHS = [
    b"/", b"/healthz", b"/v1/tag", b"/v1/tag?top_k=%ff", b"/v1/settings", b"/v1/live", b"/signin", b"*", b"//",
    b"/v1/events?label=%ED%A0%80", b"/v1/cameras/%ED%A0%80", b"http://localhost/healthz", b"/%00",
    b"/" + b"x" * 20_000,
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 15 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"ICY", b""]
HEADERS = [
    b"Host: localhost", b"Host: \xff", b"Host: a, b",
    b"Authorization: Bearer " + TOKEN.encode(), b"Authorization: Bearer \xed\xa0\x80", b"Cookie: pvlr_session=\xff",
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: +5",
    b"Content-Length: %d" % len(JPEG), b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding:\x0bchunked", b"Expect: 100-continue", b"Connection: close", b"Connection: Upgrade",
    b"Upgrade: websocket", b"Upgrade: h2c", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Sec-WebSocket-Version: 13", b"Content-Type: image/jpeg", b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: \xff", b"Origin: null", b" folded: x", b"no colon", b"X: " + b"y" * 9000, b"X:\x00",
]  # fmt: skip
BODIES = [
    b"", b"hello", JPEG, b"5\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"token=%ff",
    b'{"thresholds": {"\\ud800": 1}}',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="\xff"\r\n\r\ntext\r\n--x--\r\n',
]  # fmt: skip
ENDS = [b"\r\n\r\n"] * 8 + [b"\r\n", b"\n", b"\r", b"\n\n", b""]
