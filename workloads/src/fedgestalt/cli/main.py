"""``fedgestalt``: the entry point, which imports a command only when it is called."""

from __future__ import annotations

import importlib
from typing import Final

import click

from fedgestalt import __version__

# name -> (module, one-line help). The help stands here so that `fedgestalt --help` imports no torch.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("fedgestalt.cli.demo", "Train a federation of hospitals on synthetic faces, on this machine."),
    "run": ("fedgestalt.cli.run", "Run a FederationRound document on this machine."),
    "evaluate": (
        "fedgestalt.cli.evaluate",
        "Federated against centralised and local-only, over seeds and splits.",
    ),
    "synth": ("fedgestalt.cli.synth", "Render a synthetic cohort, split over silos."),
    "cohort": ("fedgestalt.cli.cohort", "Check, import and partition cohorts of photos."),
    "pretrain": ("fedgestalt.cli.pretrain", "Make the starting weights of the small extractor."),
    "validate": ("fedgestalt.cli.validate", "Check resource documents against their schemas and rules."),
    "doctor": ("fedgestalt.cli.doctor", "Say what is missing on this machine and how to mend it."),
    "release": ("fedgestalt.cli.release", "List, show and verify releases."),
    "up": (
        "fedgestalt.cli.up",
        "Keep a federation's exchange up on this machine, so that hospitals can ask.",
    ),
    "withdraw": ("fedgestalt.cli.withdraw", "Take a case out of the federation."),
    "discovery": (
        "fedgestalt.cli.discovery",
        "Clusters of undiagnosed cases, and contact by mutual consent.",
    ),
    "serve": ("fedgestalt.cli.serve", "Answer photos with ranked syndromes, from one release."),
    "exchange": ("fedgestalt.cli.exchange", "Serve the board through which silos and hub speak."),
    "keys": ("fedgestalt.cli.keys", "Make an identity; print its public key and fingerprint."),
    "silo": ("fedgestalt.cli.silo", "The silo's agent: keys, protocol, spool."),
    "job": ("fedgestalt.cli.job", "The hub's stateless jobs: aggregate, kernel."),
}

EPILOG: Final = (
    "Exit codes: 0 done; 1 the command failed and said why; 2 wrong usage; 3 the round ended in Failed; "
    "130 interrupted. Research use only: no output is a diagnosis."
)


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            command = importlib.import_module(module).command
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("fedgestalt"):
                raise
            raise click.ClickException(
                f"`fedgestalt {cmd_name}` needs the Python package {error.name!r}, which is not installed. "
                "Install the project with its extras: pip install 'fedgestalt[train,serve]'."
            ) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="fedgestalt")
def main() -> None:
    """Federated matching of faces with rare genetic syndromes, without sharing a photo."""


if __name__ == "__main__":
    main()
