"""Frames for the face detector: a pool of 160×224 pictures with boxes and points, made for ever.

    facedata.py DATA CACHE

Boxes are RetinaFace's (faces.py), so that the liveness crop, which was made for them, stays what it was. Faces come from whole
frames that are zoomed and turned, from portraits pasted into scenes, and from synthetic people (people.py) and heads (heads.py)
where they have been made. The picture lies in the top left corner, aspect kept, as the Go side puts it there; what is left over is
black. Boxes and points of faces that the edge cuts off reach beyond it. Points are points.py's, and exact for drawn people.
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
MIRROR = [1, 0, 2, 4, 3]  # of the points
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
        self.points = file('points', np.float32, (SIZE, FACES, 10))  # x, y five times; NaN: not known
        self.count = file('count', np.int64, (1,))

    def __len__(self):
        return min(int(self.count[0]), SIZE)


def held_out(key):
    """Pictures that are measured with and never trained on: people and places, not single files."""
    if key.startswith('dev/'):
        return True
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


class Face:
    """A box, and five points where they are known."""

    def __init__(self, box, points=None):
        self.box = list(box)
        self.points = np.full((5, 2), np.nan) if points is None else np.array(points, float)

    @property
    def centre(self):
        x, y, w, h = self.box
        return x + w / 2, y + h / 2

    def mirrored(self, width):
        x, y, w, h = self.box
        return Face([width - x - w, y, w, h], self.points[MIRROR] * [-1, 1] + [width - 1, 0])


class Maker:
    def __init__(self, data, cache, seed):
        self.rng = np.random.default_rng(seed)
        self.data, self.pictures = data, {}
        self.frames, self.portraits, self.scenes = [], [], []
        path = os.path.join(cache, 'points.json')
        self.points = json.load(open(path)) if os.path.exists(path) else {}
        for key, boxes in json.load(open(os.path.join(cache, 'faces.json'))).items():
            if held_out(key):
                continue
            folder = key.split('/')[1]
            sure = self.faces(key, boxes)
            unsure = [b[:4] for b in boxes if b[4] <= .8]
            if 'background' in folder:
                if not boxes:
                    self.scenes.append(key)
            elif sure and not unsure:
                (self.frames if folder == 'caltech-faces' else self.portraits).append((key, sure))
        self.synthetic, self.cutouts = os.path.join(cache, 'synthetic', 'train'), os.path.join(cache, 'heads', 'train')
        self.people, self.heads, self.read = [], [], 0.

    def faces(self, key, boxes):
        points = self.points.get(key) or [None] * len(boxes)
        return [Face(b[:4], p) for b, p in zip(boxes, points) if b[4] > .8]

    def picture(self, key):
        if key not in self.pictures:
            if len(self.pictures) > 4000:
                self.pictures.clear()
            self.pictures[key] = cv2.imread(key if key[0] == '/' else os.path.join(self.data, key), cv2.IMREAD_UNCHANGED if key[-4:] == '.png'
                                            and key[0] == '/' else cv2.IMREAD_COLOR)
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

    def warp(self, img, faces, centre, scale, angle, to, w, h, border):
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
        for f in faces:
            cx, cy = m @ [*f.centre, 1]
            bw, bh = f.box[2] * scale, f.box[3] * scale
            # a face is an ellipse: its bounding box when turned
            tw, th = np.hypot(bw * c, bh * s), np.hypot(bw * s, bh * c)
            points = np.concatenate([f.points, np.ones((5, 1))], 1) @ m.T
            turned.append(Face([cx - tw / 2, cy - th / 2, tw, th], points))
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
        """A face's height: from 7 to 110 % of the frame's, and more of the small ones, which are the hardest to find."""
        return (rc.log_uniform(self.rng, .07, .2) if self.rng.random() < .3 else rc.log_uniform(self.rng, .07, 1.1)) * h

    def place(self, w, h, fw, fh):
        """Where a face's middle goes: inside, or so that the edge cuts some of it off."""
        rng = self.rng
        if rng.random() < .12:
            return rng.uniform(0, w), rng.uniform(0, h)
        return (rng.uniform(min(w / 2, fw * .5), max(w / 2, w - fw * .5)), rng.uniform(min(h / 2, fh * .45), max(h / 2, h - fh * .45)))

    def whole(self, w, h):
        """A whole picture zoomed so that its face has the size that was drawn."""
        key, faces = self.choose()
        s = self.size(h) / faces[0].box[3]
        to = self.place(w, h, faces[0].box[2] * s, faces[0].box[3] * s)
        out, turned = self.warp(self.picture(key), faces, faces[0].centre, s, self.angle(), to, w, h, cv2.BORDER_CONSTANT)
        out = np.where((out.max(2) == 0)[..., None], self.scene(w, h), out)
        return out, turned

    def choose(self):
        pick = self.frames if self.rng.random() < .5 else self.portraits
        return pick[self.rng.integers(len(pick))]

    def spots(self, w, h, one):
        """Sizes and places of one face or, now and then, several that don't touch: for each, the factor and the middle. one() draws a face."""
        rng, taken = self.rng, []
        for _ in range(1 if rng.random() < .7 else int(rng.integers(2, 5))):
            what, face = one()
            fh = self.size(h)
            s = fh / face.box[3]
            fw = face.box[2] * s
            to = self.place(w, h, fw, fh)
            if any(abs(to[0] - x) < (fw + v) * .8 and abs(to[1] - y) < (fh + u) * .9 for x, y, v, u in taken):
                continue
            taken.append((*to, fw, fh))
            yield what, face, s, to

    def pasted(self, w, h):
        """Portraits cut out softly and put into a scene."""
        rng = self.rng
        out, faces = self.scene(w, h), []

        def one():
            key, found = self.choose()
            return key, found[0]
        for key, face, s, to in self.spots(w, h, one):
            angle, (fw, fh) = self.angle(), np.array(face.box[2:]) * s
            img, turned = self.warp(self.picture(key), [face], face.centre, s, angle, to, w, h, cv2.BORDER_REPLICATE)
            mask = np.zeros((h, w), np.float32)
            if rng.random() < .6:
                cv2.ellipse(mask, (to, (fw * rng.uniform(1.15, 1.7), fh * rng.uniform(1.2, 1.7)), -angle), 1., -1)
            else:
                r = cv2.boxPoints((to, (fw * rng.uniform(1.3, 2.4), fh * rng.uniform(1.3, 2.2)), -angle))
                cv2.fillConvexPoly(mask, r.astype(np.int32), 1.)
            mask = rc.blur(mask, max(.3, fw * rng.uniform(0, .08)))[..., None]
            out = (img * mask + out * (1 - mask)).astype(np.uint8)
            faces.append(turned[0])
        return out, faces

    def drawn(self, w, h):
        """Synthetic heads in a scene."""
        rng = self.rng
        out, faces = self.scene(w, h), []

        def one():
            p = self.heads[rng.integers(len(self.heads))]
            return p['file'], Face(p['face'], p['points'])
        for file, face, s, to in self.spots(w, h, one):
            img = self.picture(os.path.abspath(os.path.join(self.cutouts, file)))
            a = img[..., 3:]
            img = np.dstack([(img[..., :3] * (a / 255.)).astype(np.uint8), a])  # so that edges don't mix with what isn't there
            img, turned = self.warp(img, [face], face.centre, s, self.angle(), to, w, h, cv2.BORDER_CONSTANT)
            out = np.clip(img[..., :3] + out * (1 - img[..., 3:] / 255.), 0, 255).astype(np.uint8)
            faces.append(turned[0])
        return out, faces

    def person(self, w, h):
        rng = self.rng
        p = self.people[rng.integers(len(self.people))]
        img = self.picture(os.path.join(self.synthetic, p['file']))
        faces = [Face(p['face'], p.get('points'))] if p.get('face') else []
        ih, iw = img.shape[:2]
        k = min(w / iw, h / ih) * (1 if rng.random() < .5 else rc.log_uniform(rng, .8, 2.))
        c = faces[0].centre if faces else (iw / 2, ih / 2)
        to = (c[0] * k, c[1] * k) if k <= min(w / iw, h / ih) * 1.001 else (w * rng.uniform(.35, .65), h * rng.uniform(.35, .65))
        return self.warp(img, faces, c, k, float(rng.normal(0, 6)), to, w, h, cv2.BORDER_REPLICATE)  # mirrored there would be a second face

    def make(self):
        rng = self.rng
        w, h = self.frame()
        u = rng.random()
        if self.people and u < .08:
            out, faces = self.person(w, h)
        elif self.heads and u < .26:
            out, faces = self.drawn(w, h)
        elif u < .53:
            out, faces = self.whole(w, h)
        elif u < .82:
            out, faces = self.pasted(w, h)
        else:
            out, faces = self.scene(w, h), []
        return self.filmed(out, faces)

    def filmed(self, out, faces):
        """A picture with its faces through a camera: the net's picture, boxes and points."""
        rng = self.rng
        h, w = out.shape[:2]
        if rng.random() < .5:
            out = np.ascontiguousarray(out[:, ::-1])
            faces = [f.mirrored(w) for f in faces]
        f = out.astype(np.float32) / 255
        if rng.random() < .6:
            f = rc.light(f, rng)
        if rng.random() < .15:
            f = np.repeat(f @ np.array([.114, .587, .299], np.float32)[:, None], 3, 2)
        if faces and rng.random() < .15:  # a hand, a bar, a mask, dark glasses
            x, y, bw, bh = faces[0].box
            a = np.array([x + bw * rng.uniform(0, .7), y + bh * rng.uniform(0, .8)])
            b = a + np.array([bw * rng.uniform(.2, .6), bh * rng.uniform(.1, .35)])
            a, b = np.clip(a, 0, None).astype(int), b.astype(int)
            f[a[1]:b[1], a[0]:b[0]] = rng.uniform(0, 1, 3)
        if rng.random() < .7:
            f = rc.capture(f, rng, .6)
        canvas = np.zeros((H, W, 3), np.uint8)
        canvas[:h, :w] = np.clip(f, 0, 1) * 255 + .5
        rows, points = np.zeros((FACES, 4), np.float32), np.full((FACES, 10), np.nan, np.float32)
        n = 0
        for face in faces:
            x, y, bw, bh = face.box
            iw, ih = min(x + bw, w) - max(x, 0), min(y + bh, h) - max(y, 0)
            if iw < 2 or ih < 2 or n == FACES:
                continue
            sign = -1 if iw * ih < .55 * bw * bh or bh < 9 else 1  # hardly to be seen: neither a face nor none
            rows[n] = x, y, sign * bw, bh
            points[n] = face.points.flatten()
            n += 1
        return canvas[..., ::-1], rows, points

    def refresh(self):
        if time.time() - self.read < 60:
            return
        self.read = time.time()
        self.people, self.heads = ([r for r in self.rows(folder) if 'unsure' not in r] for folder in (self.synthetic, self.cutouts))

    @staticmethod
    def rows(folder):
        rows, path = [], os.path.join(folder, 'labels.jsonl')
        for line in open(path) if os.path.exists(path) else ():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # being written
        return rows if len(rows) >= 200 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures')
    parser.add_argument('cache', help='folder of faces.json, of what people.py, heads.py and points.py made, and of the frames')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--count', type=int, help='stop when so many frames have ever been made; default: never')
    args = parser.parse_args()
    data, cache = args.data, args.cache
    cv2.setNumThreads(1)
    pool = Pool(os.path.join(cache, 'facepool'), write=True)
    maker = Maker(data, cache, int(pool.count[0]) + args.seed)
    start, first = time.time(), int(pool.count[0])
    while args.count is None or int(pool.count[0]) < args.count:
        n = int(pool.count[0])
        maker.refresh()
        for i in range(100):
            # the held-out beginning stays what it was
            at = n + i if n + i < SIZE else HELD + (n + i - HELD) % (SIZE - HELD)
            pool.x[at], pool.boxes[at], pool.points[at] = maker.make()
        pool.count[0] = n + 100
        if n % 5000 == 0:
            pace = (n + 100 - first) / (time.time() - start)
            left = f', {(args.count - n) / pace / 60:.0f} min left' if args.count else ''
            print(f'{n} frames, {pace:.0f}/s, {len(maker.people)} frames of synthetic people, {len(maker.heads)} heads{left}', flush=True)


if __name__ == '__main__':
    main()
