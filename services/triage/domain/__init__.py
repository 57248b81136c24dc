"""Pure rules of triage: nothing here does I/O."""
