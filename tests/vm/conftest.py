# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: one guest for all tests, with its functions bound to vfio-pci."""

import re
import time

import pytest

import guest as vm
from daemon import CONFIGURE, OBSERVED, Daemon
from player import Hand


def pytest_addoption(parser):
    parser.addoption('--walk-seed', type=int, default=1, help='another seed is another random walk (default: %(default)s)')
    parser.addoption('--walk-rounds', type=int, default=200, help='its length (default: %(default)s)')
    parser.addoption('--kill-seed', type=int, default=1, help='what the moments of kills follow from (default: %(default)s)')
    parser.addoption('--kills', type=int, default=30, help='how many there are at least (default: %(default)s)')


@pytest.fixture(scope='session')
def guest(tmp_path_factory):
    """The guest, booted, with no function bound to vfio-pci yet."""
    begin = time.monotonic()
    try:
        image, layer = vm.build('build-image'), vm.build('cross-build')
        built = time.monotonic()
        guest = vm.Guest(image, layer, tmp_path_factory.mktemp('guest') / 'console')
    except vm.GuestError as error:
        pytest.exit(f'no guest, so no test can run: {error}', 1)
    print(f'\nvm: image and cross-build {built - begin:.1f} s, boot {guest.boot_seconds:.1f} s, Linux {guest.release}')
    with guest:
        yield guest


@pytest.fixture(scope='session')
def functions(guest):
    """The numbers of the functions that are there from the start, bound to vfio-pci."""
    guest.run(CONFIGURE)
    numbers = range(1, vm.FUNCTIONS + 1)
    for number in numbers:
        guest.bind(number)
    return numbers


@pytest.fixture(scope='session')
def fault(guest):
    """fault('inject', number, '--pec=2', ...) runs the fault helper; returns what it printed, by kind of line."""
    def run(verb, number, *options):
        text = ' '.join([vm.FAULT, verb, f'--address={vm.address(number)}', *options])
        printed = {}
        for line in guest.run(text).stdout.splitlines():
            kind, _, rest = line.partition(' ')
            printed.setdefault(kind, []).append(rest)
        return printed
    return run


@pytest.fixture(scope='session')
def handle(guest):
    """handle(number) is the function handle that the kernel knows the function by at this moment."""
    return lambda number: int(guest.run(f'cat /sys/bus/pci/devices/{vm.address(number)}/function_handle').stdout, 16)


@pytest.fixture(scope='session')
def hand(guest):
    hand = Hand(guest)
    yield hand
    hand.command.stop()


@pytest.fixture(scope='session')
def running_daemon(guest, functions):
    daemon = Daemon(guest)
    for number in functions:
        daemon.wait_state(number, 'observed' if number == OBSERVED else 'claimed')
    return daemon


@pytest.fixture
def daemon(running_daemon):
    """The daemon, enabled and started; its signals and entries from here on."""
    running_daemon.signals.forget()
    running_daemon.journal.forget()
    return running_daemon


@pytest.fixture
def without_witness(guest, daemon):
    """The daemon runs without the witness while this is used."""
    guest.run("printf '[Errord]\\nWitness=off\\n' >/etc/zpci-errord.conf.d/witness.conf")
    daemon.restart()
    yield
    guest.run('rm /etc/zpci-errord.conf.d/witness.conf')
    daemon.restart()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    guest = item.funcargs.get('guest')
    if report.failed and guest:
        try:
            journal = guest.run('journalctl -b -n 80 --no-pager -o short-monotonic').stdout
        except vm.GuestError as error:
            journal = re.sub('\n.*', '', str(error), flags=re.S)
        report.sections.append(('journal of the guest', journal))
