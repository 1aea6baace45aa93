"""`python -m tutelage`."""

from tutelage.cli import main

main()
