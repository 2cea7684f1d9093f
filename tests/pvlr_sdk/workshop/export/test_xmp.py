"""Tags in XMP, read back by exiftool, exiv2 and Adobe's parser."""

from __future__ import annotations

import ctypes.util
import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.labels.tree import LabelTree
from pvlr_sdk.workshop.export.xmp import merged, sidecar, tag_photo

pytest.importorskip("lxml")

LIGHTROOM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+0.50"
    xmlns:foo="http://foo.example/ns/" foo:odd="a &amp; b">
   <dc:title xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Alt>
     <rdf:li xml:lang="x-default">A "title"</rdf:li><rdf:li xml:lang="de-DE">Tür</rdf:li></rdf:Alt></dc:title>
   <crs:ToneCurvePV2012><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurvePV2012>
   <!-- a comment -->
  </rdf:Description>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/">
   <dc:subject><rdf:Bag><rdf:li>family</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>people|family</rdf:li></rdf:Bag></lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
TAGS = {"dog": 0.97, "café": 0.51}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return path


def read(path: Path) -> dict[str, object]:
    """Each field of a file that exiftool knows."""
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not installed")
    command = ["exiftool", "-json", "-struct", "-G1", "-XMP:all", path]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[0]


def test_a_new_sidecar_has_the_tags_in_all_fields(photo):
    before, times = photo.read_bytes(), photo.stat().st_mtime_ns
    assert tag_photo(photo, TAGS, prefix="auto/pvlr")
    assert (photo.read_bytes(), photo.stat().st_mtime_ns) == (before, times)
    found = read(photo.with_name("photo.jpg.xmp"))
    assert found["XMP-dc:Subject"] == ["dog", "café"]
    assert found["XMP-lr:HierarchicalSubject"] == ["auto|pvlr|dog", "auto|pvlr|café"]
    assert found["XMP-digiKam:TagsList"] == ["auto/pvlr/dog", "auto/pvlr/café"]
    assert found["XMP-pvlrSdk:Scores"] == ["dog 0.970", "café 0.510"]


def test_exiv2_reads_bags(photo):
    if not shutil.which("exiv2"):
        pytest.skip("exiv2 is not installed")
    tag_photo(photo, TAGS)
    lines = subprocess.run(
        ["exiv2", "-px", photo.with_name("photo.jpg.xmp")], capture_output=True, text=True
    ).stdout
    rows = {line.split()[0]: line.split(maxsplit=3)[1:] for line in lines.splitlines()}
    for name in ("Xmp.dc.subject", "Xmp.lr.hierarchicalSubject", "Xmp.digiKam.TagsList"):
        assert rows[name] == ["XmpBag", "2", "dog, café"]


@pytest.mark.slow
def test_a_second_run_changes_nothing_and_a_third_replaces_its_own_tags_only(photo):
    path = photo.with_name("photo.jpg.xmp")
    path.write_text(LIGHTROOM)
    original = read(path)
    assert tag_photo(photo, TAGS)
    first, when = path.read_bytes(), path.stat().st_ino
    assert not tag_photo(photo, TAGS)
    assert (path.read_bytes(), path.stat().st_ino) == (first, when)
    assert read(path)["XMP-dc:Subject"] == ["family", "dog", "café"]
    assert read(path)["XMP-lr:HierarchicalSubject"] == ["people|family", "dog", "café"]
    assert tag_photo(photo, {"cat": 0.9}, prefix="auto")
    assert read(path)["XMP-dc:Subject"] == ["family", "dog", "cat"]  # the dog was Lightroom's
    assert read(path)["XMP-lr:HierarchicalSubject"] == ["people|family", "auto|cat"]
    assert tag_photo(photo, {})
    assert read(path) == original


