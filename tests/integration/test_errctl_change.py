# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errctl: the commands that change something. Each returns when it is done, and prints nothing."""
import os
import pty
import re
import tempfile
from pathlib import Path

import pytest

from errctl import PROGRAM
from standin import StandIn

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
C = 'fffe:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

DONE, FAILED, USAGE, NO_DAEMON = range(4)

COMMANDS = 'claim', 'release', 'reset'

# Whom the bus lets ask the daemon, and polkit nothing.
READER = ['setpriv', '--reuid=65534', '--regid=65534', '--groups=adm']


@pytest.fixture
def host(sim, daemon, published):
    """Functions that nobody holds, two of them of one adapter, and one that another process has open."""
    sim.add(A, fid=0x10, pchid=0x104, **FAST)
    sim.add(B, fid=0xabcdef01, pchid=0x1c4, **FAST)
    sim.add(C, fid=0x30, pchid=0x104, **FAST)
    sim.hold(B)
    daemon.start('--policy=observe')
    published.wait_objects(0x10, 0x30, 0xabcdef01)


def state(sim, address):
    return sim.state(address)['held']


def test_claim(host, sim, errctl, published):
    assert errctl('claim', A) == ''
    assert (state(sim, A), published.state(0x10)) == (1, ('claimed', ''))
    assert errctl('claim', 'fid:0x10') == ''
    # All functions of an adapter.
    out = errctl('claim', 'pchid:104', '--json=short')
    assert out == errctl('show', A, C, '--json=short') and out.count('"state":"claimed"') == 2
    assert (state(sim, A), state(sim, C)) == (1, 1)


def test_claim_of_what_is_held(host, sim, errctl):
    """Says so, and claims the others all the same."""
    message = errctl.error('claim', B, A)
    assert message.startswith(f'{PROGRAM}: {B}') and message.count('\n') == 1
    assert 'Try again once that is over' in message
    assert errctl.json('show', A)['state'] == 'claimed'
    assert errctl.json('show', B)['state'] == 'observed'
    sim.unhold(B)
    assert errctl('claim', B) == ''


def test_release(host, sim, errctl, published):
    errctl('claim', A)
    assert errctl('release', A, '--who=guest Ä') == ''
    assert (state(sim, A), published.state(0x10)) == (0, ('observed', 'released'))
    shown = errctl('show', A)
    assert 'State: observed (released): it was let go on demand\n' in shown and 'Holder: guest Ä\n' in shown
    # Also if it does not have it. Nobody says who.
    out = errctl('release', 'pchid:104', '--json=short')
    assert out == errctl('show', A, C, '--json=short') and out.count('"holder":""') == 2
    assert 'Holder: -\n' in errctl('show', A)
    assert errctl('claim', A) == ''


