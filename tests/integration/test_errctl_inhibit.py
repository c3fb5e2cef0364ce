# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errctl inhibit: runs a command while the daemon keeps its hands off functions."""
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from errctl import PROGRAM

A = '0001:00:00.0'
B = '0002:00:00.0'
ABSENT = '00ab:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

DONE, FAILED, USAGE, NO_DAEMON = range(4)

COMMAND = Path(__file__).with_name('inhibited.py')


@pytest.fixture
def host(sim, daemon, published):
    """Two functions that the daemon holds."""
    sim.add(A, fid=0x10, pchid=0x104, group=7, **FAST)
    sim.add(B, fid=0x11, pchid=0x104, group=8, **FAST)
    daemon.start('--policy=claim')
    for address, fid in (A, 0x10), (B, 0x11):
        sim.wait(address, 'held=1,err_armed=1')
        published.wait_state(fid, 'claimed')


@pytest.fixture
def inhibit(errctl, sim):
    """inhibit(ADDRESS, …) runs the command of inhibited.py, and returns when that is ready."""
    def run(*arguments, stdin=subprocess.PIPE, wrapper=()):
        variables = [f'{key}={value}' for key, value in sim.env({}).items()]
        follower = errctl.spawn('inhibit', *arguments, '--', 'env', *variables, '/usr/bin/python3', str(COMMAND),
                                '--list', stdin=stdin, wrapper=wrapper)
        follower.wait_text('READY --list\n')  # options behind -- are the command's
        return follower
    return run


def inhibitors(errctl):
    return errctl.json('inhibit', '--list')


def test_inhibit(host, sim, errctl, inhibit, published):
    """The command opens the device at the first try, and does not have the inhibitor: what it leaves behind cannot
    keep the daemon away."""
    command = inhibit(A, '--why=a test')
    assert (published.state(0x10), published.get(0x10, 'Holder')) == (('observed', 'inhibited'), 'env')
    assert published.state(0x11) == ('claimed', '')
    command.tell('files', f'open {A} 7')
    command.wait_text(f'opened {A}\n')
    assert 'files []' in command.lines
    assert inhibitors(errctl) == [
        {'addresses': [A], 'who': 'env', 'why': 'a test', 'uid': 0, 'pid': command.process.pid}]
    assert 'Holder: env\n' in errctl('show', A)

    command.tell('exit 0')
    assert command.wait_exit() == DONE
    assert command.notices == ''
    published.wait_state(0x10, 'claimed')
    assert inhibitors(errctl) == []


def test_list(host, errctl, inhibit):
    assert errctl('inhibit', '--list') == 'No inhibitors.\n'
    assert errctl('inhibit', '--list', '--no-legend') == ''
    first = inhibit('00AB:00:00.0', 'fid:11', 'pchid:104', B, '--who=guest Ä', '--why', 'to test')
    second = inhibit(A, ABSENT, ABSENT)
    pids = [command.process.pid for command in (first, second)]
    width = max(len(str(pid)) for pid in pids)
    rows = f'''\
guest Ä   0 {pids[0]:{width}} {ABSENT} {B} {A} to test
env       0 {pids[1]:{width}} {A} {ABSENT} {' ' * len(A)} -
'''
    heading = f'WHO     UID {"PID":>{width}} {"ADDRESSES":{3 * len(A) + 2}} WHY\n'
    assert errctl('inhibit', '--list') == f'{heading}{rows}\n2 inhibitors listed.\n'
    assert errctl('--no-legend', 'inhibit', '--list') == rows
    assert [inhibitor['addresses'] for inhibitor in inhibitors(errctl)] == [[ABSENT, B, A], [A, ABSENT]]


def test_exit_status(host, errctl, inhibit):
    for told, status in ('exit 0', 0), ('exit 17', 17), ('die SIGKILL', -9), ('die SIGTERM', -15), ('die SIGHUP', -1):
        command = inhibit(A)
        command.tell(told)
        assert command.wait_exit() == status
    assert errctl.error('inhibit', A, '--', '/nonexistent/vmm', status=127) == \
        f"{PROGRAM}: Cannot run '/nonexistent/vmm': No such file or directory\n"
    assert "Cannot run '/etc': Permission denied" in errctl.error('inhibit', A, '--', '/etc', status=126)
    # As a service manager may start us: with what children leave ignored.
    ignoring = ['env', '--ignore-signal=CHLD']
    command = inhibit(A, wrapper=ignoring)
    command.tell('exit 5')
    assert command.wait_exit() == 5


