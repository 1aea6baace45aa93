"""One file per kind of source, all of the same shape: `open_table` gives a `table.Table`."""