def test_each_field_is_rid_of_what_an_earlier_run_added_to_it_alone():
    def tags(packet: bytes, space: str, name: str) -> list[str]:
        return re.findall(
            r"<rdf:li>(.*?)</rdf:li>",
            "".join(re.findall(f"<{space}:{name}.*?</{space}:{name}>", packet.decode(), re.DOTALL)),
        )

    first = merged(LIGHTROOM.encode(), TAGS)
    assert tags(first, "lr", "hierarchicalSubject") == ["people|family", "dog", "café"]
    second = merged(first, {"cat": 0.9}, prefix="auto")
    assert tags(second, "dc", "subject") == ["family", "dog", "cat"]  # the dog was Lightroom's
    assert tags(second, "lr", "hierarchicalSubject") == ["people|family", "auto|cat"]
    assert tags(second, "digiKam", "TagsList") == ["family", "dog", "auto/cat"]
    third = merged(second, {})
    assert tags(third, "dc", "subject") == ["family", "dog"]
    assert tags(third, "lr", "hierarchicalSubject") == ["people|family"]
    assert b"TagsList" not in third


def test_every_other_field_of_a_sidecar_stays_byte_for_byte():
    after = merged(LIGHTROOM.encode(), TAGS).decode()
    # lxml writes the namespaces of an element before its attributes.
    marks = ("ubject>", "xmlns", "xpacket")
    theirs = [line for line in LIGHTROOM.splitlines() if not any(mark in line for mark in marks)]
    assert len(theirs) == 7
    assert [line for line in theirs if line not in after] == []


def test_flat_tags_of_others_stay_visible_where_a_field_with_levels_is_new(photo):
    packet = LIGHTROOM.replace(
        "<lr:hierarchicalSubject><rdf:Bag><rdf:li>people|family</rdf:li></rdf:Bag></lr:hierarchicalSubject>",
        "",
    )
    path = photo.with_name("photo.jpg.xmp")
    path.write_text(packet)
    tag_photo(photo, {"cat": 0.9}, prefix="auto")
    assert read(path)["XMP-lr:HierarchicalSubject"] == ["family", "dog", "auto|cat"]


def test_the_sidecar_of_lightroom_is_used_where_there_is_no_other(photo):
    assert sidecar(photo).name == "photo.jpg.xmp"
    photo.with_suffix(".xmp").write_text(LIGHTROOM)
    assert sidecar(photo).name == "photo.xmp"
    photo.with_name("photo.jpg.xmp").write_text(LIGHTROOM)
    assert sidecar(photo).name == "photo.jpg.xmp"


@pytest.mark.parametrize(
    "damaged",
    [
        LIGHTROOM[:700].encode(),
        b"",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        b"\x00\xff" * 50,
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + LIGHTROOM.partition("?>")[2].encode(),
    ],
    ids=["cut", "empty", "without RDF", "binary", "document type"],
)
def test_a_damaged_sidecar_is_left_unchanged(photo, damaged):
    path = photo.with_name("photo.jpg.xmp")
    path.write_bytes(damaged)
    with pytest.raises(errors.OutputError, match=r"photo\.jpg\.xmp: expected an XMP packet"):
        tag_photo(photo, TAGS)
    assert path.read_bytes() == damaged


LI = "<rdf:li>{}</rdf:li>"
RDF = "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>{}</rdf:RDF>"
FIELD = "<dc:subject xmlns:dc='http://purl.org/dc/elements/1.1/'><rdf:Bag>{}</rdf:Bag></dc:subject>"
OURS = "<p:subject xmlns:p='https://pvlr-sdk.org/xmp/1.0/'><rdf:Bag>{}</rdf:Bag></p:subject>"
LEVELS = "<p:TagsList xmlns:p='http://www.digikam.org/ns/1.0/'><rdf:Bag>{}</rdf:Bag></p:TagsList>"


def described(*fields: str) -> str:
    return RDF.format(f"<rdf:Description>{''.join(fields)}</rdf:Description>")


def numbers(count: int, start: int = 0) -> str:
    return "".join(LI.format(np.base_repr(number, 36)) for number in range(start, start + count))


