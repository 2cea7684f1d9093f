"""Search by what labels are kinds of, by synonyms, and by names in another language."""

from __future__ import annotations

import json

from tests.pvlr_sdk.cameras.memory.conftest import pvlr


def test_search_by_parent_synonym_and_name(folder, tmp_path):
    def best(words, *options):
        found = pvlr("search", words, "--memory", folder, *options, "--json")
        return [(row["event"], row["time"], row["score"]) for row in json.loads(found)]

    assert len(best("car")) > 2
    assert best("automobile") == best("car")
    assert best("animal") == best("cat")
    names = tmp_path / "names.json"
    content = {"parents": {"cat": "thing", "car": "thing"}, "names": {"de": {"car": "Auto"}}}
    names.write_text(json.dumps(content))
    assert best("auto", "--names", names) == best("car")
    scores = [{row[:2]: row[2] for row in best(word)} for word in ("car", "cat")]
    united = {row[:2]: row[2] for row in best("thing", "--names", names)}
    assert united == {key: max(score[key] for score in scores) for key in scores[0]}
