# SPDX-License-Identifier: LGPL-2.1-or-later
"""Want of file descriptors: said of the functions that it keeps from being held; everything else goes on, and
those are held when it is over."""
import os
import resource

import pytest

from bystander import TO_JOURNAL, FAST, Bystander, told

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'


def limit(daemon, room):
    """Leaves the daemon room for so many more file descriptors; None for all it wants."""
    taken = len(os.listdir(f'/proc/{daemon.pid}/fd'))
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (most if room is None else taken + room, most))


@pytest.mark.parametrize('room', range(5))
def test_file_descriptors(sim, daemon, journald, published, room):
    """At every step of opening a device: each opens one more."""
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim', **TO_JOURNAL)
    bystander.check()
    sim.add(A, fid=0x10, **FAST)
    sim.wait(A, 'held=1,err_armed=1')
    sim.unbind(A)
    published.wait_objects(0xfffe)

    limit(daemon, room)
    sim.bind(A)
    entry, = told(journald, 'cannot be held: ', f'ZPCI_ADDRESS={A}')
    # What makes the device, the simulator does as the library below it does.
    reason = 'ENODEV' if 'VFIO_GROUP_GET_DEVICE_FD: No such device' in entry['MESSAGE'] else 'EMFILE'
    published.wait_state(0x10, 'failed', reason)
    assert sim.wait(A, 'held=0,group_open=0')['err_armed'] == 0
    bystander.check()
    sim.error(A, pec=4)
    assert published.errors(1, 0x10)[0].details['Source'] == 'kmsg'

    limit(daemon, None)
    published.wait_state(0x10, 'claimed', seconds=20)
    sim.error(A, pec=5)
    assert published.errors(2, 0x10)[1].details['Source'] == 'vfio'
    bystander.check()
