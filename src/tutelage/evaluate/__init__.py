"""Measuring teacher, student, control and baseline on the same rows, each figure with its interval."""
