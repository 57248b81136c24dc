"""The one error of the local platform that people see."""

from __future__ import annotations


class PlatformError(Exception):
    """The platform cannot do what was asked.

    The message is one line that says what is wrong, where (file, key or process) and what to do;
    the command prints it as it is and ends with `exit_code`.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code
