# SPDX-License-Identifier: LGPL-2.1-or-later
"""The witness: one record of each error, whoever tells of it, and the richest account of it."""
import itertools

import pytest

import witness as witness_of
from monitor import MANAGER
from published import MANAGER_INTERFACE
from witness import Witness, record

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A, B = '0001:00:00.0', '0002:00:00.0'
FID = 0x10

FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}
BURST = 7
STORM = 3000      # fewer than the ring buffer and the daemon's ring have room for
BEGINNING = 4 + 64  # of a storm, read before anybody else has a turn


@pytest.fixture
def witness(sim, daemon):
    witness = Witness(sim)
    witness.hand_to(daemon)
    yield witness
    witness.close()


def state(published):
    return published.monitor.get(MANAGER, MANAGER_INTERFACE, 'Witness')


def raw_of(sim, place=0x1000, pec=2):
    return record(sim.state(A)['fh'], FID, pec, place)


def fail(sim, witness, raw):
    """The platform reports an error: the program sees it first, then the kernel does what it does."""
    witness.see(raw)
    return sim.error(A, raw=raw.hex(), force=1)['result']


def wait_records(published, count):
    """A repetition after a crash counts once here."""
    published.monitor.wait_until(lambda: published.records()[2] >= count, f'{count} records')
    assert published.records()[2] == count


def kept(daemon):
    return sorted(name for name, _ in daemon.notify.fds() if name.startswith('witness-'))


def test_held_by_another(sim, daemon, published, witness):
    """The full record of a function that the daemon does not hold; equal errors stay as many as they are."""
    sim.add(A, fid=FID, **FAST)
    sim.hold(A)
    daemon.start()
    assert state(published) == 'active'
    assert 'The witness runs' in daemon.stderr
    assert 'only observed' not in daemon.stderr

    raws = [raw_of(sim, 0x1000), raw_of(sim, 0x1000), raw_of(sim, 0x2000, pec=0x3b), raw_of(sim, 0x1000)]
    for raw in raws:
        fail(sim, witness, raw)
    errors = published.errors(4, FID)
    assert [error.details['Raw'] for error in errors] == raws
    assert {error.details['Source'] for error in errors} == {'witness'}
    assert not any(error.details['Dropped'] for error in errors)
    assert errors[0].details['FailingAddress'] == 0x1000

    # An error that the witness has not seen comes when everything that was told of the others has been.
    sim.error(A, pec=4, force=1)
    assert [error.details['Source'] for error in published.errors(5, FID)] == ['witness'] * 4 + ['kmsg']
    assert witness.released


