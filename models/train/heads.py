"""Cut-outs of synthetic heads for the detector's frames: turned further than people.py's, masked, half in the dark.

    heads.py OUT COUNT SEED

Writes SIZE×SIZE PNGs, display-referred BGR with how much each pixel is covered, and OUT/labels.jsonl with the pose, RetinaFace's
box as people.face_box claims it, and the five points. facedata.py puts them into scenes; goes on where it was stopped.
"""
import argparse
import json
import os
import time

import cv2
import numpy as np

import people
import recapture as rc

SIZE, HEIGHT = 256, 112


def pose(rng):
    """From −60 to 60° to the side, mostly near the middle; roll is left to whoever pastes."""
    u = rng.random()
    yaw = rng.normal(0, .3) if u < .5 else rng.uniform(-1.05, 1.05)
    return people.Pose(SIZE / 2, SIZE * .46, HEIGHT, float(np.clip(yaw, -1.1, 1.1)), float(np.clip(rng.normal(0, .18), -.45, .45)),
                       float(rng.normal(0, .05)), 1. if rng.random() < .08 else rng.uniform(0, .3),
                       (rng.normal(0, .25), rng.normal(0, .12)), rng.uniform(0, .7) if rng.random() < .3 else 0.)


def head(seed, n):
    rng = np.random.default_rng([seed, n])
    person = people.Person(seed * 1_000_000 + n // 4)
    u = rng.random()
    if u < .22:
        tone = rng.random() < .6
        person.mask = np.float32([.7, .62, .45] if tone else rng.uniform(.02, .7, 3)) * np.float32(rng.uniform(.7, 1.1))
        person.mask = np.clip(person.mask, .01, .9)
    elif u < .34:
        person.shades = np.float32(rng.uniform(.004, .05, 3))
    elif u < .5:
        person.glasses = True
    at, light = pose(rng), people.Light(rng)
    if rng.random() < .25:  # half light: from the side alone, or from behind
        light.sky, light.ground = light.sky * rng.uniform(.1, .4), light.ground * rng.uniform(.1, .4)
        if rng.random() < .5:
            light.key = np.float32([rng.choice([-1, 1]) * rng.uniform(.8, 1), rng.uniform(-.1, .4), rng.uniform(-.6, .1)])
            light.key /= np.linalg.norm(light.key)
    body, cover = people.draw(person, at, light, SIZE, SIZE)
    shown = np.clip(body * rc.log_uniform(rng, .6, 1.6), 0, 1) ** (1 / 2.2)
    row = {'face': people.face_box(at), 'points': person.points(at), 'yaw': round(at.yaw, 3), 'pitch': round(at.pitch, 3), 'roll': round(at.roll, 3),
           'mask': person.mask is not None, 'person': person.seed}
    return np.dstack([shown, cover]), row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', help='folder to write to; what is there already is kept and counted')
    parser.add_argument('count', type=int, help='heads that are to be there in the end')
    parser.add_argument('seed', type=int, help='people of different seeds are different people')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.makedirs(args.out, exist_ok=True)
    labels = os.path.join(args.out, 'labels.jsonl')
    n = sum(1 for _ in open(labels)) if os.path.exists(labels) else 0
    first, begun, shown = n, time.monotonic(), time.monotonic()
    for n in range(n, args.count):
        img, row = head(args.seed, n)
        name = f'{n:06d}.png'
        cv2.imwrite(os.path.join(args.out, name), (img * 255 + .5).astype(np.uint8))
        row = {'file': name, **row}
        for k in ('face', 'points'):
            row[k] = np.round(row[k], 2).tolist()
        with open(labels, 'a') as f:
            f.write(json.dumps(row) + '\n')
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f'{n + 1} of {args.count}, {(shown - begun) / (n + 1 - first) * (args.count - n - 1) / 60:.0f} min left', flush=True)


if __name__ == '__main__':
    main()
