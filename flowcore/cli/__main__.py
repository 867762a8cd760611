"""`python -m flowcore.cli`: the command, where its script is not on the path."""

from flowcore.cli.main import main

if __name__ == "__main__":
    main()
