"""The `jieyou` command.

A command is a module in `deploy.commands` with `register(app)`, named below. So that
`jieyou --help` answers at once, such a module imports nothing heavy before its command is called.
"""

from __future__ import annotations

import importlib
import os
import sys

import typer

COMMANDS = (
    "up",
    "down",
    "status",
    "topics",
    "keys",
    "demo",
    "audit",
    "dead_letters",
    "replay",
    "rebuild",
    "restore",
    "erase",
    "export",
    "import_",
    "train",
    "evaluate",
)

_INTERRUPTED = 130


def make_app() -> typer.Typer:
    """The application with all commands."""
    app = typer.Typer(
        name="jieyou",
        help="解忧：突发事件群众求助平台。",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMANDS:
        importlib.import_module(f"deploy.commands.{name}").register(app)
    return app


def main() -> None:
    """Run the command; whatever goes wrong ends in one line and an exit code that is not 0."""
    try:
        make_app()()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("JIEYOU_DEBUG"):
            raise
        line = " ".join(str(error).split())
        if not _is_expected(error):
            line = f"unexpected {type(error).__name__}: {line} (JIEYOU_DEBUG=1 shows where)"
        print(f"jieyou: {line}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


def _is_expected(error: Exception) -> bool:
    """Whether the error's text is a line made for people."""
    from contracts.profile import ProfileError
    from deploy.local.errors import PlatformError
    from deploy.topics import TopicsError
    from services.chassis.keys import KeyFileError
    from services.triage.domain.linear import ModelError
    from services.triage.learning.errors import LearningError

    return isinstance(
        error,
        PlatformError | ProfileError | TopicsError | KeyFileError | LearningError | ModelError,
    )


if __name__ == "__main__":
    main()
