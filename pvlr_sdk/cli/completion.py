"""What a shell offers for values; where these offer nothing, the shell offers files."""

from __future__ import annotations

from collections.abc import Callable


def words(*choices: str) -> Callable[[str], list[str]]:
    """The completion of a value that is one of these words."""

    def offered(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return offered


def models(incomplete: str) -> list[str]:
    """The names in the catalogue, which stand for plans."""
    from ..models.catalogue import catalogue

    return words(*(model.name for model in catalogue().models))(incomplete)
