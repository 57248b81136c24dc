"""The log as files: `jieyou export` and `jieyou import`."""
