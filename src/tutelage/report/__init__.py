"""What a run leaves for people to read: one HTML page, a Markdown model card, a table on the terminal."""
