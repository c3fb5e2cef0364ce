# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon holds, and what it leaves alone."""
import signal
import time

import pytest

from published import MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
C = '0003:00:00.0'

# Opening, resetting and closing as fast as the simulator can: for tests of something else.
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


def test_observe_holds_nothing(sim, daemon, published):
    """The default; of all functions only the one that a udev rule gives us is opened."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, path='cdev', **FAST)
    sim.add(C, fid=0x30, **FAST)
    sim.property(C, 'ZPCI_ERRORD_POLICY', 'claim')
    sim.add('0004:00:00.0', fid=0x40)
    sim.property('0004:00:00.0', 'ZPCI_ERRORD_POLICY', 'ignore')
    sim.add('0005:00:00.0', fid=0x50, driver='mlx5_core')
    sim.add('0006:00:00.0', fid=0x60, zpci=0)
    daemon.start()

    sim.wait(C, 'held=1')
    published.wait_state(0x30, 'claimed')
    assert published.state(0x10) == ('observed', 'policy')
    assert published.state(0x20) == ('observed', 'policy')
    published.wait_objects(0x10, 0x20, 0x30)
    assert '2 VFIO-bound functions are only observed' in daemon.stderr
    assert 'Policy=claim' in daemon.stderr

    # A rule changed its mind, and udev says so; it is no other function's business.
    sim.property(B, 'ZPCI_ERRORD_POLICY', 'claim')
    sim.uevent(B)
    sim.wait(B, 'held=1')
    sim.property(C, 'ZPCI_ERRORD_POLICY', 'observe')
    sim.uevent(C)
    sim.wait(C, 'held=0')
    published.wait_state(0x30, 'observed', 'policy')

    for address in A, '0004:00:00.0', '0005:00:00.0', '0006:00:00.0':
        assert (sim.state(address)['opens'], sim.state(address)['group_open']) == (0, 0)


def test_configuration(sim, daemon, configure, published):
    """Policy= in a drop-in, read again on SIGHUP; the command line is stronger."""
    configure('[Errord]\nSettleSec=0\nPolicy=claim\n')
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    sim.wait(A, 'held=1')
    published.wait_state(0x10, 'claimed')
    assert 'only observed' not in daemon.stderr

    configure('[Errord]\nSettleSec=0\nPolicy=observe\n')
    daemon.process.send_signal(signal.SIGHUP)
    sim.wait(A, 'held=0')
    published.wait_state(0x10, 'observed', 'policy')

    # Functions leave and come back as their policy does.
    configure('[Errord]\nSettleSec=0\nPolicy=ignore\n')
    daemon.process.send_signal(signal.SIGHUP)
    published.wait_objects()
    configure('[Errord]\nSettleSec=0\nPolicy=claim\n')
    daemon.process.send_signal(signal.SIGHUP)
    sim.wait(A, 'held=1')
    assert daemon.stop() == 0

    opens = sim.state(A)['opens']
    daemon.start('--policy=observe')
    assert published.state(0x10) == ('observed', 'policy')
    published.monitor.flush()
    assert sim.state(A)['opens'] == opens

    assert daemon.stop() == 0
    daemon.start('--policy=rob', ready=False)
    assert daemon.wait_exit() == 2
    assert "unknown policy 'rob': choose observe, claim or ignore" in daemon.stderr


def test_settle(sim, daemon, configure, published):
    """A function is left alone until it was bound for SettleSec."""
    configure('[Errord]\nPolicy=claim\nSettleSec=1\n')
    daemon.start()
    sim.add(A, fid=0x10, **FAST)
    before = time.monotonic()
    published.wait_state(0x10, 'observed', 'settling')
    assert sim.state(A)['opens'] == 0
    sim.wait(A, 'held=1')
    assert time.monotonic() - before >= 0.9
    published.wait_state(0x10, 'claimed')

    # Binding it anew starts from the beginning: who did that may want to use it.
    sim.unbind(A)
    before = time.monotonic()
    sim.bind(A)
    published.wait_state(0x10, 'observed', 'settling')
    sim.wait(A, 'held=1')
    assert time.monotonic() - before >= 1


PATHS = {'group': 'group', 'cdev': 'cdev', 'both': 'cdev'}
UAPIS = {'ccdf': 'ccdf', 'v13': 'packed', 'v13-enomsg': 'packed', 'v13-rev2': 'packed'}


def test_ways_and_interfaces(sim, daemon, published):
    """Every way of opening with every shape of the error feature."""
    functions = {}
    for way in PATHS:
        for uapi in UAPIS:
            fid = 0x10 + len(functions)
            functions[fid] = (f'{fid:04x}:00:00.0', way, uapi)
            sim.add(functions[fid][0], fid=fid, path=way, uapi=uapi, **FAST)
    daemon.start('--policy=claim')

    for fid, (address, way, uapi) in functions.items():
        assert sim.wait(address, 'held=1,err_armed=1,req_armed=1')['open'] == PATHS[way]
        published.wait_state(fid, 'claimed')
        assert published.get(fid, 'ErrorInterface') == UAPIS[uapi]
        for pec in 0x3a, 5:
            sim.error(address, pec=pec)
            published.monitor.wait('RecoveryChanged', where=lambda s: s.args[1:] == [fid, 'recovered'],
                                   count=1 if pec == 0x3a else 2)

    for fid, (address, way, uapi) in functions.items():
        errors = published.errors(2, fid)
        assert [(error.address, error.pec) for error in errors] == [(address, 0x3a), (address, 5)]
        for error in errors:
            assert error.details['Source'] == 'vfio'
            assert ('FailingAddress' in error.details) == (uapi == 'ccdf')
            assert error.details.get('Pending') == (None if uapi == 'ccdf' else 0)
            assert len(error.details['Raw']) == {'ccdf': 32, 'v13-rev2': 16}.get(uapi, 4)

        # The unknown revision is said once for each function.
        said = daemon.stderr.count(f'{address} (FID 0x{fid:08x}, PCHID 0x{0x104 + fid - 0x10:04x}): the '
                                   "kernel's error interface has an unknown revision")
        assert said == (1 if uapi == 'v13-rev2' else 0)
    assert published.get(0x10, 'Lost') == 0 and published.all_lost() == []


@pytest.mark.parametrize('way', ['group', 'cdev', 'both'])
def test_busy(sim, daemon, published, way):
    """What somebody else holds is left to them, and taken when they are done."""
    sim.add(A, fid=0x10, path=way, **FAST)
    sim.hold(A)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'observed', 'busy')
    assert published.get(0x10, 'ErrorInterface') == 'none'
    state = sim.wait(A, 'busy>=1')
    assert (state['opens'], state['hold']) == (1, 1)

    # The holder keeps it through further tries.
    sim.wait(A, 'busy>=2')
    assert sim.state(A)['hold'] == 1
    sim.unhold(A)
    sim.wait(A, 'err_armed=1', timeout=20)
    published.wait_state(0x10, 'claimed')
    assert 'cannot be held' in daemon.stderr
    assert daemon.stderr.count('somebody else holds its VFIO device') == 1


def test_error_while_opening(sim, daemon, published):
    """The kernel still handles an error when it is opened: EAGAIN, for a while."""
    sim.add(A, fid=0x10, eagain_ms=400, open_ms=1)
    daemon.start()
    sim.error(A)
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'claim')
    sim.uevent(A)
    sim.wait(A, 'again>=1,held=1')
    published.wait_state(0x10, 'claimed')
    assert 'cannot be held' not in daemon.stderr

    # An EAGAIN that does not end is a failure, tried again with back-off.
    sim.set(A, open_errno='EAGAIN')
    sim.unbind(A)
    sim.bind(A)
    published.wait_state(0x10, 'failed', 'EAGAIN')
    sim.set(A, open_errno='none')
    sim.wait(A, 'held=1', timeout=20)
    published.wait_state(0x10, 'claimed')


def test_unsupported(sim, daemon, published):
    """Where the kernel gives no records the device is closed again; said once, with the reason."""
    sim.add(A, fid=0x10, uapi='none', **FAST)
    sim.add(B, fid=0x20, err_irq='none', path='cdev', **FAST)
    sim.add(C, fid=0x30, caps='none', **FAST)
    daemon.start('--policy=claim')
    for fid, address, why in ((0x10, A, 'the kernel has no error records for VFIO'),
                              (0x20, B, 'the kernel has no error interrupt for it'),
                              (0x30, C, 'VFIO does not know it as a zPCI function')):
        published.wait_state(fid, 'observed', 'unsupported')
        assert published.get(fid, 'ErrorInterface') == 'none'
        sim.wait(address, 'held=0,group_open=0,opens=1,closes=1')
        assert daemon.stderr.count(f'{address} (FID 0x{fid:08x}, PCHID ') == 3  # appeared, why, state
        assert why in daemon.stderr

    # They are observed all the same.
    sim.error(A, pec=5)
    assert published.errors(1, 0x10)[0].details['Source'] == 'kmsg'
    sim.unbind(A)
    published.wait_objects(0x20, 0x30)

    # A binding is a new chance: there may be another kernel module.
    sim.set(A, uapi='ccdf')
    sim.bind(A)
    published.wait_state(0x10, 'claimed')


def test_identities(sim, daemon, published):
    """A FID at another address, another FID at the same address: the old object goes first."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')

    # The daemon sees only what came of it.
    daemon.freeze()
    sim.vanish(A)
    sim.add(B, fid=0x10, **FAST)
    daemon.thaw()
    published.wait_property(0x10, 'Address', B)
    published.wait_state(0x10, 'claimed')
    assert published.comings_and_goings() == [('Added', 0x10), ('Removed', 0x10), ('Added', 0x10)]

    daemon.freeze()
    sim.vanish(B)
    sim.add(B, fid=0x20, **FAST)
    daemon.thaw()
    published.wait_objects(0x20)
    published.wait_state(0x20, 'claimed')
    assert published.comings_and_goings()[3:] == [('Removed', 0x10), ('Added', 0x20)]
    sim.wait(B, 'held=1')


