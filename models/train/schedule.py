"""A training schedule by time: what has been spent of a budget of minutes decides the learning rate, not a count of samples.

The machines that train are shared; a schedule by samples would end whenever the neighbours let it. Only time inside the loop
is spent, so a run that was stopped goes on where it was.
"""
import math
import os
import time

import torch

SAVE_EVERY = 120.  # seconds


class Schedule:
    """Progress through a budget of minutes, and the checkpoint that remembers it."""

    def __init__(self, path, minutes, net, opt, warmup):
        self.path, self.budget, self.net, self.opt, self.warmup = path, 60. * minutes, net, opt, warmup
        self.seen, self.spent = 0, 0.
        self.average = {k: v.clone() for k, v in net.state_dict().items()}
        if os.path.exists(path):
            s = torch.load(path)
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
            g['lr'] = lr
        return lr

    def step(self, samples):
        """Counts a batch, follows the weights with their running average and saves now and then."""
        self.seen += samples
        decay = min(.999, self.seen / (self.seen + self.warmup))
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
        self.spent = self.before + time.monotonic() - self.begun
        torch.save({'net': self.net.state_dict(), 'opt': self.opt.state_dict(), 'average': self.average, 'seen': self.seen,
                    'spent': self.spent}, self.path + '.new')
        os.replace(self.path + '.new', self.path)

    def left(self):
        """For the progress line: the pace, and the minutes left."""
        pace = (self.seen - self.first) / max(1., self.spent - self.before)
        return f'{pace:.0f}/s, {max(0., self.budget - self.spent) / 60:.0f} min left'
