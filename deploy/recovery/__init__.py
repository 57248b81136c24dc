"""What an operator does when something is lost: rebuilding, restoring, moving."""
