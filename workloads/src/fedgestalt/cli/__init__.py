"""The command line: one file per command, each exporting a click object named ``command``."""
