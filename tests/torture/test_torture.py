# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill it, stop it, starve it: nothing is lost. Two witnesses account for every error that was made."""
import time
from collections import Counter

import pytest

from bus import Bus
from container import UNIT

# The witnesses are held against the books after so many kills.
ROUND = 50


def wait_for(witness, missing):
    """Waits until missing() is empty. What does not come is for the account to tell."""
    try:
        witness.wait(lambda: not any(missing()), lambda: str(missing()))
    except AssertionError:
        pass


def account(faults, witness):
    """Everything that is not as it has to be, after all has come that is to come."""
    books = faults.books
    wait_for(witness, lambda: (books.difference(witness)[0], witness.holes()))
    with witness.changed:
        lost, invented = books.difference(witness)
        return {name: value for name, value in {
            'lost': lost, 'invented': dict(invented), 'holes': witness.holes(), 'complaints': witness.complaints,
            # Each crash may repeat a few; more than were written means that one began from the beginning.
            'repeated': witness.repeated if witness.repeated > len(witness.errors) else 0,
            'said of those': witness.like({**lost, **invented})}.items() if value}


def account_for_losses(faults, subscriber, journal):
    """Losses that were not announced, or more often than they happened."""
    wait_for(journal, lambda: (faults.books.unannounced(journal),))
    with journal.changed:
        wrong = {'unannounced': faults.books.unannounced(journal)}
        announced = journal.losses.copy()

    # What the bus took with it, nobody can ask for again.
    if not faults.bus_broken:
        wait_for(subscriber, lambda: (announced - subscriber.losses - faults.unheard,))
    with subscriber.changed:
        unheard = announced - subscriber.losses
    wrong['unannounced on the bus'] = {} if faults.bus_broken else dict(unheard - faults.unheard)
    faults.bus_broken, faults.unheard = False, unheard
    return wrong


def check(faults, subscriber, journal, stops):
    faults.settle()
    wrong = {type(witness).__name__: account(faults, witness) for witness in (journal, subscriber)}
    wrong |= account_for_losses(faults, subscriber, journal)
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


def figures(books, witness):
    """What check() has found to be right, in numbers."""
    with witness.changed:
        lost, invented = books.difference(witness)
        return {'records': len(witness.errors), **Counter(source for _, source, *_ in witness.errors.values()),
                'lost': sum(lost.values()), 'holes': len(witness.holes()), 'invented': sum(invented.values()),
                'unnamed': books.unnamed(witness), 'repeated': witness.repeated}


def say(whose, values):
    print(f'{whose}: ' + ', '.join(f'{value} {name}' for name, value in values.items()))


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

    with capsys.disabled():
        print()
        say(bus, {'kills': faults.kills, 'too early': faults.early, 'stops': stops + 1, **faults.done})
        say('kernel', {'errors': sum(faults.books.results.values()), **faults.books.results})
        say('journal', {**figures(faults.books, journal), 'unannounced': len(faults.books.unannounced(journal))})
        say('subscriber', {**figures(faults.books, subscriber), 'connections': subscriber.connections,
                           'announcements gone with the bus': faults.unheard.total(),
                           'seconds': round(time.monotonic() - begin)})
