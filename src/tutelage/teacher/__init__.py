"""Making a teacher, and recording what it says."""
