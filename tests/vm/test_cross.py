# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit tests on the machine that the daemon is for, which is big-endian."""

import guest as vm


def test_units_pass_on_s390x():
    vm.build('cross-build', '--test')


def test_unit_of_the_journal_passes_on_s390x(guest):
    """The one that emulation of a user's program is not enough for."""
    guest.run('/usr/lib/zpci-vm/test-journal', timeout=120)
