"""Reading, defaulting and checking documents."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from fedgestalt.cli.validate import command
from fedgestalt_operator.api.round import Operation, parse_round
from fedgestalt_operator.api.silo import parse_silo
from fedgestalt_operator.api.task import TaskKind, parse_task, task_document
from fedgestalt_operator.kube.crds import crd_folder, load_crds
from fedgestalt_operator.kube.documents import DocumentError, read_documents
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate, validate_file

VALID = crd_folder() / "examples" / "valid"


def example(name: str) -> dict:
    return validate_file(VALID / f"{name}.yaml")[0]


def test_defaults_are_the_papers_settings():
    training = example("round-minimal")["spec"]["training"]
    assert (training["communicationRounds"], training["localEpochs"]) == (10, 5)
    assert training["members"][0]["optimizer"] == {
        "type": "Adam",
        "learningRate": 0.0005,
        "headLearningRate": 0.001,
        "weightDecay": 0.00005,
    }
    assert training["strategy"] == {"type": "FedAvg"}


def test_defaulting_does_not_change_what_it_was_given():
    document = read_documents(VALID / "round-minimal.yaml")[0]
    before = yaml.safe_dump(document)
    validate(document)
    assert yaml.safe_dump(document) == before


def test_defaulted_document_is_valid_and_stays_the_same():
    document = example("round-train")
    assert validate(document, document) == document


def test_all_problems_are_listed_at_once(tmp_path):
    text = (VALID / "round-minimal.yaml").read_text()
    file = tmp_path / "round.yaml"
    file.write_text(text.replace("DUO:0000006", "anything").replace("minSilos: 3", "minSilos: 1"))
    with pytest.raises(InvalidDocumentError) as caught:
        validate_file(file)
    assert [p.path for p in caught.value.problems] == ["spec.purpose", "spec.quorum.minSilos"]
    assert all(line.startswith(f"{file}: spec.") for line in str(caught.value).splitlines())


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(
        InvalidDocumentError,
        match="FederationRound, InferenceEndpoint, ParticipationGrant, Release, Silo, SiloTask",
    ):
        validate({"apiVersion": "fedgestalt.org/v1alpha1", "kind": "Round", "metadata": {"name": "x"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no document"),
        ("- 1", "is no object"),
        ("a: [", "is not YAML"),
        ("a: 1\na: 2", "'a' stands there twice"),
        ("a: &x {b: 1}\nc: *x", "aliases are not allowed"),
        ("a: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("x" * (1 << 20) + "yy", "larger than 1 MiB"),
    ],
    ids=["empty", "list", "broken", "repeated-key", "alias", "object", "large"],
)
def test_unreadable_file_is_one_clear_error(tmp_path, text, message):
    file = tmp_path / "round.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError, match=message) as caught:
        read_documents(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_times_stay_text(tmp_path):
    file = tmp_path / "silo.yaml"
    file.write_text("notAfter: 2027-01-31T00:00:00Z")
    assert read_documents(file) == [{"notAfter": "2027-01-31T00:00:00Z"}]


def test_command_accepts_valid_files_and_names_them():
    result = CliRunner().invoke(command, [str(VALID / "silo.yaml"), str(VALID / "round-minimal.yaml")])
    assert result.exit_code == 0
    assert "Silo west is valid" in result.output


def test_command_exits_1_and_names_file_field_and_fix(tmp_path):
    file = tmp_path / "round.yaml"
    file.write_text((VALID / "round-minimal.yaml").read_text().replace("minSilos: 3", "minSilos: 2"))
    result = CliRunner().invoke(command, [str(file), str(tmp_path / "absent.yaml")])
    assert result.exit_code == 1
    assert f"{file}: spec.quorum.minSilos: is 2; write at least 3" in result.output
    assert "absent.yaml: No such file or directory" in result.output


def test_round_is_read_into_its_model():
    round = parse_round(example("round-train"))
    assert round.operation is Operation.TRAIN
    assert round.silos == ("east", "north", "south", "west")
    assert round.trainable == ("s16",)
    assert (round.quorum.min_silos, round.quorum.straggler_timeout) == (3, 120.0)


def test_round_of_a_selector_has_no_silos_yet():
    round = parse_round(example("round-selector"))
    assert (round.silos, dict(round.selector)) == ((), {"fleet": "rare-faces"})


def test_silo_gives_the_valid_key_that_lasts_longest():
    silo = parse_silo(example("silo"))
    assert silo.identity(1_700_000_000.0) == "c" * 64
    assert silo.identity(4_000_000_000.0) is None


def test_task_survives_a_round_trip():
    task = parse_task(example("silotask"))
    assert task.kind is TaskKind.TRAIN
    assert parse_task(validate(task_document(task))) == task


def test_document_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"expected 'fedgestalt\.org/v1alpha1', 'Silo'"):
        parse_silo(example("round-minimal"))


def test_crds_share_group_category_and_a_status_subresource():
    for kind, crd in load_crds().items():
        spec = crd["spec"]
        assert spec["group"] == "fedgestalt.org"
        assert spec["names"]["categories"] == ["federation"]
        assert crd["metadata"]["name"] == f"{spec['names']['plural']}.fedgestalt.org"
        assert [v["name"] for v in spec["versions"]] == ["v1alpha1"]
        assert spec["versions"][0]["subresources"] == {"status": {}}, kind


def test_every_string_and_list_of_a_spec_is_bounded():
    """Unbounded ones make the API server refuse rules for their estimated cost."""

    def walk(schema: dict, path: str) -> list[str]:
        loose = []
        kind = schema.get("type")
        if kind == "array" and "maxItems" not in schema:
            loose.append(path)
        fixed = ("maxLength", "enum", "format", "pattern")
        if kind == "string" and not any(key in schema for key in fixed):
            loose.append(path)
        for name, child in schema.get("properties", {}).items():
            loose += walk(child, f"{path}.{name}")
        if "items" in schema:
            loose += walk(schema["items"], f"{path}[]")
        return loose

    for crd in load_crds().values():
        properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert walk(properties["spec"], "spec") + walk(properties["status"], "status") == []
