"""Where pictures come from: files that are tagged one by one (:mod:`.files`), and cameras that are watched.

:func:`open_source` opens anything that a URI can name; :mod:`.uri` is the grammar.
"""

from .captured import CapturedFrame, EndOfSource, Source
from .opening import open_source
from .uri import SourceUri, parse_uri, redacted

__all__ = ["CapturedFrame", "EndOfSource", "Source", "SourceUri", "open_source", "parse_uri", "redacted"]
