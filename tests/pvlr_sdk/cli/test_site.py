"""What ``watch`` and ``serve`` make of a file, of options and of cameras named on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvlr_sdk import errors
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.site.changes import Changes
from pvlr_sdk.cameras.site.factory import make_cameras
from pvlr_sdk.cli.option_groups import Events, Model, Site
from pvlr_sdk.cli.site_settings import build_config

SITE = "cameras: {yard: 'rtsps://yard/'}"


def test_loop_without_a_uri(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    with pytest.raises(
        errors.OptionError, match=r"--loop: expected a camera as URI, got none.* set loop: there"
    ):
        build_config(site=Site(tmp_path / "site.yaml", loop=True))


def test_tiles_of_all_cameras(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "cameras: {yard: 'rtsps://yard/', door: {uri: '0', tiles: [2, 1]}}"
    )
    cameras = make_cameras(build_config(site=Site(tmp_path / "site.yaml")).config)
    assert {camera.name: camera.tiles for camera in cameras} == {"yard": "auto", "door": (2, 1)}
    for tiles, expected in (("3x2", (3, 2)), ("auto", "auto")):
        config = build_config(["hall=1"], Site(tmp_path / "site.yaml", tiles=tiles)).config
        assert [camera.tiles for camera in make_cameras(config)] == [expected] * 3
    (tmp_path / "site.yaml").write_text(
        "cameras: {yard: 'rtsps://yard/', door: {uri: '0', refresh: 20}}"
    )
    config = build_config(site=Site(tmp_path / "site.yaml", tiles="3x2")).config
    assert [(camera.tiles, camera.refresh) for camera in make_cameras(config)] == [
        ((3, 2), None),
        ((3, 2), 20),
    ]
    for tiles in ("x", "5x4"):
        with pytest.raises(errors.OptionError, match="tiles"):
            build_config(site=Site(tmp_path / "site.yaml", tiles=tiles))


def test_paths_of_cameras_are_relative_to_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file to its folder, on the command line to the working directory; a variable may hold either."""
    monkeypatch.setenv("CLIP", "/srv/a clip.mp4")
    monkeypatch.setenv("CAM", "rtsp://cam/")
    file = tmp_path / "cfg" / "site.yaml"
    file.parent.mkdir()
    file.write_text(
        "cameras: {a: clip.mp4, b: {uri: ../x/clip.mp4}, c: '0', d: $CLIP, e: $CAM, f: '~/clip.mp4'}"
    )
    monkeypatch.chdir(tmp_path)
    given = ["clip.mp4", "g=$CAM", "h=$CLIP", "i=file:///srv/a%20clip.mp4"]
    found = {
        name: camera.uri
        for name, camera in build_config(given, Site(Path("cfg/site.yaml"))).config.cameras.items()
    }
    assert found == {
        "a": "cfg/clip.mp4",
        "b": "cfg/../x/clip.mp4",
        "c": "0",
        "f": str(Path.home() / "clip.mp4"),
        "clip": str(tmp_path / "clip.mp4"),
        **dict.fromkeys("eg", "rtsp://cam/"),
        **dict.fromkeys("dhi", "/srv/a clip.mp4"),
    }


def test_the_folder_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option names it relative to the working directory; the limits of the file stay."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "cfg" / "site.yaml"
    file.parent.mkdir()
    file.write_text(f"{SITE}\nmemory: {{folder: old, max_mb: 5}}")
    for given, folder in ((None, file.parent / "old"), (Path("new"), tmp_path / "new")):
        memory: Any = build_config(site=Site(file), events=Events(memory=given)).config.memory
        assert (memory.folder, memory.max_mb) == (folder, 5)
    memory = build_config(["0"], events=Events(memory=Path("new"))).config.memory
    assert (memory.folder, memory.max_mb) == (tmp_path / "new", 2000)
    assert build_config(["0"]).config.memory is None


