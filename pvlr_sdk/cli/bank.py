"""``pvlr bank``: label banks from words, and joined ones; ``pvlr words``: senses and grades of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer import Argument, Option

from .. import errors
from .._util.files import read_file
from .._util.plain_json import Limits, read_json
from . import options
from .commands import Command, Group

_DESCRIPTIONS = Limits(size=2**24, values=2**20, depth=1)

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def bank() -> None:
    """Make and join label banks for open plans; pvlr info shows one."""


@app.command(cls=Command, no_args_is_help=True)
def make(
    words: str = Option(
        ..., "--words", "-w", metavar="WORDS", help="Words or phrases, comma-separated."
    ),
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label bank to write."),
    plan: options.PlanOption = None,
    sense: list[str] | None = Option(
        None,
        metavar="WORD=SENSE",
        help="What a word is a kind of, or the number of its sense; repeatable.",
    ),
    descriptions: Path | None = Option(
        None, metavar="JSON", help='A JSON file of descriptions, {"word": "what it looks like"}.'
    ),
    template: list[str] | None = Option(
        None,
        metavar="TEXT",
        help="A prompt with {} for the word; repeatable.",
        show_default="three prompts",
    ),
    force: bool = Option(
        False, "--force", help="Accept words that resemble nothing that the model knows."
    ),
) -> None:
    """Make a label bank of words for an open plan.

    A word that is a label of the plan, or a synonym of one, is that label. All other
    words are mixtures of ImageNet's classes, which [bold]pvlr words[/bold] shows.
    Of a phrase that is not in the dictionary, its last words stand for it.
    Descriptions and templates need the extra \\[words], and so do plans that read words.

    \b
    [bold]Examples[/bold]
    pvlr bank make --words "forklift, crash helmet" -o bank.safetensors
    pvlr bank make -w kite --sense kite=plaything -o bank.safetensors
    pvlr bank make -w forklift --plan runs/my-photos/engine.plan -o bank.safetensors
    """
    from ..labels import Knowledge, bank_from_words
    from ..labels.encoder import MINILM
    from ..labels.words import TEMPLATES
    from ..models.find import load_bundle

    texts = options.split_words(words) or []
    senses = dict(map(_sense, sense or ()))
    templates = template or TEMPLATES
    described = None if descriptions is None else _read(descriptions)
    plan_labels = None if plan and plan.suffix == ".safetensors" else load_bundle(plan).labels
    if plan_labels is not None and plan_labels.space == MINILM:
        bank = bank_from_words(texts, templates=templates, descriptions=described)
    else:
        bank = Knowledge.load(plan).bank(
            texts,
            base=plan_labels,
            senses=senses,
            templates=templates,
            descriptions=described,
            force=force,
        )
    bank.save(out)
    print(out)


@app.command(cls=Command, no_args_is_help=True)
def join(
    banks: list[Path] = Argument(
        ..., metavar="BANK", help="Label banks for one plan, such as those of several sites."
    ),
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label bank to write."),
    labels: str | None = Option(None, metavar="LABELS", help="Only these labels, comma-separated."),
    keep_first: bool = Option(
        False, "--keep-first", help="Of a label that differs, take that of the first bank."
    ),
) -> None:
    """Join label banks, or select labels of one.

    A label that several banks have must be the same in all: otherwise, the label
    is named and nothing is written, unless --keep-first takes it from the first
    bank that has it. The result contains no photos. [bold]pvlr sign[/bold] signs it.

    \b
    [bold]Examples[/bold]
    pvlr bank join door.safetensors yard.safetensors -o both.safetensors
    pvlr bank join yard.safetensors door.safetensors --keep-first -o both.safetensors
    pvlr bank join bank.safetensors --labels "person, my mug" -o two.safetensors
    """
    from ..labels import LabelBank

    joined = LabelBank.load(banks[0])
    for path in banks[1:]:
        try:
            joined = joined.join(LabelBank.load(path), keep=keep_first)
        except errors.LabelBankError as error:
            raise errors.LabelBankError(str(path), error.expected, error.got, error.hint) from None
    (joined if labels is None else joined.select(options.split_words(labels) or [])).save(out)
    print(out)


def words(
    words: list[str] = Argument(..., metavar="WORD", help="Words or phrases."),
    plan: options.PlanOption = None,
    as_json: options.Json = False,
) -> None:
    """Show the senses, the grade and the classes of words as labels, as --words uses them.

    An everyday word, such as street, was learned from captions of photos by the
    plan's knowledge file: grade caption or doubtful, with what was measured for it.
    Any other word is a mixture of ImageNet's classes. Its grade says how far it
    can be trusted: class (it is one, or some are kinds of it), doubtful or unknown.
    Of the tags of such words, and of the photos with them, the share is stated that
    is right and found at --operating-point f1, on average and of 95 % of the words,
    where 3 of 100 photos show them. Each sense of a word has a line of
    its own; the first is used unless --sense of [bold]pvlr bank make[/bold] names
    another.

    \b
    [bold]Examples[/bold]
    pvlr words espresso kite "golden retriever"
    pvlr words fork --json
    """
    from rich.table import Table

    from .._util.escape import terminal
    from ..labels.expectation import brief, short
    from ..labels.meaning import senses_of
    from ..labels.phrases import why_no_word
    from .screen import console, print_json

    by_word = {word: senses_of(word) for word in words}
    everyday = _everyday(words, plan)
    if as_json:
        print_json(
            [
                {
                    "word": word,
                    "refused": None if word in everyday else why_no_word(word),
                    "everyday": everyday.get(word),
                    "senses": [sense.provenance() for sense in senses],
                }
                for word, senses in by_word.items()
            ]
        )
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("Word", no_wrap=True)
    for heading in ("Grade", "A kind of", "Classes", "Of 100"):
        table.add_column(heading)
    for word, senses in by_word.items():
        if learned := everyday.get(word):
            source = f"learned from {learned['mentions']} captions"
            table.add_row(
                terminal(word), learned["grade"], "", source, brief(learned["expected"]["f1"])
            )
        elif why := why_no_word(word):
            table.add_row(terminal(word), "refused", "", f"{why}: pvlr teach")
            continue
        elif not senses:
            table.add_row(terminal(word), "unknown", "", "not in the dictionary")
        for sense in senses:
            table.add_row(
                terminal(word),
                sense.grade,
                sense.entry.senses[sense.sense].kind,
                sense.read_as() + sense.described(),
                short(sense.grade),
            )
    console().print(table)


def _everyday(words: list[str], plan: Path | None) -> dict[str, dict[str, Any]]:
    """Those of the words that the knowledge file of a plan has learned from captions, with what it says of them."""
    from ..labels import Knowledge

    learned = Knowledge.load(plan).everyday
    found = {word: learned.find(word) for word in words} if learned else {}
    return {
        word: learned.provenance(row) for word, row in found.items() if learned and row is not None
    }


def _sense(text: str) -> tuple[str, str]:
    word, separator, sense = (part.strip() for part in text.partition("="))
    if not separator:
        raise errors.OptionError(
            "--sense",
            "WORD=SENSE",
            repr(text),
            "For example --sense kite=plaything; pvlr words kite shows its senses.",
        )
    return word, sense


def _read(path: Path) -> Any:
    try:
        return read_json(read_file(path, _DESCRIPTIONS.size), _DESCRIPTIONS, printable=False)
    except (OSError, ValueError) as error:
        raise errors.OptionError(
            "--descriptions",
            "a JSON file",
            (error.strerror if isinstance(error, OSError) else None) or str(error),
            'For example {"hard hat": "a helmet that workers wear"}.',
        ) from None
