"""The deployable folder: written, verified, read and answered with, free of torch and transformers."""
