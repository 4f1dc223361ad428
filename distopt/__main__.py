"""``python -m distopt`` is the command ``distopt``."""

from distopt.cli.app import main

if __name__ == "__main__":
    main()
