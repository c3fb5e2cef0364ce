# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the Python suites have in common. They run as root, with Debian's Python and its modules:

    ZPCI_ERRORD_BUILD=build /usr/bin/python3 -m pytest tests/integration
"""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / 'lib'))

from journald import Journald  # noqa: E402
from namespace import Namespace  # noqa: E402


@pytest.fixture(scope='session')
def build():
    """The build directory."""
    try:
        return Path(os.environ['ZPCI_ERRORD_BUILD']).resolve(strict=True)
    except (KeyError, OSError) as error:
        pytest.exit(f'ZPCI_ERRORD_BUILD has to be the build directory: {error!r}', 2)


@pytest.fixture
def namespace():
    namespace = Namespace()
    yield namespace
    namespace.close()


@pytest.fixture
def journald(tmp_path, namespace):
    """A journald that all that runs in the namespace logs to, without rate limits."""
    journald = Journald(tmp_path, namespace).start()
    yield journald
    journald.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure comes with what the daemon and the machine had to say."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for fixture in {id(value): value for value in item.funcargs.values()}.values():
            if text := getattr(fixture, 'evidence', lambda: '')():
                report.sections.append((type(fixture).__name__, text))
