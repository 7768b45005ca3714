"""Every closed reason has one runbook section, and what the sections tell people to type and to expect exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fedgestalt.cli.main import main as fedgestalt
from fedgestalt_operator.api import reasons
from fedgestalt_operator.telemetry.metrics import Metrics
from fedgestalt_operator.telemetry.subject import Resource
from fedgestalt_operator.telemetry.transitions import TransitionReason

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.stem != "README")
PARTS = ("Symptom", "Cause", "Look", "Expected", "Do")
PLUGIN = {"watch", "why", "wait", "replay"}
BUILT_IN = {"pod", "job", "configmap", "events", "event"}


@dataclass(frozen=True)
class Section:
    page: str
    enum: str
    reason: str
    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        return "\n".join(self.parts.values())

    @property
    def commands(self) -> list[str]:
        return [line.strip() for line in self.parts["Look"].splitlines() if line.startswith("    ")]


def sections_of(page: Path) -> Iterator[Section]:
    for group in re.split(r"^## ", page.read_text(), flags=re.M)[1:]:
        title, _, rest = group.partition("\n")
        enum = re.search(r"\(`(\w+)`\)$", title)
        for section in re.split(r"^### ", rest, flags=re.M)[1:]:
            reason, _, body = section.partition("\n")
            found = re.split(r"^\*\*(\w+)\.\*\*", body, flags=re.M)
            assert not found[0].strip(), f"{page.name}: {reason} has text before its first part"
            assert tuple(found[1::2]) == PARTS, f"{page.name}: {reason} has the parts {found[1::2]}"
            parts = dict(zip(found[1::2], (text.strip("\n") for text in found[2::2]), strict=True))
            assert enum is not None, f"{page.name}: {title} names no enum"
            yield Section(page.name, enum.group(1), reason.strip(), parts)


SECTIONS = [section for page in PAGES for section in sections_of(page)]


@cache
def enums() -> dict[str, type[StrEnum]]:
    found = vars(reasons).values()
    return {
        e.__name__: e for e in found if isinstance(e, type) and issubclass(e, StrEnum) and e is not StrEnum
    }


def test_every_reason_has_exactly_one_section_and_no_section_names_another():
    wanted = Counter((name, member.value) for name, enum in enums().items() for member in enum)
    written = Counter((section.enum, section.reason) for section in SECTIONS)
    assert written == wanted


def test_each_enum_is_covered_by_one_page():
    pages = {(section.enum, section.page) for section in SECTIONS}
    assert len(pages) == len(enums())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{s.page}-{s.enum}-{s.reason}")
def test_a_section_has_every_part_and_a_command_to_look(section):
    for name, text in section.parts.items():
        assert len(text.strip()) >= 5, f"{name} is empty"
    assert section.commands


def test_the_other_reasons_of_events_are_named_in_the_readme():
    readme = (FOLDER / "README.md").read_text()
    closed = {member.value for enum in enums().values() for member in enum}
    assert [r.value for r in TransitionReason if r.value not in closed and f"`{r.value}`" not in readme] == []


def commands() -> Iterator[tuple[str, str]]:
    """Everything that a page tells to type: indented lines and code spans."""
    for page in [*PAGES, FOLDER / "README.md"]:
        text = page.read_text()
        for found in [*re.findall(r"^ {4,}(\S.*)$", text, flags=re.M), *re.findall(r"`([^`\n]+)`", text)]:
            if found.startswith(("kubectl ", "fedgestalt ")):
                yield page.name, found


def test_commands_of_fedgestalt_and_their_options_exist():
    seen = set()
    for page, line in commands():
        if not line.startswith("fedgestalt "):
            continue
        words: list[str] = line.split()[1:]
        at: click.Command = fedgestalt
        while words and isinstance(at, click.Group):
            found = at.get_command(click.Context(at), words.pop(0))
            assert found is not None, f"{page}: {line}"
            at = found
        options = {name for parameter in at.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"{page}: {line}"
        seen.add(at.name)
    assert {"verify", "validate", "check"} <= seen


@cache
def crds() -> dict[str, dict[str, Any]]:
    """Schema of each kind by every name that kubectl takes for it."""
    found = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        names, schema = spec["names"], spec["versions"][0]["schema"]["openAPIV3Schema"]
        for name in (names["plural"], names["singular"], *names["shortNames"]):
            found[name] = schema
    return found


def test_kubectl_is_asked_for_kinds_that_there_are():
    seen = set()
    for page, line in commands():
        words = line.split()
        if words[:2] == ["kubectl", "fedgestalt"]:
            assert words[2] in PLUGIN, f"{page}: {line}"
        elif words[0] == "kubectl" and words[1] in ("get", "describe", "edit", "patch"):
            for kind in words[2].split(","):
                assert kind in crds() or kind in BUILT_IN, f"{page}: {line}"
                seen.add(kind)
    assert {"fround", "silo", "stask", "frel", "pgrant", "infer"} <= seen


def walk(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The schema at a JSON path such as `.status.conditions[?(@.type=="Ready")].reason`."""
    for name, index in re.findall(r"\.(\w+)((?:\[[^\]]*\])?)", path):
        schema = schema["properties"][name]
        schema = schema["items"] if index else schema
    return schema


