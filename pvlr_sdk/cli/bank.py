"""``pvlr bank``: label banks from words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer import Option

from .. import errors
from .commands import Command, Group

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def bank() -> None:
    """Make label banks for open plans."""


@app.command(cls=Command, no_args_is_help=True)
def make(
    words: str = Option(..., "--words", "-w", metavar="WORDS", help="Words or phrases, comma-separated."),
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label bank to write."),
    template: list[str] | None = Option(
        None, metavar="TEXT", help="A prompt with {} for the word; repeatable.", show_default="three prompts"
    ),
    descriptions: Path | None = Option(
        None, metavar="JSON", help='A JSON file of descriptions, {"word": "what it looks like"}.'
    ),
    knowledge: str | None = Option(
        None, metavar="FILE|MODEL", help="Knowledge file for text labels: a model name, or a file from pvlr export."
    ),
    add_to: Path | None = Option(None, metavar="FILE", help="Label bank of the plan to extend; its labels come first."),
) -> None:
    """Encode words as a label bank, without PyTorch.

    Each word is inserted into the prompts, which MiniLM encodes. With --knowledge,
    the labels work in an open plan that was not trained on them. Needs the extra
    \\[words].

    \b
    [bold]Examples[/bold]
    pvlr bank make --words "forklift, hard hat" -o bank.safetensors
    pvlr bank make -w cat,dog --template "a drawing of a {}." -o bank.safetensors
    pvlr bank make -w "forklift, hard hat" --knowledge pvlr-lite2-open \\
      -o bank.safetensors
    pvlr bank make -w "forklift, hard hat" -o bank.safetensors \\
      --knowledge model-open.knowledge.safetensors --add-to engine.labels.safetensors
    """
    from ..labels import Knowledge, LabelBank, bank_from_words
    from ..labels.words import TEMPLATES

    texts = [word for word in words.split(",") if word.strip()]
    described = None if descriptions is None else _read(descriptions)
    make_bank = bank_from_words if knowledge is None else Knowledge.load(knowledge).bank
    bank = make_bank(texts, templates=template or TEMPLATES, descriptions=described)
    (bank if add_to is None else LabelBank.load(add_to).join(bank)).save(out)
    print(out)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        got = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = 'For example {"hard hat": "a helmet that workers wear"}.'
        raise errors.OptionError("--descriptions", expected="a JSON file", got=got, hint=hint) from None
