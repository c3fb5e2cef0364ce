# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill it, stop it, starve it: nothing is lost. Two witnesses account for every error that was made."""
import time

import pytest

from bus import Bus
from container import UNIT

# The witnesses are held against the books after so many kills.
ROUND = 50


def account(faults, witness):
    """Everything that is not as it has to be, after all has come that is to come."""
    books = faults.books
    try:
        witness.wait(lambda: books.is_complete(witness) and not witness.holes(),
                     lambda: f'{books.difference(witness)[0]}; holes: {witness.holes()}')
    except AssertionError:
        pass  # below it is said better
    with witness.changed:
        lost, invented = books.difference(witness)
        return {name: value for name, value in {
            'lost': lost, 'invented': dict(invented), 'holes': witness.holes(),
            'complaints': witness.complaints}.items() if value}


def check(faults, subscriber, journal, stops):
    faults.settle()
    wrong = {type(witness).__name__: account(faults, witness) for witness in (journal, subscriber)}
    wrong['unannounced'] = faults.books.unannounced(journal)
    # An announcement that the bus took with it nobody can ask for again.
    if not faults.bus_broken:
        wrong['unannounced on the bus'] = dict(journal.losses - subscriber.losses)
    wrong['opened again'] = faults.reopened()
    streams = journal.streams()
    if streams != subscriber.streams() or len(streams) > stops + 1:
        wrong['streams'] = streams, subscriber.streams()
    wrong = {name: value for name, value in wrong.items() if value}
    assert not wrong, '\n'.join(f'{name}: {value}' for name, value in wrong.items())


def stop(faults):
    """What is queued comes out; and nobody holds a device any more."""
    faults.burst()
    faults.some()
    faults.machine.systemctl('stop', UNIT)
    assert faults.machine.show(UNIT, 'NFileDescriptorStore') == '0'
    for function in faults.books.functions:
        if not function.watched:
            assert faults.sim.state(function.address)['held'] == 0


@pytest.mark.parametrize('bus', Bus.KINDS)
def test_nothing_is_lost(faults, subscriber, journal, bus, kills, capsys):
    begin, stops = time.monotonic(), 0
    if bus != 'dbus-daemon':
        kills //= 3
    faults.set_up()
    while faults.kills < kills:
        end = min(faults.kills + ROUND, kills)
        while faults.kills < end:
            faults.step()
        check(faults, subscriber, journal, stops)
        if faults.kills < kills and faults.random.random() < 0.3:
            stop(faults)
            stops += 1
            faults.start()
    stop(faults)
    faults.start()
    check(faults, subscriber, journal, stops + 1)

    results, sources = faults.books.results, [source for _, source, *_ in journal.errors.values()]
    figures = {
        'kills': faults.kills, 'early': faults.early, 'stops': stops + 1, 'written': sum(results.values()),
        **results, 'unnamed': faults.books.unnamed(journal), 'vfio': sources.count('vfio'), 'kmsg': sources.count('kmsg'),
        'repeated on the bus': subscriber.repeated, 'repeated in the journal': journal.repeated,
        'connections': subscriber.connections, 'seconds': round(time.monotonic() - begin)}
    with capsys.disabled():
        print(f'\n{bus}: ' + ', '.join(f'{value} {name}' for name, value in figures.items()))