def test_release_for_a_while(sim, daemon, errctl, published):
    """Then, what the policy says."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    closes = sim.state(A)['closes']
    errctl('release', A, '--grace=1ms')
    published.wait_state(0x10, 'claimed')
    assert sim.state(A)['closes'] == closes + 1
    for grace in '--grace=1d', '--grace=0':
        errctl('release', A, grace)
        assert published.state(0x10) == ('observed', 'released')
    for grace in '', 'soon', '-1', '1y', '1.5h':
        assert 'is no time span' in errctl.error('release', A, f'--grace={grace}', status=USAGE)
    for value in '--grace=25h', '--who=' + 'x' * 129:
        message = errctl.error('release', A, value, status=USAGE)
        assert message.startswith(f'{PROGRAM}: {A}: ') and "--help'" in message
    assert 'text in UTF-8' in errctl.error('release', A, b'--who=\xff', status=USAGE)
    assert '--grace' in errctl.error('claim', A, '--grace=1s', status=USAGE)  # an option of release only


def test_reset(host, sim, errctl):
    message = errctl.error('reset', A)
    assert message.startswith(f'{PROGRAM}: {A}')
    errctl('claim', A)
    before = sim.state(A)['resets']
    assert errctl('reset', A) == ''
    assert sim.state(A)['resets'] == before + 1
    assert '"recovery":' in errctl('reset', 'fid:10', '--json=short')


def test_permanent_error(host, sim, errctl, published):
    errctl('claim', A)
    sim.error(A, pec=0x3b)
    published.wait_state(0x10, 'failed', 'permanent-error')
    for command in 'claim', 'reset':
        assert 'zpcictl --reset-fw' in errctl.error(command, A)


def test_addresses(host, errctl):
    """What changes something takes no part of an address, which could mean another function tomorrow."""
    for command in COMMANDS:
        assert "'0001' is no whole address" in errctl.error(command, '0001', status=USAGE)
        assert "'nvme0' is no whole address" in errctl.error(command, A, 'nvme0', status=USAGE)
        unknown = errctl.error(command, A, '0003:00:00.0')
        assert unknown.startswith(f"{PROGRAM}: There is no function '0003:00:00.0'. There are:\n  {A}  fid:10")
        assert f'Usage: zpci-errctl [OPTION…] {command} ADDRESS…' in errctl.error(command, status=USAGE)
    # One that is not there keeps the others from being touched.
    assert errctl.json('show', A)['state_reason'] == 'policy'


def test_gone(host, sim, errctl, published):
    sim.unbind(A)
    published.wait_objects(0x30, 0xabcdef01)
    assert f"There is no function '{A}'" in errctl.error('claim', A)


def test_no_daemon(errctl):
    for command in COMMANDS:
        assert 'zpci-errord does not run' in errctl.error(command, A, status=NO_DAEMON)


@pytest.fixture
def stand_in(bus):
    stand_in = StandIn(bus)
    yield stand_in
    stand_in.close()


def test_error_texts(stand_in, errctl):
    """The text of the daemon, and what to do about it, where there is anything."""
    errors = {
        'org.zpci.Errord1.Error.Busy': 'Try again once that is over',
        'org.zpci.Errord1.Error.LimitExceeded': 'To see who has them: zpci-errctl inhibit --list',
        'org.zpci.Errord1.Error.NotSupported': '',
        'org.zpci.Errord1.Error.Permanent':
            "'zpcictl --reset-fw' may recover it, and reports to the service element",
        'org.freedesktop.DBus.Error.UnknownObject': 'The function was unbound meanwhile',
        'org.freedesktop.DBus.Error.AccessDenied': 'Be root, or have polkit allow it to you, see zpci-errord(8)',
        'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired':
            'Be root, or have polkit allow it to you, see zpci-errord(8)',
        'System.Error.EIO': '',
    }
    for error, advice in errors.items():
        stand_in.tell(f'claim {error} the text')
        assert errctl.error('claim', A) == f'{PROGRAM}: {A}: the text' + (f'. {advice}\n' if advice else '\n')
    # As daemons say it.
    stand_in.tell(f'claim org.zpci.Errord1.Error.Busy {A}: the text.')
    assert errctl.error('claim', A) == f'{PROGRAM}: {A}: the text. Try again once that is over\n'
    stand_in.tell('claim org.freedesktop.DBus.Error.InvalidArgs the text')
    assert errctl.error('claim', A, status=USAGE).startswith(f'{PROGRAM}: {A}: the text\n')
    stand_in.tell('claim leave')
    assert 'zpci-errord does not run' in errctl.error('claim', A, status=NO_DAEMON)


def test_permission(host, errctl):
    """Who may look and not touch is told what it takes."""
    refused = errctl.spawn('claim', A, wrapper=READER)
    assert refused.wait_exit() == FAILED
    assert refused.notices.startswith(f'{PROGRAM}: {A}: ') and 'polkit allow it' in refused.notices


def test_polkit_may_ask(host, errctl):
    """On a terminal only. What asks for the password ends with us."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder, 'pkttyagent')
        agent.write_text('#!/bin/sh\necho "agent $*" >&2\neval "exec $2>&-"\nexec sleep 1000\n')
        for each, mode in (agent, 0o755), (Path(folder), 0o755):
            each.chmod(mode)
        follower = errctl.spawn('claim', A, stdin=theirs, wrapper=READER, PATH=f'{folder}:/usr/bin:/bin')
        assert follower.wait_exit() == FAILED
    os.close(theirs)
    os.close(ours)
    asked, said = follower.notices.splitlines()
    assert re.fullmatch(r'agent --notify-fd \d+ --fallback', asked)
    assert said.startswith(f'{PROGRAM}: {A}: ') and 'polkit allow it' in said
