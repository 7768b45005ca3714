"""How the hub's operator bears load, against a real API server and a real exchange on this machine.

    python -m tests.bench.bench_operator [--rounds 1000] [--silos 10] [--json FILE]

The operator is its own entry point, under its ServiceAccount with the chart's rules. Rounds are made by another process.

    plan_seconds     from the first `create` until every round is Enrolling and every SiloTask is written
    bare_seconds     the same number of SiloTasks written by a bare client, in the same run: the machine's limit
    rss_mib          resident memory of the operator after that, and after the idle resyncs
    idle_writes      writes that reach the API server during ten resyncs without news
    restart_seconds  from the start of a new process until it is ready and has looked at every round
    reaction_p95_s   from a site that says that its task is over until the round's status shows it

The process writes one JSON object; targets stand beside the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from tests.cluster.api_server import ApiServer
from tests.cluster.control_plane import running
from tests.cluster.hub import Hub, round_document, running_hub

from fedgestalt import __version__
from fedgestalt.exchange.errors import ExchangeError

ROOT = Path(__file__).parents[2]
TARGETS = {"plan_seconds": 60, "rss_mib": 200, "idle_writes": 0, "restart_seconds": 20, "reaction_p95_s": 2}
RESYNCS = 10
RESYNC_SECONDS = 6.0
QUIET_SECONDS = 5.0
HEARTBEAT_SECONDS = 15.0
WRITES = ("POST", "PUT", "PATCH", "DELETE", "APPLY")


def main() -> None:
    """Run everything and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--silos", type=int, default=10)
    parser.add_argument("--reactions", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--make-rounds", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_rounds:
        make_rounds(*options.make_rounds, count=options.rounds, silos=options.silos)
        return
    script = subprocess.run([ROOT / "scripts" / "kube-assets"], capture_output=True, text=True, check=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(script.stdout.strip()), Path(folder) / "api") as server,
    ):
        server.install_crds()
        figures = measure(server, Path(folder), options)
    figures["targets"] = TARGETS
    figures["machine"] = {"cores": os.cpu_count(), "load_before": LOAD}
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


LOAD = os.getloadavg()[0]


def measure(server: ApiServer, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures, in the order in which a hub would live through them."""
    namespace = server.namespace("bench")
    names = [f"silo-{i:02d}" for i in range(options.silos)]
    figures: dict[str, Any] = {"rounds": options.rounds, "silos": options.silos}
    figures["bare_seconds"] = round(bare_writes(server, options.rounds * options.silos), 1)
    say("bare_seconds", figures)
    with (
        running_hub(server, namespace, folder / "hub", names, resync=RESYNC_SECONDS) as hub,
        beating(hub),
    ):
        before = requests(server)
        figures["plan_seconds"] = round(plan(hub, options), 1)
        print(
            f"requests while planning: {dict((requests(server) - before).most_common(12))}", file=sys.stderr
        )
        figures["ratio_to_bare"] = round(figures["plan_seconds"] / figures["bare_seconds"], 2)
        say("plan_seconds", figures)
        figures["rss_mib_after_planning"] = rss_mib(hub)
        settle(hub)
        figures["idle_writes"] = idle_writes(hub)
        say("idle_writes", figures)
        figures["rss_mib"] = rss_mib(hub)
        figures["restart_seconds"] = round(restart(hub, options.rounds), 1)
        say("restart_seconds", figures)
        times = sorted(react(hub, options))
        figures["reaction_p50_s"] = round(statistics.median(times), 2)
        figures["reaction_p95_s"] = round(times[int(0.95 * len(times))], 2)
        figures["rss_mib_after_restart"] = rss_mib(hub)
    return figures


@contextlib.contextmanager
def beating(hub: Hub) -> Iterator[None]:
    """The sites' heartbeats, as their links send them: a silo that falls silent would be news."""
    stopped = threading.Event()

    def beat() -> None:
        clients = [hub.client(name) for name in hub.silos]
        while True:
            for client in clients:
                with contextlib.suppress(ExchangeError):  # the operator may not have registered it yet
                    client.heartbeat(__version__)
            if stopped.wait(HEARTBEAT_SECONDS):
                break
        for client in clients:
            client.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    yield
    stopped.set()
    thread.join(30)


def say(name: str, figures: dict[str, Any]) -> None:
    """Show progress on stderr: the whole takes minutes."""
    print(f"{name}: {figures[name]}", file=sys.stderr, flush=True)


def bare_writes(server: ApiServer, count: int) -> float:
    """Seconds in which a bare client creates that many SiloTasks with four connections."""
    namespace = server.namespace("bare")
    client = server.client()
    path = f"/apis/fedgestalt.org/v1alpha1/namespaces/{namespace}/silotasks"

    def create(i: int) -> None:
        spec = {"silo": "west", "kind": "Enrol", "roundUID": "bare-bare", "digest": "0" * 64, "attempt": 1}
        document = {
            "apiVersion": "fedgestalt.org/v1alpha1",
            "kind": "SiloTask",
            "metadata": {"name": f"t{i}"},
            "spec": spec,
        }
        client.post(path, json=document).raise_for_status()

    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(count)))
    seconds = time.monotonic() - began
    client.delete(path).raise_for_status()
    return seconds


