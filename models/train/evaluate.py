"""Measures the shipped int8 nets, and prints the tables of their cards.

    evaluate.py face FOLDER DATA CACHE          people and places that were held out, marks by hand, synthetic heads, data/dev
    evaluate.py liveness FOLDER DATA [TEACHER]  data/dev: real attacks, never trained on, never calibrated on
    evaluate.py heads PEOPLE TEACHER            RetinaFace's boxes on synthetic people beside those that people.py claims

Rules. The detector is compared with RetinaFace's boxes (faces.py) on pictures that facedata.held_out keeps aside, and with boxes and
points that were checked and marked by hand (marks.json) on such pictures and of data/dev, as they are and put into held-out scenes at a
given size. How far points are off is their mean distance in distances between the eyes (face.apart). The liveness
net gets its own crop: in dev/fullframe about the face that the shipped detector finds; the other sets are tight crops of faces
without their surroundings, and there the whole picture stands for the face box. Orientation in a picture's metadata is heeded.
BPCER is the share of live pictures below the threshold, APCER of attacks at or above it; the sets' figures are never pooled,
averages are of sets. Frames of a set are near-duplicates of few people, so a few points' difference is noise.
"""
import argparse
import json
import os

import cv2
import numpy as np

import facedata
import recapture as rc
from crops import crop
from face import apart, overlap
from pipeline import Detector, Judge, odds
from points import by_hand
from schedule import told

SETS = ('nuaa-print', 'pyimagesearch-adrian-replay', 'tranvanluyt-replay', 'balveer-replay', 'manikantha-replay',
        'kevindepedri-replay', 'fullframe')
SIZES = (0, 12), (12, 20), (20, 40), (40, 70), (70, 200)  # of faces, % of the frame's height
HEIGHTS = 64, 96, 160, 320  # of marked faces, pixels of a frame of 640×480
TURNS = ('up to 20° to the side', 0, 20), ('20 to 40°', 20, 40), ('40 to 63°', 40, 63)
WHOLE = 'caltech-faces', 'london', 'fullframe'  # sets of pictures that aren't crops of faces


def pictures(folder):
    for root, dirs, names in os.walk(folder):
        dirs.sort()
        for name in sorted(names):
            img = cv2.imread(os.path.join(root, name))
            if img is not None:
                yield os.path.join(root, name), img


def held(data, cache):
    """Held-out pictures with RetinaFace's boxes: (key, picture, boxes)."""
    for key, boxes in sorted(json.load(open(os.path.join(cache, 'faces.json'))).items()):
        if facedata.held_out(key):
            yield key, cv2.imread(os.path.join(data, key)), boxes


class Held(facedata.Maker):
    """Frames as in training, but of held-out people in held-out places."""

    def __init__(self, data, cache, seed):
        super().__init__(data, cache, seed)
        self.frames, self.portraits, self.scenes = [], [], []
        self.cutouts = os.path.join(cache, 'heads', 'held')
        for key, boxes in sorted(json.load(open(os.path.join(cache, 'faces.json'))).items()):
            if not facedata.held_out(key):
                continue
            if 'background' in key:
                if not boxes:
                    self.scenes.append(key)
            elif boxes and all(b[4] > .8 for b in boxes):
                (self.frames if '/caltech-faces/' in key else self.portraits).append((key, self.faces(key, boxes)))

    def refresh(self):
        pass  # no synthetic people here


def edges(b):
    return np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])


class Tally:
    """Of what was there, what was found, and how well it was placed."""

    def __init__(self):
        self.faces = self.hits = self.pictures = self.false = 0
        self.errors, self.overlaps, self.apart = [], [], []

    def add(self, found, rows, points=()):
        """rows: x, y, w, h; a width below 0 is a face that needn't be found. points: ten numbers for each, NaN where not known."""
        self.pictures += 1
        for i, r in enumerate(rows):
            if r[2] < 0:
                continue
            self.faces += 1
            best = max(found, key=lambda f: overlap(f, r), default=None)
            if best is not None and overlap(best, r) > .5:
                self.hits += 1
                self.overlaps.append(overlap(best, r))
                self.errors.append(np.abs(edges(best) - edges(r)).mean() / r[2])
                if i < len(points) and len(best) > 5 and not np.isnan(points[i]).any():
                    self.apart.append(apart(best[5:15], points[i]))
        self.false += sum(all(overlap(f, [r[0], r[1], abs(r[2]), r[3]]) < .2 for r in rows) for f in found)

    def row(self, name):
        recall = f'{self.hits} of {self.faces} ({self.hits / self.faces:.1%})' if self.faces else '–'
        placed = f'{np.median(self.errors):.1%} | {np.median(self.overlaps):.2f}' if self.errors else '– | –'
        points = f'{np.mean(self.apart):.1%}' if self.apart else '–'
        return f'| {name} | {self.pictures} | {recall} | {self.false} ({self.false / max(1, self.pictures):.3f}) | {placed} | {points} |'


