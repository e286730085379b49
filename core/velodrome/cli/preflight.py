"""`check`: whether a file is right, and whether a cluster has what its jobs need."""

from __future__ import annotations

from typing import Annotated

import typer

from velodrome.cli.cluster.commands import Context, Kubeconfig, Namespace
from velodrome.cli.console import say, write_json
from velodrome.cli.doctor import show_checks
from velodrome.cli.exit_codes import NOT_HERE
from velodrome.cli.options import JobFile, Json

EXAMPLES = """\
  velodrome check race.yaml --cluster
  velodrome check race.yaml --cluster --namespace team-a --json
"""


def check(
    file: JobFile,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also check the cluster that kubectl reaches, for these jobs.")
    ] = False,
    json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    installed_in: Annotated[
        str, typer.Option("--installed-in", metavar="NS", help="Namespace that Velodrome was installed in.")
    ] = "velodrome",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Ask registries on this machine's loopback interface by HTTP.")
    ] = False,
) -> None:
    """Check a file, and whether a cluster has what its jobs need, before they are applied.

    With --cluster: the namespace, Pod Security, your rights, quotas, nodes and their GPUs, volumes, ConfigMaps and
    Secrets with their keys (no value is read), classes, device claims, the queue and the images. Nothing is changed.

    MISSING stops a race (exit code 3), WARNING does not. Each is shown with its fix. An invalid file ends with 2.
    """
    from dataclasses import asdict

    from velodrome.cli.files import plans_in

    plans = plans_in(file)
    if not cluster and json:
        write_json({"jobs": {plan.job.metadata.name: [] for plan in plans}})
        return
    if not cluster:
        for plan in plans:
            say(f"{file}: {plan.job.metadata.name} is valid; --cluster also looks at the cluster")
        return
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.cluster.preflight.checks import examine_job
    from velodrome.cli.registry.client import Registries

    kubectl, registries = Kubectl(namespace, context, kubeconfig), Registries(insecure=insecure)
    found = {plan.job.metadata.name: examine_job(plan, kubectl, installed_in, registries) for plan in plans}
    if json:
        write_json({"jobs": {name: [asdict(each) for each in checks] for name, checks in found.items()}})
    else:
        for name, checks in found.items():
            if len(found) > 1:
                say(f"{name}:", bold=True)
            show_checks(checks)
    if any(each.status == "missing" for checks in found.values() for each in checks):
        raise typer.Exit(NOT_HERE)