def make_rounds(url: str, token: str, ca: str, *, count: int, silos: int) -> None:
    """The other process: create the rounds with four connections."""
    names = [f"silo-{i:02d}" for i in range(silos)]
    path = f"{url}/apis/fedgestalt.org/v1alpha1/namespaces/bench/federationrounds"
    with httpx.Client(verify=ca, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:

        def create(i: int) -> None:
            client.post(path, json=round_document(f"round-{i:04d}", names)).raise_for_status()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(create, range(count)))


def plan(hub: Hub, options: argparse.Namespace) -> float:
    """Seconds from the first round's creation until all are planned."""
    server = hub.server
    server.service_account(hub.namespace, "coordinator")
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{hub.namespace}"
    rule = {"apiGroups": ["fedgestalt.org"], "resources": ["federationrounds"], "verbs": ["create"]}
    server.create(f"{rbac}/roles", {"metadata": {"name": "coordinator"}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "coordinator"}
    subject = {"kind": "ServiceAccount", "name": "coordinator", "namespace": hub.namespace}
    binding = {"metadata": {"name": "coordinator"}, "roleRef": reference, "subjects": [subject]}
    server.create(f"{rbac}/rolebindings", binding)
    token = server.service_account(hub.namespace, "coordinator")
    wanted = options.rounds * options.silos
    command = [sys.executable, "-m", "tests.bench.bench_operator"]
    command += ["--rounds", str(options.rounds), "--silos", str(options.silos)]
    began = time.monotonic()
    maker = subprocess.Popen([*command, "--make-rounds", server.url, token, str(server.ca_file)], cwd=ROOT)
    wait(lambda: count(hub, "silotasks") >= wanted, "all SiloTasks", 900)
    wait(lambda: enrolling(hub) >= options.rounds, "all rounds Enrolling", 900)
    seconds = time.monotonic() - began
    assert maker.wait(60) == 0
    return seconds


def count(hub: Hub, plural: str) -> int:
    """How many objects of a kind there are, without reading them."""
    page = hub.server.call("GET", f"{hub.group}/{plural}", limit="1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def enrolling(hub: Hub) -> int:
    """How many rounds say that they enrol."""
    metrics = hub.metrics()
    return int(metrics.get('fedgestalt_operator_rounds{phase="Enrolling"}', 0))


def settle(hub: Hub) -> None:
    """Until what the writes themselves set off is over: the queue is empty, and the last Events are written."""
    end, last, since = time.monotonic() + 600, -1.0, time.monotonic()
    while time.monotonic() < end:
        found = writes(hub.server)
        if found != last or hub.metrics()["fedgestalt_operator_queue_depth"]:
            last, since = found, time.monotonic()
        if time.monotonic() - since > QUIET_SECONDS:
            return
        time.sleep(0.5)
    raise TimeoutError("the operator does not come to rest within 600 s")


def idle_writes(hub: Hub) -> int:
    """Writes to our resources, Jobs and Events during ten resyncs without news."""
    before, looks = requests(hub.server), reconciles(hub)
    time.sleep(RESYNCS * RESYNC_SECONDS)
    print(f"reconciles while idle: {reconciles(hub) - looks:.0f}", file=sys.stderr)
    made = +(requests(hub.server) - before)
    written = {what: n for what, n in made.items() if is_write(what)}
    print(f"writes while idle: {written}", file=sys.stderr)
    return sum(written.values())


def writes(server: ApiServer) -> int:
    """Writing requests that the API server counted, without its own."""
    return sum(n for what, n in requests(server).items() if is_write(what))


def is_write(what: str) -> bool:
    """Whether a request of this verb and resource changes anything of ours, Jobs and Events included."""
    verb, resource = what.split(" ", 1)
    return verb in WRITES and resource not in ("leases", "serviceaccounts") and "reviews" not in resource


def requests(server: ApiServer) -> Counter[str]:
    """Requests that the API server counted, by verb and resource."""
    found: Counter[str] = Counter()
    for line in server.client().get("/metrics").text.splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            resource = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            found[f"{labels['verb']} {resource}"] += int(float(line.rsplit(" ", 1)[1]))
    return found


def reconciles(hub: Hub) -> float:
    """Reconciles of rounds so far."""
    found = hub.metrics()
    prefix = 'fedgestalt_operator_reconciles_total{kind="FederationRound"'
    return sum(value for name, value in found.items() if name.startswith(prefix))


def restart(hub: Hub, rounds: int) -> float:
    """Seconds from a new process until it is ready and has looked at every round."""
    assert hub.operator is not None
    hub.operator.kill()
    began = time.monotonic()
    hub.start_operator()
    hub.wait_ready(120)
    wait(
        lambda: reconciles(hub) >= rounds and not hub.metrics()["fedgestalt_operator_queue_depth"], "all", 300
    )
    return time.monotonic() - began


def react(hub: Hub, options: argparse.Namespace) -> list[float]:
    """Seconds from a site's word to the round's status, one site and round at a time."""
    times = []
    chooser = random.Random(1)
    silos = {name: hub.client(name) for name in list(hub.silos)[:3]}
    for i in chooser.sample(range(options.rounds), min(options.reactions, options.rounds)):
        silo = chooser.choice(list(silos))
        name = f"round-{i:04d}"
        uid = hub.get("federationrounds", name)["metadata"]["uid"]
        task = f"fg-{uid[:8]}-enrol-{silo}-1"
        began = time.monotonic()
        silos[silo].put_task_status(task, {"phase": "Succeeded", "fraction": 1.0})
        wait(lambda name=name, silo=silo: shown(hub, name, silo), f"{name} shows {silo}", 60, pause=0.02)  # type: ignore[misc]
        times.append(time.monotonic() - began)
    for client in silos.values():
        client.close()
    return times


def shown(hub: Hub, name: str, silo: str) -> bool:
    """Whether the round's status says that the silo's task is over."""
    silos = hub.get("federationrounds", name).get("status", {}).get("silos", ())
    return any(s["name"] == silo and s.get("task", {}).get("phase") == "Succeeded" for s in silos)


def rss_mib(hub: Hub) -> float:
    """Resident memory of the operator."""
    assert hub.operator is not None
    status = Path(f"/proc/{hub.operator.pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return round(kib / 1024, 1)


def wait(ready: Callable[[], bool], what: str, seconds: float, pause: float = 0.25) -> None:
    """Until `ready()`, with an end."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


if __name__ == "__main__":
    main()
