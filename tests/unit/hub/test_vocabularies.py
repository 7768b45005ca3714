"""Vocabularies that rounds name: read once for many rounds, and never a wrong one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from tests.cluster.hub import round_document

from fedgestalt_operator.api.round import FederationRound, parse_round
from fedgestalt_operator.hub.vocabulary import FRESH, Vocabularies, vocabulary_document
from fedgestalt_operator.kube.memory import MemoryCluster

CONTENT = b'{"frequent": ["SYN:1"], "rare": []}'


class Counting(MemoryCluster):
    """Counts how often an object is read."""

    reads = 0

    def get(self, *args: Any) -> Any:
        """See `Cluster.get`."""
        self.reads += 1
        return super().get(*args)


@pytest.fixture
def cluster() -> Counting:
    return Counting()


def naming(content: bytes, name: str = "v") -> FederationRound:
    document = round_document("r", ["east", "west", "north"])
    document["metadata"] = {"name": "r", "uid": "5f0c2d7e-0000-4000-8000-000000000000"}
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    round = parse_round(document)
    return replace(round, spec={**round.spec, "vocabulary": {"name": name, "digest": digest}})


def test_many_rounds_cost_one_read(cluster: Counting) -> None:
    cluster.create(vocabulary_document("v", "", CONTENT))
    vocabularies = Vocabularies(cluster, lambda: 100.0)
    assert [vocabularies.find(naming(CONTENT)) for _ in range(5)] == [CONTENT] * 5
    assert cluster.reads == 1


def test_one_that_is_missing_is_found_as_soon_as_it_is_there(cluster: Counting) -> None:
    vocabularies = Vocabularies(cluster, lambda: 100.0)
    assert vocabularies.find(naming(CONTENT)) is None
    cluster.create(vocabulary_document("v", "", CONTENT))
    assert vocabularies.find(naming(CONTENT)) == CONTENT


def test_another_content_of_the_same_name_is_not_taken_for_it(cluster: Counting) -> None:
    cluster.create(vocabulary_document("v", "", CONTENT))
    vocabularies = Vocabularies(cluster, lambda: 100.0)
    assert vocabularies.find(naming(CONTENT)) == CONTENT
    assert vocabularies.find(naming(b"{}")) is None
    cluster.apply(vocabulary_document("v", "", b"{}"))
    assert vocabularies.find(naming(b"{}")) == b"{}"


def test_one_that_was_deleted_is_gone_a_second_later(cluster: Counting) -> None:
    now = 100.0
    cluster.create(vocabulary_document("v", "", CONTENT))
    vocabularies = Vocabularies(cluster, lambda: now)
    assert vocabularies.find(naming(CONTENT)) == CONTENT
    cluster.delete("ConfigMap", "", "v")
    now += FRESH
    assert vocabularies.find(naming(CONTENT)) is None
