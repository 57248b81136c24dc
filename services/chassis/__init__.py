"""What every service stands on: bus, store, settings, HTTP, keys, logs, clock and process."""
