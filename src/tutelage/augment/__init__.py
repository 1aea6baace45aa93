"""Texts that nobody wrote: changed copies of the user's own. One file a way, all of one shape."""
