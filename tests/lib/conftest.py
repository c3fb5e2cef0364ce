# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the tests of the library itself."""
import pytest

from journald import Journald
from namespace import Namespace


@pytest.fixture
def namespace():
    namespace = Namespace()
    yield namespace
    namespace.close()


@pytest.fixture
def journald(tmp_path, namespace):
    journald = Journald(tmp_path, namespace).start()
    yield journald
    journald.close()
