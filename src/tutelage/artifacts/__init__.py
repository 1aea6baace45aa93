"""What stages hand to each other: frozen, on disk, read by anyone."""
