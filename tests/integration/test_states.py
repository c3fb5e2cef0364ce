# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every State with every StateReason that users are promised, on both ways to a device."""
import pytest

from bystander import FAST
from monitor import MANAGER
from owner import Owner
from published import FUNCTION, MANAGER_INTERFACE, path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

# What each function is given, and what it comes to.
FUNCTIONS = {
    'claimed': ({}, 'claimed', ''),
    'observed': ({}, 'observed', 'policy'),
    'settling': ({}, 'observed', 'settling'),
    'busy': ({}, 'observed', 'busy'),
    'released': ({}, 'observed', 'released'),
    'inhibited': ({}, 'observed', 'inhibited'),
    'unsupported': ({'uapi': 'none'}, 'observed', 'unsupported'),
    'permanent': ({}, 'failed', 'permanent-error'),
    'too often': ({}, 'failed', 'recovery-limit'),
    'denied': ({'open_errno': 'EACCES'}, 'failed', 'policy-denied'),
    'broken': ({'open_errno': 'EIO'}, 'failed', 'EIO'),
    'attached': ({}, 'delegated', ''),
}
FIDS = {name: fid for fid, name in enumerate(FUNCTIONS, 0x10)}
ADDRESSES = {name: f'{n:04x}:00:00.0' for n, name in enumerate(FUNCTIONS, 1)}


@pytest.mark.parametrize('way', ['group', 'cdev'])
def test_all(sim, bus, daemon, published, configure, way):
    for name, (settings, _, _) in FUNCTIONS.items():
        sim.add(ADDRESSES[name], fid=FIDS[name], path=way, **settings, **FAST)
    configure('[Errord]\nPolicy=claim\nSettleSec=0\nRecoveryLimit=1/1h\n'
              f'[Function fid:{FIDS["observed"]:x}]\nPolicy=observe\n'
              f'[Function fid:{FIDS["attached"]:x}]\nPolicy=observe\n'
              f'[Function fid:{FIDS["settling"]:x}]\nSettleSec=1h\n')
    sim.hold(ADDRESSES['busy'])
    owner = Owner(sim, bus).take(sim, ADDRESSES['attached'], way)
    daemon.start()

    for name in 'claimed', 'released', 'inhibited', 'permanent', 'too often':
        sim.wait(ADDRESSES[name], 'held=1,err_armed=1')
    owner.attach()
    published.monitor.call(path(FIDS['released']), FUNCTION, 'Release', 'ta{sv}', 0, {})
    inhibitor = published.monitor.call(MANAGER, MANAGER_INTERFACE, 'Inhibit', 'asss', [ADDRESSES['inhibited']],
                                       'somebody', 'for a test').take()
    with open(inhibitor, closefd=True):
        sim.error(ADDRESSES['permanent'], pec=0x3b)
        sim.error(ADDRESSES['too often'], pec=2)
        sim.wait(ADDRESSES['too often'], 'frozen=0,locked=0')
        sim.error(ADDRESSES['too often'], pec=2)
        for name, (_, state, reason) in FUNCTIONS.items():
            published.wait_state(FIDS[name], state, reason)

        # They stay so: what is wrong with one is nothing to the others.
        published.monitor.flush()
        assert {name: published.state(FIDS[name]) for name in FUNCTIONS} == \
            {name: (state, reason) for name, (_, state, reason) in FUNCTIONS.items()}
    owner.end()