def test_claimed(sim, daemon, published, witness):
    """What the queue has is told by the queue, what it dropped by the witness, and nothing is lost."""
    sim.add(A, fid=FID, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    raws = [raw_of(sim, 0x1000 * (1 + n % 3)) for n in range(BURST)]
    daemon.freeze()
    results = [fail(sim, witness, raw) for raw in raws]
    daemon.thaw()
    assert results == ['queued'] * 4 + ['dropped'] * 3

    errors = published.errors(BURST, FID)
    assert [error.details['Raw'] for error in errors] == raws
    assert [(error.details['Source'], error.details.get('Dropped')) for error in errors] == (
        [('vfio', None)] * 4 + [('witness', True)] * 3)
    assert [error.sequence for error in errors] == list(range(1, BURST + 1))
    sim.wait(A, 'pending=0,frozen=0')
    assert published.get(FID, 'Lost') == 0
    assert published.get(FID, 'Records') == BURST
    assert published.all_lost() == []


def test_lost_is_what_nobody_saw(sim, daemon, published, witness):
    """Of three that the queue dropped the witness saw one."""
    sim.add(A, fid=FID, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    daemon.freeze()
    for n in range(4):
        fail(sim, witness, raw_of(sim, 0x1000 + n))
    fail(sim, witness, raw_of(sim, 0x5000))
    for _ in range(2):
        sim.error(A, raw=raw_of(sim, 0x6000).hex(), force=1)
    daemon.thaw()
    assert published.lost(FID) == [2]
    # The lines of those two are all that there is of them.
    assert [error.details['Source'] for error in published.errors(BURST, FID)] == (
        ['vfio'] * 4 + ['witness'] + ['kmsg'] * 2)
    assert published.get(FID, 'Lost') == 2


def test_survives_the_daemon(sim, daemon, published, witness):
    """Killed before, between and after errors: each is told once."""
    sim.add(A, fid=FID, **FAST)
    sim.hold(A)
    daemon.start()
    count = 0
    for round_ in range(4):
        fail(sim, witness, raw_of(sim))
        count += 1
        if round_ % 2:
            wait_records(published, count)
        daemon.kill()
        fail(sim, witness, raw_of(sim))
        count += 1
        assert kept(daemon) == ['witness-counters', 'witness-link', 'witness-ring']
        daemon.start()
        wait_records(published, count)
    sequences = {error.sequence for error in published.records()[3]}
    assert sequences == set(range(1, count + 1))
    assert {error.details['Source'] for error in published.records()[3]} == {'witness'}


@pytest.mark.parametrize('word', ['not-permitted', 'no-symbol', 'ENOMEM'])
def test_refused(sim, daemon, published, word):
    """The kernel log is what is left, and the reason is said once."""
    sim.add(A, fid=FID, **FAST)
    witness_of.refused(daemon, word)
    daemon.start()
    assert state(published) == word
    assert daemon.stderr.count(f'The witness does not run: {word} (') == 1
    assert kept(daemon) == []
    sim.error(A, pec=4)
    error, = published.errors(1, FID)
    assert error.details['Source'] == 'kmsg'


def test_nobody_attached_it(sim, daemon, published, build):
    """The daemon is started by hand, or the build is one without the witness."""
    sim.add(A, fid=FID, **FAST)
    daemon.start()
    built = (build / 'witness' / 'zpci-errord-witness').exists()
    word = 'not-started' if built else 'not-built'
    assert state(published) == word
    assert f'The witness does not run: {word} (' in daemon.stderr


def test_switched_off(sim, daemon, published, witness, configure):
    """The service manager is told to let go of the program."""
    configure('[Errord]\nWitness=off\n')
    daemon.start()
    assert state(published) == 'off'
    assert kept(daemon) == []
    assert 'The witness is switched off' in daemon.stderr


def test_overrun(sim, daemon, published, witness):
    """What there was no room for is said once, by however many runs."""
    sim.add(A, fid=FID, **FAST)
    witness.overrun(7)
    daemon.start()
    said = 'The witness had no room for 7 errors'
    witness.see(raw_of(sim))
    published.errors(1, FID)
    assert daemon.stderr.count(said) == 1
    daemon.kill()
    daemon.start()
    witness.see(raw_of(sim))
    wait_records(published, 2)
    assert daemon.stderr.count('The witness had no room') == 1


def test_storm(sim, daemon, published, witness):
    """The witness has thousands of errors of what another process holds: the queues of what the daemon holds are
    drained before it has got through more than the beginning of them, and no error is missing."""
    sim.add(A, fid=FID, **FAST)
    sim.add(B, fid=FID + 1, **FAST)
    sim.hold(B)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    handle = sim.state(B)['fh']
    daemon.freeze()
    for place in range(STORM):
        witness.see(record(handle, FID + 1, 2, place))
    raws = [raw_of(sim, place) for place in range(4)]
    assert [fail(sim, witness, raw) for raw in raws] == ['queued'] * 4
    daemon.thaw()

    drained = published.errors(4, FID)
    assert [error.details['Raw'] for error in drained] == raws
    assert {error.details['Source'] for error in drained} == {'vfio'}
    assert drained[-1].sequence <= BEGINNING
    published.monitor.wait_until(lambda: published.records(most=1)[2] >= STORM + 4, 'all records', seconds=60)
    told = [error for after in range(0, STORM + 4, 1000) for error in published.records(after)[3]]
    seen = [error for error in told if error.fid == FID + 1]
    assert [error.details['FailingAddress'] for error in seen] == list(range(STORM))
    assert published.all_lost() == []


@pytest.mark.parametrize('header', [0, 16, 0x3fffffff, 49 + 8])
def test_makes_no_sense(sim, daemon, published, witness, header):
    """Damaged memory ends the witness, not the daemon."""
    sim.add(A, fid=FID, **FAST)
    sim.hold(A)
    daemon.start()
    fail(sim, witness, raw_of(sim))
    published.errors(1, FID)
    witness.see(raw_of(sim), header=header)
    sim.error(A, pec=4, force=1)
    assert published.errors(2, FID)[1].details['Source'] == 'kmsg'
    assert 'makes no sense' in daemon.stderr
    assert state(published) == 'EBADMSG'


def test_strangers(sim, daemon, published, witness):
    """Errors of functions that are none of ours are nobody's record; the ring gets room again."""
    sim.add(A, fid=FID, **FAST)
    sim.hold(A)
    daemon.start()
    for n in itertools.chain(range(0x20, 0x40), [0, 0xffffffff]):
        witness.see(record(0x80000000, n, 2))
    fail(sim, witness, raw_of(sim))
    published.errors(1, FID)
    # Somebody might be about to appear: strangers wait as long as a line does.
    sim.error(A, pec=4, force=1)
    assert len(published.errors(2)) == 2
    assert witness.released