@pytest.mark.parametrize(
    "packet",
    [
        RDF.format("<rdf:Description/>" * 52_000),
        RDF.format("<rdf:Description/>" + "<x/>" * 200_000),
        described(FIELD.format(numbers(23_000)), OURS.format(numbers(23_000, 23_000))),
        described(FIELD.format(numbers(23_000)), LEVELS.format(numbers(23_000, 23_000))),
        described(FIELD.format(numbers(15_000))),
        described(FIELD.format("<rdf:li/>" * 100_000)),
        described(*[FIELD.format(LI.format("a"))] * 8_000),
        described(FIELD.format(LI.format("x" * 1_000_000))),
        described(FIELD.format(numbers(300_000))),
        "<rdf:Description xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>",
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>",
    ],
    ids=lambda packet: f"{packet[70:140]} ({len(packet)})",
)
def test_a_sidecar_of_any_form_takes_a_moment_and_is_merged_or_refused(photo, packet):
    path = photo.with_name("photo.jpg.xmp")
    path.write_text(packet)
    start = time.process_time()
    try:
        tag_photo(photo, TAGS)
    except errors.OutputError:
        assert path.read_text() == packet
    else:
        assert b">dog<" in path.read_bytes()
        tag_photo(photo, {"cat": 0.5})  # what was written can be read
        assert b">cat<" in path.read_bytes()
    assert time.process_time() - start < 5


def test_time_grows_with_the_number_of_tags_not_with_its_square(monkeypatch):
    packet = described(FIELD.format(numbers(60_000)), OURS.format(numbers(60_000, 60_000))).encode()
    with pytest.raises(errors.OutputError, match=f"at most 1048576 bytes, got {len(packet)}"):
        merged(packet, TAGS)
    monkeypatch.setattr("pvlr_sdk.workshop.export.xmp._MAX_BYTES", 2**24)
    start = time.process_time()
    after = merged(packet, TAGS)
    assert time.process_time() - start < 10
    assert (
        after.count(b">ZZZ<") == packet.count(b">ZZZ<") + 4
    )  # two fields with levels, and ours for them


def test_a_link_is_followed_to_a_file_beside_the_photo_only(photo, tmp_path):
    link, outside = photo.with_name("photo.jpg.xmp"), tmp_path / "outside"
    outside.mkdir()
    (outside / "real.xmp").write_text(LIGHTROOM)
    for target in ("outside/real.xmp", "outside/none.xmp", "none.xmp"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / target)
        with pytest.raises(errors.OutputError, match="a link to a file beside the photo"):
            tag_photo(photo, TAGS)
    assert [path.read_text() for path in outside.iterdir()] == [LIGHTROOM]
    shutil.move(photo, outside / "photo.jpg")
    photo.symlink_to(outside / "photo.jpg")
    link.unlink()
    link.symlink_to(outside / "real.xmp")  # the photo is there too
    assert tag_photo(photo, TAGS)
    assert link.is_symlink()
    assert "dog" in (outside / "real.xmp").read_text()


def test_text_that_xml_cannot_hold(photo):
    for scores, prefix in (({"a\x00b": 0.9}, ""), ({"cat": 0.9}, "a\udc80")):
        with pytest.raises(errors.OptionError, match="printable characters"):
            tag_photo(photo, scores, prefix=prefix)
    assert not photo.with_name("photo.jpg.xmp").exists()


def test_embedding_keeps_the_pixels_and_is_removable(photo):
    pytest.importorskip("pyexiv2")
    pixels = cv2.imread(str(photo))
    photo.chmod(0o640)
    link = photo.with_name("link.jpg")
    link.symlink_to(photo)
    assert tag_photo(link, TAGS, embed=True)
    assert (link.is_symlink(), photo.stat().st_mode & 0o777) == (True, 0o640)
    assert not photo.with_name("photo.jpg.xmp").exists()
    assert read(photo)["XMP-dc:Subject"] == ["dog", "café"]
    assert not tag_photo(photo, TAGS, embed=True)
    assert tag_photo(photo, {}, embed=True)
    assert "XMP-dc:Subject" not in read(photo)
    assert (cv2.imread(str(photo)) == pixels).all()
    photo.write_bytes(b"no image")
    with pytest.raises(errors.OutputError, match="a photo with room for XMP"):
        tag_photo(photo, TAGS, embed=True)


