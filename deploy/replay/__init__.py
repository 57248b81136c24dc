"""`jieyou replay`: real texts through the public API, each line of a file accounted for."""