def title(what):
    return (f'\n| {what} | pictures | faces found (IoU > 0.5) | false faces (each picture) | median edge error, of the width | '
            'median IoU | points off, of the distance between the eyes |\n|---|---|---|---|---|---|---|')


def frames_of(maker, img, face, height):
    """A marked face at a height in a frame of 640×480 of a held-out scene, seen by a camera: the frame, its box and its points."""
    rng = maker.rng
    x, y, bw, bh = face.box
    s = height / bh
    w, h, fw = 640, 480, bw * s
    to = rng.uniform(min(w / 2, fw * .6), max(w / 2, w - fw * .6)), rng.uniform(min(h / 2, height * .6), max(h / 2, h - height * .6))
    put, turned = maker.warp(img, [face], face.centre, s, 0., to, w, h, cv2.BORDER_REPLICATE)
    there, _ = maker.warp(np.full(img.shape[:2], 255, np.uint8), [], face.centre, s, 0., to, w, h, cv2.BORDER_CONSTANT)
    mask = np.zeros((h, w), np.float32)
    cv2.ellipse(mask, (to, (fw * 1.7, height * 1.6), 0), 1., -1)
    mask = rc.blur(mask * (there > 127), max(.5, fw * .02))[..., None]
    out = put * mask + maker.scene(w, h) * (1 - mask)
    out = rc.capture(np.float32(out) / 255, rng, .6)
    return (np.clip(out, 0, 1) * 255 + .5).astype(np.uint8), turned[0]


def marked(find, args, maker):
    """The tables of what was marked by hand."""
    whole, sizes = {}, {}
    for key, mark in by_hand().items():
        if not facedata.held_out(key):
            continue
        img, face = cv2.imread(os.path.join(args.data, key)), facedata.Face(mark['box'], mark['points'])
        group = key.split('/')[1]
        if group in WHOLE:
            whole.setdefault(group, Tally()).add(find(img), [face.box], [face.points.flatten()])
        for height in HEIGHTS:
            frame, there = frames_of(maker, img, face, height)
            sizes.setdefault((group not in WHOLE, height), Tally()).add(find(frame), [there.box], [there.points.flatten()])
    print(title('marked by hand, as they are'))
    for k, t in whole.items():
        print(t.row(k))
    print(title('marked by hand, put into frames of 640×480'))
    for (tight, height), t in sorted(sizes.items()):
        print(t.row(f'{"tight crops of data/dev" if tight else "with surroundings"}, {height} pixels high'))


def heads_of(find, maker, rows, frames):
    """A tally of frames with synthetic heads of these rows."""
    t, maker.heads = Tally(), rows
    for _ in told(range(frames), 'frames of heads'):
        x, boxes, points = maker.filmed(*maker.drawn(*maker.frame()))
        there = boxes[:, 2] != 0
        t.add(find.read(find.net.real(x)), boxes[there], points[there])
    return t