_WRITER = """
import sys
from pathlib import Path
from pvlr_sdk.workshop.export.xmp import tag_photo
for number in range(int(sys.argv[2]), 200):
    photo = Path(sys.argv[1]) / f"{number:03}.jpg"
    tag_photo(photo, {"dog": 0.9, "cat": 0.8}, prefix="auto")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_kill_leaves_each_sidecar_whole_or_absent(tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"photo")
    draw, start, whole = random.Random(1), 0, merged(None, {"dog": 0.9, "cat": 0.8}, "auto")
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, tmp_path, str(start)], stdout=subprocess.PIPE, text=True
        )
        line = ""
        while draw.random() > 0.05:
            line = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        start = int(line or start)
        digests = {
            hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.glob("*.jpg.xmp")
        }
        assert digests == {hashlib.sha256(whole).digest()}
    assert 0 < len(list(tmp_path.glob("*.jpg.xmp"))) < 200


GERMAN = LabelTree.packaged().model_copy(
    update={"names": {"de": {"animal": "Tier", "dog": "Hund", "mammal": "Säugetier"}}}
)


def test_the_tree_is_read_by_other_programs_and_tags_of_the_owner_stay(photo):
    sidecar(photo).write_text(LIGHTROOM)
    scores = {"dog": 0.97, "car": 0.6, "person": 0.5}
    assert tag_photo(photo, scores, tree=LabelTree.packaged())
    tags = ["animal|mammal|dog", "vehicle|motor vehicle|car", "person"]
    found = read(sidecar(photo))
    # The owner's two tags come first; "dog" is also the owner's.
    assert found["XMP-dc:Subject"] == ["family", "dog", "car", "person"]
    assert found["XMP-lr:HierarchicalSubject"] == ["people|family", *tags]
    digikam = [tag.replace("|", "/") for tag in tags]
    assert found["XMP-digiKam:TagsList"] == ["family", "dog", *digikam]
    if shutil.which("exiv2"):
        command = ["exiv2", "-PXkv", str(sidecar(photo))]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert re.search(r"Xmp.digiKam.TagsList +.*animal/mammal/dog", text)
        assert re.search(r"Xmp.lr.hierarchicalSubject +.*vehicle\|motor vehicle\|car", text)
    assert tag_photo(photo, {"dog": 0.97}, tree=GERMAN, language="de", prefix="auto")
    found = read(sidecar(photo))
    assert found["XMP-dc:Subject"] == ["family", "dog", "Hund"]
    assert found["XMP-lr:HierarchicalSubject"] == ["people|family", "auto|Tier|Säugetier|Hund"]
    assert not tag_photo(photo, {"dog": 0.97}, tree=GERMAN, language="de", prefix="auto")
    assert tag_photo(photo, {})
    assert read(sidecar(photo))["XMP-dc:Subject"] == ["family", "dog"]


def test_the_parser_of_adobe_reads_the_tree(photo):
    if not ctypes.util.find_library("exempi"):
        pytest.skip("libexempi is not installed")
    libxmp = pytest.importorskip("libxmp")  # python-xmp-toolkit
    sidecar(photo).write_text(LIGHTROOM)
    assert tag_photo(photo, {"dog": 0.97, "car": 0.6}, tree=LabelTree.packaged())
    found = libxmp.XMPMeta()
    found.parse_from_str(sidecar(photo).read_text("utf-8"), xmpmeta_wrap=False)

    def items(namespace: str, field: str) -> list[str]:
        count = found.count_array_items(namespace, field)
        return [found.get_array_item(namespace, field, i + 1) for i in range(count)]

    assert items(libxmp.consts.XMP_NS_DC, "subject") == ["family", "dog", "car"]
    assert items(libxmp.consts.XMP_NS_Lightroom, "hierarchicalSubject") == [
        "people|family",
        "animal|mammal|dog",
        "vehicle|motor vehicle|car",
    ]
    assert items("http://www.digikam.org/ns/1.0/", "TagsList") == [
        "family",
        "dog",
        "animal/mammal/dog",
        "vehicle/motor vehicle/car",
    ]
    assert found.get_property(libxmp.consts.XMP_NS_XMP, "Rating") == "3"
