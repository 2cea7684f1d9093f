"""Models by name: the catalogue agrees with the bundles, and a plan is found by its path, folder or name."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.site.config import SiteConfig
from pvlr_sdk.models.catalogue import FileSpec, Model, catalogue, is_model, locate
from pvlr_sdk.models.find import find_knowledge, find_plan, load_bundle

ROOT = Path(__file__).parents[3]


# -- the catalogue ----------------------------------------------------------------------------------------------------


def test_catalogue_and_cards_are_what_the_bundles_and_results_give(update: ModuleType) -> None:
    """If this fails: python models/update.py."""
    for path, text in update.outputs(catalogue().url).items():
        assert path.read_text() == text, path
        assert len(text.splitlines()) < 80 or path.suffix == ".json", path


def test_catalogue_has_every_bundle() -> None:
    folders = [*ROOT.glob("models/*/engine.plan"), *ROOT.glob("pvlr_sdk/models/*/engine.plan")]
    assert sorted(model.name for model in catalogue().models) == sorted(
        path.parent.name for path in folders
    )
    for model in catalogue().models:
        bundle = load_bundle(model.name)
        assert bundle.manifest.name == model.name
        assert len(bundle.labels) == model.labels
        assert model.input == (bundle.manifest.input.width, bundle.manifest.input.height)
        assert model.files[".plan"] == bundle.manifest.files["plan"]
        assert model.files[".labels.safetensors"] == bundle.manifest.files["labels"]


@pytest.mark.slow
def test_assets_are_what_is_downloaded(
    update: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["update.py", "--assets", str(tmp_path)])
    monkeypatch.setattr(update, "outputs", lambda url: {})
    update.main()
    for model in catalogue().models:
        for end, file in model.files.items():
            assert (
                FileSpec(**update.described((tmp_path / f"{model.name}{end}").read_bytes())) == file
            )


# -- how a plan is found ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tagger_by_name_and_by_folder() -> None:
    folder = ROOT / "models" / "pvlr-lite0-open"
    with Tagger("pvlr-lite0-open") as tagger:
        assert tagger.info["plan"] == str(folder / "engine.plan")
        assert [tag.label for tag in tagger.predict(ROOT / "docs/images/chelsea.jpg")] == ["cat"]
    assert load_bundle(folder).path == folder / "engine.plan"


def test_a_path_takes_precedence_over_a_name(own_plan: Path, small: Model) -> None:
    Path("cats").mkdir()
    with pytest.raises(errors.PlanNotFoundError, match="not installed"):
        find_plan("cats")  # a folder without a plan is not in the way
    for file in own_plan.parent.glob("engine.*"):
        (Path("cats") / file.name).write_bytes(file.read_bytes())
    assert find_plan("cats") == Path("cats/engine.plan")
    Path("file").write_bytes(b"")
    assert find_plan("file") == Path("file")


def test_places_are_searched_in_order(
    small: Model, bodies: dict[str, bytes], cache: Path, tmp_path: Path
) -> None:
    def put(folder: Path, plan: bytes = bodies[".plan"]) -> Path:
        (folder / "cats").mkdir(parents=True)
        for end, data in {**bodies, ".plan": plan}.items():
            (folder / "cats" / f"engine{end}").write_bytes(data)
        return folder / "cats" / "engine.plan"

    assert locate(small) is None
    cached = put(cache / "models")
    assert locate(small) == ("cached", cached)
    put(tmp_path / "lib" / "models")  # beside the package, but not a checkout
    assert locate(small) == ("cached", cached)
    here = put(Path("models").absolute())
    assert locate(small) == ("checkout", here)
    (tmp_path / "lib" / "pyproject.toml").touch()
    assert locate(small) == ("checkout", tmp_path / "lib/models/cats/engine.plan")
    assert locate(small) != (
        "bundled",
        bundled := put(tmp_path / "lib/pvlr_sdk/models", b"thresholds may differ"),
    )
    assert locate(small) == ("bundled", bundled)


@pytest.mark.parametrize("end", [".plan", ".json", ".labels.safetensors"])
@pytest.mark.parametrize("damage", ["modified", "missing"])
def test_other_files_in_the_cache_or_working_directory_are_not_the_model(
    small: Model, bodies: dict[str, bytes], cache: Path, end: str, damage: str
) -> None:
    for folder in (cache / "models" / "cats", Path("models/cats")):
        folder.mkdir(parents=True)
        for other, data in bodies.items():
            (folder / f"engine{other}").write_bytes(data)
        file = folder / f"engine{end}"
        file.write_bytes(b"#" + file.read_bytes()[1:]) if damage == "modified" else file.unlink()
    assert locate(small) is None
    named = (
        rf"models/cats/engine{re.escape(end)}, which differs from the released file"
        if damage == "modified"
        else "not installed"
    )
    with pytest.raises(errors.PlanNotFoundError, match=named):
        find_plan("cats")


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("pvlr-lite2-opn", "pvlr-lite2-open"),
        # models of version 0.2
        ("pvlr-lite2-coco80", "pvlr-lite2-open"),
        ("pvlr-lite2-coco80-448", "pvlr-lite2-open-448"),
        ("pvlr-lite0-coco80", "pvlr-lite0-open"),
    ],
)
def test_an_unknown_name_is_answered_with_similar_ones(name: str, similar: str) -> None:
    with pytest.raises(errors.PlanNotFoundError) as caught:
        Tagger(name)
    for part in (f"{name}: ", f"Did you mean {similar} or ", "pvlr models", "pvlr build"):
        assert part in str(caught.value)


def test_without_similar_names_none_is_proposed() -> None:
    for nothing_similar in ("nope.plan", "x" * 5000, ""):
        with pytest.raises(errors.PlanNotFoundError) as caught:
            Tagger(nothing_similar)
        assert "Did you mean" not in str(caught.value)


def test_the_knowledge_of_a_model_lies_beside_its_plan(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_knowledge("pvlr-lite2-open")
    assert found.is_file()
    assert found.parent == find_plan("pvlr-lite2-open").parent
    assert find_knowledge(None) == find_knowledge(found) == find_knowledge(found.parent) == found
    with pytest.raises(
        errors.PlanNotFoundError,
        match="absent: expected a plan file, its folder or the name of a model",
    ):
        find_knowledge(tmp_path / "absent")
    with pytest.raises(
        errors.OptionError, match="expected an open plan with a knowledge file beside it"
    ) as caught:
        find_knowledge(plan)
    assert caught.value.hint == "Use one of pvlr-lite2-open, pvlr-lite0-open, pvlr-lite2-open-448."
    with pytest.raises(errors.PlanNotFoundError, match=r"Did you mean pvlr-lite2-open"):
        find_knowledge("pvlr-lite2-opn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pvlr-lite2-open").write_bytes(b"")  # takes precedence
    with pytest.raises(errors.OptionError, match="got pvlr-lite2-open"):
        find_knowledge("pvlr-lite2-open")


def test_a_known_name_that_is_absent_names_the_command(small: Model) -> None:
    with pytest.raises(errors.PlanNotFoundError, match="pvlr models fetch cats"):
        find_plan("cats")


def test_a_site_takes_a_name(tmp_path: Path) -> None:
    def plan(given: str) -> Path | None:
        return SiteConfig.parse(
            {"plan": given, "cameras": {"a": "0"}}, source="site", folder=tmp_path
        ).plan

    assert plan("pvlr-lite0-open") == Path("pvlr-lite0-open")
    assert plan("own.plan") == tmp_path / "own.plan"
    (tmp_path / "pvlr-lite0-open").mkdir()
    assert plan("pvlr-lite0-open") == tmp_path / "pvlr-lite0-open"
    assert not is_model("own.plan")


def test_a_cache_that_the_file_system_refuses_has_no_models(
    small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / ("x" * 300)))
    with pytest.raises(errors.PlanNotFoundError, match="not installed"):
        find_plan("cats")
