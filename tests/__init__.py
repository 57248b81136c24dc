"""Tests, by what they touch: unit, contract, integration, e2e, chaos, bench."""
