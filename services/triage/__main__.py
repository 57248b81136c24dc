"""`python -m services.triage` runs the service."""

import sys

from services.triage.app import main

if __name__ == "__main__":
    sys.exit(main())
