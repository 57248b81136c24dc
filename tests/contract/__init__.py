"""Tests of the event contract: schemas, records, and the state over whole histories."""
