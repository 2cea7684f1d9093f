"""``names`` and ``language`` of a site."""

from __future__ import annotations

import json

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.site.config import SiteConfig
from pvlr_sdk.cameras.site.factory import make_tagger


def test_names_are_shown_and_a_language_needs_them(tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"names": {"de": {"dog": "Hund"}}}), "utf-8")
    raw = {"names": "names.json", "language": "de"}
    config = SiteConfig.parse(raw, source="test", folder=tmp_path)
    assert (config.shown("dog"), config.shown("cat")) == ("Hund", "cat")
    assert config.tree.matching("Hund", ["dog", "cat"]) == ["dog"]
    assert SiteConfig.parse({}, source="test").shown("dog") == "dog"
    with pytest.raises(errors.OptionError, match="got 'fr'"):
        make_tagger(SiteConfig.parse({**raw, "language": "fr"}, source="test", folder=tmp_path))
    names.write_text("{")
    with pytest.raises(errors.ConfigError, match=r"names\.json"):
        make_tagger(SiteConfig.parse(raw, source="test", folder=tmp_path))
