"""A bundle behind HTTP: bounded in every direction, free of torch and transformers."""
