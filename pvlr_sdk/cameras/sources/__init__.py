"""Where frames come from: image and video files, network cameras, devices, pipelines and a test pattern.

:func:`open_source` opens whatever a URI names. :data:`.opening.SCHEMES` is the table of sources.
"""

from .opening import open_source, parse_uri, redacted
from .source import CapturedFrame, EndOfSource, Source, SourceUri

__all__ = [
    "CapturedFrame",
    "EndOfSource",
    "Source",
    "SourceUri",
    "open_source",
    "parse_uri",
    "redacted",
]
