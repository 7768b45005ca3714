"""``fedgestalt pretrain``: starting weights for an extractor, from synthetic faces of invented syndromes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.numpy import save as save_tensors

from fedgestalt import __version__
from fedgestalt.data.synthdysm.pretraining import LABELS, PretrainingSet, load_pretraining, render_pretraining
from fedgestalt.faces import PREPROCESSING, prepare
from fedgestalt.files import write_atomic
from fedgestalt.models.bundle import module_tensors
from fedgestalt.models.digest import file_digest, model_hash
from fedgestalt.models.pretraining import EpochReport, PretrainingConfig, pretrain
from fedgestalt.models.registry import EXTRACTORS, build_extractor
from fedgestalt.training.augment import make_batch
from fedgestalt.training.config import Augmentation


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the result."
)
@click.option("--name", help="Name of the weights; the default says extractor and objective.")
@click.option("--extractor", type=click.Choice(EXTRACTORS), default="resnet_s16", show_default=True)
@click.option(
    "--objective", type=click.Choice(["terms", "identity", "both"]), default="terms", show_default=True
)
@click.option(
    "--profiles", type=click.IntRange(1), default=1000, show_default=True, help="Invented syndromes."
)
@click.option("--patients", type=click.IntRange(2), default=1000, show_default=True)
@click.option(
    "--images", type=click.IntRange(1), default=4, show_default=True, help="Photos of each patient."
)
@click.option("--photo-seed", type=int, default=20260101, show_default=True, help="Seed of the photos.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and training.")
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True)
@click.option("--keep", type=click.IntRange(1), multiple=True, help="Also keep the weights after this epoch.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Torch threads.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Rendering processes.")
def command(
    out: Path,
    name: str | None,
    extractor: str,
    objective: str,
    profiles: int,
    patients: int,
    images: int,
    photo_seed: int,
    seed: int,
    epochs: int,
    keep: tuple[int, ...],
    threads: int,
    workers: int,
) -> None:
    """Make starting weights from synthetic faces whose syndromes are invented.

    No invented syndrome comes close to one of the built-in cohorts (weighted Jaccard index below .5). Photos
    are rendered once into OUT/photos-<settings> and reused. The result is OUT/NAME.safetensors and
    OUT/NAME.json, which says how it was made. Exit codes: 0 done; 1 it failed and said why; 2 wrong usage.
    """
    torch.set_num_threads(threads)
    name = name or f"{extractor}-{objective}"
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as bars:
        folder = out / f"photos-{profiles}-{patients}-{images}-{photo_seed}"
        data = _photos(folder, profiles, patients, images, photo_seed, workers, _bar(bars, "Rendering faces"))
        files = [data.folder / image for image in data.images]
        faces = prepare(files, out / "faces", progress=_bar(bars, "Detecting faces"))
        if faces.not_found:
            bars.print(f"No face found in {len(faces.not_found)} of {len(files)} photos; they are left out.")
        torch.manual_seed(seed)
        network = build_extractor(extractor)
        config = PretrainingConfig(objective=objective, epochs=epochs, seed=seed)  # type: ignore[arg-type]
        recipe: dict[str, object] = {
            "extractor": extractor,
            "objective": objective,
            "photos": {
                "profiles": profiles,
                "patients": patients,
                "imagesPerPatient": images,
                "seed": photo_seed,
            },
            "photosUsed": len(faces.images),
            "training": {
                "epochs": epochs,
                "batch": config.batch,
                "learningRate": config.learning_rate,
                "weightDecay": config.weight_decay,
                "seed": seed,
                "threads": threads,
            },
            "preprocessing": PREPROCESSING,
            "software": {"fedgestalt": __version__, "torch": torch.__version__, "numpy": np.__version__},
            "synthetic": True,
        }
        history: list[dict[str, float]] = []
        tick = _bar(bars, "Training")

        def after_epoch(report: EpochReport) -> None:
            history.append({"epoch": report.epoch, "loss": round(report.loss, 4)})
            tick(report.epoch, epochs)
            speed = f"{report.images_per_second:.0f} photos/s"
            bars.print(f"epoch {report.epoch}/{epochs}: loss {report.loss:.4f}, {speed}")
            if report.epoch in keep and report.epoch != epochs:
                tensors = module_tensors(network)
                _save(out, f"{name}-epoch{report.epoch}", tensors, {**recipe, "history": list(history)})

        def augment(
            pixels: NDArray[np.uint8], index: NDArray[np.intp], rng: np.random.Generator
        ) -> torch.Tensor:
            return make_batch(pixels, index, Augmentation(), rng)

        labels, people = data.severity[faces.index], data.patients[faces.index]
        pretrain(network, faces.images, labels, people, config, augment, after_epoch)
    path = _save(out, name, module_tensors(network), {**recipe, "history": history})
    click.echo(f"{path}\n{file_digest(path)}")


def _photos(
    folder: Path,
    profiles: int,
    patients: int,
    images: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> PretrainingSet:
    if (folder / LABELS).exists():
        return load_pretraining(folder)
    return render_pretraining(profiles, patients, images, seed, folder, workers, progress)


def _save(out: Path, name: str, tensors: dict[str, NDArray[np.generic]], card: dict[str, object]) -> Path:
    path = out / f"{name}.safetensors"
    write_atomic(path, save_tensors(dict(sorted(tensors.items()))), mode=0o644)
    digests = {"digest": file_digest(path), "modelHash": model_hash(tensors)}
    text = json.dumps({"name": name, **digests, **card}, indent=2) + "\n"
    write_atomic(out / f"{name}.json", text.encode(), mode=0o644)
    return path


def _bar(bars: Progress, description: str) -> Callable[[int, int], None]:
    task = bars.add_task(description, total=None)

    def update(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)

    return update
