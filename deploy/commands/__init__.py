"""The commands of `jieyou`, one module each: `register(app)` adds it."""
