"""Tags in XMP, which photo managers read: in a sidecar ``photo.jpg.xmp``, or in the photo itself.

The fields are those of digiKam and Lightroom: ``dc:subject``, ``lr:hierarchicalSubject`` and ``digiKam:TagsList``. All
three are written, because several programs ignore the first if they find the second. The scores, and what was added to
each field, are in fields of our own, so that a later run replaces its own tags alone.
"""

from __future__ import annotations

import importlib
import stat
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ... import errors
from ..._util.files import read_file, system_errors, write_files
from ...labels.tree import LabelTree

NAMESPACE = "https://pvlr-sdk.org/xmp/1.0/"
_PREFIX = "pvlrSdk"
"""Not ``pvlr``: the XMP toolkit, and so exiv2 and digiKam, would take its end for the prefix ``lr``."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DESCRIPTION = f"{{{_RDF}}}Description"
_DC = "http://purl.org/dc/elements/1.1/"
_FIELDS = {
    "subject": (_DC, "dc", ""),
    "hierarchicalSubject": ("http://ns.adobe.com/lightroom/1.0/", "lr", "|"),
    "TagsList": ("http://www.digikam.org/ns/1.0/", "digiKam", "/"),
}
"""Name: namespace, its prefix, and what separates the levels of a tag; dc:subject has one level."""
_MAX_BYTES = 1 << 20
"""Of a packet."""
_HINT = "Repair or remove it; it was left unchanged."
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    f'xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


def sidecar(photo: Path) -> Path:
    """``photo.jpg.xmp``; ``photo.xmp``, as Lightroom names it, if only that exists."""
    full_name = photo.with_name(f"{photo.name}.xmp")
    lightroom = photo.with_suffix(".xmp")
    return lightroom if lightroom.is_file() and not full_name.exists() else full_name


def tag_photo(
    photo: Path,
    scores: Mapping[str, float],
    *,
    prefix: str = "",
    embed: bool = False,
    tree: LabelTree | None = None,
    language: str = "",
) -> bool:
    """Write tags next to a photo, or into it; tags of other programs are kept. Returns whether the file has changed.

    Args:
        photo: the photo, or another file, such as a video.
        scores: the labels and their scores; none removes the tags of earlier runs.
        prefix: the parent of the tags in the two fields with levels, such as ``pvlr``; levels are separated by ``/``.
        embed: write into the photo (JPEG, PNG, TIFF, WebP) instead of a sidecar.
        tree: the parents of the labels, which these two fields have above them, and their names; None: none.
        language: of the names.

    Raises:
        ImageNotFoundError: there is no such photo.
        OptionError: as :func:`merged`.
        OutputError: the sidecar or the photo is damaged or cannot be written. It is left unchanged.
        MissingPartError: the extra ``[xmp]`` is not installed, or to embed, pyexiv2, whose licence is GPL-3.0.
    """
    if not photo.is_file():
        raise errors.ImageNotFoundError(
            str(photo), "a photo", "no such file", "Sidecars are written for files that exist."
        )
    path = photo if embed else sidecar(photo)
    with system_errors(errors.OutputError, str(path), expected="a readable file", hint=_HINT):
        if not embed:
            _check_link(path, photo)
        path = path.resolve()  # a link stays one
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        before = read_file(path, 2**30 if embed else _MAX_BYTES) if mode is not None else None
    if before is None and not scores:
        return False
    after = (
        _embedded(path, before or b"", scores, prefix, tree, language)
        if embed
        else merged(before, scores, prefix, str(path), tree, language)
    )
    if after in (before, None):
        return False
    write_files({path: after}, private=mode is not None and not mode & 0o077)
    if mode is not None:
        path.chmod(mode)
    return True


def _check_link(path: Path, photo: Path) -> None:
    """Raises OutputError if a sidecar is a link to anywhere else than beside the photo."""
    target = path.resolve()
    beside = (photo.parent.resolve(), photo.resolve().parent)
    if path.is_symlink() and not (target.is_file() and target.parent in beside):
        raise errors.OutputError(
            str(path),
            "a link to a file beside the photo",
            str(target),
            "Replace the link by a file; it was left unchanged.",
        )


def merged(
    packet: bytes | None,
    scores: Mapping[str, float],
    prefix: str = "",
    source: str = "XMP",
    tree: LabelTree | None = None,
    language: str = "",
) -> bytes | None:
    """An XMP packet with these tags instead of those of an earlier run, or ``packet`` itself if it has them.

    Raises:
        OutputError: it is not XMP.
        OptionError: a label or the prefix has characters that are not printable.
        MissingPartError: as :func:`tag_photo`.
    """
    etree = lxml_module()
    paths = [[label] if tree is None else tree.levels(label, language) for label in scores]
    for text in (*scores, prefix, *chain(*paths)):
        if not text.isprintable():
            raise errors.OptionError(
                "tags", "printable characters", ascii(text)[:200], "XML cannot hold the others."
            )
    rdf = _parse(etree, _EMPTY if packet is None else packet, source)
    fields = _Fields(etree, rdf)
    levels = [*filter(None, prefix.split("/"))]
    paths = [[name.replace("|", "-").replace("/", "-") for name in path] for path in paths]
    if not _write_fields(fields, levels, paths, scores):
        return packet
    after: bytes = etree.tostring(rdf.getroottree(), encoding="UTF-8", xml_declaration=False)
    if len(after) > _MAX_BYTES:  # the next run could not read it
        raise _invalid(source, f"more than {_MAX_BYTES} bytes with these tags")
    return after


def _parse(etree: Any, packet: bytes, source: str) -> Any:
    """The element rdf:RDF of a packet. Raises OutputError."""
    try:
        if len(packet) > _MAX_BYTES:
            raise ValueError(f"{len(packet)} bytes")
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        )
        root = etree.fromstring(packet, parser)
        if root.getroottree().docinfo.doctype:  # XMP has none, and entities could multiply
            raise ValueError("it has a document type")
        described = (
            rdf for rdf in root.iter(f"{{{_RDF}}}RDF") if rdf.find(_DESCRIPTION) is not None
        )
        return next(described)
    except (etree.XMLSyntaxError, ValueError, StopIteration) as error:
        raise _invalid(source, str(error) or "no rdf:RDF with an rdf:Description") from None


def _invalid(source: str, got: str) -> errors.OutputError:
    return errors.OutputError(source, f"an XMP packet of at most {_MAX_BYTES} bytes", got, _HINT)


def _write_fields(
    fields: _Fields, levels: list[str], paths: list[list[str]], scores: Mapping[str, float]
) -> bool:
    """Write the tags to the fields of all programs, and those that we add to fields of our own.

    Returns whether a field changes.
    """
    ours_before = {*fields.get("subject", NAMESPACE)}
    theirs = [tag for tag in fields.get("subject", _DC) if tag not in ours_before]
    changed = False
    for name, (space, short, separator) in _FIELDS.items():
        earlier = {*fields.get(name, NAMESPACE)}
        others = [tag for tag in fields.get(name, space) if tag not in earlier]
        ours = [separator.join([*levels, *path]) if separator else path[-1] for path in paths]
        if ours and not others:  # a program that reads this field ignores dc:subject
            ours = theirs + ours
        ours = [tag for tag in dict.fromkeys(ours) if tag not in others]
        changed |= fields.set(name, space, short, others + ours)
        changed |= fields.set(name, NAMESPACE, _PREFIX, ours)
    texts = [f"{label} {score:.3f}" for label, score in scores.items()]
    changed |= fields.set("scores", NAMESPACE, _PREFIX, texts)
    return changed


class _Fields:
    """The fields of an XMP packet whose value is a list of texts."""

    def __init__(self, etree: Any, rdf: Any) -> None:
        self._etree = etree
        self._descriptions = rdf.findall(_DESCRIPTION)

    def get(self, name: str, space: str) -> list[str]:
        """The texts of a field."""
        return [
            item.text or ""
            for element in self._find(name, space)
            for item in element.iter(f"{{{_RDF}}}li")
        ]

    def set(self, name: str, space: str, prefix: str, values: Sequence[str]) -> bool:
        """Replace them; returns whether they differ."""
        if list(values) == self.get(name, space):
            return False
        place, *others = self._find(name, space) or [None]
        for element in others if values else [place, *others]:
            element.getparent().remove(element)
        if not values:
            return True
        if place is None:
            place = self._etree.SubElement(
                self._descriptions[0], f"{{{space}}}{name}", nsmap={prefix: space}
            )
        for child in list(place):
            place.remove(child)
        bag = self._etree.SubElement(place, f"{{{_RDF}}}Bag")
        for value in values:
            self._etree.SubElement(bag, f"{{{_RDF}}}li").text = value
        return True

    def _find(self, name: str, space: str) -> list[Any]:
        return [
            element
            for parent in self._descriptions
            for element in parent.findall(f"{{{space}}}{name}")
        ]


def _embedded(
    path: Path, photo: bytes, scores: Mapping[str, float], prefix: str, *naming: Any
) -> bytes | None:
    """The bytes of a photo with these tags; None: without a change."""
    try:
        pyexiv2 = importlib.import_module("pyexiv2")
    except ImportError as error:
        raise errors.MissingPartError(
            "--embed", "pyexiv2", f"{error}", "Run pip install pyexiv2, or write sidecars."
        ) from error
    pyexiv2.set_log_level(4)  # it would write to stderr
    try:
        with pyexiv2.ImageData(photo) as image:
            before = image.read_raw_xmp().encode() or None
            after = merged(before, scores, prefix, str(path), *naming)
            if after == before or after is None:
                return None
            image.modify_raw_xmp(after.decode())
            changed: bytes = image.get_bytes()
            return changed
    except (RuntimeError, UnicodeError) as error:
        raise errors.OutputError(
            str(path),
            "a photo with room for XMP",
            str(error),
            "Write a sidecar instead; it was left unchanged.",
        ) from None


def lxml_module() -> Any:
    """The module ``lxml.etree``. Raises MissingPartError if it is not installed."""
    with errors.needed("XMP", "lxml", "xmp"):
        return importlib.import_module("lxml.etree")
