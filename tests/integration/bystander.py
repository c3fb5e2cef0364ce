# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes on while something else is wrong."""

ADDRESS = 'fffe:00:00.0'
FID = 0xfffe

# Opening, resetting and closing as fast as the simulator can: for tests of something else.
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

# What has a daemon write to the journal, as under a service manager, rather than to standard error.
TO_JOURNAL = {'JOURNAL_STREAM': '0:0'}


class Bystander:
    """A function with nothing wrong: whatever happens to others, it is claimed, drained, published and
    recovered, and given back at once."""

    def __init__(self, sim, published):
        self.sim = sim
        self.published = published
        self.count = 0
        sim.add(ADDRESS, fid=FID, **FAST)

    def check(self):
        """One more error of it gets everywhere, and is recovered from."""
        self.sim.wait(ADDRESS, 'held=1,err_armed=1,frozen=0,locked=0')
        resets = self.sim.state(ADDRESS)['resets']
        assert self.sim.error(ADDRESS, pec=2)['result'] == 'queued'
        self.count += 1
        self.published.errors(self.count, FID)
        self.sim.wait(ADDRESS, f'pending=0,frozen=0,resets>={resets + 1}')

    def check_unbind(self):
        """Who takes it away has it within a second."""
        assert self.sim.unbind(ADDRESS)['ms'] < 1000
        self.sim.bind(ADDRESS)
        self.sim.wait(ADDRESS, 'held=1,err_armed=1')


def told(journald, text, *matches, count=1, seconds=10):
    """The first `count` entries (that match) with this text in their messages; waits for them."""
    try:
        return journald.wait(*matches, count=count, where=lambda entry: text in entry['MESSAGE'], seconds=seconds)
    except AssertionError as error:
        said = [entry['MESSAGE'] for entry in journald.entries(*matches) if 'MESSAGE' in entry]
        raise AssertionError(f'{error}, with "{text}"; said: {said[-20:]}') from None
