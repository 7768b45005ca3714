"""From `CreateJob` to a batch/v1 Job: one manifest for clusters and for the process runner.

The workload contract: the command is `fedgestalt job aggregate` or `fedgestalt job kernel`; every parameter
is an environment variable FEDGESTALT_<NAME>; the result is a JSON object of at most 4 kB in the file
$FEDGESTALT_RESULT, which is the termination message; exit code 0 is success. A runner on one machine sets
FEDGESTALT_RESULT and where the exchange is to paths of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..api import API_VERSION
from ..api.round import KIND, FederationRound
from ..plan.names import short_uid
from ..plan.types import CreateJob
from .labels import round_labels

RESULT_PATH: Final = "/dev/termination-log"
MAX_RESULT_BYTES: Final = 4096
SCRATCH: Final = "/scratch"
EXCHANGE: Final = "/etc/fedgestalt/exchange"
VARIANT: Final = "cpu"
TTL_SECONDS: Final = 86_400


def token_key(uid: str) -> str:
    """The key of a round's token in the Secret of the hub's Jobs."""
    return f"token-{short_uid(uid)}"


def image_of(round: FederationRound, repository: str) -> str:
    """The workload image: by digest where the round names one for the variant `cpu`, else by version."""
    software = round.spec.get("software", {})
    for image in software.get("images", ()):
        if image["variant"] == VARIANT:
            return f"{repository}@{image['digest']}"
    return f"{repository}:{software.get('version') or 'latest'}"


def job_manifest(
    round: FederationRound,
    action: CreateJob,
    *,
    repository: str = "fedgestalt-workload",
    exchange_secret: str = "fedgestalt-exchange-job",
    queue: str = "",
) -> dict[str, Any]:
    """The Job manifest of an action.

    Args:
        round: the round that owns the Job.
        action: what the planner asked for.
        repository: image repository of the workload, without tag or digest.
        exchange_secret: Secret with `url`, `hub-key`, `ca.crt` and, by `token_key`, each round's token.
        queue: Kueue LocalQueue; empty for none.
    """
    labels = round_labels(round.metadata.name, round.metadata.uid, kind=action.kind.value)
    if queue:
        labels["kueue.x-k8s.io/queue-name"] = queue
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": round.metadata.name,
        "uid": round.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata: dict[str, Any] = {"name": action.name, "labels": labels, "ownerReferences": [owner]}
    if round.metadata.namespace:
        metadata["namespace"] = round.metadata.namespace
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            # The planner counts restarts, under names of their own: a Job's pod runs once.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": max(1, int(round.deadlines.active)),
            # Not before the round is over: a Job that failed and is gone would be counted as never made.
            "ttlSecondsAfterFinished": int(round.deadlines.active) + TTL_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(round, action, repository, exchange_secret),
            },
        },
    }


def _environment(action: CreateJob, exchange_secret: str) -> list[dict[str, Any]]:
    """Parameters as values; where the exchange is from the Secret, which a runner without one overrides."""
    plain = {f"FEDGESTALT_{key.upper()}": str(value) for key, value in sorted(action.parameters.items())}
    plain |= {
        "FEDGESTALT_EXCHANGE_CA": f"{EXCHANGE}/ca.crt",
        "FEDGESTALT_TOKEN_FILE": f"{EXCHANGE}/token",
        "FEDGESTALT_RESULT": RESULT_PATH,
        "TMPDIR": SCRATCH,
    }
    referred = {"FEDGESTALT_EXCHANGE_URL": "url", "FEDGESTALT_HUB_KEY": "hub-key"}
    return [{"name": name, "value": value} for name, value in plain.items()] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": exchange_secret, "key": key}}}
        for name, key in referred.items()
    ]


def parse_result(text: str | bytes) -> Mapping[str, Any]:
    """The result that a Job left in its termination message.

    Raises:
        ValueError: it is larger than 4 kB or no JSON object.
    """
    if len(text) > MAX_RESULT_BYTES:
        raise ValueError(f"a Job's result has {len(text)} bytes; at most {MAX_RESULT_BYTES} are allowed")
    result = json.loads(text)
    if not isinstance(result, dict):
        raise ValueError("a Job's result is no JSON object")
    return result


def _pod(round: FederationRound, action: CreateJob, repository: str, exchange_secret: str) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": action.kind.value,
                "image": image_of(round, repository),
                "command": ["fedgestalt", "job", action.kind.value],
                "env": _environment(action, exchange_secret),
                "terminationMessagePath": RESULT_PATH,
                "terminationMessagePolicy": "File",
                "resources": {
                    "requests": {"cpu": "1", "memory": "512Mi"},
                    "limits": {"memory": "2Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "exchange", "mountPath": EXCHANGE, "readOnly": True},
                    {"name": "scratch", "mountPath": SCRATCH},
                ],
            }
        ],
        "volumes": [
            {
                "name": "exchange",
                "secret": {
                    "secretName": exchange_secret,
                    "defaultMode": 0o440,
                    # A pod sees the token of its own round only.
                    "items": [
                        {"key": "ca.crt", "path": "ca.crt"},
                        {"key": token_key(round.metadata.uid), "path": "token"},
                    ],
                },
            },
            {"name": "scratch", "emptyDir": {"sizeLimit": "8Gi"}},
        ],
    }
