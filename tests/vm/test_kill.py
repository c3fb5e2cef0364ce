# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon ends, however it does, while real records are in the kernel's queue: each is published once. The service
manager keeps the devices open, and starts the next run."""

import random
import signal

import pytest

import guest as vm
from books import QUEUE, Books
from daemon import ALSO_CLAIMED, CLAIMED, OBSERVED, UNIT, path
from player import Hand

PID_1 = 1  # has every device that the daemon holds, whatever becomes of the daemon
VENDOR = '1af4'
MSEC = 1000  # in microseconds

DROP_INS = f'/run/systemd/system/{UNIT}.d'
# To set up the sandbox, and to load what is loaded, takes most of a start under emulation. Everywhere else it is done.
MODPROBE = ' '.join(f'/run/systemd/system/modprobe@{module}.service' for module in ('vfio', 'iommufd'))
MORTAL = f'''
mkdir -p {DROP_INS}
for unit in {MODPROBE}; do ln -s /dev/null $unit; done
cat /etc/systemd/system/dbus.service.d/light.conf - >{DROP_INS}/mortal.conf <<END
DevicePolicy=auto
IPAddressDeny=
PrivateMounts=no
ProtectHome=no
LimitCORE=0
WatchdogSec=4s
[Unit]
StartLimitIntervalSec=0
END
systemctl daemon-reload
systemctl restart {UNIT}
'''


@pytest.fixture(scope='module')
def mortal(guest, running_daemon):
    """A daemon that may be killed any number of times, and soon starts again."""
    guest.run(MORTAL, timeout=60)
    yield running_daemon
    guest.run(f'rm -r {DROP_INS} {MODPROBE}; systemctl daemon-reload')
    running_daemon.find_pid()


@pytest.fixture(scope='module')
def killer(guest):
    """Somebody who does not wait for what the hand does."""
    killer = Hand(guest)
    yield killer
    killer.command.stop()


@pytest.fixture
def books(guest, mortal, hand, fault):
    """Held against what there is at the end, also in some time: of an error that the daemon does not hold it waits
    whether a record comes. So such an error is the last one."""
    for number in Books.NUMBERS:
        wait_recovered(mortal, hand, number)
    books = Books(guest, mortal)
    yield books
    fault('hold', OBSERVED, '--inject=2', '--drain')
    books.wait(more=1)
    books.check()


def send(player, number, usec=0):
    player.send('kill', UNIT, int(number), usec)


def strike(player, number):
    """Sends the daemon a signal."""
    send(player, number)
    assert player.answer('a signal').words, 'there is no daemon'


def make(player, books, number, count=1):
    """Makes errors, whether there is a daemon or not. More than one only if nobody resets the function meanwhile."""
    words = player.do('inject', PID_1, vm.address(number), 2, count).words
    books.enter(number, [int(word, 16) for word in words])


def wait_recovered(daemon, hand, number, timeout=60):
    """Until a daemon holds the function, has recovered it on its own, and does no more to it."""
    def recovered():
        return (hand.do('config', vm.address(number)).words == [VENDOR]
                and hand.attempt('recover', path(number)).ok)
    daemon.wait_signalled(recovered, f'{vm.address(number)} to be recovered', timeout)


def test_all_that_was_pending(mortal, hand, books):
    """One to four errors of each function, as many as the kernel keeps."""
    for count in range(1, QUEUE + 1):
        strike(hand, signal.SIGSTOP)
        make(hand, books, CLAIMED, count)
        make(hand, books, ALSO_CLAIMED, QUEUE + 1 - count)
        strike(hand, signal.SIGKILL)
        for number in Books.NUMBERS:
            wait_recovered(mortal, hand, number)


def test_more_than_the_queue_holds(mortal, hand, books):
    strike(hand, signal.SIGSTOP)
    make(hand, books, ALSO_CLAIMED, QUEUE + 3)
    strike(hand, signal.SIGKILL)
    wait_recovered(mortal, hand, ALSO_CLAIMED)


def test_restart_and_watchdog(guest, mortal, hand, books):
    """A daemon that hangs is restarted by the administrator, and the next one by the watchdog."""
    strike(hand, signal.SIGSTOP)
    make(hand, books, CLAIMED, QUEUE)
    guest.run(f'systemctl restart {UNIT}', timeout=60)
    wait_recovered(mortal, hand, CLAIMED)

    before = int(guest.run(f'systemctl show -P NRestarts {UNIT}').stdout)
    strike(hand, signal.SIGSTOP)
    make(hand, books, ALSO_CLAIMED, QUEUE)
    wait_recovered(mortal, hand, ALSO_CLAIMED)
    assert int(guest.run(f'systemctl show -P NRestarts {UNIT}').stdout) > before


def test_killed_at_any_moment(mortal, hand, killer, books, pytestconfig):
    """While the kernel reports an error, while it is drained, published, recovered, and while the next run begins."""
    seed, kills = pytestconfig.getoption('kill_seed'), pytestconfig.getoption('kills')
    dice = random.Random(seed)
    print(f'--kill-seed={seed}')
    killed = 0
    while killed < kills:
        number = dice.choice(Books.NUMBERS)
        send(killer, signal.SIGKILL, dice.randrange(250 * MSEC))
        make(hand, books, number)
        killed += len(killer.answer('a kill').words)
        if dice.random() < 0.4:
            send(killer, signal.SIGKILL, dice.randrange(600 * MSEC))
            killed += len(killer.answer('another kill').words)
        wait_recovered(mortal, hand, number)
    print(f'kills: {killed}, errors: {sum(map(len, books.kept.values()))}')
