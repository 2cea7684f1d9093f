"""HTML pages without scripts: the taught labels of a bank with their measures and mistakes, and remembered pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._util.escape import html
from ..bundle.label_bank import LabelBank
from ..result.drawing import thumbnail
from .learning import OTHERS, LabelReport, Mistake
from .moving import learned

_MOST = 60
"""Pictures of a label."""
_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ max-width: 1080px; margin: 0 auto; padding: 24px; font: 16px/1.5 system-ui, sans-serif; }}
h2, figcaption, li {{ overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
td:first-child {{ min-width: 8em; overflow-wrap: anywhere; }}
th, td {{ padding: 4px 12px 4px 0; text-align: left; border-bottom: 1px solid #8886; }}
.photos {{ display: flex; flex-wrap: wrap; gap: 16px; padding: 0; }}
figure {{ margin: 0; max-width: 320px; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_BODY = """
<p>In percent, by cross-validation: each photo is scored by a classifier that has not seen it. In brackets, where
precision and recall are on {others} other photos in 95 of 100 cases. Thresholds and precision hold where the label is
on as many of 100 photos as the column Prevalence states; where it is rarer, precision is lower.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Measures">
<table>
<tr><th>Label</th><th>Photos</th><th>Prevalence</th><th>Threshold</th><th>Precision</th><th>Recall</th>
<th>Average precision</th><th>of its words alone</th></tr>
{rows}
</table>
</div>
{sections}"""
_SECTION = '<section data-label="{}">\n{}\n</section>'
_EARLIER = re.compile(_SECTION.format('([^"]*)', "(.*?)"), re.DOTALL)


def page(
    bank: LabelBank,
    reports: Sequence[LabelReport] = (),
    failed: Sequence[Mapping[str, str]] = (),
    *,
    earlier: str = "",
) -> str:
    """The page of a bank, with all its labels from photos and words. It contains small copies of photos.

    Args:
        bank: its provenance has the measures of all labels.
        reports: the labels taught now.
        failed: photos that could not be read.
        earlier: the page before, which has the photos of labels taught earlier.
    """
    sections = dict(_EARLIER.findall(earlier))
    sections |= {html(report.label): _section(report) for report in reports}
    taught = learned(bank)
    shown = [name for name in bank.names if name in taught]
    parts = [_SECTION.format(key, sections[key]) for key in map(html, shown) if key in sections]
    if failed:
        listed = "".join(
            f"<li>{html(failure_row['file'])}: {html(failure_row['message'])}</li>"
            for failure_row in failed
        )
        parts.append(f"<h2>Photos that could not be read</h2>\n<ul>{listed}</ul>")
    rows = "\n".join(
        _row(name, float(bank.thresholds[bank.index(name)]), bank.taught[name]) for name in shown
    )
    return _document(
        "Taught labels", _BODY.format(others=f"{OTHERS:,}", rows=rows, sections="\n".join(parts))
    )


def gallery(title: str, pictures: Iterable[tuple[bytes | Path | None, str]]) -> str:
    """A page of pictures, as JPEG or a file, with their captions; None: the picture is gone."""
    figures = "\n".join(
        _figure(thumbnail(picture, description=text), html(text)) for picture, text in pictures
    )
    return _document(title, f'<main class="photos">\n{figures}\n</main>')


def _document(title: str, body: str) -> str:
    return _DOCUMENT.format(title=html(title), body=body)


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _row(label: str, threshold: float, source: Mapping[str, Any]) -> str:
    photos = f"{source.get('positives')} show it, {source.get('negatives')} do not"
    if source.get("positives") == 0:
        photos = f"none; from words, {source.get('grade')}"
    cells = [
        label,
        photos,
        _number(source.get("prevalence")),
        f"{threshold:.3f}",
        *(
            _number(source.get(name)) + _range(source.get(f"{name}_interval"))
            for name in ("precision", "recall")
        ),
        *(_number(source.get(name)) for name in ("average_precision", "words_average_precision")),
    ]
    return "<tr>" + "".join(f"<td>{html(cell)}</td>" for cell in cells) + "</tr>"


def _number(value: object) -> str:
    """A value of a provenance, which may be anything."""
    return f"{value:.1f}" if isinstance(value, (int, float)) else "-"


def _range(value: object) -> str:
    return (
        " ({} to {})".format(*map(_number, value))
        if isinstance(value, (list, tuple)) and len(value) == 2
        else ""
    )


def _section(report: LabelReport) -> str:
    title = f"<h2>{html(report.label)}</h2>\n<p>{html(report.advice)}</p>\n"
    if report.recall is None:
        return (
            title
            + "<p>Not measured: this needs at least two photos that show it and two that do not.</p>"
        )
    if not report.mistakes:
        return title + "<p>No photo is wrong.</p>"
    parts = []
    for kind, heading in (("missed", "Missed"), ("added", "Reported by mistake")):
        wrong = [mistake for mistake in report.mistakes if mistake.kind == kind]
        if wrong:
            more = f"<p>... and {len(wrong) - _MOST} more</p>" if len(wrong) > _MOST else ""
            figures = "\n".join(_mistake(mistake, report) for mistake in wrong[:_MOST])
            parts.append(
                f'<h3>{heading}: {len(wrong)}</h3>\n<div class="photos">\n{figures}\n</div>{more}'
            )
    return title + "\n".join(parts)


def _mistake(mistake: Mistake, report: LabelReport) -> str:
    picture = thumbnail(Path(mistake.file), description=f"{mistake.kind}: {report.label}")
    return _figure(
        picture,
        f"{html(mistake.file)}<br>score {mistake.score:.3f}, threshold {report.threshold:.3f}",
    )
