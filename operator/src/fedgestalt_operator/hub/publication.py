"""What a round yields becomes a Release: kept beyond its round, its gallery served, its resource in the cluster."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ..api.release import KIND, release_document, release_name
from ..kube.errors import AlreadyExists, ClusterError, NotFound
from ..kube.labels import ROUND_UID, round_labels
from ..kube.port import Cluster, Document
from .ports import HubExchange

log = logging.getLogger(__name__)


class NameTaken(ClusterError):  # noqa: N818
    """An object of a name of ours belongs to something else."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The round that something comes from, as far as its resource is not needed for it: it may be gone."""

    namespace: str
    name: str
    uid: str


def create_once(cluster: Cluster, document: Document, origin: Origin) -> bool:
    """Create an object; False if it is there already as ours, from before.

    Raises:
        NameTaken: one of this name is of another round, or of none.
    """
    try:
        cluster.create(document)
    except AlreadyExists:
        metadata = document["metadata"]
        found = cluster.get(document["kind"], metadata.get("namespace", ""), metadata["name"])
        if found["metadata"].get("labels", {}).get(ROUND_UID) != origin.uid:
            raise NameTaken(
                f"{document['kind']} {metadata['name']} exists and is not of round {origin.name}; delete it"
            ) from None
        return False
    return True


def publish(
    cluster: Cluster, exchange: HubExchange, origin: Origin, *, dataset: str, digest: str, vocabulary: bytes
) -> None:
    """Publish a release. Repeatable. An empty `vocabulary` stands for the one that the round began with."""
    release = exchange.publish(origin.uid, dataset, digest, vocabulary)
    labels = round_labels(origin.name, origin.uid)
    metadata = replace(release.metadata, namespace=origin.namespace, labels=labels)
    # No owner: a release outlives its round.
    if create_once(cluster, release_document(replace(release, metadata=metadata)), origin):
        log.info("release %s published", metadata.name)


@dataclass(frozen=True, slots=True)
class LatePublisher:
    """Publishes what a round yielded whose resource is gone: the computation on its board says all that it takes."""

    cluster: Cluster
    exchange: HubExchange
    namespace: str

    def due(self, round_uid: str, digest: str) -> bool:
        """Whether a release that was decided is not published, and can be."""
        computation = self.exchange.computation(round_uid)
        if computation is None:
            return False
        if not self.exchange.published(digest):
            return True
        try:
            self.cluster.get(KIND, self.namespace, release_name(computation["name"], digest))
        except NotFound:
            return True
        return False

    def publish(self, round_uid: str, digest: str) -> None:
        """Publish it. Repeatable."""
        computation = self.exchange.computation(round_uid) or {}
        origin = Origin(self.namespace, computation["name"], round_uid)
        dataset = computation["spec"]["dataset"]
        publish(self.cluster, self.exchange, origin, dataset=dataset, digest=digest, vocabulary=b"")