@pytest.mark.parametrize(
    ("sinks", "files", "kinds"),
    [
        ("[]", [], ["jsonl"]),
        (
            "[{kind: sqlite, path: e.db}, {kind: video, folder: v}]",
            [],
            ["sqlite", "video", "jsonl"],
        ),
        ("[{kind: sqlite, path: e.db}]", ["e.jsonl"], ["sqlite", "jsonl"]),
        ("[{kind: jsonl, path: e.jsonl}]", [], ["jsonl"]),
    ],
)
def test_only_a_file_of_events_replaces_stdout(
    tmp_path: Path, sinks: str, files: list[str], kinds: list[str]
) -> None:
    (tmp_path / "site.yaml").write_text(f"{SITE}\nsinks: {sinks}")
    found = build_config(
        site=Site(tmp_path / "site.yaml"), events=Events(files=files), stdout=True
    ).config.sinks
    assert [sink.kind for sink in found] == kinds
    assert any(str(getattr(sink, "path", "")) == "-" for sink in found) == (
        not files and "jsonl" not in sinks
    )


@pytest.mark.parametrize(
    "section", ["events: [1]", "cameras: door", "sinks: {}", "events: {thresholds: [1]}"]
)
def test_options_do_not_hide_what_is_wrong_in_the_file(tmp_path: Path, section: str) -> None:
    (tmp_path / "site.yaml").write_text(f"{section}\nplann: x\nserve: {{prt: 1}}")
    with pytest.raises(errors.ConfigError) as caught:
        build_config(
            ["0"],
            Site(tmp_path / "site.yaml"),
            events=Events(labels=["cat"], threshold=["cat=1"], files=["-"]),
        )
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_of_certificates_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("cameras: {door: {uri: 'https://door/', ca: none.pem}}")
    config = build_config(site=Site(tmp_path / "site.yaml")).config
    assert config.cameras["door"].ca == tmp_path / "none.pem"
    with pytest.raises(errors.OptionError, match="ca: expected a file of certificates"):
        make_cameras(config)


