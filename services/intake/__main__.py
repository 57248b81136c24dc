"""`python -m services.intake` runs the service."""

import sys

from services.intake.app import main

if __name__ == "__main__":
    sys.exit(main())
