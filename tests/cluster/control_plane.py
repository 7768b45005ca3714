"""Starting a control plane on loopback: etcd and kube-apiserver with RBAC, and controllers if asked.

No node, no kubelet, no network: objects are stored, validated, defaulted, authorised and watched exactly as in a
cluster, and nothing runs. With controllers, Jobs make pods and owners take their children along; whoever needs
a pod to end writes its status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from .api_server import ApiServer
from .pki import Authority, write_key
from .processes import NotStartedError, Process, free_port

# Those that Jobs, Deployments, owner references, namespaces and service accounts need; the others want nodes or volumes.
_CONTROLLERS: Final = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
)


AUDIT_LOG: Final = "audit.log"
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


@contextmanager
def running(assets: Path, folder: Path, *, controllers: bool = False, tries: int = 3) -> Iterator[ApiServer]:
    """A server with its state under `folder`, for as long as the block lasts. Any number may run at once.

    Raises NotStartedError. Another program may take a port between its choice and its use: hence the tries.
    """
    for attempt in range(1, tries + 1):
        with ExitStack() as stack:
            place = folder / f"try-{attempt}"
            place.mkdir(parents=True)
            try:
                server = _start(assets, place, controllers, stack)
            except NotStartedError as error:
                if attempt < tries and "address already in use" in str(error):
                    continue
                raise
            yield server
            return


def _start(assets: Path, folder: Path, controllers: bool, stack: ExitStack) -> ApiServer:
    authority = Authority(folder)
    tls_certificate, tls_key = authority.issue("server", "kube-apiserver", server=True)
    tokens = folder / "tokens.key"
    write_key(tokens, ec.generate_private_key(ec.SECP256R1()))

    def start(program: str, *options: str) -> Process:
        process = Process(folder, [assets / program, *options])
        stack.callback(process.stop)
        return process

    etcd_url = f"http://127.0.0.1:{free_port()}"
    etcd = start(
        "etcd",
        f"--data-dir={folder}/etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={etcd_url}",
        f"--advertise-client-urls={etcd_url}",
        f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
    )
    with httpx.Client(base_url=etcd_url, timeout=5, trust_env=False) as probe:
        etcd.wait_until(lambda: _answers(probe, "/health"), "/health")

    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    port = free_port()
    apiserver = start(
        "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={authority.ca_file}",
        f"--tls-cert-file={tls_certificate}",
        f"--tls-private-key-file={tls_key}",
        f"--service-account-key-file={tokens}",
        f"--service-account-signing-key-file={tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        # Who asked for what, and whether it was allowed: what rights are used is read from here.
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder / AUDIT_LOG}",
        "--audit-log-mode=blocking-strict",
        # Without controllers nobody makes the default service account that it asks of every pod.
        *([] if controllers else ["--disable-admission-plugins=ServiceAccount"]),
    )
    server = ApiServer(f"https://127.0.0.1:{port}", authority, folder, stack)
    apiserver.wait_until(lambda: _answers(server.client(), "/readyz"), "/readyz")

    if controllers:
        manager = start(
            "kube-controller-manager",
            f"--kubeconfig={server.kubeconfig()}",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--service-account-private-key-file={tokens}",
            f"--root-ca-file={authority.ca_file}",
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        manager.wait_until(lambda: _answers(server.client(), account), "the default service account")
    return server


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False
