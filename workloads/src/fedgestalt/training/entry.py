"""``python -m fedgestalt.training.entry train|encode --task FILE``: the commands that sites run."""

import argparse
import logging
import sys
from pathlib import Path

from .errors import TrainingError
from .exit_codes import ExitCode
from .failures import named_failures


def main(arguments: list[str] | None = None) -> int:
    """Run a workload; returns its exit code (`exit_codes.ExitCode`)."""
    parser = argparse.ArgumentParser(prog="fedgestalt.training.entry", description=__doc__)
    parser.add_argument("workload", choices=("train", "encode"))
    parser.add_argument("--task", type=Path, required=True, help="the task file that the silo agent wrote")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with named_failures():
            if options.workload == "train":
                from .ray_loop import fit

                fit(options.task)
            else:
                from .encoding import encode
                from .task import load_task

                encode(load_task(options.task))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
