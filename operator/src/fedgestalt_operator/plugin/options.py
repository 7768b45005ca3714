"""The options that every command has, named as kubectl names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .access import Access, Opener
from .ends import End, Exit
from .times import duration

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(command: F) -> F:
    """-n/--namespace, --context and --kubeconfig."""
    for option in (
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="Kubeconfig file; $KUBECONFIG or ~/.kube/config if not given.",
        ),
        click.option("--context", help="Context of the kubeconfig; its current one if not given."),
        click.option("-n", "--namespace", help="Namespace of the round; the context's if not given."),
    ):
        command = option(command)
    return command


def open_for(
    context: click.Context, kubeconfig: Path | None, name: str | None, namespace: str | None
) -> Access:
    """The access that the options ask for.

    Raises:
        End: USAGE where the kubeconfig is no use.
    """
    opener: Opener = context.obj
    try:
        return opener(kubeconfig, name, namespace)
    except ModuleNotFoundError as error:
        raise End(
            Exit.USAGE,
            f"the Python package {error.name!r} is missing; pip install 'fedgestalt[operator]' brings it",
        ) from error
    except ValueError as error:
        raise End(Exit.USAGE, str(error)) from error


def seconds_of(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Callback of an option that takes a duration such as 90s, 5m, 2h.

    Raises:
        BadParameter: it is none.
    """
    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error
