"""Trains the face detector on facedata.py's frames.

    face.py CACHE [MINUTES] [--start FILE]

Resumable: the state lies in CACHE/face.pt. How an answer is read (the Go side does the same): the cell (i, j) of the map with
stride s lies at x = (j + ½)·s, y = (i + ½)·s; its box reaches from x − l·s to x + r·s and from y − t·s to y + b·s, where
l, t, r, b are its four distances, nothing below 0; P(face) is the logistic function of its logit. Point k lies at x + u·s and
y + v·s, where u and v are the 2k-th and the next of its ten numbers.
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from facedata import FACES, H, HELD, W, Pool
from nets import FaceNet
from schedule import Schedule

BATCH = 32
LR = 2e-3
EDGES = (0, 26, 64, 1e9)  # larger side of a face in input pixels: which stride answers for it


def targets(boxes, points):
    """For each stride: 1, 0 or −1 (don't care) for each cell, and the box and the points that it answers for."""
    n = len(boxes)
    out = []
    for level, s in enumerate(FaceNet.STRIDES):
        h, w = H // s, W // s
        cy, cx = torch.meshgrid((torch.arange(h) + .5) * s, (torch.arange(w) + .5) * s, indexing='ij')
        label, box, at = torch.zeros(n, h, w), torch.zeros(n, 4, h, w), torch.zeros(n, 10, h, w)
        middle = torch.stack([cx, cy] * 5)[None]
        for f in range(FACES - 1, -1, -1):
            x, y, bw, bh = (boxes[:, f, k, None, None] for k in range(4))
            aw = bw.abs()
            side = torch.maximum(aw, bh)
            there = bw != 0
            inside = there & (cx > x) & (cx < x + aw) & (cy > y) & (cy < y + bh)
            dx, dy = (cx - x - aw / 2).abs(), (cy - y - bh / 2).abs()
            least = torch.full_like(aw, s * .51)
            centre = there & (dx < torch.maximum(aw * .22, least)) & (dy < torch.maximum(bh * .22, least))
            mine = (side >= EDGES[level] * .8) & (side < EDGES[level + 1] * 1.25)
            surely = (side >= EDGES[level]) & (side < EDGES[level + 1])
            positive = centre & mine & (bw > 0)
            label = torch.where(inside & (mine | (bw < 0)) & (label == 0), -torch.ones_like(label), label)
            label = torch.where(centre & mine & ~surely & (label <= 0), -torch.ones_like(label), label)
            label = torch.where(positive & surely, torch.ones_like(label), label)
            ltrb = torch.stack([cx - x, cy - y, x + aw - cx, y + bh - cy], 1) / s
            box = torch.where((positive & (label != 0))[:, None], ltrb, box)
            at = torch.where((positive & (label != 0))[:, None], (points[:, f, :, None, None] - middle) / s, at)
            label = torch.where(positive & ~surely & (label == -1), torch.full_like(label, 2.), label)  # box learns, score needn't
        out.append((label, box, at))
    return out


def loss_of(answers, wanted):
    score, place, count = 0., 0., 0.
    for (logit, box, points), (label, ltrb, where) in zip(answers, wanted):
        logit = logit[:, 0]
        care = (label == 0) | (label == 1)
        y = (label == 1).float()
        p = torch.sigmoid(logit)
        pt = torch.where(y > 0, p, 1 - p)
        focal = F.binary_cross_entropy_with_logits(logit, y, reduction='none') * (1 - pt) ** 2 * torch.where(y > 0, .5, .5)
        score = score + (focal * care).sum()
        at = label >= 1
        count = count + y.sum() + .5
        if at.any():
            a, b = box.permute(0, 2, 3, 1)[at].clamp(min=.01), ltrb.permute(0, 2, 3, 1)[at].clamp(min=.01)
            w = torch.minimum(a[:, 0], b[:, 0]) + torch.minimum(a[:, 2], b[:, 2])
            h = torch.minimum(a[:, 1], b[:, 1]) + torch.minimum(a[:, 3], b[:, 3])
            union = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3]) + (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]) - w * h
            raw = box.permute(0, 2, 3, 1)[at]
            size = (b[:, 0] + b[:, 2] + b[:, 1] + b[:, 3])[:, None] / 2
            weight = torch.where(label[at] == 1, 1., .5)
            place = place + ((1 - w * h / union) * weight).sum() + (4 * (raw - b).abs() / size * weight[:, None]).mean(1).sum()
            p, q = points.permute(0, 2, 3, 1)[at], where.permute(0, 2, 3, 1)[at]
            off = F.smooth_l1_loss(p / size, q.nan_to_num() / size, reduction='none', beta=.02)
            place = place + (6 * off * ~q.isnan() * weight[:, None]).mean(1).sum()
    return (4 * score + place) / count.clamp(min=1.)


def decode(answers, least=.5):
    """Boxes of one picture: [x, y, w, h, P] and, where the net has points, their x and y, before suppression."""
    found = []
    for s, (logit, box, *points) in zip(FaceNet.STRIDES, answers):
        p = 1 / (1 + np.exp(-logit))
        for i, j in zip(*np.nonzero(p >= least)):
            l, t, r, b = np.maximum(box[i, j], 0) * s
            x, y = (j + .5) * s, (i + .5) * s
            found.append([x - l, y - t, l + r, t + b, float(p[i, j])])
            for v in points:
                found[-1] += [(y if k % 2 else x) + u * s for k, u in enumerate(v[i, j])]
    return sorted(found, key=lambda f: -f[4])


