"""``pvlr sign`` and ``pvlr verify-signature``: who vouches for a bundle or a label bank."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import typer
from typer import Option

from .. import errors
from . import options

_KEYS = "Public keys: a folder of PEM files, or one such file."
_STATE = (
    "File with the newest version used of each bundle; without FILE: no protection from rollback."
)


def sign(
    plan: options.Plan,
    key: Path = Option(
        ..., "--key", "-k", metavar="KEY.pem", help="Private key, ECDSA P-256 or Ed25519."
    ),
    bundle_version: int = Option(
        1, metavar="N", min=1, help="Increase it with each release; devices refuse lower versions."
    ),
    expires: datetime | None = Option(
        None,
        metavar="DATE",
        formats=["%Y-%m-%d"],
        help="Last day of the signature, in UTC.",
        show_default="never",
    ),
) -> None:
    """Sign a bundle, a label bank or a knowledge file.

    Writes the signature (.sig) next to the plan or the label bank, in the format
    of OpenSSF Model Signing. Sign again after each change of the plan, its
    thresholds, its manifest or the bank. Generate the keys with OpenSSL: key.pem
    stays with the signer, verifying needs only the public key. Needs the extra
    \\[sign].

    \b
    [bold]Examples[/bold]
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
    openssl pkey -in key.pem -pubout -out keys/me.pem
    pvlr sign engine.plan --key key.pem
    pvlr sign engine.plan --key key.pem --bundle-version 7 --expires 2027-12-31
    pvlr sign bank.safetensors --key key.pem
    """
    from ..bundle.bundle import KNOWLEDGE
    from ..bundle.label_bank import LabelBank
    from ..bundle.sign import sign as write_signature
    from ..labels.knowledge import Knowledge
    from ..models.find import find_plan
    from ..trust.verify import utc_today

    def passphrase() -> str:
        try:
            return str(typer.prompt(f"Passphrase of {key}", hide_input=True, err=True))
        except typer.Abort:
            raise errors.OptionError(
                "--key",
                f"the passphrase of {key}",
                "none",
                "Enter it in a terminal, or write it to the standard input.",
            ) from None

    last = expires.date() if expires else None
    today = utc_today()
    if last and last < today:
        raise errors.OptionError(
            "--expires",
            f"{today} (UTC) or later",
            str(last),
            "Devices would refuse the signature at once.",
        )
    if plan.suffix == ".safetensors":
        # valid, or not signed
        (Knowledge if plan.name.endswith(KNOWLEDGE) else LabelBank).load(plan, trust=False)
    else:
        plan = find_plan(plan)
    print(write_signature(plan, key, version=bundle_version, expires=last, passphrase=passphrase))


def verify_signature(
    plan: options.Plan,
    trust: Path = Option(..., "--trust", "-t", metavar="KEYS", envvar="PVLR_TRUST", help=_KEYS),
    state: str | None = Option(
        None,
        metavar="[FILE]",
        envvar="PVLR_STATE",
        help=_STATE,
        show_default="a file in the user's state folder",
    ),
    allow_rollback: bool = Option(
        False, "--allow-rollback", help="Accept an older version, here and from now on."
    ),
    as_json: options.Json = False,
) -> None:
    """Verify the signature of a bundle and all its files, or of a label bank.

    If PVLR_TRUST is set, every command that opens a plan or a bank does this
    first. Needs the extra \\[sign].

    \b
    [bold]Examples[/bold]
    pvlr verify-signature engine.plan --trust keys/
    PVLR_TRUST=keys/ pvlr tag photo.jpg --plan engine.plan
    pvlr verify-signature old/engine.plan --trust keys/ --allow-rollback
    """
    from ..models.find import load_bundle
    from ..trust import Trust, accept
    from ..trust.verify import signature_path, verify
    from .screen import print_facts, print_json

    required = Trust(trust, state, allow_rollback)
    if plan.suffix == ".safetensors":
        signature = verify(signature_path(plan), [plan], required).signature
    else:
        bundle = load_bundle(plan, trust=required)
        assert bundle.signature is not None
        plan = bundle.path
        signature = bundle.signature
    if allow_rollback:
        accept(signature, required)
    if as_json:
        print_json({"plan": str(plan), "name": signature.name, **signature.to_dict()})
        return
    rows = [
        ("plan", plan),
        ("key", signature.key),
        ("version", signature.version or "none"),
        ("expires", signature.expires or "never"),
    ]
    print_facts(f"{signature.name}: signature verified", rows)
