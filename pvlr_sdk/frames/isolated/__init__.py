"""Runs what reads untrusted bytes in processes that may crash, and that cannot reach files, network or programs.

``docs/isolation.md`` describes what such a process can do.
"""

from .calls import run_isolated as run_isolated
from .decoders import Decoders as Decoders
from .decoders import decode_isolated as decode_isolated
from .process import available as available
