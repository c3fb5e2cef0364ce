# SPDX-License-Identifier: LGPL-2.1-or-later
"""What needs no guest: the unit tests on the machine that the daemon is for, which is big-endian."""

import guest as vm


def test_units_pass_on_s390x():
    vm.build('cross-build', '--test')
