"""The task file of a site workload: what to train or encode, and where. It holds no secret, only paths to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .config import InitialWeights, TrainingConfig
from .errors import TrainingError
from .fields import ConfigError
from .parsing import parse_training
from .seeds import MIN_SECRET


class TaskError(TrainingError):
    """A task file that cannot be used; the message names file and field."""


@dataclass(frozen=True, slots=True)
class Task:
    """See docs/reference/workload-contract.md.

    Attributes:
        training: the round's training section.
        cohort: folder of the silo's photos with its manifest.
        trained: the syndromes (CURIEs) that the classifier tells apart, in their order.
        socket: the silo agent's Unix socket.
        seed_file: file of the site's secret seed.
        roster: hash of the enrolled roster: what local seeds and checkpoints are bound to.
        public_seed: what every silo derives the same start from.
        cache: folder of aligned faces.
        work: folder for checkpoints and Ray's files, the silo's own.
        bundle: folder of the extractor. The encoder encodes with it if it is there, else it makes the ensemble of the
            round and leaves it there.
        excluded: photos of the manifest that were withdrawn.
    """

    training: TrainingConfig
    cohort: Path
    trained: tuple[str, ...]
    socket: Path
    seed_file: Path
    roster: bytes
    public_seed: bytes
    cache: Path
    work: Path
    bundle: Path
    excluded: frozenset[str] = frozenset()

    def site_secret(self) -> bytes:
        """The content of the site's seed file, at least 16 bytes.

        Raises:
            TaskError: unreadable or too short.
        """
        try:
            secret = self.seed_file.read_bytes()
        except OSError as error:
            raise TaskError(
                f"seedFile {self.seed_file}: {error.strerror}; write 32 random bytes into it, mode 0600"
            ) from error
        if len(secret) < MIN_SECRET:
            raise TaskError(
                f"seedFile {self.seed_file}: fewer than {MIN_SECRET} bytes; write 32 random bytes into it"
            )
        return secret


def starting_from(training: TrainingConfig, bundle: Path) -> TrainingConfig:
    """The configuration with each member's start taken from a release's bundle, by name and extractor.

    A member that the bundle lacks starts as the configuration says.

    Raises:
        TaskError: the bundle's manifest cannot be read.
    """
    try:
        listed = {m["name"]: m for m in json.loads((bundle / "manifest.json").read_text())["members"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"start {bundle}: not a bundle ({error}); give a release's folder") from error
    members = []
    for member in training.members:
        found = listed.get(member.name)
        if found is not None and found["extractor"] == member.extractor:
            weights = InitialWeights(str(bundle / found["file"]), found["digest"])
            member = replace(member, initial_weights=weights)
        members.append(member)
    return replace(training, members=tuple(members))


def load_task(path: Path) -> Task:
    """Read a task file.

    Raises:
        TaskError: absent, not JSON, or a field is missing or malformed.
    """
    try:
        document: Mapping[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise TaskError(f"{path}: {error.strerror}; give the file that the silo agent wrote") from error
    except ValueError as error:
        raise TaskError(f"{path}: not JSON ({error})") from error
    try:
        training = parse_training(document["training"], "training")
        start = document.get("start")
        return Task(
            training=starting_from(training, Path(start)) if start is not None else training,
            cohort=Path(document["cohort"]),
            trained=tuple(sorted(document["vocabulary"]["trained"])),
            socket=Path(document["socket"]),
            seed_file=Path(document["seedFile"]),
            roster=bytes.fromhex(document["roster"]),
            public_seed=bytes.fromhex(document["publicSeed"]),
            cache=Path(document["cache"]),
            work=Path(document["work"]),
            bundle=Path(document["bundle"]),
            excluded=frozenset(document.get("excluded", ())),
        )
    except ConfigError as error:
        raise TaskError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"{path}: field {error} is missing or malformed") from error
