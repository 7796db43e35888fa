"""States what setup.cfg cannot: the address of the project, and the README with that in its links.

scripts/build passes the address on in HTTPCORE_PROJECT_URL, for a release only: other people build
this package in their own repositories, and theirs would be a wrong one.
"""

import os
from pathlib import Path

from setuptools import setup

url = os.environ.get("HTTPCORE_PROJECT_URL", "").rstrip("/")
readme = Path(__file__).with_name("README.rst").read_text(encoding="utf-8")

setup(
    # PyPI does not resolve links that are right in the repository.
    long_description=readme.replace("<docs/", f"<{url}/blob/main/docs/") if url else readme,
    project_urls={
        "Documentation": f"{url}/blob/main/docs/index.rst",
        "Source": url,
        "Changelog": f"{url}/blob/main/CHANGELOG.rst",
        "Issues": f"{url}/issues",
    }
    if url
    else {},
)
