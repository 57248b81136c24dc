"""What reporting counts and shows, without any I/O."""