def test_a_site_file_from_the_command_line(
    pvlr, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read back as the same site, and has no environment variable's value."""
    monkeypatch.setenv("PASSWORD", "s3cret")
    monkeypatch.chdir(tmp_path)
    uris = ["door=rtsp://u:$PASSWORD@door/", "0"]
    given = [
        "--plan",
        plan,
        "--label",
        "cat",
        "--threshold",
        "0.6",
        "--threshold",
        "cat=1e-5",
        "--events",
        "e.jsonl",
    ]
    done = pvlr("serve", *uris, "--loop", "--port", 0, *given, "--print-config")
    assert (done.code, done.err, "s3cret" in done.out) == (0, "", False)
    (tmp_path / "site.yaml").write_text(done.out)
    read = build_config(site=Site(tmp_path / "site.yaml")).config
    events = Events(labels=["cat"], threshold=["0.6", "cat=1e-5"], files=["e.jsonl"])
    sections = {"serve": {"port": 0}}
    assert (
        read == build_config(uris, Site(loop=True), Model(plan), events, sections=sections).config
    )
    first = pvlr("watch", *uris, "--label", "act", "--print-config").out.splitlines()[:2]
    assert first == ["events:", "  labels: [act]  # option"]
    (sink,) = yaml.safe_load(pvlr("watch", *uris, "--json", "--events", "-", "--print-config").out)[
        "sinks"
    ]
    assert sink["path"] == "-"
    assert pvlr("watch", "test://", "--device", "x", "--threshold", "2", "--print-config").code == 2


def test_names_from_paths_are_valid() -> None:
    """The name of a camera is never hidden, nor a parent folder."""
    assert list(build_config([".hidden.mp4", "..", "."]).config.cameras) == [
        "hidden",
        "camera",
        "camera-2",
    ]


def test_two_cameras_of_one_name(tmp_path: Path) -> None:
    """The second would replace the first, as it may one of the file."""
    (tmp_path / "site.yaml").write_text(SITE)
    assert (
        build_config(["yard=rtsps://door/"], Site(tmp_path / "site.yaml"))
        .config.cameras["yard"]
        .uri
        == "rtsps://door/"
    )
    with pytest.raises(errors.OptionError, match="URI: expected each name once, got 'door' twice"):
        build_config(["door=rtsps://door/", "door=rtsps://yard/"])


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_an_unknown_label_of_an_option(pvlr, plan: Path, command: str) -> None:
    """The error alone: no message says that the label is ignored."""
    done = pvlr(command, "test://", "--plan", plan, "--label", "act")
    assert (done.code, done.err.count("\n"), "Did you mean 'cat'?" in done.err) == (2, 1, True)


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_the_device_of_the_file(pvlr, plan: Path, tmp_path: Path, command: str) -> None:
    """The option's default does not replace it."""
    (tmp_path / "site.yaml").write_text(f"plan: {plan}\ndevice: tpu\n{SITE}")
    done = pvlr(command, "--config", tmp_path / "site.yaml", "--check")
    assert (
        done.code,
        "device: expected one of auto, cpu, tensorrt, gpu, npu, got 'tpu'" in done.err,
    ) == (2, True)


def test_the_origin_of_each_setting_is_printed(pvlr, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        "cameras:\n  door: test://\n  gate: {uri: test://, regions: {mat: {polygon: [[0, 0], [1, 0], [1, 1]], "
        "labels: [cat]}}}\nevents: {thresholds: {cat: 0.5}, deny: [dog]}\n"
    )
    mat = {"polygon": [[0, 0], [1, 0], [0.5, 1]]}
    changes = Changes.model_validate(
        {"thresholds": {"car": 0.25}, "labels": ["cat", "$x"],
         "cameras": {"door": {"enabled": False}, "gate": {"regions": {"mat": mat}}, "gone": {"enabled": True}}}
    )  # fmt: skip
    State(tmp_path / "state").update(lambda _: changes)
    options = [
        "--config",
        file,
        "--state",
        tmp_path / "state",
        "--min-duration",
        "2",
        "--print-config",
    ]
    printed = pvlr("watch", *options).out
    assert re.sub(" +#", "  #", printed).splitlines() == [
        "cameras:",
        "  door:",
        '    uri: "test://"',
        "    enabled: false  # changed while running",
        "  gate:",
        '    uri: "test://"',
        "    regions:  # changed while running",
        "      mat:",
        "        polygon: [[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]",
        "        labels: [cat]",
        "        exclude: false",
        "events:",
        "  thresholds:",
        "    cat: 0.5",
        "    car: 0.25  # changed while running",
        "  deny: []  # changed while running",
        "  min_duration: 2.0  # option",
        '  labels: [cat, "$$x"]  # changed while running',
    ]
    (tmp_path / "merged.yaml").write_text(printed)
    settings = build_config(site=Site(file, tmp_path / "state"), events=Events(min_duration=2.0))
    merged = build_config(site=Site(tmp_path / "merged.yaml")).config
    used = settings.changes.applied(settings.config)
    assert (merged.cameras, merged.events.labels) == (used.cameras, used.events.labels)
    assert merged.events.thresholds == {**used.events.thresholds, **settings.changes.thresholds}


def test_the_changes_of_a_site_are_shown_and_forgotten(pvlr, tmp_path: Path) -> None:
    file, state = tmp_path / "site.yaml", State(tmp_path / "state")
    file.write_text("cameras: {door: 'test://'}\n")
    command = ["state", file, "--state", state.folder]
    assert "nothing was changed" in pvlr(*command).err
    state.update(
        lambda changes: changes.with_thresholds({"car": 0.25}).with_camera("gone", enabled=False)
    )
    shown = json.loads(pvlr(*command, "--json").out)
    assert shown == {
        "file": str(state.path),
        "changes": {"thresholds": {"car": 0.25}},
        "ignored": ["camera 'gone'"],
    }
    done = pvlr(*command)
    assert json.loads(done.out) == {"thresholds": {"car": 0.25}}
    assert "ignored, since it no longer applies: camera 'gone'" in done.err
    assert pvlr(*command, "--forget").code == 0
    assert not state.path.exists()
    assert pvlr("state", tmp_path / "missing.yaml").code == 2


def test_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.yaml"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    first, second = State.of_site(file), State.of_site(tmp_path / "other" / "site.yaml")
    assert first.folder.parent == second.folder.parent == tmp_path / "home/pvlr_sdk/sites"
    assert first.folder != second.folder
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "service"))
    assert State.of_site(file).path == tmp_path / "service/state.json"
    assert State.of_site(file, tmp_path / "mine").path == tmp_path / "mine/state.json"
    assert build_config(["0"]).state is None
    assert (
        build_config(["0"], Site(state=tmp_path / "mine")).state.path
        == tmp_path / "mine/state.json"
    )