def face(args):
    find = Detector(args.folder)
    print(f'face_at {find.about["face_at"]}')
    marked(find, args, Held(args.data, args.cache, args.seed + 1))
    print(title('held-out pictures'))
    tallies = {}
    for key, img, boxes in held(args.data, args.cache):
        rows = [b[:4] if b[4] > .8 else [b[0], b[1], -b[2], b[3]] for b in boxes]
        tallies.setdefault(key.split('/')[1], Tally()).add(find(img), rows)
    for name, t in tallies.items():
        print(t.row(name))
    maker, sizes = Held(args.data, args.cache, args.seed), {}
    for _ in told(range(args.frames), 'simulated frames'):
        x, boxes, points = maker.make()
        points, boxes = points[boxes[:, 2] != 0], [b for b in boxes if b[2]]
        found = find.read(find.net.real(x))
        shown = [r for r in boxes if r[2] > 0]
        k = next((f'{a} to {b} % of the height' for a, b in SIZES if shown and a <= shown[0][3] / facedata.H * 100 < b), 'no face to be found')
        sizes.setdefault(k, Tally()).add(found, boxes, points)
    for k in sorted(sizes, key=lambda k: (not k[0].isdigit(), int(k.split()[0]) if k[0].isdigit() else 0)):
        print(sizes[k].row('simulated frames, ' + k))
    maker = Held(args.data, args.cache, args.seed + 2)
    rows = maker.rows(os.path.join(args.cache, 'heads', 'held'))
    print(title('synthetic heads of other people, filmed as in training'))
    for name, a, b in TURNS:
        print(heads_of(find, maker, [r for r in rows if a <= abs(np.degrees(r['yaw'])) < b], args.frames // 5).row(name))
    print(heads_of(find, maker, [r for r in rows if r['mask']], args.frames // 5).row('masked'))
    print('\n| dev set | pictures | with a face found |\n|---|---|---|')
    for s in told(SETS, 'sets'):
        n = [len(find(img)) for _, img in pictures(os.path.join(args.data, 'dev', s))]
        print(f'| {s} | {len(n)} | {np.mean([v > 0 for v in n]):.1%} |')


def rates(live, spoof, at):
    return float(np.mean(spoof >= at)), float(np.mean(live < at))


def best_threshold(scores):
    """The one threshold with the least mean half total error of the sets."""
    every = np.unique(np.concatenate([v for pair in scores.values() for v in pair]))
    errors = [np.mean([sum(rates(*pair, t)) / 2 for pair in scores.values()]) for t in every]
    return every[int(np.argmin(errors))]


def equal_error(live, spoof):
    every = np.unique(np.concatenate([live, spoof]))
    return min((abs(a - b), (a + b) / 2) for a, b in (rates(live, spoof, t) for t in every))[1]


def liveness(args):
    judge = Judge(args.folder)
    find = Detector(args.detector or os.path.join(args.folder, '..', 'face'))
    scorers = {'this net, int8': {}, 'crop size': {}, 'sharpness': {}}
    teacher = None
    if args.teacher:
        import torch
        from minifasnet import MiniFASNetV2
        torch.set_num_threads(1)
        teacher = MiniFASNetV2(os.path.join(args.teacher, '2.7_80x80_MiniFASNetV2.pth'))
        scorers['MiniFASNetV2, float'] = {}
    silent, kinds = {}, {}
    for s in told(SETS, 'sets'):
        for label in ('live', 'spoof'):
            for path, img in pictures(os.path.join(args.data, 'dev', s, label)):
                h, w = img.shape[:2]
                box = (0, 0, w, h)
                if s == 'fullframe':
                    found = find(img)
                    if not found:
                        silent[s] = silent.get(s, 0) + 1
                        continue
                    box = max(found, key=lambda f: f[2] * f[3])
                x = crop(img, box)
                z = judge.logits(x)
                if label == 'spoof':
                    kinds.setdefault(s, []).append(z[2] > z[0])

                def put(name, value):
                    scorers[name].setdefault(s, {'live': [], 'spoof': []})[label].append(value)
                put('this net, int8', odds(z))
                put('crop size', box[3])
                put('sharpness', cv2.Laplacian(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY), cv2.CV_64F).std())
                if teacher:
                    with torch.no_grad():
                        z, _ = teacher(torch.from_numpy(x).permute(2, 0, 1)[None].float())
                        put('MiniFASNetV2, float', odds(z.numpy()[0]))
    scorers = {k: {s: (np.array(v['live']), np.array(v['spoof'])) for s, v in sets.items() if v['live'] and v['spoof']}
               for k, sets in scorers.items()}
    for name in ('crop size', 'sharpness'):  # whichever direction is better
        up, down = scorers[name], {s: (-a, -b) for s, (a, b) in scorers[name].items()}
        worth = lambda sc: np.mean([sum(rates(*p, best_threshold(sc))) for p in sc.values()])
        scorers[name] = min((up, down), key=worth)
    own = scorers['this net, int8']
    p = lambda at: float(np.log(at / (1 - at)))
    live_at, spoof_at = judge.about['live_at'], judge.about['spoof_at']
    print(f'Single frames at the manifest\'s live_at {live_at}: APCER is accepted attacks, BPCER genuine faces not accepted. '
          f'"Refused" is at or under spoof_at {spoof_at}.\n')
    print('| set | live / attacks | APCER | BPCER | attacks refused | genuine refused | EER | kind named rightly |')
    print('|---|---|---|---|---|---|---|---|')
    total = []
    for s, (live, spoof) in own.items():
        a, b = rates(live, spoof, p(live_at))
        total.append((a, b, np.mean(spoof <= p(spoof_at)), np.mean(live <= p(spoof_at)), equal_error(live, spoof)))
        right = np.mean(kinds[s]) if 'replay' in s else 1 - np.mean(kinds[s])
        print(f'| {s} | {len(live)} / {len(spoof)} | ' + ' | '.join(f'{v:.1%}' for v in total[-1]) + f' | {right:.0%} |')
    print('| mean of the sets | | ' + ' | '.join(f'{v:.1%}' for v in np.mean(total, 0)) + ' | |')
    for s, n in silent.items():
        print(f'\n{s}: in {n} pictures no face was found; they are not in the table.')
    print('\nAll at the one threshold that is best on these very pictures, which flatters every scorer alike:\n')
    print('| scorer | mean of (APCER + BPCER)/2 | mean EER | ' + ' | '.join(own) + ' |\n|---|---|---|' + '---|' * len(own))
    for name, sets in scorers.items():
        t = best_threshold(sets)
        each = [rates(*sets[s], t) for s in own]
        eer = np.mean([equal_error(*sets[s]) for s in own])
        print(f'| {name} | {np.mean(each):.1%} | {eer:.1%} | ' + ' | '.join(f'{a:.0%} / {b:.0%}' for a, b in each) + ' |')
    print('\nThe sets\' columns are APCER / BPCER.')
    if teacher:
        t = scorers['MiniFASNetV2, float']
        r = [np.corrcoef(np.concatenate(own[s]).clip(-8, 8), np.concatenate(t[s]).clip(-8, 8))[0, 1] for s in own]
        print('Correlation of the live log-odds with the teacher\'s: ' + ', '.join(f'{s} {v:.2f}' for s, v in zip(own, r)) + '.')


def heads(args):
    from faces import RetinaFace
    find, seen, apart, overlaps = RetinaFace(args.teacher), 0, [], []
    rows = [r for r in map(json.loads, open(os.path.join(args.people, 'labels.jsonl'))) if r['label'] == 'live'][:args.count]
    for row in rows:
        claimed = row['face']
        best = max(find(cv2.imread(os.path.join(args.people, row['file']))), key=lambda b: overlap(b, claimed), default=None)
        if best is not None and overlap(best, claimed) > .3:
            seen += 1
            overlaps.append(overlap(best, claimed))
            apart.append((edges(best) - edges(claimed)) / [claimed[2], claimed[3], claimed[2], claimed[3]])
    print(f'{seen} of {len(rows)} living heads found by RetinaFace; median IoU {np.median(overlaps):.2f}; its edges lie by '
          + ', '.join(f'{v:+.1%} ({n})' for v, n in zip(np.median(apart, 0), ('left', 'top', 'right', 'bottom')))
          + ' of the box\'s size from the claimed ones (medians)')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest='what', required=True)
    p = what.add_parser('face')
    p.add_argument('folder', help='of the model')
    p.add_argument('data')
    p.add_argument('cache', help='where faces.json lies')
    p.add_argument('--seed', type=int, default=77, help='of the simulated frames')
    p.add_argument('--frames', type=int, default=1500, help='simulated frames of held-out people and places')
    p = what.add_parser('liveness')
    p.add_argument('folder', help='of the model')
    p.add_argument('data')
    p.add_argument('teacher', nargs='?', help='folder of MiniFASNetV2\'s weights, to compare with')
    p.add_argument('--detector', help='folder of the face detector; default: face beside the model')
    p = what.add_parser('heads')
    p.add_argument('people', help='folder that people.py wrote')
    p.add_argument('teacher')
    p.add_argument('--count', type=int, default=200)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    {'face': face, 'liveness': liveness, 'heads': heads}[args.what](args)


if __name__ == '__main__':
    main()
