# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit tests on the machine that the daemon is for, which is big-endian."""

import guest as vm


def test_units_pass_on_s390x():
    vm.build('cross-build', '--test')


def test_units_pass_in_the_guest(guest):
    """Those that emulation of a user's program is not enough for."""
    guest.run('for test in /usr/lib/zpci-vm/test-*; do "$test" || exit; done', timeout=240)
