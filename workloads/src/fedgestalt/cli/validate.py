"""``fedgestalt validate``: check resource documents as the hub's API server would."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from fedgestalt_operator.kube.documents import DocumentError
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate_file


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--print", "show", is_flag=True, help="Print the documents with their defaults filled in.")
def command(files: tuple[Path, ...], show: bool) -> None:
    """Check FILES (YAML) against the schemas and rules of their kinds.

    Exit codes: 0 all documents are valid; 1 some are not, and every problem was named with its file, field
    and fix; 2 wrong usage.
    """
    failed = False
    for file in files:
        try:
            documents = validate_file(file)
        except (DocumentError, InvalidDocumentError) as error:
            click.echo(str(error), err=True)
            failed = True
            continue
        for document in documents:
            if show:
                click.echo("---\n" + yaml.safe_dump(document, sort_keys=False), nl=False)
            else:
                click.echo(f"{file}: {document['kind']} {document['metadata']['name']} is valid")
    if failed:
        raise SystemExit(1)
