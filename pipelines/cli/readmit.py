"""`cippus readmit`: lift the tombstone of an erased account that comes back."""

from typing import Annotated

import typer

from pipelines.cli.account import AccountFile, AccountId, read_account
from pipelines.cli.terminal import Json, out, print_json, require_stack, require_utf8, shown
from pipelines.local.run_lock import only_run
from resources.errors import InputError
from resources.settings import home


def readmit(
    reason: Annotated[str, typer.Option("--reason", help="Why it may come back. It is kept: write no name in it.")],
    account_id: AccountId = None,
    account_file: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Lift an account's tombstone, so that it is extracted again, and keep the reason on record."""
    account, _ = read_account(account_id, account_file)
    require_utf8("The reason", reason)
    if not reason.strip():
        raise InputError("--reason is empty; say why the account may come back.")
    require_stack()
    from resources.wiring import resources

    with only_run(home()), resources().erasures.process_config_and_initialize_cm() as erasures:
        key = erasures.lift(erasures.subject(account), reason)
    if as_json:
        print_json({"record": key})
        return
    out.print(f"The tombstone is lifted; the reason is in {shown(key)}.", highlight=False, soft_wrap=True)
    out.print("Rows that change are extracted from now on, and all others by the job raw_key_reconciliation.")
