"""What may go wrong with labelled files and trained models: each a line for the operator."""

from __future__ import annotations


class LearningError(Exception):
    """A file, a model or an installation that doesn't do; the text says what to change."""


class FileFormatError(LearningError):
    """A labelled file that can't be read: names file, line and field."""


class WorseModel(LearningError):
    """The folder holds a model that is better on these files."""
