"""What the operator image starts. This release has no operator, and says so instead of idling as if it had one."""

import os
import sys


def main() -> int:
    """Exit with EX_CONFIG (78): starting it again does not help."""
    print("This release ships no operator yet; run the workers with compose or `iris up`.", file=sys.stderr)
    return os.EX_CONFIG


if __name__ == "__main__":
    sys.exit(main())
