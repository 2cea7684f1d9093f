"""``pvlr names``: a first version of the names of labels in another language."""

from __future__ import annotations

import json
from pathlib import Path

from typer import Option

from . import options


def names(
    plan: options.PlanArgument = None,
    bank: options.Bank = None,
    language: str = Option(..., "--language", metavar="CODE", help="Such as de or pt-BR."),
    dictionary: Path = Option(
        ..., "--dictionary", metavar="INDEX", help="A dictd dictionary, such as FreeDict's .index."
    ),
    out: Path = Option(..., "--out", "-o", metavar="JSON", help="The file of names to write."),
    names: options.Names = None,
) -> None:
    """Translate labels and their parents with a dictionary, for you to correct.

    The file gets the names that the dictionary has, after those of --names. All
    others are listed and stay English. [bold]--names[/bold] of other commands, and
    names: of a site, read it.

    \b
    [bold]Examples[/bold]
    apt-get install dict-freedict-eng-deu
    pvlr names --language de -o names.json --dictionary \\
      /usr/share/dictd/freedict-eng-deu.index
    pvlr tag holiday/ --xmp --names names.json --language de
    """
    from .._util.files import write_files
    from .._util.plain_json import read_json
    from ..labels import LabelBank
    from ..labels.translation import translated
    from ..labels.tree import LIMITS, LabelTree
    from ..models.find import load_bundle
    from .screen import note

    labels = (LabelBank.load(bank) if bank else load_bundle(plan).labels).names
    tree = LabelTree.load(names, labels)
    wanted = dict.fromkeys(name for label in labels for name in (label, *tree.ancestors(label)))
    content = read_json(names.read_bytes(), LIMITS) if names else {}
    kept = content.setdefault("names", {}).setdefault(language, {})
    translations = tree.names.get(language, {})
    untranslated = [name for name in wanted if name.casefold() not in translations]
    additions = translated(tree, untranslated, dictionary)
    kept.update(additions)
    write_files({out: json.dumps(content, ensure_ascii=False, indent=1).encode()})
    LabelTree.load(out).checked(language)
    missing = [name for name in untranslated if name not in additions]
    print(f"{out}: {len(kept)} names, {len(missing)} missing")
    if missing:
        note(f"not in the dictionary, and English: {', '.join(missing)}")
