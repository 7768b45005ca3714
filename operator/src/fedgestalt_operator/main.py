"""The operator's command line: `fedgestalt-operator hub` and `fedgestalt-operator site`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from .kube.errors import ClusterError
from .telemetry.logs import LogFormat, catch_uncaught, configure

if TYPE_CHECKING:
    from .kube.api_server import ApiServerCluster

EPILOG = (
    "Every option can be given as an environment variable, such as FEDGESTALT_OPERATOR_HUB_NAMESPACE. "
    "Exit codes: 0 ended by a signal; 1 it could not start and said why; 2 wrong usage; 3 the served CRDs lack what it needs."
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
CRDS_LACKING = 3
P = ParamSpec("P")


def common_options(command: Callable[P, None]) -> Callable[P, None]:
    """What both roles are told: the exchange, the API server, probes, logs."""
    options = (
        click.option("--exchange-url", required=True, help="https://host:port of the hub's exchange."),
        click.option(
            "--exchange-ca",
            type=_FILE,
            required=True,
            help="Certificates that the exchange's must descend from (PEM).",
        ),
        click.option(
            "--kubeconfig", type=_FILE, help="Default: the pod's service account, or kubectl's order."
        ),
        click.option("--context", help="The kubeconfig's context."),
        click.option(
            "--probe-host", default="", help="Address of /livez, /readyz and /metrics; empty for all."
        ),
        click.option("--probe-port", type=click.IntRange(0, 65535), default=8080, show_default=True),
        click.option(
            "--log-format",
            type=click.Choice([f.value for f in LogFormat]),
            default=LogFormat.JSON.value,
            show_default=True,
        ),
        click.option("--verbose", is_flag=True, help="Log what went wrong with tracebacks."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def start_logs(log_format: str, verbose: bool) -> None:
    """Send the process's logs to stderr, uncaught errors too."""
    configure(LogFormat(log_format), logging.DEBUG if verbose else logging.INFO)
    catch_uncaught()


