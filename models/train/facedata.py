"""Frames for the face detector: a pool of 160×224 pictures with boxes, made for ever.

    facedata.py DATA CACHE

Boxes are RetinaFace's (faces.py), so that the liveness crop, which was made for them, stays what it was. Faces come from whole
frames that are zoomed and turned, from portraits pasted into scenes, and from synthetic people (people.py) where they have
been made. The picture lies in the top left corner, aspect kept, as the Go side puts it there; what is left over is black.
"""
import argparse
import json
import os
import time

import cv2
import numpy as np

import recapture as rc

H, W = 160, 224
SIZE = 40_000
FACES = 6  # at most, of one picture
HELD = 2000


class Pool:
    def __init__(self, folder, write=False):
        os.makedirs(folder, exist_ok=True)

        def file(name, dtype, shape):
            path = os.path.join(folder, name)
            mode = 'r' if not write else 'r+' if os.path.exists(path) else 'w+'
            return np.memmap(path, dtype, mode, shape=shape)
        self.x = file('x', np.uint8, (SIZE, H, W, 3))  # RGB
        self.boxes = file('boxes', np.float32, (SIZE, FACES, 4))  # x, y, w, h; w = 0: none; w < 0: don't care
        self.count = file('count', np.int64, (1,))

    def __len__(self):
        return min(int(self.count[0]), SIZE)


def held_out(key):
    """Pictures that are measured with and never trained on: people and places, not single files."""
    folder, name = key.split('/')[1:3]
    if folder == 'london':
        return int(name[:3]) % 10 == 0
    if folder == 'caltech-faces':
        n = int(''.join(c for c in name if c.isdigit()))
        return 130 <= n <= 180
    if folder == 'caltech-background':
        n = int(''.join(c for c in name if c.isdigit()) or '0')
        return n % 7 == 0
    return False


