"""Pins what training sees to what the daemon sees: crops and letterboxed pictures as Python makes them, for a test of the Go side.

    preprocess.py FOLDER [--check]

Draws pictures of several sizes into FOLDER, as JPEG, and writes what crops.crop and pipeline.letterbox make of them, as PNG, and
pins.json, which says what is what. With --check nothing is drawn or written: what is in FOLDER must be what Python makes of its pictures
now. The Go side's half is models/pins_test.go, with the tolerance; so neither side can move away from the other unnoticed.
"""
import argparse
import json
import os
import sys

import cv2
import numpy as np

from crops import crop, crop_rect
from pipeline import letterbox

# Another OpenCV may round another way.
MOST = 1

# Width, height, boxes of faces: in the middle, at and beyond each edge, larger than the picture, tiny.
PICTURES = [
    (320, 240, [(120, 70, 90, 110), (2, 3, 60, 75), (260, 160, 70, 90), (-20, 60, 80, 100)]),
    (213, 161, [(70.4, 40.7, 33.3, 41.9), (150, 90, 80, 90), (-5, -5, 230, 190)]),
    (97, 131, [(30, 40, 31, 39), (60, 1, 12, 15)]),
    (75, 53, [(25, 12, 20, 26)]),
]
SIDES = [(112, 80), (96, 96)]  # of letterboxed pictures: smaller than the nets', which would be large files


def draw(seed, w, h):
    """Smooth colours, and shapes with sharp edges; as in faces and rooms, light differs more than colour."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    wave = lambda size: size * (np.sin(r.uniform(.02, .06) * x + r.uniform(0, 6)) + np.cos(r.uniform(.02, .06) * y + r.uniform(0, 6)))
    img = 128 + wave(45)[..., None] + np.dstack([wave(12) for _ in range(3)])
    for _ in range(6):
        at, size = (int(r.integers(w)), int(r.integers(h))), (int(r.integers(5, w // 4)), int(r.integers(5, h // 4)))
        cv2.ellipse(img, at, size, float(r.uniform(0, 180)), 0, 360, [float(v) for v in r.uniform(45, 210) + r.uniform(-25, 25, 3)], -1, cv2.LINE_AA)
    return np.clip(img, 0, 255).astype(np.uint8)


def pins(folder):
    """What there is, as pins.json has it, and the pictures of it: (row, pixels)."""
    for i, (w, h, boxes) in enumerate(PICTURES):
        file = f'{i}.jpg'
        img = cv2.imread(os.path.join(folder, file), cv2.IMREAD_COLOR)
        for k, box in enumerate(boxes):
            rect = crop_rect(box, 2.7, w, h)
            yield {'picture': file, 'crop': {'box': list(box), 'scale': 2.7, 'rect': list(rect)}, 'file': f'{i}-crop-{k}.png'}, crop(img, box)
        for k, (lw, lh) in enumerate(SIDES):
            out, fx, fy = letterbox(img, lw, lh)
            yield {'picture': file, 'letterbox': {'factors': [fx, fy]}, 'file': f'{i}-letterbox-{k}.png'}, out


def write(folder):
    os.makedirs(folder, exist_ok=True)
    for i, (w, h, _) in enumerate(PICTURES):
        cv2.imwrite(os.path.join(folder, f'{i}.jpg'), draw(i, w, h), [cv2.IMWRITE_JPEG_QUALITY, 90])
    rows = []
    for row, pixels in pins(folder):
        cv2.imwrite(os.path.join(folder, row['file']), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        rows.append(row)
    with open(os.path.join(folder, 'pins.json'), 'w') as f:
        f.write('[\n' + ',\n'.join('  ' + json.dumps(row) for row in rows) + '\n]\n')
    return f'{len(rows)} pins written'


def check(folder):
    known = json.load(open(os.path.join(folder, 'pins.json')))
    made = list(pins(folder))
    if [row for row, _ in made] != known:
        sys.exit(f'preprocess: {folder}/pins.json isn\'t what this program makes now')
    for row, pixels in made:
        there = cv2.imread(os.path.join(folder, row['file']), cv2.IMREAD_COLOR)
        if there.shape != pixels.shape or (apart := int(np.abs(there.astype(int) - pixels).max())) > MOST:
            sys.exit(f'preprocess: {row["file"]} isn\'t what Python makes now' + (f': {apart} grey levels' if there.shape == pixels.shape else ''))
    return f'{len(known)} pins of pre-processing: good'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='for example ../testdata/preprocessing')
    parser.add_argument('--check', action='store_true', help='compare, write nothing')
    args = parser.parse_args()
    print((check if args.check else write)(args.folder))


if __name__ == '__main__':
    main()
