"""Draws the clip that `livenessd demo` plays: synthetic people before one camera, living, on a screen and on paper.

    clip.py OUT [--check FACE LIVENESS]

Writes OUT/clip.mjpeg (640×480, 15 frames a second) and OUT/clip.json, which says what is to be seen when. Nothing of the
training pictures is in it, and its people have seeds that were never trained on. With --check, the shipped nets judge each
frame, and every window of five frames must fall on the right side of the thresholds in the manifest.
"""
import argparse
import json
import os
import sys
import time

import cv2
import numpy as np

import people
import recapture as rc

FPS, W, H = 15, people.W, people.H
EMPTY, SHOWN = 2.6, 5.2  # seconds
LIMIT = 3_500_000  # bytes; it lies in the repository and in the program

# Who is seen, how: seed of the person, of light and movement, of the medium. Chosen by looking: this is a demonstration.
CAST = [
    ('live', 9_000_007, 17, 0),
    ('replay', 9_000_002, 12, 22),
    ('live', 9_000_006, 16, 0),
    ('print', 9_000_001, 11, 21),
]
CAMERA, ROOM = 33, 11


class Steady:
    """A generator whose draws are the same each time that it is made, but for pixel noise: one camera, many frames."""

    def __init__(self, seed, frame):
        self.same, self.fresh = np.random.default_rng(seed), np.random.default_rng([seed, frame])

    def standard_normal(self, *args, **kwargs):
        return self.fresh.standard_normal(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.same, name)


class Movement:
    """Somebody who stands before the camera: sways, looks about, blinks."""

    def __init__(self, seed):
        r = self.rng = np.random.default_rng(seed)
        self.height = r.uniform(.32, .42) * H
        self.at = r.uniform(.42, .58) * W, r.uniform(.46, .52) * H
        self.phase = r.uniform(0, 2 * np.pi, 8)
        self.blinks = np.cumsum(r.uniform(1.2, 2.8, 12))
        self.yaw, self.pitch = r.normal(0, .06), r.normal(0, .04)

    def wave(self, i, t, period):
        return np.sin(2 * np.pi * t / period + self.phase[i])

    def pose(self, t):
        blink = max(0., 1 - min(abs(t - b) for b in self.blinks) / .13)
        return people.Pose(self.at[0] + 9 * self.wave(0, t, 4.1) + 3 * self.wave(1, t, 1.7), self.at[1] + 4 * self.wave(2, t, 3.3),
                           self.height * (1 + .02 * self.wave(3, t, 5.)), self.yaw + .16 * self.wave(4, t, 4.7),
                           self.pitch + .05 * self.wave(5, t, 3.9), .035 * self.wave(6, t, 5.3), .12 + .88 * blink, (.12 * self.wave(7, t, 2.9), 0.), 0.)


def scene_of(seed, t, kind, person, moves, light, room, medium):
    """One picture before the camera, display-referred."""
    pose = moves.pose(t)
    live = people.compose(person, pose, light, room)
    if kind == 'live':
        return live
    first = rc.capture(live, Steady([seed, 1], int(t * FPS)), .5)
    dark = np.clip(room, 0, 4).astype(np.float32) ** (1 / 2.2)
    sway = np.sin(2 * np.pi * t / np.array([3.7, 2.9, 4.3])) * [5., 3., .012]
    return medium.show(first, dark, None, sway)[0]


def clip():
    """Frames and the segments that they belong to."""
    room = people.room(np.random.default_rng(ROOM), W, H)
    still = np.clip(room, 0, 4).astype(np.float32) ** (1 / 2.2)
    n = 0
    for label, seed, moves_seed, medium_seed in CAST:
        for _ in range(round(EMPTY * FPS)):
            yield 'none', rc.capture(still, Steady(CAMERA, n))
            n += 1
        moves, light, person = Movement(moves_seed), people.Light(np.random.default_rng(moves_seed)), people.Person(seed)
        medium = None
        if label != 'live':
            box = people.face_box(moves.pose(0))
            medium = people.Medium(np.random.default_rng(medium_seed), label, box, (H, W))
        for i in range(round(SHOWN * FPS)):
            yield label, rc.capture(scene_of(seed, i / FPS, label, person, moves, light, room, medium), Steady(CAMERA, n))
            n += 1