class Maker:
    def __init__(self, data, cache, seed):
        self.rng = np.random.default_rng(seed)
        self.data, self.pictures = data, {}
        self.frames, self.portraits, self.scenes = [], [], []
        for key, boxes in json.load(open(os.path.join(cache, 'faces.json'))).items():
            if held_out(key):
                continue
            folder = key.split('/')[1]
            sure = [b[:4] for b in boxes if b[4] > .8]
            unsure = [b[:4] for b in boxes if b[4] <= .8]
            if 'background' in folder:
                if not boxes:
                    self.scenes.append(key)
            elif sure and not unsure:
                (self.frames if folder == 'caltech-faces' else self.portraits).append((key, sure))
        self.synthetic = os.path.join(cache, 'synthetic', 'train')
        self.people, self.read = [], 0.

    def picture(self, key):
        if key not in self.pictures:
            if len(self.pictures) > 4000:
                self.pictures.clear()
            self.pictures[key] = cv2.imread(key if key[0] == '/' else os.path.join(self.data, key))
        return self.pictures[key]

    def frame(self):
        """The size that the picture has inside the input: cameras are 4:3 or 16:9, stills are anything."""
        u = self.rng.random()
        if u < .55:
            return 213, 160
        if u < .85:
            return 224, 126
        if u < .93:
            return 120, 160
        return int(self.rng.integers(60, W + 1)), int(self.rng.integers(60, H + 1))

    def warp(self, img, boxes, centre, scale, angle, to, w, h, border):
        """Turned and scaled about centre, which lands on to."""
        m = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
        m[:, 2] += np.array(to) - np.array(centre)
        if scale < .7:  # shrink first, by areas, so that nothing aliases
            k = max(scale, .02)
            img = cv2.resize(img, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            m2 = m.copy()
            m2[:, :2] /= k
            out = cv2.warpAffine(img, m2, (w, h), flags=cv2.INTER_LINEAR, borderMode=border)
        else:
            out = cv2.warpAffine(img, m, (w, h), flags=cv2.INTER_LINEAR, borderMode=border)
        c, s = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
        turned = []
        for x, y, bw, bh in boxes:
            cx, cy = m @ [x + bw / 2, y + bh / 2, 1]
            bw, bh = bw * scale, bh * scale
            # a face is an ellipse: its bounding box when turned
            tw, th = np.hypot(bw * c, bh * s), np.hypot(bw * s, bh * c)
            turned.append([cx - tw / 2, cy - th / 2, tw, th])
        return out, turned

    def scene(self, w, h):
        rng = self.rng
        if rng.random() < .06:
            n = int(rng.integers(2, 30))
            out = np.dstack([rc.field(rng, h, w, n) for _ in range(3)]) * rng.uniform(10, 70) + rng.uniform(20, 220)
            return np.clip(out, 0, 255).astype(np.uint8)
        img = self.picture(self.scenes[rng.integers(len(self.scenes))])
        ih, iw = img.shape[:2]
        k = max(w / iw, h / ih) * rc.log_uniform(rng, 1, 2.5)
        cw, ch = min(iw, int(w / k)), min(ih, int(h / k))
        x, y = int(rng.integers(0, iw - cw + 1)), int(rng.integers(0, ih - ch + 1))
        out = cv2.resize(img[y:y + ch, x:x + cw], (w, h), interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR)
        return out[:, ::-1].copy() if rng.random() < .5 else out

    def angle(self):
        return float(self.rng.normal(0, 8) if self.rng.random() < .6 else self.rng.uniform(-45, 45))

    def size(self, h):
        """A face's height: from 7 to 110 % of the frame's."""
        return rc.log_uniform(self.rng, .07, 1.1) * h

    def whole(self, w, h):
        """A whole picture zoomed so that its face has the size that was drawn."""
        rng = self.rng
        key, boxes = self.choose()
        img = self.picture(key)
        x, y, bw, bh = boxes[0]
        s = self.size(h) / bh
        fh = bh * s
        to = (rng.uniform(min(w / 2, fh * .35), max(w / 2, w - fh * .35)), rng.uniform(min(h / 2, fh * .4), max(h / 2, h - fh * .4)))
        out, turned = self.warp(img, boxes, (x + bw / 2, y + bh / 2), s, self.angle(), to, w, h, cv2.BORDER_CONSTANT)
        out = np.where((out.max(2) == 0)[..., None], self.scene(w, h), out)
        return out, turned

    def choose(self):
        pick = self.frames if self.rng.random() < .5 else self.portraits
        return pick[self.rng.integers(len(pick))]

    def pasted(self, w, h):
        """Portraits cut out softly and put into a scene."""
        rng = self.rng
        out, boxes = self.scene(w, h), []
        for _ in range(1 if rng.random() < .7 else int(rng.integers(2, 5))):
            key, found = self.choose()
            img = self.picture(key)
            x, y, bw, bh = found[0]
            s = self.size(h) * (1 if not boxes else .6) / bh
            fw, fh = bw * s, bh * s
            if fh > h * 1.05:
                continue
            to = (rng.uniform(fw * .4, max(fw * .41, w - fw * .4)), rng.uniform(fh * .45, max(fh * .46, h - fh * .45)))
            box = [to[0] - fw / 2, to[1] - fh / 2, fw, fh]
            if any(abs(to[0] - b[0] - b[2] / 2) < (fw + b[2]) * .8 and abs(to[1] - b[1] - b[3] / 2) < (fh + b[3]) * .9 for b in boxes):
                continue
            angle = self.angle()
            face, turned = self.warp(img, [found[0]], (x + bw / 2, y + bh / 2), s, angle, to, w, h, cv2.BORDER_REPLICATE)
            mask = np.zeros((h, w), np.float32)
            if rng.random() < .6:
                cv2.ellipse(mask, (to, (fw * rng.uniform(1.15, 1.7), fh * rng.uniform(1.2, 1.7)), -angle), 1., -1)
            else:
                r = cv2.boxPoints((to, (fw * rng.uniform(1.3, 2.4), fh * rng.uniform(1.3, 2.2)), -angle))
                cv2.fillConvexPoly(mask, r.astype(np.int32), 1.)
            mask = rc.blur(mask, max(.3, fw * rng.uniform(0, .08)))[..., None]
            out = (face * mask + out * (1 - mask)).astype(np.uint8)
            boxes.append(turned[0])
        return out, boxes

    def person(self, w, h):
        rng = self.rng
        p = self.people[rng.integers(len(self.people))]
        img = self.picture(os.path.join(self.synthetic, p['file']))
        boxes = ([p['face']] if p.get('face') else []) + p.get('others', [])
        ih, iw = img.shape[:2]
        k = min(w / iw, h / ih) * (1 if rng.random() < .5 else rc.log_uniform(rng, .8, 2.))
        c = (p['face'][0] + p['face'][2] / 2, p['face'][1] + p['face'][3] / 2) if p.get('face') else (iw / 2, ih / 2)
        to = (c[0] * k, c[1] * k) if k <= min(w / iw, h / ih) * 1.001 else (w * rng.uniform(.35, .65), h * rng.uniform(.35, .65))
        return self.warp(img, boxes, c, k, float(rng.normal(0, 6)), to, w, h, cv2.BORDER_REFLECT_101)

    def make(self):
        rng = self.rng
        w, h = self.frame()
        u = rng.random()
        if self.people and u < .15:
            out, boxes = self.person(w, h)
        elif u < .5:
            out, boxes = self.whole(w, h)
        elif u < .85:
            out, boxes = self.pasted(w, h)
        else:
            out, boxes = self.scene(w, h), []
        if rng.random() < .5:
            out = np.ascontiguousarray(out[:, ::-1])
            boxes = [[w - b[0] - b[2], b[1], b[2], b[3]] for b in boxes]
        f = out.astype(np.float32) / 255
        if rng.random() < .6:
            f = rc.light(f, rng)
        if rng.random() < .15:
            f = np.repeat(f @ np.array([.114, .587, .299], np.float32)[:, None], 3, 2)
        if boxes and rng.random() < .15:  # a hand, a bar, a mask, dark glasses
            x, y, bw, bh = boxes[0]
            a = np.array([x + bw * rng.uniform(0, .7), y + bh * rng.uniform(0, .8)])
            b = a + np.array([bw * rng.uniform(.2, .6), bh * rng.uniform(.1, .35)])
            a, b = np.clip(a, 0, None).astype(int), b.astype(int)
            f[a[1]:b[1], a[0]:b[0]] = rng.uniform(0, 1, 3)
        if rng.random() < .7:
            f = rc.capture(f, rng, .6)
        canvas = np.zeros((H, W, 3), np.uint8)
        canvas[:h, :w] = np.clip(f, 0, 1) * 255 + .5
        rows = np.zeros((FACES, 4), np.float32)
        n = 0
        for x, y, bw, bh in boxes:
            x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + bw, w), min(y + bh, h)
            if x1 - x0 < 2 or y1 - y0 < 2 or n == FACES:
                continue
            seen = (x1 - x0) * (y1 - y0) / (bw * bh)
            sign = -1 if seen < .55 or bh < 9 else 1  # hardly to be seen: neither a face nor none
            rows[n] = x0, y0, sign * (x1 - x0), y1 - y0
            n += 1
        return canvas[..., ::-1], rows

    def refresh(self):
        path = os.path.join(self.synthetic, 'labels.jsonl')
        if time.time() - self.read < 60 or not os.path.exists(path):
            return
        self.read, rows = time.time(), []
        for line in open(path):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # being written
        self.people = rows if len(rows) >= 200 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures')
    parser.add_argument('cache')
    parser.add_argument('--count', type=int, help='stop when so many frames have ever been made; default: never')
    args = parser.parse_args()
    data, cache = args.data, args.cache
    cv2.setNumThreads(1)
    pool = Pool(os.path.join(cache, 'facepool'), write=True)
    maker = Maker(data, cache, int(pool.count[0]) + 1)
    start, first = time.time(), int(pool.count[0])
    while args.count is None or int(pool.count[0]) < args.count:
        n = int(pool.count[0])
        maker.refresh()
        for i in range(100):
            # the held-out beginning stays what it was
            at = n + i if n + i < SIZE else HELD + (n + i - HELD) % (SIZE - HELD)
            pool.x[at], pool.boxes[at] = maker.make()
        pool.count[0] = n + 100
        if n % 5000 == 0:
            pace = (n + 100 - first) / (time.time() - start)
            left = f', {(args.count - n) / pace / 60:.0f} min left' if args.count else ''
            print(f'{n} frames, {pace:.0f}/s, {len(maker.people)} frames of synthetic people{left}', flush=True)


if __name__ == '__main__':
    main()
