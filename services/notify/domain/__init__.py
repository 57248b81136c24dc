"""Pure rules of notify: nothing here does I/O."""
