"""A running Kubernetes API server as tests use it: users, tokens, kubeconfigs, requests, CRDs."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from fedgestalt_operator.kube.crds import load_crds

from .pki import Authority

ADMIN: Final = "admin"


class ApiError(RuntimeError):
    """An answer other than success; `status` is Kubernetes' Status object."""

    def __init__(self, response: httpx.Response) -> None:
        self.code = response.status_code
        try:
            self.status: dict[str, Any] = response.json()
        except ValueError:
            self.status = {"message": response.text}
        super().__init__(
            f"{response.request.method} {response.request.url.path}: {self.status.get('message')}"
        )


@dataclass
class ApiServer:
    """A server that runs. Users are named as RBAC names them, `system:serviceaccount:<namespace>:<name>` too."""

    url: str
    authority: Authority
    folder: Path
    _close: ExitStack
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    @property
    def ca_file(self) -> Path:
        """The certificate by which the server is known."""
        return self.authority.ca_file

    @property
    def admin(self) -> tuple[Path, Path]:
        """Certificate and key of a user in system:masters."""
        return self.credentials(ADMIN, ("system:masters",))

    def credentials(self, user: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """Certificate and key of a user, made at the first call. RBAC alone says what the user may do."""
        certificate, key = self.folder / f"{user}.crt", self.folder / f"{user}.key"
        return (certificate, key) if certificate.exists() else self.authority.issue(user, user, groups)

    def service_account(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of the service account, which is made if need be, by the TokenRequest API."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.create(accounts, {"metadata": {"name": name}}, exists_ok=True)
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        token: str = self.call("POST", f"{accounts}/{name}/token", request)["status"]["token"]
        return token

    def kubeconfig(self, user: str = ADMIN, namespace: str = "default") -> Path:
        """A kubeconfig file for a user, or with a fresh token for a service account."""
        who: dict[str, str]
        if account := _account(user):
            who = {"token": self.service_account(*account)}
        else:
            certificate, key = self.admin if user == ADMIN else self.credentials(user)
            who = {"client-certificate": str(certificate), "client-key": str(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
            ],
            "users": [{"name": user, "user": who}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": user, "namespace": namespace}}],
            "current-context": "x",
        }
        file = self.folder / f"{user.replace(':', '_')}.{namespace}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(document))
        return file

    def client(self, user: str = ADMIN) -> httpx.Client:
        """A client that speaks as the user. Close none: the server closes them."""
        if user not in self._clients:
            context = ssl.create_default_context(cafile=self.ca_file)
            headers = {}
            if account := _account(user):
                headers = {"Authorization": f"Bearer {self.service_account(*account)}"}
            else:
                context.load_cert_chain(*(self.admin if user == ADMIN else self.credentials(user)))
            client = httpx.Client(
                base_url=self.url, verify=context, headers=headers, timeout=30, trust_env=False
            )
            self._clients[user] = self._close.enter_context(client)
        return self._clients[user]

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        user: str = ADMIN,
        accept: str = "application/json",
        **parameters: str,
    ) -> dict[str, Any]:
        """The answer to one request. Raises ApiError."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        response = self.client(user).request(
            method, path, json=document, params=parameters, headers={"Accept": accept, "Content-Type": kind}
        )
        if response.is_error:
            raise ApiError(response)
        answer: dict[str, Any] = response.json()
        return answer

    def create(self, path: str, document: Any, *, exists_ok: bool = False) -> None:
        """Create an object as admin. Raises ApiError."""
        try:
            self.call("POST", path, document)
        except ApiError as error:
            if not (exists_ok and error.status.get("reason") == "AlreadyExists"):
                raise

    def namespace(self, name: str) -> str:
        """Make a namespace and return its name."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def install_crds(self, documents: Sequence[dict[str, Any]] | None = None, seconds: float = 60) -> None:
        """Create CRDs, the project's unless said otherwise, and wait until they are established and served.

        Raises ApiError for one that the server refuses, TimeoutError naming those that stay unserved.
        """
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        waiting = {}
        for document in documents or list(load_crds().values()):
            self.call("POST", path, document)
            spec = document["spec"]
            resource = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            waiting[document["metadata"]["name"]] = resource
        end = time.monotonic() + seconds
        while waiting:
            for name, resource in list(waiting.items()):
                conditions = self.call("GET", f"{path}/{name}").get("status", {}).get("conditions", ())
                established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
                if established and self.client().get(resource).is_success:
                    del waiting[name]
            if waiting and time.monotonic() > end:
                raise TimeoutError(f"not served after {seconds:.0f} s: {', '.join(sorted(waiting))}")
            time.sleep(0.05)


def _account(user: str) -> tuple[str, str] | None:
    """Namespace and name of a user that is a service account."""
    match user.split(":"):
        case ["system", "serviceaccount", namespace, name]:
            return namespace, name
    return None
