"""The one loop: teacher, student and control all train here."""
