"""`rotate`: new passwords for the Redis users of an installation, while races go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli.cluster.commands import Context, Kubeconfig
from velodrome.cli.console import say, write_json_line
from velodrome.cli.options import Json
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.store.roles import Role

EXAMPLES = """\
  velodrome rotate --cluster                    # all roles: add, wait five minutes, remove the old ones
  velodrome rotate --cluster --role marks --no-wait
  velodrome rotate --cluster --finish           # remove the old ones now
  velodrome rotate --cluster --certificate      # a new certificate for Redis, of the same authority
"""


def rotate(
    *,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="The installation that kubectl reaches; no other has passwords to change.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="Where Velodrome was installed.")
    ] = "velodrome",
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE", help="operator, leaderboard or marks; all by default.")
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", min=0, help="How long both passwords count.")
    ] = 300.0,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Add the new passwords and return; a later run removes the old ones.")
    ] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Add none; remove the old passwords now.")] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="Add users and certificates to a Secret of version 0.1.0.")
    ] = False,
    certificate: Annotated[bool, typer.Option("--certificate", help="Renew Redis' certificate instead.")] = False,
    json: Json = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Change the passwords of Redis' users while races go on.

    Each role gets a second password, in Redis and in the Secret velodrome-redis. The operator and the leaderboard read
    it from their files within two minutes, without a restart. After the grace period the old one is removed. Running
    trials don't notice: their race's user has a password of its own. If this is interrupted, run it again.
    """
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.cluster.rotation import Rotation

    if not cluster:
        raise typer.BadParameter(
            "say --cluster: Velodrome's own Redis on this machine has no password to change", param_hint="--cluster"
        )
    chosen = _chosen(role)

    def tell(words: str) -> None:
        if json:
            write_json_line({"at": datetime.now(UTC).isoformat(), "step": words})
        else:
            say(line(words))

    rotation = Rotation(Kubectl(None, context, kubeconfig), namespace, tell)
    if complete:
        rotation.complete()
    elif certificate:
        rotation.renew()
    elif finish:
        rotation.finish(chosen)
    else:
        rotation.begin(chosen)
        if no_wait:
            tell("Remove the old passwords in a few minutes: velodrome rotate --cluster --finish")
            return
        tell(f"Waiting {grace:g} s, until everyone has read the new ones. Ctrl-C is harmless: run this again later.")
        rotation.wait(chosen, timedelta(seconds=grace))
        rotation.finish(chosen)


def _chosen(names: list[str] | None) -> list[Role]:
    from velodrome.store.roles import ROLES

    for name in names or ():
        if name not in ROLES:
            raise typer.BadParameter(f"{name} is no role: write one of {', '.join(ROLES)}", param_hint="--role")
    return [role for role in ROLES if not names or role in names]
