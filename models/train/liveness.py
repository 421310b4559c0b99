"""Trains the liveness net: a student that copies MiniFASNetV2's function, from pool.py's crops.

    liveness.py CACHE [MINUTES]

Resumable: the state lies in CACHE/liveness.pt and is written every two minutes. The learning curve goes to
CACHE/liveness.curve. It waits until the pool has something in it. Function matching as in Beyer et al. 2022, "Knowledge
distillation: a good teacher is patient and consistent": teacher and student see the same crop.
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from nets import LivenessNet
from pool import Pool
from schedule import Schedule

BATCH = 128
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', help='folder of the pool, the checkpoint and the learning curve')
    parser.add_argument('minutes', type=float, nargs='?', default=240.,
                        help='budget of training time; the learning rate falls over it')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    torch.manual_seed(args.seed)
    pool = None
    while pool is None or int(pool.count[0]) < 3 * HELD:
        try:
            pool = Pool(os.path.join(args.cache, 'pool'))
        except FileNotFoundError:
            pass
        time.sleep(2)
    net = LivenessNet().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-3)
    schedule = Schedule(os.path.join(args.cache, 'liveness.pt'), args.minutes, net, opt, warmup=20000)
    rng = np.random.default_rng(schedule.seen + args.seed)
    shown, run = schedule.seen, 0.
    while schedule.going():
        schedule.rate(LR)
        x, tz, te, label = batch_of(pool, rng.integers(HELD, len(pool), BATCH))
        z, e = net(x)
        loss = loss_of(z, e, tz, te, label)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.)
        opt.step()
        schedule.step(BATCH)
        run += (float(loss) - run) * .01 if run else float(loss)
        if schedule.seen - shown >= BATCH * 200:
            shown = schedule.seen
            r, agree = held_out(net, pool)
            line = (f'{schedule.seen} samples, pool {int(pool.count[0])}, loss {run:.4f}, held-out correlation {r:.4f}, '
                    f'agreement {agree:.4f}, {schedule.left()}')
            print(line, flush=True)
            with open(os.path.join(args.cache, 'liveness.curve'), 'a') as c:
                c.write(line + '\n')
    schedule.save()


if __name__ == '__main__':
    main()