def fields() -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(command, schema to start from, path) of every JSON path and column that is asked of our kinds."""
    for _, line in commands():
        words = line.split()
        schema = crds().get(words[2]) if words[:2] == ["kubectl", "get"] else None
        if schema is None:
            continue
        template = re.search(r"-o jsonpath='(.*)'", line)
        start = schema
        for block in re.findall(r"\{([^{}]*)\}", template.group(1)) if template else ():
            if block.startswith("range "):
                path = block.removeprefix("range ").removeprefix(".items[*]")
                yield line, schema, path
                start = walk(schema, path)
            elif block == "end":
                start = schema
            elif block.startswith("."):
                for path in re.findall(r"\.(?:[^.{}\s/]|\.(?=\w))+", block.removeprefix(".items[*]")):
                    yield line, start, path
        for path in re.findall(r":(\.spec[\w.]+)", line):
            yield line, schema, path


def test_fields_that_are_printed_are_fields_of_the_crds():
    found = list(fields())
    assert len(found) > 40
    for line, schema, path in found:
        try:
            walk(schema, path)
        except KeyError as error:
            raise AssertionError(f"{line}: {path}: there is no {error}") from None


def test_columns_in_examples_are_those_of_the_crds():
    """Each table's heading names the columns of a kind in their order."""
    columns = []
    for path in (ROOT / "crds").glob("*.yaml"):
        listed = yaml.safe_load(path.read_text())["spec"]["versions"][0]["additionalPrinterColumns"]
        columns.append(["NAME", *(c["name"].upper() for c in listed if not c.get("priority"))])
        columns.append(["NAME", *(c["name"].upper() for c in listed)])
    tables = [
        line.split()
        for page in PAGES
        for line in page.read_text().splitlines()
        if line.startswith("    NAME ") and line.isupper()
    ]
    assert len(tables) >= 5
    assert [table for table in tables if table not in columns] == []


def failures() -> Iterator[tuple[str, list[str]]]:
    """Each `fail(RoundReason.X, message)` of the planner: the reason and the message's fixed texts."""
    for path in (ROOT / "operator/src/fedgestalt_operator/plan").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "fail"
            ):
                reason, message = node.args
                assert isinstance(reason, ast.Attribute)
                texts = [n.value for n in ast.walk(message) if isinstance(n, ast.Constant)]
                yield reason.attr, [t.strip(" ;:,") for t in texts if isinstance(t, str) and len(t) > 12]


def test_a_failed_round_says_what_its_section_expects():
    by_reason = {section.reason: section for section in SECTIONS if section.enum == "RoundReason"}
    found = list(failures())
    assert {reason for reason, _ in found} >= {"QUORUM_LOST", "DEADLINE_EXCEEDED", "TRIES_EXHAUSTED"}
    for name, texts in found:
        section = by_reason[reasons.RoundReason[name].value]
        told = " ".join(section.text.split())
        longest = " ".join(max(texts, key=len, default="").split())
        assert longest in told, f"{section.reason}: {longest!r} is not in its section"


def anchors(page: Path) -> set[str]:
    used: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{name}-{used[name]}" if used[name] else name)
        used[name] += 1
    return found


def test_links_lead_somewhere():
    for page in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            name, _, fragment = target.partition("#")
            where = FOLDER / name if name else page
            assert where.exists(), f"{page.name}: {target}"
            assert not fragment or fragment in anchors(where), f"{page.name}: {target}"


def test_the_index_is_up_to_date():
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "runbook-index"), "--check"], check=True, timeout=60
    )


def test_metrics_that_alerts_name_exist():
    metrics = Metrics()
    metrics.transitioned(Resource.FEDERATION_ROUND, "QuorumLost")
    metrics.watched(Resource.SILO)
    metrics.link(reasons.LinkReason.CONNECTED)
    there = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    named = set(re.findall(r"fedgestalt_operator_\w+", "".join(p.read_text() for p in FOLDER.glob("*.md"))))
    assert named
    assert named <= there
