"""What brings Jieyou to a machine: the `jieyou` command, the local platform, profiles."""
