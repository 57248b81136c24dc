"""`python -m services.reporting` runs the service."""

import sys

from services.reporting.app import main

if __name__ == "__main__":
    sys.exit(main())
