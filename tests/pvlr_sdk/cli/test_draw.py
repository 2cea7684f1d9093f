"""``pvlr tag --draw``: what it replaces, how it names its files, and heat maps."""

from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger


def _difference(path, other) -> float:
    return np.abs(cv2.imread(str(path)).astype(int) - other).mean()


def test_a_source_with_the_name_of_a_copy_stays(pvlr, plan, folder):
    shutil.copy(folder / "b.png", folder / "source.png")
    (folder / "source.png").rename(folder / "a-tags.jpg")  # its content decides, not its name
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    for _ in range(2):
        done = pvlr(
            "tag", folder / "a.jpg", folder / "a-tags.jpg", "--plan", plan, "--draw", folder
        )
        assert (done.code, done.err) == (0, "")
        assert {path: path.read_bytes() for path in before} == before
        assert set(folder.rglob("*.*")) - set(before) == {
            folder / "a.jpg-tags.jpg",
            folder / "a-tags-tags.jpg",
        }


def test_a_file_that_is_not_tagged_stays_too(pvlr, plan, folder):
    drawn = folder / "out"
    drawn.mkdir()
    shutil.copy(folder / "a.jpg", drawn / "a-tags.jpg")
    (drawn / "b-tags.jpg").symlink_to("nowhere")
    os.mkfifo(drawn / "b.png-tags.jpg")
    (drawn / "b.png-1-tags.jpg").mkdir()
    assert (
        pvlr("tag", folder / "a.jpg", folder / "b.png", "--plan", plan, "--draw", drawn).code == 0
    )
    assert (drawn / "a-tags.jpg").read_bytes() == (folder / "a.jpg").read_bytes()
    assert (drawn / "b-tags.jpg").is_symlink()
    assert (drawn / "a.jpg-tags.jpg").exists()
    assert (drawn / "b.png-2-tags.jpg").exists()


def test_copies_of_an_earlier_run_are_replaced_unless_they_are_tagged(pvlr, plan, folder):
    run = ("tag", folder / "a.jpg", "--plan", plan, "--draw", folder / "out")
    assert pvlr(*run).code == 0
    copy = folder / "out/a-tags.jpg"
    plain = copy.read_bytes()
    assert pvlr(*run, "--heatmap").code == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["a-tags.jpg"]
    assert copy.read_bytes() != plain
    (folder / "link.jpg").symlink_to(copy)
    kept = copy.read_bytes()
    assert pvlr(*run, folder / "link.jpg").code == 0
    assert copy.read_bytes() == kept
    assert {path.name for path in (folder / "out").iterdir()} == {
        "a-tags.jpg",
        "a.jpg-tags.jpg",
        "link-tags.jpg",
    }


@pytest.mark.slow
def test_folders_are_kept_so_that_each_copy_is_known(pvlr, plan, folder, tmp_path, monkeypatch):
    shutil.copy(folder / "b.png", folder / "sub/b.png")
    shutil.copy(folder / "a.jpg", folder / "b.jpg")
    (folder / "other").mkdir()
    shutil.copy(folder / "a.jpg", folder / "other/a.jpg")
    monkeypatch.chdir(folder)

    def copies(*inputs: str) -> set[str]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(2):
            done = pvlr("tag", *inputs, "--plan", plan, "--draw", out)
            assert (done.code, done.err) == (0, "")
        return {str(path.relative_to(out)) for path in out.rglob("*.*")}

    two = {"sub/a-tags.jpg", "sub/b-tags.jpg", "other/a-tags.jpg"}
    assert copies(".") == {"a-tags.jpg", "b-tags.jpg", "b.png-tags.jpg", *two}
    assert copies("sub", "./sub/../other", str(folder / "sub/a.jpg")) == {
        *two,
        "sub/a.jpg-tags.jpg",
    }
    assert copies("sub") == copies("../photos/sub/*") == {"a-tags.jpg", "b-tags.jpg"}


def test_long_names_and_long_sides_do_not_end_the_run(pvlr, plan, folder):
    names = ["ü" * 125 + "b", "ü" * 125 + "c", "x" * 251, "y" * 246]
    for name in names:
        shutil.copy(folder / "a.jpg", folder / f"{name}.jpg")
    for name, shape in (("high", (65535, 1)), ("wide", (1, 65535))):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros(shape, np.uint8))
    done = pvlr("tag", folder, "--plan", plan, "--draw", folder / "out")
    assert (done.code, done.err) == (0, "")
    drawn = {path.name for path in (folder / "out").iterdir()}
    assert len(drawn) == 3 + len(names) + 2
    assert {
        "x" * 246 + "-tags.jpg",
        "y" * 246 + "-tags.jpg",
        "high-tags.jpg",
        "wide-tags.jpg",
    } < drawn
    assert max(len(os.fsencode(name)) for name in drawn) == 255
    assert cv2.imread(str(folder / "out/high-tags.jpg")).shape == (65500, 1, 3)


@pytest.mark.slow
def test_heatmap(pvlr, plan, folder):
    with Tagger(plan, threshold=0) as tagger:
        result = tagger.predict(folder / "a.jpg")
    run = ("tag", folder / "a.jpg", "--plan", plan, "--threshold", 0, "--draw", folder / "out")
    copy = folder / "out/a-tags.jpg"
    for options, heatmap in (
        ((), False),
        (("--heatmap",), True),
        (("--heatmap", "rocket"), "rocket"),
        (("--heatmap=rocket",), "rocket"),
        (("--heatmap", "--json"), True),
        (("--heatmap=",), True),
    ):
        done = pvlr(*run, *options)
        assert (done.code, done.err) == (0, "")
        assert _difference(copy, result.draw(heatmap=heatmap)) < 3
        assert _difference(copy, result.draw(heatmap="cat")) > 5
    assert (
        len({result.draw(heatmap=label).tobytes() for label in (result[0].label, "rocket", "cat")})
        == 3
    )


def test_invalid_heatmaps(pvlr, plan, folder):
    run = ("tag", folder / "a.jpg", "--plan", plan)
    done = pvlr(*run, "--draw", folder / "out", "--heatmap", "zebra")
    assert (done.code, done.out) == (2, "")
    assert "UnknownLabelError" in done.err
    done = pvlr(*run, "--heatmap")
    assert (done.code, done.out) == (2, "")
    assert "--draw" in done.err
    assert not (folder / "out").exists()


def test_a_command_without_arguments(pvlr):
    """An option that may stand without its value is looked for among the arguments, here none."""
    assert pvlr("labels").code in (0, 2)  # 2: a checkout without the bundled model
