"""``distopt list`` without options, for which nothing is imported that only other commands need."""

import os
import sys

from distopt.cli import DIMENSION, LISTED
from distopt.core.errors import DistoptError
from distopt.mpirun.environment import ending_threads, prepare
from distopt.mpirun.failing import complain
from distopt.show.members import print_members


def main() -> None:
    """Print the members of one kind, or of all; the arguments were looked at before."""
    prepare()
    with ending_threads():
        try:
            print_members(sys.argv[2:] or list(LISTED), DIMENSION, as_json=False)
            sys.stdout.flush()
        except DistoptError as error:
            complain(error)
            raise SystemExit(1) from None
        except BrokenPipeError:  # of a pager that was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
