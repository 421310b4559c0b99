"""Five points for the faces of the training pictures: middles of the eyes, tip of the nose, corners of the mouth.

    points.py DATA CACHE [--minutes M]

Writes CACHE/points.json: for each picture of faces.json a list beside its boxes, of five [x, y] in pixels or null, the person's right
side first (on the left of a picture that isn't mirrored). Where nobody marked them, a small net says where they are. It learns from
the landmark files of the London and Canada sets, from marks.json (by hand) and from heads.py's heads; it is a labeller, is
thrown away, and sees no picture that facedata.held_out keeps aside.
"""
import argparse
import json
import os

import cv2
import numpy as np
import torch
import torch.nn as nn

import recapture as rc
from facedata import held_out
from schedule import Schedule, told

SIDE, BATCH, RATE = 64, 64, 2e-3
MIRROR = [1, 0, 2, 4, 3]
WIDE = 1.5  # of the longer side of the box: what the labeller sees


def landmarks(data):
    """Key of the picture to its points, from the sets' files."""
    found = {}
    for name, height in (('london', 1350), ('canada', 1800)):
        folder = os.path.join(data, 'train', 'landmarks', name)
        for file in sorted(os.listdir(folder)):
            key = f'train/{name}/{file[:-4]}.jpg'
            rows = open(os.path.join(folder, file)).read().splitlines()[1:190]
            at = np.array([[float(v) for v in r.split()[:2]] for r in rows])
            ridge, base = (at[54] + at[60]) / 2, (at[179] + at[172]) / 2  # the files have no tip of the nose
            p = np.stack([at[0], at[1], ridge + .3 * (base - ridge), at[87], at[93]])
            found[key] = p * cv2.imread(os.path.join(data, key)).shape[0] / height
    return found


def by_hand():
    """marks.json: key to the box and the points of the picture's one marked face."""
    return json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'marks.json')))


class Labeller(nn.Module):
    """SIDE×SIDE pixels of a face to ten numbers, in halves of the side from the middle."""

    def __init__(self):
        super().__init__()
        layers = []
        for i, o in ((3, 24), (24, 48), (48, 96), (96, 128)):
            layers += [nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, 1, 1, groups=o // 8, bias=False),
                       nn.BatchNorm2d(o), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x):
        return self.body((x - 127.5) / 64)


def look(img, box, angle=0., grow=1., shift=(0., 0.)):
    """What the labeller sees of a box, and the transform from the picture's pixels to it."""
    x, y, w, h = box[:4]
    k = SIDE / (max(w, h) * WIDE * grow)
    m = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), angle, k)
    m[:, 2] += SIDE / 2 - np.array([x + w / 2, y + h / 2]) + np.array(shift) * SIDE
    if k < .5:
        f = 2 * k
        img = cv2.resize(img, None, fx=f, fy=f, interpolation=cv2.INTER_AREA)
        n = m.copy()
        n[:, :2] /= f
        return cv2.warpAffine(img, n, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), m
    return cv2.warpAffine(img, m, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), m


