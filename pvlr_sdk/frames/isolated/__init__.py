"""Runs code that reads untrusted bytes in processes that may crash, and that cannot reach files, network or programs.

``docs/isolation.md`` describes what such a process can do.
"""

from .decoders import Decoders as Decoders
from .process import available as available