def overlap(a, b):
    if a is b:
        return 1.  # of a box without width, too, which an untrained net may give
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0) / (a[2] * a[3] + b[2] * b[3] - max(w, 0) * max(h, 0) + 1e-9)


def suppress(found, limit=.4):
    """The surest of overlapping boxes, its place and points the mean of those that agree with it, weighted by their P."""
    kept = []
    while found:
        best = found[0]
        near = np.array([f for f in found if overlap(f, best) > .6])
        mean = (near * near[:, 4:5]).sum(0) / near[:, 4].sum()
        kept.append([*mean[:4], best[4], *mean[5:]])
        found = [f for f in found if overlap(f, best) <= limit]
    return kept


def of_picture(outputs, k):
    """The answers about the k-th picture of a batch, as decode wants them."""
    return [(s[k, 0].numpy(), *(v[k].permute(1, 2, 0).numpy() for v in more)) for s, *more in outputs]


def apart(found, points):
    """Mean distance of five points from where they should be, in distances between the eyes (in their projection, but no shorter than
    half of that between eyes and mouth, so that profiles count too)."""
    a, b = np.reshape(found, (5, 2)), np.reshape(points, (5, 2))
    size = max(np.linalg.norm(b[0] - b[1]), .5 * np.linalg.norm(b[:2].mean(0) - b[3:].mean(0)))
    return float(np.linalg.norm(a - b, axis=1).mean() / size)


def held_out(net, pool, n=600):
    net.eval()
    hits = faces = wrong = 0
    errors, gone = [], []
    with torch.no_grad():
        for i in range(0, n, 50):
            x = torch.from_numpy(np.array(pool.x[i:i + 50])).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
            out = net(x)
            for k in range(50):
                found = suppress(decode(of_picture(out, k)))
                rows = [r for r in pool.boxes[i + k] if r[2] != 0]
                for r, q in zip(rows, pool.points[i + k]):
                    if r[2] > 0:
                        faces += 1
                        best = max(found, key=lambda f: overlap(f, r), default=None)
                        if best is not None and overlap(best, r) > .5:
                            hits += 1
                            gaps = best[0] - r[0], best[1] - r[1], best[0] + best[2] - r[0] - r[2], best[1] + best[3] - r[1] - r[3]
                            errors.append(np.abs(gaps).mean() / r[2])
                            if not np.isnan(q).any():
                                gone.append(apart(best[5:], q))
                wrong += sum(all(overlap(f, [r[0], r[1], abs(r[2]), r[3]]) < .2 for r in rows) for f in found)
    net.train()
    return hits / max(1, faces), wrong / n, *(float(np.median(v)) if v else 1. for v in (errors, gone))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', help='folder of the frames, the checkpoint and the learning curve')
    parser.add_argument('minutes', type=float, nargs='?', default=120.,
                        help='budget of training time; the learning rate falls over it')
    parser.add_argument('--start', metavar='FILE', help='checkpoint whose weights to begin with, where they fit')
    parser.add_argument('--rate', type=float, default=LR, help='the learning rate at its highest')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    torch.manual_seed(args.seed)
    pool = None
    while pool is None or int(pool.count[0]) < 2 * HELD:
        try:
            pool = Pool(os.path.join(args.cache, 'facepool'))
        except FileNotFoundError:
            pass
        time.sleep(2)
    net = FaceNet().to(memory_format=torch.channels_last)
    if args.start:
        lacking, left = net.load_state_dict(torch.load(args.start)['average'], strict=False)
        print('begun with', args.start, 'without', *lacking, *left)
    opt = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-3)
    schedule = Schedule(os.path.join(args.cache, 'face.pt'), args.minutes, net, opt, warmup=8000)
    rng = np.random.default_rng(schedule.seen + args.seed)
    shown, run = schedule.seen, 0.
    while schedule.going():
        schedule.rate(args.rate)
        index = rng.integers(HELD, len(pool), BATCH)
        x = torch.from_numpy(pool.x[index]).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = targets(torch.from_numpy(pool.boxes[index]), torch.from_numpy(pool.points[index]))
        loss = loss_of(net(x), wanted)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.)
        opt.step()
        schedule.step(BATCH)
        run += (float(loss) - run) * .01 if run else float(loss)
        if schedule.seen - shown >= 16000:
            shown = schedule.seen
            recall, false, error, gone = held_out(net, pool)
            line = (f'{schedule.seen} frames, pool {int(pool.count[0])}, loss {run:.3f}, recall {recall:.4f}, '
                    f'false {false:.4f} a frame, box error {error:.4f}, point error {gone:.4f}, {schedule.left()}')
            print(line, flush=True)
            with open(os.path.join(args.cache, 'face.curve'), 'a') as c:
                c.write(line + '\n')
    schedule.save()


if __name__ == '__main__':
    main()
