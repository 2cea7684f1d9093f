"""What FFmpeg may do for a source: protocols and formats, certificates, and the memory for one packet or frame."""

from __future__ import annotations

import contextlib
import ctypes
import os
import ssl
from typing import Any

from .source import SourceOptions
from .uri import DeviceUri, NetworkUri, PathUri

MAX_PIXELS = 8192 * 4352
"""The largest frame of H.264 and of H.265 up to level 6.2."""

_BYTES_PER_PIXEL = 4
"""Memory of one allocation for a frame: BGRA, or one plane of a deeper format."""

_FORMATS = (
    "mpjpeg,mjpeg,jpeg_pipe,png_pipe,mpegts,mpegvideo,mpeg,flv,matroska,webm,mov,mp4,avi,asf,ogg,"
    "h264,hevc,m4v,aac"
)
"""What a camera may send. Not a playlist: that would make this machine request any address that the camera names."""

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def open_arguments(
    uri: PathUri | NetworkUri | DeviceUri, source_options: SourceOptions
) -> tuple[str, str | None, dict[str, str]]:
    """FFmpeg's name, format and options for a source."""
    if isinstance(uri, PathUri):
        # Nor does a file make this machine request an address: a playlist can be called clip.mp4.
        return uri.path, None, {"protocol_whitelist": "file"}
    if isinstance(uri, DeviceUri):
        options = {"framerate": f"{uri.fps:g}"} if uri.fps else {}
        if uri.size:
            options["video_size"] = f"{uri.size[0]}x{uri.size[1]}"
        return uri.device, "v4l2", options
    # Not fflags=nobuffer: it discards the packets of the probe, and with them the first key frame. A short probe that
    # does not measure the frame rate adds no delay either.
    options = {
        "flags": "low_delay",
        "fpsprobesize": "0",
        "probesize": "1000000",
        "analyzeduration": "1000000",
    }
    if uri.secure:
        options["tls_verify"] = "0" if source_options.insecure else "1"
        if not source_options.insecure and (
            certificates := source_options.ca or system_certificates()
        ):
            options["ca_file"] = certificates
    if uri.scheme.startswith("rtsp"):
        options |= {
            "rtsp_transport": source_options.transport,
            "allowed_media_types": "video",
            "max_delay": "100000",  # microseconds to wait for reordered UDP packets; the default is 0.7 s
            "buffer_size": "4194304",  # of the UDP socket: a key frame arrives in one burst
            "protocol_whitelist": "rtsp,rtsps,rtp,udp,tcp,tls",
        }
    else:
        options |= {
            "max_redirects": "0",
            "protocol_whitelist": "http,https,httpproxy,tcp,tls",
            "format_whitelist": _FORMATS,
        }
    return uri.url, None, options


def system_certificates() -> str | None:
    """The file of the certificates that this machine trusts; PyAV's own FFmpeg does not know where it is."""
    return ssl.get_default_verify_paths().cafile or next(
        (path for path in _BUNDLES if os.path.isfile(path)), None
    )


_allowed = 0


def limit_allocations(av: Any, max_pixels: int) -> None:
    """Limit each allocation of PyAV's FFmpeg to that of a frame of ``max_pixels``, for this process.

    A packet whose header claims 2 GB, or a frame of 16000 x 16000 pixels, then is a damaged one. With several sources
    the largest limit counts.
    """
    global _allowed
    if _allowed >= _BYTES_PER_PIXEL * max_pixels:
        return
    _allowed = _BYTES_PER_PIXEL * max_pixels
    # FFmpeg's av_max_alloc is the only limit for packets: without it a hostile camera takes 2 GB (test_trust.py). PyAV
    # does not wrap it. Its extension module is linked to the FFmpeg in use, and dlsym finds the function through it.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(_allowed))
