"""Chaos: a platform of three brokers under steady load while its parts are killed, cut off and
starved; then a check that shares only `contracts/` with the services. `python -m tests.chaos`."""
