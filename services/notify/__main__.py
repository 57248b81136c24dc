"""`python -m services.notify`: run the service until it is told to stop."""

import sys

from services.notify.app import main

if __name__ == "__main__":
    sys.exit(main())
