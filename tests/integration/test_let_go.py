# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the daemon lets go of what it holds: nobody waits for it, and nothing stays frozen."""
import pytest

from published import FUNCTION, MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'

# Opening, resetting and closing as fast as the simulator can: for tests of something else.
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


def check_let_go(sim, address, frozen=0):
    state = sim.state(address)
    assert {key: state[key] for key in ('held', 'group_open', 'frozen', 'driver')} == \
        {'held': 0, 'group_open': 0, 'frozen': frozen, 'driver': ''}


@pytest.mark.parametrize('way', ['group', 'cdev'])
def test_unbind(sim, daemon, published, way):
    """Whoever unbinds a function that we hold waits for less than a second, whatever goes on."""
    sim.add(A, fid=0x10, path=way)
    daemon.start('--policy=claim')

    def cycle(disturb, restore=lambda: None, frozen=0):
        sim.wait(A, 'err_armed=1', timeout=20)
        published.wait_state(0x10, 'claimed')
        disturb()
        answer = sim.unbind(A)
        assert answer['ms'] < 1000
        check_let_go(sim, A, frozen)
        restore()
        published.wait_objects()
        sim.bind(A)

    cycle(lambda: None)
    cycle(lambda: sim.error(A, pec=2))

    # The kernel handles the error, so that the reset is told to come back, for less than our patience …
    sim.set(A, eagain_ms=300)
    cycle(lambda: sim.error(A, pec=3))
    assert sim.state(A)['close_resets_skipped'] == 0

    # … and for longer: then nothing helps, the kernel's reset at the close neither.
    sim.set(A, eagain_ms=3000)
    cycle(lambda: (sim.error(A, pec=4), sim.wait(A, 'again>=3')), frozen=1)
    published.monitor.wait('RecoveryChanged', where=lambda s: s.args[2] == 'failed')
    assert sim.state(A)['close_resets_skipped'] == 1
    sim.set(A, eagain_ms=20)

    # While it is being reset, and while it is being opened.
    sim.wait(A, 'err_armed=1,frozen=0', timeout=20)
    resets = sim.state(A)['resets']
    cycle(lambda: (sim.error(A, pec=5), sim.wait(A, f'resets>={resets + 1}')))
    sim.unbind(A)
    sim.set(A, open_ms=400)
    sim.bind(A)
    sim.wait(A, 'held=1,err_armed=0')
    assert sim.unbind(A)['ms'] < 1000
    check_let_go(sim, A)

    assert [error.pec for error in published.errors(4, 0x10)] == [2, 3, 4, 5]


def test_request_only(sim, daemon, published):
    """Asked to let go of a function that stays bound after all: as if it had just been bound."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'req_armed=1')
    sim.signal(A, 'req')
    sim.wait(A, 'closes=1')
    sim.wait(A, 'opens=2,req_armed=1')
    published.wait_state(0x10, 'claimed')


def test_unbind_of_many(sim, daemon, published):
    """At once, each with an error just before."""
    addresses = [f'{n:04x}:00:00.0' for n in range(1, 25)]
    for n, address in enumerate(addresses):
        sim.add(address, fid=0x100 + n, path='cdev' if n % 2 else 'group', open_ms=20, reset_ms=20, close_ms=20)
    daemon.start('--policy=claim')
    for address in addresses:
        sim.wait(address, 'err_armed=1', timeout=20)
    connections = [sim.connect() for _ in addresses]
    for n, address in enumerate(addresses):
        if n % 3 == 0:
            sim.error(address, pec=2)
    for connection, address in zip(connections, addresses):
        connection.send('unbind', address)
    answers = [connection.receive(address)['ms'] for connection, address in zip(connections, addresses)]
    assert max(answers) < 1000, answers
    for connection in connections:
        connection.close()
    for address in addresses:
        check_let_go(sim, address)
    published.wait_objects()
    assert len(published.errors(8)) == 8


def test_hot_plug(sim, daemon, published):
    """Functions come and go, by the rules or not; objects tell of it in order."""
    daemon.start('--policy=claim')
    sim.add(A, fid=0x10, **FAST)
    sim.wait(A, 'held=1')
    published.wait_state(0x10, 'claimed')

    # Deconfigured properly.
    assert sim.remove(A)['ms'] < 1000
    published.wait_objects()

    # Gone at once, with an error in its queue or not.
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, path='cdev', **FAST)
    published.wait_state(0x10, 'claimed')
    published.wait_state(0x20, 'claimed')
    sim.vanish(A)
    published.wait_objects(0x20)
    daemon.freeze()
    sim.error(B, pec=2)
    sim.vanish(B)
    daemon.thaw()
    published.wait_objects()
    assert published.comings_and_goings() == [
        ('Added', 0x10), ('Removed', 0x10), ('Added', 0x10), ('Added', 0x20),
        ('Removed', 0x10), ('Removed', 0x20)]
    assert all(FUNCTION in signal.args[1] for signal in published.monitor.named('InterfacesRemoved'))

    # The queue is gone with the device, but the kernel log had said it before.
    assert [(error.pec, error.details['Source']) for error in published.errors(1, 0x20)] == [(2, 'kmsg')]


def test_stop(sim, daemon, published):
    """SIGTERM: everything is drained and recovered, within moments, and nobody has it after the stop."""
    addresses = [f'{n:04x}:00:00.0' for n in range(1, 9)]
    for n, address in enumerate(addresses):
        sim.add(address, fid=0x100 + n, eagain_ms=100)
    daemon.start('--policy=claim')
    for address in addresses:
        sim.wait(address, 'err_armed=1')
    sim.error(addresses[0], pec=2)          # being recovered
    daemon.freeze()
    sim.error(addresses[1], pec=3)          # not even drained
    sim.error(addresses[2], pec=0x3b)       # beyond help
    daemon.process.terminate()
    daemon.thaw()
    assert daemon.wait_exit() == 0
    daemon.notify.forget()
    for n, address in enumerate(addresses):
        state = sim.wait(address, 'held=0,group_open=0')
        assert state['frozen'] == (n == 2), address
        assert n == 2 or state['close_resets_skipped'] == 0
    assert sorted(error['ZPCI_PEC'] for error in published.journald.entries(
        'MESSAGE_ID=' + MESSAGE_IDS['ERROR'])) == ['0x0002', '0x0003', '0x003b']
