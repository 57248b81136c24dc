"""The four services, each a process of its own, and the chassis that they stand on."""
