"""``pvlr bank``: label banks from words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import errors
from .commands import Command, Group

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def bank() -> None:
    """Make label banks for open plans."""


@app.command(cls=Command, no_args_is_help=True)
def make(
    words: Annotated[str, typer.Option("--words", "-w", metavar="WORDS", help="Words or phrases, comma-separated.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The label bank to write.")],
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A prompt with {} for the word; repeatable.", show_default="three prompts"),
    ] = None,
    descriptions: Annotated[
        Path | None, typer.Option(metavar="JSON", help='A JSON file of descriptions, {"word": "what it looks like"}.')
    ] = None,
    knowledge: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|MODEL", help="Knowledge file for text labels: a model name, or a file from pvlr export."
        ),
    ] = None,
    add_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Label bank of the plan to extend; its labels come first."),
    ] = None,
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

    given = [word for word in words.split(",") if word.strip()]
    described = None if descriptions is None else _read(descriptions)
    make_bank = bank_from_words if knowledge is None else Knowledge.load(knowledge).bank
    made = make_bank(given, templates=template or TEMPLATES, descriptions=described)
    (made if add_to is None else LabelBank.load(add_to).join(made)).save(out)
    print(out)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        got = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = 'For example {"hard hat": "a helmet that workers wear"}.'
        raise errors.OptionError("--descriptions", expected="a JSON file", got=got, hint=hint) from None