class Examples:
    def __init__(self, data, cache, rng, marks=True):
        self.rng, self.real, self.drawn = rng, [], []
        boxes = json.load(open(os.path.join(cache, 'faces.json')))
        self.scenes = [k for k, v in boxes.items() if 'background' in k and not v and not held_out(k)][::8]
        self.scenes = [cv2.imread(os.path.join(data, k)) for k in self.scenes]
        for key, p in landmarks(data).items():
            if boxes.get(key) and not held_out(key):
                self.real.append((cv2.imread(os.path.join(data, key)), boxes[key][0][:4], p))
        if marks:
            for key, m in by_hand().items():
                if not held_out(key):
                    self.real.append((cv2.imread(os.path.join(data, key)), m['box'], np.array(m['points'])))
        folder = os.path.join(cache, 'heads', 'train')
        for row in map(json.loads, open(os.path.join(folder, 'labels.jsonl'))):
            self.drawn.append((os.path.join(folder, row['file']), row['face'], np.array(row['points'])))

    def one(self):
        rng = self.rng
        if rng.random() < .65:
            img, box, p = self.real[rng.integers(len(self.real))]
        else:
            path, box, p = self.drawn[rng.integers(len(self.drawn))]
            img = cv2.imread(path, cv2.IMREAD_UNCHANGED)
            s = self.scenes[rng.integers(len(self.scenes))]
            s = cv2.resize(s, (img.shape[1], img.shape[0]))
            a = img[..., 3:].astype(np.float32) / 255
            img = (img[..., :3] * a + s * (1 - a)).astype(np.uint8)
        angle = rng.normal(0, 12) if rng.random() < .7 else rng.uniform(-45, 45)
        x, m = look(img, box, angle, np.exp(rng.normal(0, .1)), rng.normal(0, .04, 2))
        p = np.concatenate([p, np.ones((5, 1))], 1) @ m.T
        if rng.random() < .5:
            x, p = x[:, ::-1], p[MIRROR] * [-1, 1] + [SIDE - 1, 0]
        f = x.astype(np.float32) / 255
        if rng.random() < .6:
            f = rc.light(f, rng)
        if rng.random() < .3:
            f = np.repeat(f @ np.array([.114, .587, .299], np.float32)[:, None], 3, 2)
        if rng.random() < .3:
            f = rc.coarser(f, rng.uniform(1, 3))
        if rng.random() < .4:
            f = rc.capture(f, rng, .5)
        return np.clip(f * 255 + .5, 0, 255).astype(np.uint8), p / SIDE * 2 - 1


def tensor(x):
    return torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).float()


def train(data, cache, minutes, marks=True, path='', seed=1):
    """path: of the checkpoint; without one, a training that is stopped begins anew."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    examples, net = Examples(data, cache, rng, marks), Labeller()
    opt = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
    schedule = Schedule(path, minutes, net, opt, warmup=100 * BATCH, of=seed)
    run, n = 0., 0
    while schedule.going():
        schedule.rate(RATE)
        x, p = zip(*(examples.one() for _ in range(BATCH)))
        loss = nn.functional.smooth_l1_loss(net(tensor(x)), torch.from_numpy(np.stack(p)).float().flatten(1), beta=.05)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        schedule.step(BATCH)
        n += 1
        run += (float(loss) - run) * .02 if run else float(loss)
        if n % 100 == 0:
            print(f'{schedule.seen} faces, loss {run:.4f}, {schedule.left()}', flush=True)
    schedule.save()
    return net.eval()


def ask(net, img, box):
    """The points of a face: the mean of what the labeller says of it, of its mirror picture, and of both moved a little."""
    said = []
    for grow, shift in ((1., (0, 0)), (.93, (.02, .01)), (1.07, (-.02, -.01))):
        x, m = look(img, box, 0., grow, shift)
        with torch.no_grad():
            a, b = ((net(tensor([v])).numpy().reshape(5, 2) + 1) / 2 * SIDE for v in (x, x[:, ::-1].copy()))
        b = b[MIRROR] * [-1, 1] + [SIDE - 1, 0]
        back = cv2.invertAffineTransform(m)
        said += [np.concatenate([v, np.ones((5, 1))], 1) @ back.T for v in (a, b)]
    return np.mean(said, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures')
    parser.add_argument('cache', help='where faces.json and heads/train lie')
    parser.add_argument('--minutes', type=float, default=3., help='of training the labeller; its state lies in CACHE/points.pt')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    cv2.setNumThreads(1)
    known = {k: v.tolist() for k, v in landmarks(args.data).items()}
    net, out = train(args.data, args.cache, args.minutes, path=os.path.join(args.cache, 'points.pt'), seed=args.seed), {}
    marked = by_hand()
    for key, boxes in told(json.load(open(os.path.join(args.cache, 'faces.json'))).items(), 'pictures'):
        img = cv2.imread(os.path.join(args.data, key)) if boxes else None
        rows = [np.round(ask(net, img, b), 2).tolist() for b in boxes]
        if boxes and key in known:
            rows[0] = np.round(known[key], 2).tolist()
        if boxes and key in marked:
            rows[0] = marked[key]['points']
        out[key] = rows
    with open(os.path.join(args.cache, 'points.json.new'), 'w') as f:
        json.dump(out, f)
    os.replace(os.path.join(args.cache, 'points.json.new'), os.path.join(args.cache, 'points.json'))


if __name__ == '__main__':
    main()
