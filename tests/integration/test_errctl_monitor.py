# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errctl monitor: every record once and in order, whatever becomes of the daemon, the bus or itself."""
import json
import re

import pytest

from errctl import PROGRAM, when
from standin import StandIn

one_bus = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


@pytest.fixture
def claimed(sim, daemon):
    sim.add(A, fid=0x10, pchid=0x104, fh=0x80020000, **FAST)
    sim.add(B, fid=0x20, pchid=0x1c4, fh=0x80030000, **FAST)
    daemon.start('--policy=claim')
    for address in A, B:
        sim.wait(address, 'held=1,err_armed=1')


@pytest.fixture
def make_errors(sim, claimed):
    """make_errors(PEC, ...): an error of A each, recovered from."""
    def make(*pecs, address=A):
        for pec in pecs:
            resets = sim.wait(address, 'held=1,err_armed=1,frozen=0,locked=0')['resets']
            sim.error(address, pec=pec, faddr=0x1000 * pec)
            sim.wait(address, f'pending=0,resets>={resets + 1},frozen=0')
    return make


def sequences(events):
    return [event['sequence'] for event in events]


@one_bus
def test_events(make_errors, errctl, published):
    """What each event looks like, for people and for programs; and of one function only."""
    make_errors(7)
    text = errctl.follow('monitor')
    short = errctl.follow('monitor', '--json=short')
    pretty = errctl.follow('monitor', '--json=pretty', A)
    of_b = errctl.follow('monitor', 'pchid:1c4')
    make_errors(2)

    [_, error] = published.errors(2)
    lines = text.wait(3)
    assert lines[0] == (f'{when(error.realtime_usec)}.{error.realtime_usec // 1000 % 1000:03d} {A} (FID 0x00000010): '
                        'OORANGE (PEC 0x0002), recoverable: DMA address outside the registered range, at 0x2000')
    time = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} '
    assert re.fullmatch(time + re.escape(f'{A} (FID 0x00000010): recovery began: the function is being reset'), lines[1])
    assert re.fullmatch(time + re.escape(f'{A} (FID 0x00000010): recovered: the function was reset and works again'),
                        lines[2])

    events = short.events(3)
    raw = error.details['Raw'].hex()
    assert events == [
        {'event': 'error', 'address': A, 'fid': 0x10, 'pec': 2, 'name': 'OORANGE', 'severity': 'recoverable',
         'sequence': 2, 'realtime_usec': error.realtime_usec, 'source': 'vfio', 'stream_id': error.details['StreamId'],
         'function_handle': 0x80020000, 'failing_address': 0x2000, 'dma_address_space': 0, 'msi_vector': 0,
         'expected_table_type': 0, 'qualifier': False, 'read_write': False, 'raw': raw},
        {'event': 'recovery', 'address': A, 'fid': 0x10, 'recovery': 'in-progress'},
        {'event': 'recovery', 'address': A, 'fid': 0x10, 'recovery': 'recovered'},
    ]
    assert errctl.json('decode', raw).items() >= {'fid': 0x10, 'failing_address': 0x2000}.items()

    pretty.wait_text('"recovered"\n}\n')
    decoder, rest, found = json.JSONDecoder(), '\n'.join(pretty.lines), []
    while rest:
        event, end = decoder.raw_decode(rest)
        found.append(event)
        rest = rest[end:].lstrip()
    assert found == events

    make_errors(5, address=B)
    assert [B in line for line in of_b.wait(3)] == [True] * 3
    assert len(text.wait(6)) == 6


@one_bus
def test_losses(sim, claimed, daemon, errctl):
    follower = errctl.follow('monitor')
    programs = errctl.follow('monitor', '--json=short')
    daemon.freeze()
    for number in range(7):
        sim.error(A, pec=2, force=1)
    daemon.thaw()
    lost = '3 errors were lost: the kernel\'s queue was full'
    follower.wait_text(f'{A} (FID 0x00000010): {lost}\n')
    programs.wait_text(json.dumps({'event': 'records-lost', 'address': A, 'fid': 16, 'count': 3},
                                  separators=(',', ':')))