def check(folder, face, liveness):
    """Whether the shipped nets see what is shown: all faces found, none in the empty room, all windows judged rightly."""
    from pipeline import Detector, Judge
    find, judge = Detector(face), Judge(liveness)
    truth = json.load(open(os.path.join(folder, 'clip.json')))
    data = open(os.path.join(folder, 'clip.mjpeg'), 'rb').read()
    starts = [i for i in range(len(data) - 2) if data[i:i + 3] == b'\xff\xd8\xff']
    pictures = [data[a:b] for a, b in zip(starts, starts[1:] + [len(data)])]
    good = len(pictures) == truth['frames']
    for s in truth['segments']:
        odds, faces, sizes = [], [], []
        for i in range(s['first'], s['last'] + 1):
            img = cv2.imdecode(np.frombuffer(pictures[i], np.uint8), cv2.IMREAD_COLOR)
            found = find(img)
            faces.append(len(found))
            if found:
                best = max(found, key=lambda f: f[2] * f[3])
                sizes.append(best[3])
                odds.append(judge(img, best))
        if s['label'] == 'none':
            ok = max(faces) == 0
            text = f'{sum(f > 0 for f in faces)} frames with a face'
        else:
            window = np.convolve(odds, np.ones(5) / 5, 'valid') if len(odds) >= 5 else np.array([np.nan])
            p = 1 / (1 + np.exp(-window))
            rightly = p >= judge.about['live_at'] if s['label'] == 'live' else p <= judge.about['spoof_at']
            ok = len(odds) >= .9 * len(faces) and max(faces) == 1 and bool(rightly.all())
            text = (f'face in {len(odds)} of {len(faces)}, at most {max(faces)}, height {np.mean(sizes or [0]):.0f}; '
                    f'P(live) of windows {p.min():.3f} to {p.max():.3f}, '
                    f'log-odds of frames {min(odds, default=0):.1f} to {max(odds, default=0):.1f}')
        good &= ok
        print(f'{s["first"]:4}–{s["last"]:4} {s["label"]:7} {"right" if ok else "WRONG"}  {text}')
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('--check', nargs=2, metavar=('FACE', 'LIVENESS'),
                        help='folders of the two models; the clip that is there is judged, none is drawn')
    parser.add_argument('--quality', type=int, default=45)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.check:
        sys.exit(0 if check(args.out, *args.check) else 1)
    pictures, labels, start = [], [], time.monotonic()
    total = sum(round(EMPTY * FPS) + round(SHOWN * FPS) for _ in CAST)
    for label, img in clip():
        pictures.append((np.clip(img, 0, 1) * 255 + .5).astype(np.uint8))
        labels.append(label)
        if len(labels) % 60 == 0:
            left = (time.monotonic() - start) / len(labels) * (total - len(labels))
            print(f'{len(labels)} of {total} frames, {left:.0f} s left', flush=True)
    for quality in range(80, 20, -4):  # the best that fits
        how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        data = [cv2.imencode('.jpg', p, how)[1].tobytes() for p in pictures]
        if sum(map(len, data)) <= LIMIT:
            break
    else:
        sys.exit(f'more than {LIMIT} bytes at any quality')
    segments = []
    for i, label in enumerate(labels):
        if i and labels[i - 1] == label:
            segments[-1]['last'] = i
        else:
            segments.append({'first': i, 'last': i, 'label': label})
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, 'clip.mjpeg'), 'wb') as f:
        f.write(b''.join(data))
    with open(os.path.join(args.out, 'clip.json'), 'w') as f:
        rows = ',\n'.join('    ' + json.dumps(s) for s in segments)
        f.write('{\n  "fps": %d,\n  "frames": %d,\n  "segments": [\n%s\n  ]\n}\n' % (FPS, len(labels), rows))
    print(f'{len(labels)} frames, {sum(map(len, data))} bytes, JPEG quality {quality}')


if __name__ == '__main__':
    main()
