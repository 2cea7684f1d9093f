"""What was taught as one HTML page without scripts: measures, and the photos that it gets wrong as pictures."""

from __future__ import annotations

from pathlib import Path

from .._util.escape import html
from ..result.drawing import thumbnail
from .learning import LabelReport, Mistake
from .teaching import Teaching

_MOST = 60
"""Pictures of a label."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>Taught labels</title>
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
<h1>Taught labels</h1>
<p>Precision, recall and average precision in percent, by cross-validation: each photo is scored by a classifier that
has not seen it.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Measures">
<table>
<tr><th>Label</th><th>Photos</th><th>Threshold</th><th>Precision</th><th>Recall</th><th>Average precision</th>
<th>of its words alone</th></tr>
{rows}
</table>
</div>
{sections}
</body>
</html>
"""


def page(teaching: Teaching) -> str:
    """The page of a result of :func:`pvlr_sdk.labels.teach`; it contains small copies of the photos."""
    failed = "".join(f"<li>{html(one['file'])}: {html(one['message'])}</li>" for one in teaching.failed)
    sections = [_section(label) for label in teaching.labels]
    if failed:
        sections.append(f"<h2>Photos that could not be read</h2>\n<ul>{failed}</ul>")
    return _PAGE.format(rows="\n".join(map(_row, teaching.labels)), sections="\n".join(sections))


def _row(report: LabelReport) -> str:
    measures = (report.precision, report.recall, report.average_precision, report.words_average_precision)
    cells = [
        html(report.label),
        f"{report.positives} show it, {report.negatives} do not",
        f"{report.threshold:.3f}",
        *("-" if value is None else f"{value:.1f}" for value in measures),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _section(report: LabelReport) -> str:
    title = f"<h2>{html(report.label)}</h2>\n"
    if report.precision is None and report.recall is None:
        return title + "<p>Not measured: this needs at least two photos that show it and two that do not.</p>"
    if not report.mistakes:
        return title + "<p>No photo is wrong.</p>"
    parts = []
    for kind, heading in (("missed", "Missed"), ("added", "Reported by mistake")):
        wrong = [mistake for mistake in report.mistakes if mistake.kind == kind]
        if wrong:
            more = f"<p>... and {len(wrong) - _MOST} more</p>" if len(wrong) > _MOST else ""
            figures = "\n".join(_figure(mistake, report) for mistake in wrong[:_MOST])
            parts.append(f'<h3>{heading}: {len(wrong)}</h3>\n<div class="photos">\n{figures}\n</div>{more}')
    return title + "\n".join(parts)


def _figure(mistake: Mistake, report: LabelReport) -> str:
    picture = thumbnail(Path(mistake.file), description=f"{mistake.kind}: {report.label}")
    caption = f"{html(mistake.file)}<br>score {mistake.score:.3f}, threshold {report.threshold:.3f}"
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