@contextmanager
def cluster_of(
    kubeconfig: Path | None, context: str | None, kinds: Collection[str]
) -> Iterator[ApiServerCluster]:
    """The API server, once it is seen to serve the CRDs of a role; what goes wrong ends the process with its exit code."""
    from fedgestalt.crypto.errors import CryptoError
    from fedgestalt.exchange.errors import ExchangeError

    from .kube.api_server import ApiServerCluster
    from .kube.served import CrdsOutdatedError, check_served
    from .telemetry.probes import ProbeError

    try:
        cluster = ApiServerCluster(kubeconfig, context=context)
        check_served(cluster, kinds)
        yield cluster
    except CrdsOutdatedError as error:
        click.echo(str(error), err=True)
        sys.exit(CRDS_LACKING)
    except (ClusterError, CryptoError, ExchangeError, ProbeError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.group(
    context_settings={"auto_envvar_prefix": "FEDGESTALT_OPERATOR", "help_option_names": ["-h", "--help"]}
)
def main() -> None:
    """Runs federations from Kubernetes resources. One process, one role, one namespace."""


@main.command(epilog=EPILOG)
@click.option("--namespace", required=True, help="Where rounds, silos, releases and Jobs live.")
@click.option(
    "--hub-key", type=_FILE, required=True, help="The hub's Ed25519 key (PEM, mode 0600): signs decisions."
)
@click.option(
    "--state",
    type=_FOLDER,
    required=True,
    help="Durable folder for releases and for how far boards were seen.",
)
@click.option(
    "--board-port",
    type=click.IntRange(0, 65535),
    help="Serve boards over TLS for `kubectl fedgestalt replay`; absent: nowhere.",
)
@click.option(
    "--job-repository",
    default="fedgestalt-workload",
    show_default=True,
    help="Image of the hub's Jobs, without tag.",
)
@click.option(
    "--job-secret", default="fedgestalt-exchange-job", show_default=True, help="The Secret that Jobs mount."
)
@click.option("--job-exchange-url", help="How Jobs reach the exchange, if otherwise than the operator.")
@click.option("--job-queue", default="", help="Kueue LocalQueue of the hub's Jobs.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=12, show_default=True, help="Threads that reconcile."
)
@click.option(
    "--resync",
    type=click.FloatRange(1.0),
    default=300.0,
    show_default=True,
    help="Seconds between two looks at every round without news.",
)
@common_options
def hub(
    namespace: str,
    hub_key: Path,
    state: Path,
    board_port: int | None,
    job_repository: str,
    job_secret: str,
    job_exchange_url: str | None,
    job_queue: str,
    workers: int,
    resync: float,
    exchange_url: str,
    exchange_ca: Path,
    kubeconfig: Path | None,
    context: str | None,
    probe_host: str,
    probe_port: int,
    log_format: str,
    verbose: bool,
) -> None:
    """The hub: FederationRounds, Silos, Releases of one namespace."""
    from .hub.act import JobTemplate
    from .hub.wiring import HubSettings, hub_operator
    from .kube.served import HUB_KINDS

    start_logs(log_format, verbose)
    settings = HubSettings(
        namespace=namespace,
        exchange_url=exchange_url,
        exchange_ca=exchange_ca,
        hub_key=hub_key,
        state=state,
        kubeconfig=kubeconfig,
        context=context,
        probes=(probe_host, probe_port),
        boards=None if board_port is None else (probe_host, board_port),
        job_url=job_exchange_url,
        template=JobTemplate(job_repository, job_secret, job_queue),
        workers=workers,
        resync=resync,
        instance=os.environ.get("HOSTNAME", ""),
    )
    with (
        cluster_of(kubeconfig, context, HUB_KINDS) as cluster,
        hub_operator(settings, cluster) as operator,
    ):
        stop_on_signals(operator.stop)
        operator.run()


@main.command(epilog=EPILOG)
@click.option("--namespace", required=True, help="Where SiloTasks, ParticipationGrants and Releases live.")
@click.option("--silo", required=True, help="This hospital's name at the hub.")
@click.option(
    "--hub-key",
    required=True,
    help="The hub's public key, 64 hexadecimal digits, as this site has pinned it.",
)
@click.option("--handover", type=_FOLDER, required=True, help="The folder that is shared with the agent.")
@click.option(
    "--inference-image", help="Image of inference services, with tag or digest; absent: none are started."
)
@click.option("--inference-claim", default="", help="PersistentVolumeClaim that holds the agent's folder.")
@click.option("--inference-host-path", default="", help="Or: the agent's folder on every node.")
@click.option(
    "--inference-site",
    default="",
    help="Path of site.json in that folder: services ask the federation with the site's identity. "
    "Absent: they get the releases alone and answer from the own gallery.",
)
@click.option(
    "--inference-user",
    type=click.IntRange(10_000),
    default=10_001,
    show_default=True,
    help="The agent's user, who owns the releases' files.",
)
@click.option(
    "--inference-service-account",
    default="default",
    show_default=True,
    help="ServiceAccount of the pods, which get no token of it.",
)
@click.option(
    "--inference-gpu",
    default="nvidia.com/gpu",
    show_default=True,
    help="Resource name of the GPUs that endpoints ask for.",
)
@click.option("--inference-runtime-class", default="", help="RuntimeClass of pods with a GPU.")
@click.option(
    "--inference-url",
    default="http://{name}.{namespace}.svc:8080",
    show_default=True,
    help="Where the operator asks a service which release it has loaded.",
)
@common_options
def site(
    namespace: str,
    silo: str,
    hub_key: str,
    handover: Path,
    inference_image: str | None,
    inference_claim: str,
    inference_host_path: str,
    inference_site: str,
    inference_user: int,
    inference_service_account: str,
    inference_gpu: str,
    inference_runtime_class: str,
    inference_url: str,
    exchange_url: str,
    exchange_ca: Path,
    kubeconfig: Path | None,
    context: str | None,
    probe_host: str,
    probe_port: int,
    log_format: str,
    verbose: bool,
) -> None:
    """A hospital: the link to the hub's exchange, SiloTasks, ParticipationGrants and InferenceEndpoints of one namespace.

    It holds no key.
    """
    from .kube.deployments import InferenceTemplate
    from .kube.served import SITE_KINDS
    from .site.wiring import SiteSettings, site_operator

    start_logs(log_format, verbose)
    try:
        key = bytes.fromhex(hub_key)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise click.BadParameter(
            "give the 64 hexadecimal digits of the hub's public key", param_hint="--hub-key"
        )
    template = None
    if inference_image:
        try:
            template = InferenceTemplate(
                image=inference_image,
                claim=inference_claim,
                host_path=inference_host_path,
                site_file=inference_site,
                user=inference_user,
                service_account=inference_service_account,
                gpu=inference_gpu,
                runtime_class=inference_runtime_class,
            )
        except ValueError as error:
            raise click.UsageError(f"--inference-...: {error}") from error
    settings = SiteSettings(
        namespace=namespace,
        silo=silo,
        exchange_url=exchange_url,
        exchange_ca=exchange_ca,
        hub_key=key,
        handover=handover,
        inference=template,
        inference_url=inference_url,
        probes=(probe_host, probe_port),
        instance=os.environ.get("HOSTNAME", ""),
    )
    with (
        cluster_of(kubeconfig, context, SITE_KINDS) as cluster,
        site_operator(settings, cluster) as operator,
    ):
        stop_on_signals(operator.stop)
        operator.run()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """End at SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


if __name__ == "__main__":
    main()
