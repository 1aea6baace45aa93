"""Designing a student, starting it from the teacher, and teaching it."""