def test_it_stands_still(make_errors, errctl, daemon, bus):
    """SIGSTOP, and the daemon is killed meanwhile."""
    follower = errctl.follow('monitor', '--json=short')
    make_errors(1)
    follower.errors(1)
    follower.freeze()
    make_errors(2, 3)
    daemon.kill()
    daemon.start('--policy=claim')
    make_errors(4, 5)
    follower.thaw()
    make_errors(6)
    errors = follower.errors(6)
    assert sequences(errors) == [1, 2, 3, 4, 5, 6]
    assert [error['pec'] for error in errors] == [1, 2, 3, 4, 5, 6]
    assert 'zpci-errord is there again' in follower.notices


def test_daemon_starts_anew(make_errors, errctl, daemon):
    """What came after a stop has numbers of its own; nothing of it is missed either."""
    follower = errctl.follow('monitor', '--json=short')
    make_errors(1, 2)
    follower.errors(2)
    assert daemon.stop() == 0
    follower.wait_notice('zpci-errord left the bus; waiting for it')
    daemon.start('--policy=claim')
    make_errors(3, 4)
    errors = follower.errors(4)
    assert [error['pec'] for error in errors] == [1, 2, 3, 4]
    assert sequences(errors) == [1, 2, 1, 2]
    assert len({error['stream_id'] for error in errors}) == 2


def test_bus_restarts(make_errors, errctl, bus):
    follower = errctl.follow('monitor', '--json=short')
    make_errors(1)
    follower.errors(1)
    bus.stop()
    make_errors(2, 3)
    bus.start()
    follower.wait_notice('zpci-errord is there again')
    make_errors(4)
    assert sequences(follower.errors(4)) == [1, 2, 3, 4]
    assert 'The bus closed the connection; waiting for it' in follower.notices


@pytest.fixture
def stand_in(bus):
    stand_in = StandIn(bus)
    yield stand_in
    stand_in.close()


@one_bus
def test_signals_that_do_not_arrive(stand_in, errctl):
    """A hole is filled when the next signal shows it, and without one soon after."""
    stand_in.tell('error 1 sent', 'error 2 sent')
    follower = errctl.follow('monitor', '--json=short')
    stand_in.tell('error 3 sent')
    assert sequences(follower.errors(1)) == [3]
    stand_in.tell('error 4 dropped', 'error 5 dropped', 'error 6 sent')
    assert sequences(follower.errors(4)) == [3, 4, 5, 6]
    stand_in.tell('repeat 5', 'repeat 6', 'error 7 sent', 'error 8 dropped')
    assert sequences(follower.errors(6)) == [3, 4, 5, 6, 7, 8]


@one_bus
def test_more_than_one_answer(stand_in, errctl):
    follower = errctl.follow('monitor', '--json=short')
    stand_in.tell(*(f'error {number} dropped' for number in range(1, 2500)), 'error 2500 sent')
    assert sequences(follower.errors(2500)) == list(range(1, 2501))


@one_bus
def test_records_that_are_no_more(stand_in, errctl):
    text = errctl.follow('monitor')
    follower = errctl.follow('monitor', '--json=short', A)
    stand_in.tell('error 1 sent', *(f'error {number} dropped' for number in range(2, 9)), 'forget 7', 'error 9 sent')
    events = follower.events(5)
    assert events[1] == {'event': 'records-missed', 'count': 5}
    assert sequences(events[:1] + events[2:]) == [1, 7, 8, 9]
    assert text.wait(5)[1].endswith(' 5 errors came meanwhile that the daemon has no more, see the journal')


@one_bus
def test_names_have_no_control_characters(stand_in, errctl):
    """A terminal does not obey what a daemon says."""
    follower = errctl.follow('monitor')
    stand_in.tell('named \x1b[2J')
    [line] = follower.wait(1)
    assert '\x1b' not in line and '[2J' in line


@one_bus
def test_daemon_that_does_not_answer(stand_in, errctl):
    follower = errctl.follow('monitor', '--json=short')
    stand_in.tell('refuse', 'error 1 dropped', 'error 2 sent')
    follower.wait_notice(f'{PROGRAM}: not now')
    stand_in.tell('allow')
    assert sequences(follower.errors(2)) == [1, 2]
