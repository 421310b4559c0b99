"""Trains the liveness net: a student that copies MiniFASNetV2's function, from pool.py's crops.

    liveness.py CACHE [MINUTES] [--teacher FOLDER]

Resumable: the state lies in CACHE/liveness.pt and is written every two minutes. The learning curve goes to
CACHE/liveness.curve. It waits until the pool has something in it. Function matching as in Beyer et al. 2022, "Knowledge
distillation: a good teacher is patient and consistent": teacher and student see the same crop.

With --teacher every crop is varied anew (turned, moved, stretched, coloured, blurred, mixed with others) and the teacher is asked about what
came of it, at a third more time: without, the student learns the pool's few faces by heart.
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from minifasnet import MiniFASNetV2
from nets import LivenessNet
from pool import LIVE, Pool
from schedule import Schedule

BATCH = 128
LR = 2e-3
HINT = 2.
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


def hint_loss(got, wanted):
    """How far the student's view of the teacher's feature maps is from them, each channel of a map in its own spread."""
    loss = 0.
    for g, w in zip(got, wanted):
        spread = w.var((0, 2, 3), keepdim=True) + 1e-3
        loss = loss + ((g - w) ** 2 / spread).mean()
    return loss / len(got)


def batch_of(pool, index):
    x = torch.from_numpy(np.ascontiguousarray(pool.x[index])).permute(0, 3, 1, 2).float()
    return (x.contiguous(memory_format=torch.channels_last), torch.from_numpy(pool.z[index]),
            torch.from_numpy(pool.e[index].astype(np.float32)), torch.from_numpy(pool.label[index].astype(np.int64)))


def teacher_of(folder):
    return MiniFASNetV2(os.path.join(folder, '2.7_80x80_MiniFASNetV2.pth')).to(memory_format=torch.channels_last)


def vary(x, mixable):
    """Another view of each crop, in whole pixel values; mixable ones may become mixtures, since only the teacher answers for them."""
    n = len(x)
    flip = torch.rand(n) < .5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    a = torch.randn(n) * .12
    near = torch.rand(n) * .75 * (torch.rand(n) < .35)  # little around the face, as where it fills the frame
    sx, sy = torch.exp(torch.randn(n) * .1 - near), torch.exp(torch.randn(n) * .1 - near)
    shear, dx, dy = torch.randn(n) * .06, torch.randn(n) * .06, torch.randn(n) * .06
    m = torch.stack([torch.stack([sx * a.cos(), -sy * a.sin() + shear, dx], 1), torch.stack([sx * a.sin(), sy * a.cos(), dy], 1)], 1)
    # A smooth warp on top makes other faces of the same few.
    bend = F.interpolate(torch.randn(n, 2, 4, 4) * .05 * (torch.rand(n, 1, 1, 1) < .5), x.shape[2:], mode='bicubic', align_corners=True)
    grid = F.affine_grid(m, x.shape, align_corners=False) + bend.permute(0, 2, 3, 1)
    moved = F.grid_sample(x, grid, mode='bilinear', padding_mode='reflection', align_corners=False)
    x = torch.where((torch.rand(n) < .75)[:, None, None, None], moved, x)
    x = x * torch.exp(torch.randn(n, 3, 1, 1) * .08 + torch.randn(n, 1, 1, 1) * .15) + torch.randn(n, 1, 1, 1) * 8
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode='replicate'), 3, 1)
    x = x + (torch.rand(n, 1, 1, 1) * 1.6 - .6) * (torch.rand(n, 1, 1, 1) < .4) * (soft - x)  # blurred or sharpened
    x = x + torch.randn_like(x) * torch.rand(n, 1, 1, 1) * 8 * (torch.rand(n, 1, 1, 1) < .4)
    other = torch.randperm(n)
    weight = torch.rand(n, 1, 1, 1) * .5 * ((torch.rand(n) < .35) & mixable & mixable[other])[:, None, None, None]
    x = x * (1 - weight) + x[other] * weight
    return x.clamp(0, 255).round().contiguous(memory_format=torch.channels_last)


def held_out(net, pool):
    """On held-out crops: correlation of the live log-odds with the teacher's, and how often both say the same. Where no teacher
    answered: NaN, and how often the true class was found."""
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
        if not soft.any():
            net.train()
            return float('nan'), float(((odds(z) > 0) == (label == LIVE)).float().mean())
        r = np.corrcoef(odds(z)[soft].clamp(-8, 8), odds(t)[soft].clamp(-8, 8))[0, 1]
        agree = ((odds(z) > 0) == (odds(t) > 0))[soft].float().mean()
    net.train()
    return r, float(agree)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', help='folder of the pool, the checkpoint and the learning curve')
    parser.add_argument('minutes', type=float, nargs='?', default=240.,
                        help='budget of training time; the learning rate falls over it')
    parser.add_argument('--teacher', help='folder of 2.7_80x80_MiniFASNetV2.pth: vary the crops, and ask the teacher about each')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    torch.manual_seed(args.seed)
    teacher = teacher_of(args.teacher) if args.teacher else None
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
        if teacher:
            with torch.no_grad():
                x = vary(x, label < 0)
                tz, te = teacher(x, wanted := [])
            z, e = net(x, got := [])
            loss = loss_of(z, e, tz, te, label) + HINT * hint_loss(got, wanted)
        else:
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
