"""The one error of export and import that people see."""

from deploy.local.errors import PlatformError


class ArchiveError(PlatformError):
    """The log cannot be exported or imported; the message is one line and holds no content."""
