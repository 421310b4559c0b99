"""Makes crops and the teacher's answers for them, for ever: a pool that liveness.py draws from.

    pool.py DATA CACHE [--teacher FOLDER]

The pool is a ring of SIZE crops in memory-mapped files under CACHE/pool; it can be stopped and started again. Every crop is
seen by the teacher exactly as the student will see it. What is in it: genuine faces, faces behind simulated screens and
paper, backgrounds and objects, blends of them, procedural textures; all through a simulated camera. Crops of synthetic
people (people.py), where they have been made, get their true class instead of the teacher's opinion. Without a teacher there is
nothing else, since nobody knows the answers to the rest.
"""
import argparse
import json
import os
import sys
import time

import cv2
import numpy as np
import torch

import recapture as rc
from crops import crop_rect
from minifasnet import MiniFASNetV2

SIZE = 400_000
BATCH = 64
PEOPLE = 200  # frames of synthetic people, before which they aren't used
TIGHT = .6  # of the crops have little around the face, as where it fills the frame: there a student strays most from its teacher
TEACHER = -1  # label of a crop that the teacher answers for
LIVE, PRINT, REPLAY = 1, 0, 2


class Pool:
    """The ring: crops (BGR, 0…255), the teacher's logits and embedding, a label, and how many are there."""

    def __init__(self, folder, write=False):
        os.makedirs(folder, exist_ok=True)

        def file(name, dtype, shape):
            path = os.path.join(folder, name)
            mode = 'r' if not write else 'r+' if os.path.exists(path) else 'w+'
            return np.memmap(path, dtype, mode, shape=shape)

        self.x = file('x', np.uint8, (SIZE, 80, 80, 3))
        self.z = file('z', np.float32, (SIZE, 3))
        self.e = file('e', np.float16, (SIZE, 128))
        self.label = file('label', np.int8, (SIZE,))
        self.count = file('count', np.int64, (1,))  # ever made

    def add(self, x, z, e, label):
        at = (int(self.count[0]) + np.arange(len(x))) % SIZE
        self.x[at], self.z[at], self.e[at], self.label[at] = x, z, e, label
        self.count[0] += len(x)

    def __len__(self):
        return min(int(self.count[0]), SIZE)


