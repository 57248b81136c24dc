"""The event contract: what stands on the bus, what it means, and nothing that does I/O."""
