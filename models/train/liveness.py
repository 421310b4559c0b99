"""Trains the liveness net: a student that copies MiniFASNetV2's function, from pool.py's crops.

    liveness.py CACHE [MINUTES]

Resumable: the state lies in CACHE/liveness.pt and is written every two minutes. The learning curve goes to
CACHE/liveness.curve. It waits until the pool has something in it. Function matching as in Beyer et al. 2022, "Knowledge
distillation: a good teacher is patient and consistent": teacher and student see the same crop.
"""
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from nets import LivenessNet
from pool import Pool

BATCH = 128
SAMPLES = 2_600_000  # of the whole schedule; the learning rate falls to zero over them
LR = 2e-3
HELD = 4096  # crops of the pool's beginning that are never trained on


def loss_of(z, e, tz, te, label):
    """Teacher's answers where it answered, the true class where it is known."""
    soft = label < 0
    loss = z.new_zeros(())
    if soft.any():
        zs, ts = z[soft], tz[soft]
        loss = loss + 4 * F.kl_div(F.log_softmax(zs / 2, 1), F.softmax(ts / 2, 1), reduction='batchmean')
        loss = loss + F.smooth_l1_loss(zs - zs.mean(1, keepdim=True), ts - ts.mean(1, keepdim=True))
        loss = loss + .5 * F.mse_loss(e[soft], te[soft])
        loss = loss * soft.float().mean()
    if (~soft).any():
        loss = loss + F.cross_entropy(z[~soft], label[~soft], label_smoothing=.02) * (~soft).float().mean()
    return loss


def batch_of(pool, index):
    x = torch.from_numpy(np.ascontiguousarray(pool.x[index])).permute(0, 3, 1, 2).float()
    return (x.contiguous(memory_format=torch.channels_last), torch.from_numpy(pool.z[index]),
            torch.from_numpy(pool.e[index].astype(np.float32)), torch.from_numpy(pool.label[index].astype(np.int64)))


def held_out(net, pool):
    """Correlation of the live log-odds with the teacher's, and accuracy on synthetic people, both on held-out crops."""
    net.eval()
    with torch.no_grad():
        zs, ts, ls = [], [], []
        for i in range(0, HELD, 256):
            x, tz, _, label = batch_of(pool, np.arange(i, i + 256))
            zs.append(net(x)[0])
            ts.append(tz)
            ls.append(label)
        z, t, label = torch.cat(zs), torch.cat(ts), torch.cat(ls)

        def odds(v):
            return v[:, 1] - torch.logsumexp(v[:, [0, 2]], 1)
        soft = label < 0
        r = np.corrcoef(odds(z)[soft].clamp(-8, 8), odds(t)[soft].clamp(-8, 8))[0, 1]
        agree = ((odds(z) > 0) == (odds(t) > 0))[soft].float().mean()
    net.train()
    return r, float(agree)


def main(cache, minutes='600'):
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    torch.manual_seed(1)
    end = time.time() + 60 * float(minutes)
    pool = None
    while pool is None or int(pool.count[0]) < 3 * HELD:
        try:
            pool = Pool(os.path.join(cache, 'pool'))
        except FileNotFoundError:
            pass
        time.sleep(2)
    net = LivenessNet().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-3)
    path, seen = os.path.join(cache, 'liveness.pt'), 0
    average = {k: v.clone() for k, v in net.state_dict().items()}
    if os.path.exists(path):
        s = torch.load(path)
        net.load_state_dict(s['net'])
        opt.load_state_dict(s['opt'])
        average, seen = s['average'], s['seen']
    rng = np.random.default_rng(seen + 1)
    start, first, saved, shown, run = time.time(), seen, time.time(), seen, 0.
    while seen < SAMPLES and time.time() < end:
        f = seen / SAMPLES
        for g in opt.param_groups:
            g['lr'] = LR * min(1, seen / 20000 + .02) * .5 * (1 + np.cos(np.pi * f))
        x, tz, te, label = batch_of(pool, rng.integers(HELD, len(pool), BATCH))
        z, e = net(x)
        loss = loss_of(z, e, tz, te, label)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.)
        opt.step()
        seen += BATCH
        run += (float(loss) - run) * .01 if run else float(loss)
        decay = min(.999, seen / (seen + 20000))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                if v.dtype.is_floating_point:
                    average[k].mul_(decay).add_(v, alpha=1 - decay)
                else:
                    average[k].copy_(v)
        if seen - shown >= 128 * 200:
            shown = seen
            r, agree = held_out(net, pool)
            line = f'{seen} samples, pool {int(pool.count[0])}, loss {run:.4f}, held-out correlation {r:.4f}, agreement {agree:.4f}, {(seen - first) / (time.time() - start):.0f}/s'
            print(line, flush=True)
            with open(os.path.join(cache, 'liveness.curve'), 'a') as c:
                c.write(line + '\n')
        if time.time() - saved > 120:
            saved = time.time()
            torch.save({'net': net.state_dict(), 'opt': opt.state_dict(), 'average': average, 'seen': seen}, path + '.new')
            os.replace(path + '.new', path)
    torch.save({'net': net.state_dict(), 'opt': opt.state_dict(), 'average': average, 'seen': seen}, path + '.new')
    os.replace(path + '.new', path)


if __name__ == '__main__':
    main(*sys.argv[1:3])