class Maker:
    def __init__(self, data, cache, seed):
        self.rng = np.random.default_rng(seed)
        self.data = data
        boxes = json.load(open(os.path.join(cache, 'faces.json')))
        self.faces, self.gray, self.scenes = [], [], []
        for key, found in boxes.items():
            folder = key.split('/')[1]
            good = [b for b in found if b[4] > .85 and b[2] > 24]
            if folder == 'congress-gray':
                if good:
                    self.gray.append((key, good[0]))
            elif 'background' in folder:
                self.scenes.append((key, None))
            elif good:
                self.faces.append((key, good[0]))
        self.pictures = {}
        self.synthetic = os.path.join(cache, 'synthetic', 'train')
        self.people, self.read = [], 0.

    def picture(self, key):
        if key not in self.pictures:
            img = cv2.imread(key if key[0] == '/' else os.path.join(self.data, key))
            if len(self.pictures) > 6000:
                self.pictures.clear()
            self.pictures[key] = img
        return self.pictures[key]

    def region(self, img, box, side):
        """The picture around the box at a working size at which effects are cheap; the box in it."""
        rng = self.rng
        h, w = img.shape[:2]
        x, y, bw, bh = box[:4]
        bw2, bh2 = bw * rng.uniform(.85, 1.2), bh * rng.uniform(.85, 1.2)
        x, y = x + bw / 2 + bw * rng.normal(0, .05) - bw2 / 2, y + bh / 2 + bh * rng.normal(0, .05) - bh2 / 2
        if rng.random() < TIGHT:
            m = rng.uniform(-.05, .6)
            x0, y0 = int(max(0, x - m * bw2)), int(max(0, y - m * bh2))
            x1, y1 = int(min(w, x + bw2 * (1 + m))), int(min(h, y + bh2 * (1 + m)))
            if x1 - x0 > 20 and y1 - y0 > 20:
                img, x, y = img[y0:y1, x0:x1], x - x0, y - y0
                h, w = img.shape[:2]
        r = crop_rect((x, y, max(8, bw2), max(8, bh2)), 2.7, w, h)
        part = img[r[1]:r[3] + 1, r[0]:r[2] + 1]
        ph, pw = part.shape[:2]
        k = side / max(ph, pw)
        small = cv2.resize(part, (max(16, int(pw * k)), max(16, int(ph * k))), interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR)
        return small.astype(np.float32) / 255

    def source(self):
        rng = self.rng
        side = rc.log_uniform(rng, 60, 260)
        u = rng.random()
        if u < .62:
            key, box = self.faces[rng.integers(len(self.faces))]
        elif u < .72:
            key, box = self.gray[rng.integers(len(self.gray))]
        else:
            key, _ = self.scenes[rng.integers(len(self.scenes))]
            h, w = self.picture(key).shape[:2]
            bh = h * rng.uniform(.15, .9)
            bw = min(bh * rng.uniform(.7, .95), w - 2)
            box = (rng.uniform(0, w - bw), rng.uniform(0, h - bh), bw, bh)
        img = self.picture(key)
        out = self.region(img, box, side)
        if rng.random() < .5:
            out = out[:, ::-1]
        if rng.random() < .25:
            h, w = out.shape[:2]
            m = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 12), 1)
            out = cv2.warpAffine(out, m, (w, h), borderMode=cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(out)

    def texture(self):
        rng = self.rng
        n = int(rc.log_uniform(rng, 60, 300))
        out = np.dstack([rc.field(rng, n, n, int(rng.integers(2, 24))) for _ in range(3)]) * rng.uniform(.05, .3) + rng.uniform(.1, .9)
        return np.clip(out, 0, 1).astype(np.float32)

    def crop(self, taught=True):
        """One crop and its label."""
        rng = self.rng
        if not taught or self.people and rng.random() < .12:
            return self.person()
        u = rng.random()
        out = self.texture() if u < .03 else self.source()
        if rng.random() < .12:  # blends: faces that aren't, borders, half a screen
            other = cv2.resize(self.source(), out.shape[1::-1])
            if rng.random() < .5:
                out = cv2.addWeighted(out, float(rng.uniform(.3, .9)), other, float(rng.uniform(.1, .6)), 0)
            else:
                h, w = out.shape[:2]
                x, y = int(w * rng.uniform(0, .35)), int(h * rng.uniform(0, .35))
                other[y:h - y // 2 - 1, x:w - x - 1] = out[y:h - y // 2 - 1, x:w - x - 1]
                out = other
        if rng.random() < .6:
            out = rc.light(out, rng)
        u = rng.random()
        if u < .28:
            out = rc.screen(rc.capture(out, rng, .5), rng)
        elif u < .5:
            out = rc.printed(rc.capture(out, rng, .5), rng)
        if rng.random() < .85:
            out = rc.capture(out, rng)
        out = cv2.resize(np.clip(out, 0, 1), (80, 80), interpolation=cv2.INTER_LINEAR)
        return (out * 255 + .5).astype(np.uint8), TEACHER

    def person(self):
        """A crop of a synthetic person, whose class is known."""
        rng = self.rng
        p = self.people[rng.integers(len(self.people))]
        img = self.picture(os.path.join(self.synthetic, p['file']))
        x, y, w, h = p['face']
        k = rng.uniform(.88, 1.14, 2)
        box = (x + w / 2 + w * rng.normal(0, .04) - w * k[0] / 2, y + h / 2 + h * rng.normal(0, .04) - h * k[1] / 2, w * k[0], h * k[1])
        x0, y0, x1, y1 = crop_rect(box, 2.7, img.shape[1], img.shape[0])
        out = cv2.resize(img[y0:y1 + 1, x0:x1 + 1], (80, 80), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
        if rng.random() < .5:
            out = np.ascontiguousarray(out[:, ::-1])
        if rng.random() < .5:
            out = np.clip(out * rng.uniform(.7, 1.3) * np.exp(rc.tint(rng, .08)), 0, 1)
        if rng.random() < .2:
            out = rc.blur(out, rng.uniform(.3, .7))
        label = {'live': LIVE, 'print': PRINT, 'replay': REPLAY}[p['label']]
        return (np.clip(out, 0, 1) * 255 + .5).astype(np.uint8), label

    def refresh(self):
        """Looks now and then for synthetic people that were made meanwhile."""
        path = os.path.join(self.synthetic, 'labels.jsonl')
        if time.time() - self.read < 60 or not os.path.exists(path):
            return
        self.read = time.time()
        rows = []
        for line in open(path):
            try:
                row = json.loads(line)
            except ValueError:
                continue  # being written
            if row.get('face') and row['label'] in ('live', 'print', 'replay'):
                rows.append(row)
        self.people = rows if len(rows) >= PEOPLE else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures')
    parser.add_argument('cache', help='folder of faces.json, synthetic/train and the pool')
    parser.add_argument('--teacher', help='folder of MiniFASNetV2\'s weights; without, there are crops of synthetic people alone')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--count', type=int, help='stop when so many crops have ever been made; default: never')
    args = parser.parse_args()
    data, cache = args.data, args.cache
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pool = Pool(os.path.join(cache, 'pool'), write=True)
    maker = Maker(data, cache, int(pool.count[0]) + args.seed)
    net = None
    if args.teacher:
        net = MiniFASNetV2(os.path.join(args.teacher, '2.7_80x80_MiniFASNetV2.pth')).to(memory_format=torch.channels_last)
    start, first = time.time(), int(pool.count[0])
    while args.count is None or int(pool.count[0]) < args.count:
        maker.refresh()
        if net is None and not maker.people:
            sys.exit(f'pool: neither a teacher nor {PEOPLE} frames of synthetic people in {maker.synthetic}: see people.py')
        made = [maker.crop(net is not None) for _ in range(BATCH)]
        x = np.stack([m[0] for m in made])
        z, e = torch.zeros(BATCH, 3), torch.zeros(BATCH, 128)
        if net is not None:
            with torch.no_grad():
                z, e = net(torch.from_numpy(x).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last))
        pool.add(x, z.numpy(), e.numpy().astype(np.float16), np.array([m[1] for m in made], np.int8))
        n = int(pool.count[0])
        if n % (BATCH * 100) < BATCH:
            pace = (n - first) / (time.time() - start)
            left = f', {(args.count - n) / pace / 60:.0f} min left' if args.count else ''
            print(f'{n} crops, {pace:.0f}/s, {len(maker.people)} frames of synthetic people{left}', flush=True)


if __name__ == '__main__':
    main()
