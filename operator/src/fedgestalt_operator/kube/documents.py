"""Reading resource documents from YAML as kubectl does: JSON's types only, and no surprises."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1 << 20


class DocumentError(ValueError):
    """A file that holds no readable documents; the message names it and says how to mend it."""


class _Loader(yaml.SafeLoader):
    """Times stay text, aliases (which can grow without bound) and repeated keys are refused."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases are not allowed; write it out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands there twice; remove one", node.value[i][0].start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML (or JSON) file.

    Raises:
        DocumentError: it cannot be read, is larger than 1 MiB, is no YAML, or a document is no object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror or error}; give the path of a YAML file") from None
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{path}: is larger than 1 MiB; no resource document is that large")
    try:
        documents = [d for d in yaml.load_all(data, _Loader) if d is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise DocumentError(f"{path}: is not YAML: {text}") from None
    if not documents:
        raise DocumentError(f"{path}: holds no document; write one with apiVersion, kind, metadata and spec")
    for place, document in enumerate(documents):
        if not isinstance(document, dict):
            raise DocumentError(
                f"{path}: document {place + 1} is no object; write apiVersion, kind, metadata, spec"
            )
    return documents
