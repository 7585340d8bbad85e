"""The command line: one file a verb; each parses, makes one call, prints, and gives an exit code."""

from medseg.cli.app import main

__all__ = ["main"]
