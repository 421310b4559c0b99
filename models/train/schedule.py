"""How far something is: a training schedule by time, and progress through other work.

The schedule goes by time: what has been spent of a budget of minutes decides the learning rate, not a count of samples.

The machines that train are shared; a schedule by samples would end whenever the neighbours let it. Only time inside the loop
is spent, so a run that was stopped goes on where it was.
"""
import math
import os
import sys
import time

import torch

SAVE_EVERY = 120.  # seconds
TELL_EVERY = 20.


def told(items, what):
    """The items of a list or range, and now and then on standard error how many are done and how long the rest will take."""
    begun = shown = time.monotonic()
    for i, item in enumerate(items):
        if i and time.monotonic() - shown > TELL_EVERY:
            shown = time.monotonic()
            print(f'{i} of {len(items)} {what}, {(shown - begun) / i * (len(items) - i) / 60:.1f} min left', file=sys.stderr, flush=True)
        yield item


class Schedule:
    """Progress through a budget of minutes, and the checkpoint that remembers it.

    of: what is trained, where that isn't the file's name alone; a checkpoint of something else is not gone on with."""

    def __init__(self, path, minutes, net, opt, warmup, decay=.999, of=None):
        self.path, self.budget, self.net, self.opt, self.warmup = path, 60. * minutes, net, opt, warmup
        self.decay, self.of = decay, of
        self.seen, self.spent = 0, 0.
        self.average = {k: v.clone() for k, v in net.state_dict().items()}
        s = torch.load(path) if os.path.exists(path) else None
        if s and s.get('of') == of:
            net.load_state_dict(s['net'])
            opt.load_state_dict(s['opt'])
            self.average, self.seen, self.spent = s['average'], s['seen'], s['spent']
        self.first, self.before = self.seen, self.spent
        self.begun = self.saved = time.monotonic()

    def going(self):
        """Accounts for the time since the last call; false when the budget is spent."""
        self.spent = self.before + time.monotonic() - self.begun
        return self.spent < self.budget

    def rate(self, peak):
        """Sets and returns the learning rate: a linear warm-up over samples, then a cosine over time to nothing."""
        lr = peak * min(1., self.seen / self.warmup + .02) * .5 * (1 + math.cos(math.pi * min(1., self.spent / self.budget)))
        for g in self.opt.param_groups:
            g['lr'] = lr * g.get('size', 1.)  # where parameters are of very different size
        return lr

    def step(self, samples):
        """Counts a batch, follows the weights with their running average and saves now and then."""
        self.seen += samples
        decay = min(self.decay, self.seen / (self.seen + self.warmup))
        with torch.no_grad():
            for k, v in self.net.state_dict().items():
                if v.dtype.is_floating_point:
                    self.average[k].mul_(decay).add_(v, alpha=1 - decay)
                else:
                    self.average[k].copy_(v)
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def save(self):
        self.saved = time.monotonic()
        if not self.path:
            return
        self.spent = self.before + time.monotonic() - self.begun
        torch.save({'net': self.net.state_dict(), 'opt': self.opt.state_dict(), 'average': self.average, 'seen': self.seen,
                    'spent': self.spent, 'of': self.of}, self.path + '.new')
        os.replace(self.path + '.new', self.path)

    def left(self):
        """For the progress line: the pace, and the minutes left."""
        pace = (self.seen - self.first) / max(1., self.spent - self.before)
        return f'{pace:.0f}/s, {max(0., self.budget - self.spent) / 60:.0f} min left'
