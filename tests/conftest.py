"""Settings that must be made before scipy or torch work, and fixtures for all tests."""

import os

# scikit-learn skips its array API checks silently unless scipy is imported with this.
os.environ["SCIPY_ARRAY_API"] = "1"