def test_signals_to_us(host, inhibit):
    """The command gets what only we got."""
    command = inhibit(A)
    names = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2']
    for name in names:
        command.process.send_signal(signal.Signals[name])
        command.wait_text(f'{name}\n')
    command.tell('exit 3')
    assert command.wait_exit() == 3
    assert command.lines[1:] == names


def test_signals_of_the_terminal(host, inhibit):
    """They come to the command by themselves: once, not twice."""
    ours, theirs = pty.openpty()
    command = inhibit(A, stdin=theirs, wrapper=['setsid', '--ctty'])
    os.close(theirs)
    command.freeze()  # or both would come at once, and be one
    os.write(ours, b'\x03')
    command.wait_text('SIGINT\n')
    # They are passed on in the order of their numbers: had SIGINT been one to pass on, it would be there first.
    command.process.send_signal(signal.SIGTERM)
    command.thaw()
    command.wait_text('SIGTERM\n')
    os.write(ours, b'exit 4\n')
    assert command.wait_exit() == 4
    assert command.lines[1:] == ['SIGINT', 'SIGTERM']
    os.close(ours)


def test_killed(host, sim, inhibit, errctl, published):
    """Killed, it holds nothing any more; the command goes on all the same."""
    command = inhibit(A)
    command.process.kill()
    command.process.wait()
    published.wait_state(0x10, 'claimed')
    sim.wait(A, 'held=1,err_armed=1')
    assert inhibitors(errctl) == []
    command.tell('say still here')
    command.wait_text('still here\n')


def test_restart_of_the_daemon(host, daemon, errctl, inhibit, published):
    command = inhibit(A)
    before = inhibitors(errctl)
    daemon.kill()
    daemon.start('--policy=claim')
    published.wait_state(0x11, 'claimed')
    assert published.state(0x10) == ('observed', 'inhibited')
    assert inhibitors(errctl) == before
    command.tell('exit 0')
    assert command.wait_exit() == DONE
    published.wait_state(0x10, 'claimed')


def test_usage(errctl, bus):
    bus.stop()
    wrong = [
        (['inhibit'], 'Say which functions'),
        (['inhibit', A], 'Say which functions'),
        (['inhibit', A, '--'], 'Say which functions'),
        (['inhibit', '--', 'true'], 'Say which functions'),
        (['inhibit', '--list', A], "'inhibit --list' takes no arguments"),
        (['inhibit', '--list', '--', 'true'], "'inhibit --list' takes no arguments"),
        (['inhibit', '0001', '--', 'true'], "'0001' is no whole address"),
        (['inhibit', '-H', 'lpar7', A, '--', 'true'], "'inhibit' works on this machine only"),
        (['inhibit', '--host=lpar7', '--list'], "'inhibit' works on this machine only"),
    ]
    for arguments, said in wrong:
        message = errctl.error(*arguments, status=USAGE)
        assert said in message and message.endswith("Try 'zpci-errctl --help'.\n")


def test_no_inhibitor(daemon, errctl):
    """Then the command is not run."""
    run = '--', 'echo', 'run'
    assert 'zpci-errord does not run' in errctl.error('inhibit', A, *run, status=NO_DAEMON)
    daemon.start()
    assert "There is no function 'fid:10', nor any other" in errctl.error('inhibit', 'fid:10', *run)
    for value in '--who=' + 'x' * 129, '--who=', '--why=' + 'x' * 257:
        assert "--help'" in errctl.error('inhibit', A, value, *run, status=USAGE)
    assert 'text in UTF-8' in errctl.error('inhibit', A, b'--why=\xff', *run, status=USAGE)
    assert errctl('inhibit', A, *run) == 'run\n'
