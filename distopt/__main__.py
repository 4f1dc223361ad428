"""``python -m distopt`` is the command ``distopt``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C before it is there ends in a sentence, too."""
    try:
        from distopt.cli import LISTED

        if sys.argv[1:] in [["list"], *(["list", kind] for kind in LISTED)]:
            from distopt.cli.plain_list import main as run
        else:
            from distopt.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("distopt: stopped by Ctrl-C before anything had begun.\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