def test_name_first(sim, daemon, monitor, published):
    """Where another daemon runs, this one touches no device, says why, and ends."""
    sim.add(A, fid=0x10, **FAST)
    monitor.connection.request_name('org.zpci.Errord1')
    daemon.start('--policy=claim', ready=False)
    assert daemon.wait_exit() == 1
    assert 'Another daemon owns org.zpci.Errord1 on the system bus' in daemon.stderr
    state = sim.state(A)
    assert (state['opens'], state['group_open']) == (0, 0)

    monitor.connection.release_name('org.zpci.Errord1')
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1')


def test_restart(sim, daemon, published):
    """A crash: the stream goes on where it was, and so does the device, with what it reports meanwhile."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.error(A, pec=2)
    first, = published.errors(1)
    published.monitor.wait('RecoveryChanged', where=lambda s: s.args[2] == 'recovered')
    owner = published.monitor.owner
    daemon.kill()

    # Meanwhile the service manager holds it, and the kernel keeps what nobody drains.
    assert sim.error(A, pec=3)['result'] == 'queued'
    daemon.start('--policy=claim')
    published.monitor.wait_owner(other_than=owner)
    published.wait_state(0x10, 'claimed')
    sim.wait(A, 'frozen=0,locked=0')
    sim.error(A, pec=4)
    errors = published.monitor.wait('ErrorReported', where=lambda s: s.args[5] > first.sequence, count=2)
    assert [(s.args[2], s.args[7]['Source']) for s in errors] == [(3, 'vfio'), (4, 'vfio')]
    assert sim.state(A)['opens'] == 1
    assert sorted(s.args[5] for s in errors) == [first.sequence + 1, first.sequence + 2]
    assert {s.args[7]['StreamId'] for s in errors} == {first.details['StreamId']}
    assert 'Going on with the records of the former run' in daemon.stderr
    assert [record.sequence for record in published.records()[3]] == [1, 2, 3]

    # A clean stop ends the stream.
    assert daemon.stop() == 0
    daemon.start('--policy=claim')
    assert published.records()[0] != first.details['StreamId']
    assert published.records()[2:] == (0, [])


def test_journal_of_states(sim, daemon, published):
    """Under a service manager states are journal entries of their own kind, found by address."""
    sim.add(A, fid=0x10, **FAST)
    sim.hold(A)
    daemon.start('--policy=claim', JOURNAL_STREAM='1:1')
    published.wait_state(0x10, 'observed', 'busy')
    sim.unhold(A)
    published.wait_state(0x10, 'claimed')
    sim.unbind(A)
    published.wait_objects()
    entries = published.journald.entries(f'ZPCI_ADDRESS={A}')
    assert {entry['ZPCI_FID'] for entry in entries} == {'0x00000010'}
    assert [entry['MESSAGE_ID'] for entry in entries if 'MESSAGE_ID' in entry][0] == MESSAGE_IDS['APPEARED']
    kinds = {kind: [e for e in entries if e.get('MESSAGE_ID') == MESSAGE_IDS[kind]]
             for kind in ('APPEARED', 'STATE', 'GONE')}
    assert len(kinds['APPEARED']) == len(kinds['GONE']) == 1
    assert [entry['ZPCI_STATE'] for entry in kinds['STATE']][:1] in (['observed'], ['claimed'])
    assert 'claimed' in [entry['ZPCI_STATE'] for entry in kinds['STATE']]
